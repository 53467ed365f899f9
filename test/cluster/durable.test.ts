/**
 * Regions that outlive their node, with real agents: jobs take the node of an evacuated region, again and again; executors
 * of a mirrored one are killed. The job that owns them knows every put that was acknowledged, and misses none.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type JobEvent, parseEvents } from "../../deploy/testbed/main-job/figures.ts";
import { until } from "../../deploy/testbed/shell.ts";
import { guestCgroups, guestPids, nothingLeft, theBed, useCluster, visit } from "../faults/harness.ts";

const moves = 4;
const mib = 32;

useCluster({ agentSettings: { reclaim: { budget_ms: 1500 } } });

/** Submits the job on a node. */
async function start(durability: string, node: string, exclude: string): Promise<number> {
  const { cluster, base } = theBed();
  const argv = [`${base}/bin/durable-job`, durability, mib, moves, exclude].filter((word) => word !== "");
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

async function ended(jobId: number): Promise<void> {
  const { cluster } = theBed();
  const job = await cluster.waitJob(jobId, 60_000);
  const text = await cluster.outputOf(jobId);
  assert.equal(job.state, "COMPLETED", text.slice(-1500));
  const end = parseEvents(text).find(({ event }) => event === "end");
  assert.equal(end?.wrong, 0, "every acknowledged put is there");
  assert.ok(Number(end?.puts) > 0);
  assert.equal(end?.moves, moves);
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
  const holders = (): string[] =>
    nodes.filter((node) => guestCgroups(node).some((name) => !name.startsWith("lease_pool-")));
  for (let round = 0; round < moves; round++) {
    await place(job, round, 2);
    const victim = holders()[round % 2];
    assert.ok(victim !== undefined, "nobody holds a copy");
    for (const pid of guestPids(victim)) process.kill(pid, "SIGKILL");
  }
  await ended(job);
});
