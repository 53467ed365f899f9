/** Debian's Prometheus on the testbed: it answers every question that the Grafana dashboard asks, and no node shows too much. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { discoverCgroups } from "../../agent/cgroup/layout.ts";
import { type Cluster, startCluster } from "../../deploy/testbed/cluster.ts";
import { page } from "../../deploy/testbed/main-job/sampler.ts";
import { stage } from "../../deploy/testbed/main-job/stage.ts";
import { prometheusUrl } from "../../deploy/testbed/prometheus.ts";
import { until } from "../../deploy/testbed/shell.ts";
import { treeRoot } from "../../deploy/testbed/sublet-conf.ts";
import { historyOf } from "../../src/dashboard/points.ts";
import { PrometheusHistory } from "../../src/dashboard/prometheus.ts";
import { alice, allLend, type Held, hold, sublet } from "./users.ts";

let cluster: Cluster;
let held: Held;
before(async () => {
  cluster = await startCluster({
    waitForLockMs: 60_000,
    prometheus: true,
    controllerSettings: { poll_interval_ms: 500 },
  });
  await allLend(cluster);
  held = await hold(cluster, alice, "n1", "n2");
});
after(async () => {
  await held?.letGo();
  await cluster?.stop();
});

async function ask(expr: string): Promise<{ metric: Record<string, string>; value: [number, string] }[]> {
  const answer = await fetch(`${prometheusUrl}/api/v1/query?query=${encodeURIComponent(expr)}`, {
    signal: AbortSignal.timeout(10_000),
  });
  const body = (await answer.json()) as { status: string; error?: string; data: { result: [] } };
  assert.equal(body.status, "success", `${expr}: ${body.error}`);
  return body.data.result;
}

const figure = async (expr: string): Promise<number> => Number((await ask(expr))[0]?.value[1]);

interface Rule {
  readonly type: "recording" | "alerting";
  readonly name: string;
  readonly query: string;
  readonly health: string;
  readonly lastError?: string;
}

async function rules(): Promise<Rule[]> {
  const answer = await fetch(`${prometheusUrl}/api/v1/rules`, { signal: AbortSignal.timeout(10_000) });
  const { data } = (await answer.json()) as { data: { groups: { rules: Rule[] }[] } };
  return data.groups.flatMap((group) => group.rules);
}

function panelQueries(): { title: string; expr: string }[] {
  const { panels } = JSON.parse(readFileSync(join(treeRoot, "deploy/grafana/sublet.json"), "utf8")) as {
    panels: { title: string; targets: { expr: string }[] }[];
  };
  const chosen = { $cluster: "mycluster", $partition: ".*", $node: ".*" };
  return panels.flatMap(({ title, targets }) =>
    targets.map(({ expr }) => ({
      title,
      expr: Object.entries(chosen).reduce((text, [name, value]) => text.replaceAll(name, value), expr),
    })),
  );
}

/** What a query is made of: each metric with the labels that it asks for. */
const selectors = (expr: string): string[] =>
  [...expr.matchAll(/\b(?:up|process_\w+|sublet[_:][\w:]+)(?:\{[^}]*\})?/g)].map(([text]) => text);

/** Of nodes that are held out, which are none here; of jobs that wait for memory, of which cgroup v1 does not tell. */
const hasNothing = (expr: string): boolean =>
  expr.includes("hold_out") ||
  (discoverCgroups().version === 1 && /sublet_job_\w+\{[^}]*resource="memory"/.test(expr));

/** Their conditions may hold for a moment on a machine that has much else to do; they fire when that lasts. */
const timed = new Set(["SubletReclaimSlow", "SubletAgentHeavy"]);

test("a call and a lease show, by the shipped configuration", async () => {
  const called = await sublet(cluster, "n3", alice, [
    ...["invoke", join(await stage(join(cluster.stateDir, "opt")), "functions/libecho.so"), "echo"],
    ...["--data", "x", "--node", "n1", "--no-local"],
  ]);
  assert.equal(called.status, 0, called.error);
  await until("a core is lent, says the rule", 90_000, async () => {
    const [sample] = await ask('sublet:cores:lent_ratio{cluster="mycluster"}');
    return Number(sample?.value[1] ?? 0) > 0 ? true : undefined;
  });
  await until("the call is in the cluster's sum", 30_000, async () =>
    (await figure('sublet_cluster_invocations_total{outcome="ok"}')) === 1 ? true : undefined,
  );
});

test("the dashboard takes from it what is older than its own history", async () => {
  const binMs = 5_000;
  const prometheus = new PrometheusHistory({
    url: prometheusUrl,
    tokenFile: undefined,
    caFile: undefined,
    selector: "",
    unixMs: Date.now,
    nowMs: () => performance.now(),
    onTrouble: assert.fail,
    binMs,
    keepMs: 120_000,
    settleMs: 2_000,
  });
  const found = await until("two bins of the cluster's cores", 60_000, async () => {
    const toMs = Math.floor(Date.now() / binMs) * binMs;
    const history = await prometheus.complete(historyOf([], toMs - 60_000, toMs, binMs), toMs);
    assert.equal(history.before?.trouble, null);
    const { total, lent } = history.cores;
    return total.filter((cores, i) => (cores ?? 0) > 0 && (lent[i] ?? 0) > 0).length >= 2
      ? history
      : undefined;
  });
  for (const [i, total] of found.cores.total.entries()) {
    if (total === null) continue;
    const parts = (["used", "heldUnused", "lent", "spare", "closed"] as const).map(
      (name) => found.cores[name][i],
    );
    assert.ok(Math.abs(parts.reduce<number>((sum, part) => sum + (part ?? 0), 0) - total) < 1e-6);
    assert.ok((found.memoryBytes.total[i] ?? 0) > 0);
  }
});

