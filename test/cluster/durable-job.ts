/** The job that owns a durable region and knows every put that was acknowledged (functions/examples/jobs/durable_job.c). */
import assert from "node:assert/strict";
import { type JobEvent, parseEvents } from "../../deploy/testbed/main-job/figures.ts";
import { until } from "../../deploy/testbed/shell.ts";
import { metric, theBed } from "../faults/harness.ts";

const mib = 32;

/** Jobs of the test before are gone for Slurm, for the controller, and for the agents. */
export async function allLend(): Promise<void> {
  const { cluster } = theBed();
  await until("all nodes lend", 60_000, async () => {
    for (const { name } of cluster.layout.nodes)
      if ((await metric(`agent-${name}`, "sublet_spare_memory_bytes")) === 0) return undefined;
    return (await metric("controller", "sublet_cluster_cores", 'state="jobs"')) === 0 ? true : undefined;
  });
}

/** Submits the job on a node; it ends when the region has moved so often. */
export async function start(
  durability: string,
  node: string,
  exclude: string,
  moves: number,
): Promise<number> {
  const { cluster, base } = theBed();
  const argv = [`${base}/bin/durable-job`, durability, mib, moves, exclude].filter((word) => word !== "");
  const args = [`--nodelist=${node}`, "--ntasks=1", "--mem=1024"];
  return await cluster.sbatch({ args, script: `#!/bin/bash\nexec ${argv.join(" ")}\n` });
}

/** Where the region is, once it has moved so often and all its copies are there. */
export async function place(jobId: number, least: number, copies: number): Promise<JobEvent> {
  return await until(`job ${jobId} has moved ${least} times`, 60_000, async () => {
    const text = await theBed().cluster.outputOf(jobId);
    const failed = parseEvents(text).find(({ event }) => event === "failed");
    if (failed !== undefined) assert.fail(text.slice(-1500));
    const last = parseEvents(text).findLast(({ event }) => event === "place");
    return last !== undefined && Number(last.moves) >= least && last.copies === copies ? last : undefined;
  });
}

/** The job's last words: it ended well, and nothing was lost. */
export async function ended(jobId: number): Promise<JobEvent> {
  const { cluster } = theBed();
  const job = await cluster.waitJob(jobId, 150_000); // it gives up after 120 s
  const text = await cluster.outputOf(jobId);
  assert.equal(job.state, "COMPLETED", text.slice(-1500));
  const end = parseEvents(text).find(({ event }) => event === "end");
  assert.ok(end !== undefined);
  assert.equal(end.wrong, 0, "every acknowledged put is there");
  assert.ok(Number(end.puts) > 0);
  return end;
}
