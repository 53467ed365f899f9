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
(40 series a node at most, for sites with thousands of nodes), without it all are served (200 at most). Labels are bounded words, never names, ids or users.
Recording rules, alerts and an example configuration are in \`deploy/prometheus\`, a Grafana dashboard in \`deploy/grafana\`; what to do about an alert is in the
[runbook](runbook.md). This page is generated from the code.

## Agent

${table([...agent, agentOwn])}

## Controller

${table([...controller, controllerOwn])}
`;
}