test("a job that ends a lease shows; then every rule and every panel gives something", async () => {
  const id = await cluster.sbatch({ args: ["--nodelist=n2", "--exclusive"], script: "sleep 1" });
  assert.equal((await cluster.waitJob(id)).state, "COMPLETED");
  await until("the reclaim shows, says the rule", 90_000, async () =>
    (await figure("sublet:reclaim_seconds:p99_15m")) > 0 ? true : undefined,
  );
  await cluster.sbatch({ args: ["--nodelist=n3", "--mem=100"], script: "sleep 600" });
  await until("a job that lasts is watched, says the rule", 90_000, async () =>
    (await figure('sublet:job_waited:ratio_rate1h{mode="on",resource="cpu"}')) >= 0 ? true : undefined,
  );
  for (const { name, type } of await rules())
    if (type === "recording" && !hasNothing(name))
      assert.ok((await ask(`${name}{cluster="mycluster"}`)).length > 0, `${name} gives nothing`);
  for (const { title, expr } of panelQueries())
    if (!hasNothing(expr)) assert.ok((await ask(expr)).length > 0, `${title}: ${expr} gives nothing`);
  assert.equal(await figure('sublet_cluster_reclaims_total{messenger="prolog"}'), 1);
  assert.equal(await figure('sublet_partition_reclaims_total{partitions="main",messenger="prolog"}'), 1);
  assert.ok((await figure("sublet:lent_core_hours:rate1h")) > 0);
});

test("no query is over a series that does not exist", async () => {
  const asked = [...(await rules()).map(({ query }) => query), ...panelQueries().map(({ expr }) => expr)];
  const wanted = new Set(asked.flatMap(selectors));
  assert.ok(wanted.size > 30, `${wanted.size} selectors`);
  for (const selector of wanted)
    if (!hasNothing(selector)) assert.ok((await ask(selector)).length > 0, `nothing is ${selector}`);
});

test("the variables of the Grafana dashboard have values, and partitions choose", async () => {
  const { templating } = JSON.parse(readFileSync(join(treeRoot, "deploy/grafana/sublet.json"), "utf8")) as {
    templating: { list: { name: string; query: string | { query: string } }[] };
  };
  const values = new Map<string, string[]>();
  for (const { name, query } of templating.list) {
    if (typeof query === "string") continue;
    const [, selector = "", label = ""] = /^label_values\((.*), (\w+)\)$/.exec(query.query) ?? [];
    for (const partition of [".*", "main", "no-such-partition"]) {
      const found = await ask(
        selector.replaceAll("$cluster", "mycluster").replaceAll("$partition", partition),
      );
      values.set(`${name} ${partition}`, [...new Set(found.map(({ metric }) => metric[label] ?? ""))].sort());
    }
  }
  assert.deepEqual(values.get("cluster .*"), ["mycluster"]);
  assert.deepEqual(values.get("partition .*"), ["main"]);
  assert.equal(values.get("node .*")?.length, 3);
  assert.deepEqual(values.get("node main"), values.get("node .*"));
  assert.deepEqual(values.get("node no-such-partition"), []);
  // A list of targets without partitions: "All" is all.
  const unlabelled = 'sublet_cluster_cores{partitions=~"(.*,)?(.*)(,.*)?", state="total"}';
  assert.equal((await ask(unlabelled)).length, 1);
  const cores = (partition: string): string =>
    `sum(sublet_partition_cores{partitions=~"(.*,)?(${partition})(,.*)?", state="total"})`;
  assert.equal((await ask(cores("no-such-partition"))).length, 0);
  const [ours] = await ask(cores("main"));
  const [all] = await ask('sublet_cluster_cores{state="total"}');
  assert.equal(ours?.value[1], all?.value[1]);
});

test("the list of targets that is made from Slurm has every node with its partition", async () => {
  const script = join(treeRoot, "deploy/prometheus/agents.sh");
  const { stdout, stderr } = await cluster.runOnNode("n1", ["sh", script, "7777"]);
  assert.equal(stderr, "");
  assert.deepEqual(
    JSON.parse(stdout),
    cluster.layout.nodes.map(({ name }) => ({
      targets: [`${name}:7777`],
      labels: { partitions: "main" },
    })),
  );
});

test("all alerts are loaded, and none of them fires on a cluster that is well", async () => {
  const loaded = await rules();
  const alerts = loaded.filter(({ type }) => type === "alerting");
  assert.ok(alerts.length >= 12);
  for (const { name, health, lastError } of loaded) assert.ok(health !== "err", `${name}: ${lastError}`);
  for (const { name, query } of alerts) {
    const found = await ask(query);
    if (!timed.has(name)) assert.deepEqual(found, [], name);
  }
  assert.deepEqual(await ask('ALERTS{alertstate="firing"}'), []);
});

test("an agent shows 200 series at most, and 40 in the lean set", async () => {
  const count = async (query: string): Promise<number> => {
    const text = await page(`${cluster.metricsUrl("agent-n2")}/metrics${query}`);
    return text.split("\n").filter((line) => line !== "" && !line.startsWith("#")).length;
  };
  const [full, lean] = [await count(""), await count("?set=lean")];
  assert.ok(full > 50 && full <= 200, `${full} series`);
  assert.ok(lean >= 15 && lean <= 40, `${lean} series`);
  assert.equal((await fetch(`${cluster.metricsUrl("agent-n2")}/metrics?set=everything`)).status, 400);
});
