/** docs/metrics.md: every metric of both daemons, from the code that declares them. */
import { agentMetrics } from "../../src/metrics/agent.ts";
import { configMetrics } from "../../src/metrics/config.ts";
import { controllerMetrics } from "../../src/metrics/controller.ts";
import { guardMetrics } from "../../src/metrics/guard.ts";
import { leanNames } from "../../src/metrics/lean.ts";
import { createRegistry, type Registry } from "../../src/metrics/registry.ts";

interface Declared {
  readonly name: string;
  readonly help: string;
  readonly type: string;
  readonly labelNames?: readonly string[];
}

function declared(fill: (registry: Registry) => void): Declared[] {
  const registry = createRegistry();
  fill(registry);
  const found = registry.getMetricsAsArray() as unknown as (Declared & { constructor: { name: string } })[];
  return found.map((metric) => {
    const kinds: [RegExp, string][] = [
      [/Counter/, "counter"],
      [/Gauge/, "gauge"],
      [/Histogram|Powers/, "histogram"],
    ];
    const type = kinds.find(([pattern]) => pattern.test(metric.constructor.name))?.[1] ?? "";
    return { name: metric.name, help: metric.help, type, labelNames: metric.labelNames ?? [] };
  });
}

/** Those that belong to one place in the code, which sets them. */
const agentOwn: Declared = {
  name: "sublet_controllers_connected",
  type: "gauge",
  help: "Controllers that this agent reports to now.",
};
const controllerOwn: Declared = {
  name: "sublet_grants_failed_total",
  type: "counter",
  labelNames: ["reason"],
  help: "Proposals that an agent refused or did not answer, by reason; the request then goes to another node.",
};

function table(metrics: readonly Declared[]): string {
  const lean = new Set(leanNames);
  const rows = [...metrics]
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .map(({ name, help, type, labelNames }) => {
      const labels = (labelNames ?? []).filter((label) => label !== "le").map((label) => `\`${label}\``);
      return `| \`${name}\` | ${type} | ${labels.join(" ")} | ${lean.has(name) ? "yes" : ""} | ${help.replaceAll("|", "\\|")} |`;
    });
  return ["| metric | type | labels | lean | meaning |", "|---|---|---|---|---|", ...rows].join("\n");
}

export function metricsPage(): string {
  const agent = declared((registry) => {
    agentMetrics(registry);
    guardMetrics(registry, () => undefined);
    configMetrics(registry);
  });
  const controller = declared((registry) => {
    controllerMetrics(registry);
    configMetrics(registry);
  });
  return `# Metrics

Each daemon serves Prometheus' text format: agents at \`http://NODE:7702/metrics\`, the controller at \`http://CONTROLLER:7703/metrics\`. \`?set=lean\` gives the lean set
(40 series a node at most, for sites with thousands of nodes), without it all are served (200 at most); a test sets every label that there can be, and counts. Agents' labels are
bounded words, never names, ids or users; the controller's \`sublet_partition_*\` name partitions, 64 lists of them at most. This page is generated from the code.

## Prometheus

\`/usr/share/sublet/prometheus\` (\`deploy/prometheus\` in the tree) has recording rules, alerts and an example of \`prometheus.yml\` with all that a site sets itself:

- **The cluster's name**, a label of every series (\`relabel_configs\`), since rules, alerts and dashboards ask by it. Several clusters in one Prometheus are several pairs of jobs.
- **Targets**: \`controllers.json\` and \`agents.json\` beside it, as in \`[{"targets": ["n1:7702", "n2:7702"]}]\`. **Controllers alone are enough**: they tell the sums over all nodes by what agents report,
  and rules, dashboards and the alerts that jobs may feel (\`SubletHookMissed\`, \`SubletReclaimSlow\`, \`SubletGuardBusy\`) live on these. Agents add what single nodes do:
  \`SubletAgentsSilent\`, \`SubletGuardPowerless\`, \`SubletAgentHeavy\`, \`SubletUsageLost\`, and the name of the node in the others.
  Their list is what a timer on a host that Slurm answers writes (\`sinfo\`, once; the port is the agents' \`metrics_listen\`):

      cd /etc/prometheus
      /usr/share/sublet/prometheus/agents.sh 7702 > agents.json.new && mv agents.json.new agents.json

  It has each node's partitions as the label \`partitions\`, since agents do not know them. A list of your own may have it too; without it a partition that is chosen in Grafana has no nodes to choose from.
- **Where the documentation is**: \`sublet_docs\` in \`external_labels\`. Controllers serve it beside their dashboard at \`/docs/\`; any copy of the site (\`npm run docs:site\`) will do. Links to the
  [runbook](runbook.md) in Alertmanager begin with it; the label itself is taken off every alert before it is sent.

Several controllers each tell the whole cluster's, each from its own start: ask for the highest (\`max by (cluster, ...)\`), never for the sum. A node may be in several partitions: \`partitions\` is the list
of all of them, so that sums are right, and \`partitions=~"(.*,)?debug(,.*)?"\` is what \`debug\` has.

## Grafana

\`/usr/share/sublet/grafana\` (\`deploy/grafana\`) has the dashboard and its provisioning, with the variables data source, cluster, partition and node. The nodes to choose from are those of the partitions that are chosen, by the label of the targets (see above):

    cp /usr/share/sublet/grafana/provisioning.yml /etc/grafana/provisioning/dashboards/sublet.yml
    cp /usr/share/sublet/grafana/datasource.yml /etc/grafana/provisioning/datasources/sublet.yml   # unless it has your Prometheus already

## Agent

${table([...agent, agentOwn])}

## Controller

${table([...controller, controllerOwn])}
`;
}
