/**
 * What a node may lend now. Pure: facts in, spare capacity out.
 *
 *   cores  = inventory - reserve - cores of jobs - cores of live leases
 *   memory = min(inventory - reserve - limits of jobs - leases, what the kernel says is available - margin)
 *   shared = cores and memory that jobs hold, do not use (shared.ts), and allow to be lent
 *
 * Each class is an entry of its own, and no byte or core is in two. A lease of class shared may take memory that is not
 * shared, too; never the other way round, so that a job that wakes up is in the way of shared leases only.
 *
 * Whom a job's owner wants beside him is his and the site's say:
 *
 *   consent   exclusive   what is lent on its node
 *   no        any         nothing
 *   unsaid    yes         nothing
 *   unsaid    no          what Slurm left over, where the site lends that beside jobs that were not asked
 *   share     any         the same, and what the job does not use
 *
 * In doubt it lends nothing: while a job was announced (prolog) and its cgroup is not there yet, and while the node
 * is closed.
 */
import type { CapacityClass, Consent, Spare } from "../common/nouns.ts";
import { apartFrom, type Siblings } from "./siblings.ts";

export interface NodeInventory {
  readonly cores: readonly number[];
  readonly memoryBytes: number;
  /** Groups of cores that are threads of one; a job or a reserve that has one of a group has all. */
  readonly siblings?: Siblings;
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
  /** By the word of its owner or of the site; undefined: nobody said anything about this job. */
  readonly consent: Consent | undefined;
  /** Of its cores and its memory: what it does not use. */
  readonly unusedCores: readonly number[];
  readonly unusedBytes: number;
}

/** What becomes of the rest of a node beside a job of which nobody said anything: lent, or not without being asked. */
export type UnallocatedRule = "lend" | "ask";

export interface LentOnNode {
  readonly class: CapacityClass;
  readonly cores: readonly number[];
  readonly memoryBytes: number;
}

export interface NodeFacts {
  readonly inventory: NodeInventory;
  readonly reserve: Reserve;
  readonly jobs: readonly JobOnNode[];
  /** Jobs that a prolog announced and whose cgroup has not been seen yet. */
  readonly announcedJobs: readonly number[];
  readonly leases: readonly LentOnNode[];
  /** MemAvailable of the kernel, with what leases were promised but did not touch already subtracted. */
  readonly memoryAvailableBytes: number;
  readonly closed: boolean;
  readonly unallocated: UnallocatedRule;
}

/** Nobody may be this job's neighbour. */
export function refusesNeighbours(
  job: Pick<JobOnNode, "consent" | "exclusive">,
  unallocated: UnallocatedRule,
): boolean {
  if (job.consent !== undefined) return job.consent === "no";
  return job.exclusive || unallocated === "ask";
}

/** Cores of jobs that every job on them, and on their siblings, lends. */
export function sharedCores(jobs: readonly JobOnNode[], siblings: Siblings = []): readonly number[] {
  const shared = new Set<number>();
  for (const job of jobs)
    if (job.consent === "share")
      for (const core of job.unusedCores) if (job.cores.includes(core)) shared.add(core);
  for (const job of jobs)
    for (const core of job.cores)
      if (job.consent !== "share" || !job.unusedCores.includes(core)) shared.delete(core);
  const kept = jobs.flatMap((job) => job.cores.filter((core) => !shared.has(core)));
  return apartFrom([...shared], kept, siblings).toSorted((a, b) => a - b);
}

/** Bytes that are promised to nobody; `total` with what jobs lend, `own` without. Negative: too much is lent. */
export function unpromisedBytes(facts: Pick<NodeFacts, "inventory" | "reserve" | "jobs" | "leases">): {
  own: number;
  total: number;
} {
  const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);
  const lent = (shared: boolean): number =>
    sum(facts.leases.filter((each) => (each.class === "shared") === shared).map((each) => each.memoryBytes));
  const limits = sum(facts.jobs.map((job) => job.memoryLimitBytes ?? Number.POSITIVE_INFINITY));
  const own = facts.inventory.memoryBytes - facts.reserve.memoryBytes - limits - lent(false);
  const unused = sum(facts.jobs.map((job) => (job.consent === "share" ? job.unusedBytes : 0)));
  return { own, total: own + unused - lent(true) };
}

/** Spare capacity, the most lasting class first; the empty list when nothing may be lent. */
export function spareCapacity(facts: NodeFacts): readonly Spare[] {
  if (facts.closed || facts.announcedJobs.length > 0) return [];
  if (facts.jobs.some((job) => refusesNeighbours(job, facts.unallocated))) return [];
  const siblings = facts.inventory.siblings ?? [];
  const held = facts.jobs.flatMap((job) => job.cores);
  const leased = new Set(facts.leases.flatMap((lease) => lease.cores));
  const free = apartFrom(facts.inventory.cores, facts.reserve.cores, siblings).filter(
    (core) => !leased.has(core),
  );
  const shared = sharedCores(facts.jobs, siblings);
  const { own, total } = unpromisedBytes(facts);
  const available = Math.max(0, Math.min(total, facts.memoryAvailableBytes - facts.reserve.memoryBytes));
  const ownBytes = Math.floor(Math.max(0, Math.min(own, available)));
  const spare: Spare[] = [
    {
      class: facts.jobs.length === 0 ? "idle" : "unallocated",
      cores: apartFrom(free, held, siblings),
      memoryBytes: ownBytes,
    },
    {
      class: "shared",
      cores: free.filter((core) => shared.includes(core)),
      memoryBytes: Math.floor(available - ownBytes),
    },
  ];
  return spare.filter((each) => each.cores.length > 0 || each.memoryBytes > 0);
}
