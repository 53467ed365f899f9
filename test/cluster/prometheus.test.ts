/** Debian's Prometheus on the testbed: it answers every question that the Grafana dashboard asks, and no node shows too much. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { type Cluster, startCluster } from "../../deploy/testbed/cluster.ts";
import { page } from "../../deploy/testbed/main-job/sampler.ts";
import { prometheusUrl } from "../../deploy/testbed/prometheus.ts";
import { until } from "../../deploy/testbed/shell.ts";
import { treeRoot } from "../../deploy/testbed/sublet-conf.ts";
import { historyOf } from "../../src/dashboard/points.ts";
import { PrometheusHistory } from "../../src/dashboard/prometheus.ts";
import { alice, allLend, type Held, hold } from "./users.ts";

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

test("a lease shows in the recording rules and in every panel that is about leases", async () => {
  await until("a core is lent, says the rule", 60_000, async () => {
    const [sample] = await ask("sublet:cores:lent_ratio");
    return Number(sample?.value[1] ?? 0) > 0 ? true : undefined;
  });
  const { panels } = JSON.parse(readFileSync(join(treeRoot, "deploy/grafana/sublet.json"), "utf8")) as {
    panels: { title: string; targets: { expr: string }[] }[];
  };
  const asked = panels.flatMap(({ title, targets }) => targets.map(({ expr }) => ({ title, expr })));
  for (const { title, expr } of asked) {
    const found = await ask(expr.replaceAll("$cluster", "testbed").replaceAll("$node", ".*"));
    // Nothing was called, ended or held back here.
    if (/^(Lent now|Cores|Memory|Core-hours|GiB-hours|Slurm|Node|What agents cost)/.test(title))
      assert.ok(found.length > 0, `${title}: ${expr} gives nothing`);
  }
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

test("all alerts are loaded, and none of them fires on a cluster that is well", async () => {
  const answer = await fetch(`${prometheusUrl}/api/v1/rules`, { signal: AbortSignal.timeout(10_000) });
  const { data } = (await answer.json()) as {
    data: { groups: { rules: { type: string; name: string; health: string; lastError?: string }[] }[] };
  };
  const rules = data.groups.flatMap(({ rules }) => rules);
  assert.ok(rules.filter(({ type }) => type === "alerting").length >= 12);
  for (const { name, health, lastError } of rules) assert.ok(health !== "err", `${name}: ${lastError}`);
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
