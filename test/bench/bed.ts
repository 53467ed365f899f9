/** The testbed under the benchmarks: started, used, stopped. */
import { join } from "node:path";
import { type Cluster, type ClusterOptions, startCluster } from "../../deploy/testbed/cluster.ts";
import { type JobEvent, parseEvents } from "../../deploy/testbed/main-job/figures.ts";
import { type OptionsJob, optionsScript } from "../../deploy/testbed/main-job/jobs.ts";
import { stage } from "../../deploy/testbed/main-job/stage.ts";

export interface Bed {
  readonly cluster: Cluster;
  readonly base: string;
}

/** How much of a benchmark is run: all of it, or the least that shows that it runs, on a testbed that is there. */
export interface Extent {
  readonly small: boolean;
  readonly bed?: Bed;
}

export const whole: Extent = { small: false };

export async function withBed<T>(
  options: ClusterOptions,
  body: (bed: Bed) => Promise<T>,
  extent: Extent = whole,
): Promise<T> {
  if (extent.bed !== undefined) return await body(extent.bed);
  const cluster = await startCluster(options);
  try {
    const base = await stage(join(cluster.stateDir, "opt"));
    return await body({ cluster, base });
  } finally {
    await cluster.stop();
  }
}

/** Submits a script to one node. */
export async function submit(bed: Bed, node: string, script: string): Promise<number> {
  return await bed.cluster.sbatch({ args: [`--nodelist=${node}`, "--ntasks=1", "--mem=1024"], script });
}

/** Waits for a job that must succeed; its output. */
export async function outputOf(bed: Bed, id: number): Promise<string> {
  const job = await bed.cluster.waitJob(id, 300_000);
  const text = await bed.cluster.outputOf(id);
  if (job.state !== "COMPLETED") throw new Error(`job ${id} ended as ${job.state}:\n${text.slice(-1000)}`);
  return text;
}

export async function optionsJob(bed: Bed, node: string, job: OptionsJob): Promise<JobEvent[]> {
  return parseEvents(await outputOf(bed, await submit(bed, node, optionsScript(bed.base, job))));
}
