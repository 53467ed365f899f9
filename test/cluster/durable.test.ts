/**
 * Regions that outlive their node, with real agents: jobs take the node of an evacuated region, again and again; executors
 * of a mirrored one are killed, and one of its nodes falls silent. The job that owns them knows every put that was acknowledged, and misses none.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { JobEvent } from "../../deploy/testbed/main-job/figures.ts";
import {
  guestCgroups,
  killGuests,
  nothingLeft,
  pidsIn,
  theBed,
  useCluster,
  visit,
} from "../faults/harness.ts";
import { allLend, ended, place, start } from "./durable-job.ts";

const moves = 4;

useCluster({ agentSettings: { reclaim: { budget_ms: 1500 } } });

/** Submits the job when all that came before is over. */
async function begin(durability: string, exclude: string, changes = moves): Promise<number> {
  await allLend();
  return await start(durability, "n3", exclude, changes);
}

async function moved(jobId: number, expected = moves): Promise<void> {
  assert.equal((await ended(jobId)).moves, expected);
  await nothingLeft();
}

test("an evacuated region leaves each node that a job takes, and no acknowledged put is lost", async () => {
  const job = await begin("evacuated", "n3");
  for (let round = 0; round < moves; round++) {
    const { node } = await place(job, round, 1);
    await visit(String(node));
  }
  await moved(job);
});

test("a mirrored region survives kill -9 of either copy, and is whole again", async () => {
  const job = await begin("mirrored", "");
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
  await moved(job);
});

test("a node of a mirrored region falls silent: puts go on with the other copy, and come back to two", async () => {
  const { cluster } = theBed();
  const job = await begin("mirrored", "n3", 1);
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
  await moved(job, 1);
});
