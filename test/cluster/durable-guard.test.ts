/**
 * Durable regions beside jobs that suffer, on a real Slurm: wherever the region is the guard wants it gone, again and again.
 * The job that owns it knows every put that was acknowledged, and misses none.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { until } from "../../deploy/testbed/shell.ts";
import { metric, theBed, useCluster } from "../faults/harness.ts";
import { allLend, ended, start } from "./durable-job.ts";

const moves = 5;
const dir = mkdtempSync(join(tmpdir(), "sublet-durable-guard-"));
const policyFile = join(dir, "guard.toml");
after(() => rmSync(dir, { recursive: true }));
writeFileSync(
  policyFile,
  `cpu_priority = "fair"
interval_ms = 200
escalate_ms = 500
cost_max_percent = 5
[throttle]
quota_percent = [ 50 ]
[evict]
closed_ms = 0
[job_refaults]
use = false
[node_memory_pressure]
use = false
[node_memory_headroom]
use = false
`,
);

useCluster({ agentSettings: { reclaim: { budget_ms: 5000 }, guard: { policy_file: policyFile } } });

/** A job that has all cores of its node, and two tasks on one of them: they wait for each other, whatever else runs. */
async function sufferer(node: string): Promise<number> {
  const { cluster } = theBed();
  const cores = cluster.node(node).cpus;
  const spin = `taskset -c ${cores[0]} sh -c 'while :; do :; done' &`;
  const args = [`--nodelist=${node}`, `--ntasks=${cores.length}`, "--mem=256"];
  const id = await cluster.sbatch({ args, script: `${spin}\n${spin}\nwait\n` });
  await until(`the job on ${node} runs, and its memory left over is lent`, 30_000, async () =>
    (await metric(`agent-${node}`, "sublet_cores", 'state="jobs"')) > 0 &&
    (await metric(`agent-${node}`, "sublet_spare_memory_bytes")) > 0
      ? true
      : undefined,
  );
  return id;
}

/** Steps of the guards beside the jobs. */
async function steps(action: string): Promise<number> {
  let sum = 0;
  for (const node of ["n1", "n2"])
    sum += await metric(`agent-${node}`, "sublet_guard_actions_total", `action="${action}"`);
  return sum;
}

for (const [durability, exclude] of [
  ["evacuated", "n3"],
  ["mirrored", ""],
] as const)
  test(`${durability}: the region moves on each time that the guard wants it gone, and no acknowledged put is lost`, async () => {
    await allLend();
    const before = await steps("shrink");
    const jobs = [await sufferer("n1"), await sufferer("n2")];
    const end = await ended(await start(durability, "n3", exclude, moves));
    assert.ok(Number(end.moves) >= moves);
    assert.ok((await steps("shrink")) - before >= moves, `${(await steps("shrink")) - before} times`);
    assert.equal(await steps("freeze"), 0);
    for (const id of jobs) await theBed().cluster.run(["scancel", String(id)]);
  });
