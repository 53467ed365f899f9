/**
 * Regions that outlive their node, with real agents: jobs take the node of an evacuated region, again and again; executors
 * of a mirrored one are killed, and one of its nodes falls silent. The job that owns them knows every put that was acknowledged, and misses none.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type JobEvent, parseEvents } from "../../deploy/testbed/main-job/figures.ts";
import { until } from "../../deploy/testbed/shell.ts";
import {
  guestCgroups,
  killGuests,
  metric,
  nothingLeft,
  pidsIn,
  theBed,
  useCluster,
  visit,
} from "../faults/harness.ts";

const moves = 4;
const mib = 32;

useCluster({ agentSettings: { reclaim: { budget_ms: 1500 } } });

/** Jobs of the test before are gone for Slurm, for the controller, and for the agents. */
async function allLend(): Promise<void> {
  const { cluster } = theBed();
  await until("all nodes lend", 60_000, async () => {
    for (const { name } of cluster.layout.nodes)
      if ((await metric(`agent-${name}`, "sublet_spare_memory_bytes")) === 0) return undefined;
    return (await metric("controller", "sublet_cluster_cores", 'state="jobs"')) === 0 ? true : undefined;
  });
}

/** Submits the job on a node. */
async function start(durability: string, node: string, exclude: string, changes = moves): Promise<number> {
  const { cluster, base } = theBed();
  await allLend();
  const argv = [`${base}/bin/durable-job`, durability, mib, changes, exclude].filter((word) => word !== "");
  const args = [`--nodelist=${node}`, "--ntasks=1", "--mem=1024"];
  return await cluster.sbatch({ args, script: `#!/bin/bash\nexec ${argv.join(" ")}\n` });
}

/** Where the region is, once it has moved so often and all its copies are there. */
async function place(jobId: number, least: number, copies: number): Promise<JobEvent> {
  return await until(`job ${jobId} has moved ${least} times`, 60_000, async () => {
    const text = await theBed().cluster.outputOf(jobId);
    const failed = parseEvents(text).find(({ event }) => event === "failed");
    if (failed !== undefined) assert.fail(text.slice(-1500));
    const last = parseEvents(text).findLast(({ event }) => event === "place");
    return last !== undefined && Number(last.moves) >= least && last.copies === copies ? last : undefined;
  });
}

async function ended(jobId: number, expected = moves): Promise<void> {
  const { cluster } = theBed();
  const job = await cluster.waitJob(jobId, 60_000);
  const text = await cluster.outputOf(jobId);
  assert.equal(job.state, "COMPLETED", text.slice(-1500));
  const end = parseEvents(text).find(({ event }) => event === "end");
  assert.equal(end?.wrong, 0, "every acknowledged put is there");
  assert.ok(Number(end?.puts) > 0);
  assert.equal(end?.moves, expected);
  await nothingLeft();
}

test("an evacuated region leaves each node that a job takes, and no acknowledged put is lost", async () => {
  const job = await start("evacuated", "n3", "n3");
  for (let round = 0; round < moves; round++) {
    const { node } = await place(job, round, 1);
    await visit(String(node));
  }
  await ended(job);
});

test("a mirrored region survives kill -9 of either copy, and is whole again", async () => {
  const job = await start("mirrored", "n3", "");
  const nodes = theBed().cluster.layout.nodes.map(({ name }) => name);
  // Of a copy that was killed the cgroup may still be there.
  const copies = (node: string): string[] =>
    guestCgroups(node).filter((name) => !name.startsWith("lease_pool-") && pidsIn(node, name).length > 0);
  const holders = (): string[] => nodes.filter((node) => copies(node).length > 0);
  for (let round = 0; round < moves; round++) {
    await place(job, round, 2);
    const victim = holders()[round % 2];
    assert.ok(victim !== undefined, "nobody holds a copy");
    killGuests(victim);
  }
  await ended(job);
});

test("a node of a mirrored region falls silent: puts go on with the other copy, and come back to two", async () => {
  const { cluster } = theBed();
  const job = await start("mirrored", "n3", "n3", 1);
  await place(job, 0, 2);
  await cluster.cutNetwork("n2");
  let silent: JobEvent;
  try {
    // No connection ends: the lease's term (6 s) or the session's timeout (10 s) does it.
    silent = await place(job, 0, 1);
  } finally {
    await cluster.restoreNetwork("n2");
  }
  const whole = await place(job, 1, 2);
  assert.ok(Number(whole.puts) > Number(silent.puts), "puts went on meanwhile");
  await ended(job, 1);
});
