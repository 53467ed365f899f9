/**
 * Looking before leaping, on a real Slurm: a node that the lot holds out, and one in shadow mode, lend nothing, say what they
 * would, and score it against the jobs that come; the node beside them lends.
 */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { lendingMode } from "../../agent/lending/mode.ts";
import { type Cluster, startCluster } from "../../deploy/testbed/cluster.ts";
import { metricValues } from "../../deploy/testbed/main-job/figures.ts";
import { page } from "../../deploy/testbed/main-job/sampler.ts";
import { until } from "../../deploy/testbed/shell.ts";
import { alice, controller, type Held, hold, root, sublet } from "./users.ts";

const lending = { hold_out: 0.5, shadow_term_ms: 1000 };
/** A period whose lot holds out n1 and not n2. */
function period(): number {
  const drawn = (node: string, holdOutDays: number): string =>
    lendingMode({ mode: "on", holdOut: lending.hold_out, holdOutDays, shadowTermMs: 1000 }, node, Date.now());
  for (let days = 2; days <= 365; days++)
    if (drawn("n1", days) === "hold_out" && drawn("n2", days) === "on") return days;
  throw new Error("no lot tells n1 and n2 apart");
}

let cluster: Cluster;
before(async () => {
  cluster = await startCluster({
    nodes: 2,
    waitForLockMs: 60_000,
    agentSettings: { pool_max: 0, lending: { ...lending, hold_out_days: period() } },
  });
});
after(async () => {
  await cluster?.stop();
});

const told = (node: string, mode: string): Promise<true> =>
  until(`${node} is ${mode}`, 30_000, async () => {
    const said = await sublet(cluster, "n1", root, ["--controller", controller, "nodes", "--json"]);
    const nodes = said.json().nodes as { node: string; offer: { lending: string } | null }[];
    return nodes.find((each) => each.node === node)?.offer?.lending === mode ? true : undefined;
  });

const figure = async (node: string, name: string, labels = ""): Promise<number> =>
  metricValues(await page(`${cluster.metricsUrl(`agent-${node}`)}/metrics`), name).get(labels) ?? 0;

/** It lends nothing, imagines leases, and has one cut short when a job takes its cores. */
async function scoresItself(node: string): Promise<void> {
  await assert.rejects(hold(cluster, alice, "n1", node));
  const imagined = (outcome: string) => figure(node, "sublet_shadow_leases_total", `outcome="${outcome}"`);
  await until(`${node}: an imagined lease finishes`, 30_000, async () =>
    (await imagined("finished")) > 0 ? true : undefined,
  );
  const cut = await imagined("cut");
  const cores = cluster.node(node).cpus.length;
  const { exitCode, stderr } = await cluster.attempt([
    "srun",
    `--nodelist=${node}`,
    "-n1",
    `-c${cores}`,
    "true",
  ]);
  assert.equal(exitCode, 0, stderr);
  await until(`${node}: a job cuts one short`, 30_000, async () =>
    (await imagined("cut")) > cut ? true : undefined,
  );
  assert.ok((await figure(node, "sublet_shadow_core_seconds_total")) > 0);
}

test("a node that is held out lends nothing and scores what it would; the other lends", async () => {
  await told("n1", "LENDING_HOLD_OUT");
  await told("n2", "LENDING_ON");
  const { lease, letGo } = await hold(cluster, alice, "n1", "n2");
  assert.equal(lease.node, "n2");
  await scoresItself("n1");
  assert.equal(await figure("n1", "sublet_leased_cores"), 0);
  await letGo();
  const anywhere = await hold(cluster, alice, "n1", "");
  assert.equal(anywhere.lease.node, "n2");
  await anywhere.letGo();
});

test("shadow by a reload: what is lent goes back, and the node scores itself from then on", async () => {
  let held: Held | undefined;
  try {
    held = await hold(cluster, alice, "n1", "n2");
    const file = join(cluster.stateDir, "etc", "agent-n2.toml");
    const text = readFileSync(file, "utf8");
    assert.match(text, /hold_out = 0\.5/);
    writeFileSync(file, text.replace("hold_out = 0.5", 'mode = "shadow"'));
    const agent = cluster.daemons().find(({ name }) => name === "agent-n2");
    assert.ok(agent?.pid !== undefined);
    process.kill(agent.pid, "SIGHUP");
    await told("n2", "LENDING_SHADOW");
    await until("the lease is back", 20_000, async () =>
      (await figure("n2", "sublet_leased_cores")) === 0 ? true : undefined,
    );
    await scoresItself("n2");
    await assert.rejects(hold(cluster, alice, "n1", ""));
  } finally {
    await held?.letGo();
  }
});
