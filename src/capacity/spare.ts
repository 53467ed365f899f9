/**
 * What a node may lend now. Pure: facts in, spare capacity out.
 *
 *   cores  = inventory - reserve - cores of jobs - cores of live leases
 *   memory = min(inventory - reserve - limits of jobs - leases, what the kernel says is available - margin)
 *
 * In doubt it lends nothing: while a job was announced (prolog) and its cgroup is not there yet, while the node
 * is closed, and beside a job that holds its node exclusively.
 */
import type { CapacityClass, Spare } from "../common/nouns.ts";

export interface NodeInventory {
  readonly cores: readonly number[];
  readonly memoryBytes: number;
}

/** Never lent: what the site, Slurm's CoreSpec and MemSpecLimit, and our own margin keep. */
export interface Reserve {
  readonly cores: readonly number[];
  readonly memoryBytes: number;
}

/** A batch job as its cgroup shows it on this node. */
export interface JobOnNode {
  readonly jobId: number;
  readonly cores: readonly number[];
  /** The job's limit; undefined when Slurm does not constrain memory. */
  readonly memoryLimitBytes: number | undefined;
  readonly memoryUsedBytes: number;
  readonly exclusive: boolean;
}

export interface NodeFacts {
  readonly inventory: NodeInventory;
  readonly reserve: Reserve;
  readonly jobs: readonly JobOnNode[];
  /** Jobs that a prolog announced and whose cgroup has not been seen yet. */
  readonly announcedJobs: readonly number[];
  readonly leases: readonly { readonly cores: readonly number[]; readonly memoryBytes: number }[];
  /** MemAvailable of the kernel, with what leases were promised but did not touch already subtracted. */
  readonly memoryAvailableBytes: number;
  readonly closed: boolean;
}

/** Spare capacity, at most one class per node and moment; the empty list when nothing may be lent. */
export function spareCapacity(facts: NodeFacts): readonly Spare[] {
  if (facts.closed || facts.announcedJobs.length > 0) return [];
  if (facts.jobs.some((job) => job.exclusive)) return [];
  const busy = new Set([
    ...facts.reserve.cores,
    ...facts.jobs.flatMap((job) => job.cores),
    ...facts.leases.flatMap((lease) => lease.cores),
  ]);
  const promised = facts.leases.reduce((sum, lease) => sum + lease.memoryBytes, 0);
  const jobs = facts.jobs.reduce((sum, job) => sum + (job.memoryLimitBytes ?? Number.POSITIVE_INFINITY), 0);
  const unpromised = facts.inventory.memoryBytes - facts.reserve.memoryBytes - jobs - promised;
  const memoryBytes = Math.max(
    0,
    Math.min(unpromised, facts.memoryAvailableBytes - facts.reserve.memoryBytes),
  );
  const cores = facts.inventory.cores.filter((core) => !busy.has(core));
  if (cores.length === 0 && memoryBytes === 0) return [];
  const capacityClass: CapacityClass = facts.jobs.length === 0 ? "idle" : "unallocated";
  return [{ class: capacityClass, cores, memoryBytes: Math.floor(memoryBytes) }];
}
