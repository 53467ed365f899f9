/** The glossary as types. Bytes and milliseconds; cores are Linux core numbers, ascending. */

export type CapacityClass = "idle" | "unallocated" | "shared";

/** What becomes of a region whose memory is wanted back: gone; moved by its client; held by another node, too. */
export type Durability = "ephemeral" | "evacuated" | "mirrored";

export type LeaseKind = "function" | "region";

export type LeaseState = "REQUESTED" | "GRANTED" | "ACTIVE" | "DRAINING" | "RELEASED" | "EXPIRED" | "REVOKED";

/** Why a lease ended. */
export type EndReason =
  | "released"
  | "term_ended"
  | "batch_job"
  | "admin"
  | "executor_lost"
  | "agent_restart"
  | "start_failed"
  | "guard";

/** Why a request was refused. */
export type RefusalReason = "no_cores" | "no_memory" | "closed" | "quota";

/** What a job's owner said about sharing what the job holds and does not use. */
export type Consent = "share" | "no";

/** What Slurm's hooks say of a job besides its resources. An empty name was not said. */
export interface JobFacts {
  readonly uid: number;
  /** The job's own word; undefined: none, the site's default counts. */
  readonly consent: Consent | undefined;
  readonly partition: string;
  readonly account: string;
  readonly qos: string;
}

/** What Slurm itself says of a job that runs. */
export interface SlurmJobFacts {
  readonly jobId: number;
  readonly uid: number;
  readonly partition: string;
  readonly account: string;
  readonly qos: string;
  /** It holds its nodes for itself, its user or its group. */
  readonly exclusive: boolean;
}

/** Spare capacity of one node: what may be lent now, beyond what is lent already. */
export interface Spare {
  readonly class: CapacityClass;
  readonly cores: readonly number[];
  readonly memoryBytes: number;
}

/** Memory that a lease of this entry's class may take: one of class shared also what the other entries have. */
export function spareBytesFor(spare: Spare, all: readonly Spare[]): number {
  if (spare.class !== "shared") return spare.memoryBytes;
  return all.reduce((sum, each) => sum + each.memoryBytes, 0);
}

/** Who holds a lease, as the kernel or a verified credential said. */
export interface Principal {
  readonly uid: number;
  readonly gid: number;
  readonly jobId: number;
  readonly node: string;
}

export interface LeaseRequest {
  readonly kind: LeaseKind;
  readonly cores: number;
  /** Fewer cores than asked are taken, down to this. */
  readonly minCores: number;
  readonly memoryBytes: number;
  readonly termMs: number;
  /** Of a region; absent: ephemeral. */
  readonly durability?: Durability;
  /** Absent: no job of Slurm's is known. */
  readonly billing?: Billing;
}

/** Whose Slurm account a lease is counted to. Empty: none. */
export interface Billing {
  readonly account: string;
  readonly partition: string;
}

export interface Lease {
  readonly id: string;
  readonly kind: LeaseKind;
  readonly state: LeaseState;
  /** Why it ended, or why it is being taken back (DRAINING). */
  readonly reason: EndReason | undefined;
  readonly class: CapacityClass;
  readonly cores: readonly number[];
  readonly memoryBytes: number;
  readonly owner: Principal;
  readonly termMs: number;
  /** On the monotonic clock of the agent that owns the lease. Of a DRAINING one: the end of its budget. */
  readonly expiresAtMs: number;
  /** Of a region; absent: ephemeral. */
  readonly durability?: Durability;
  readonly billing?: Billing;
}

/** A region whose content is to outlive its memory. It never takes class shared: a job that wakes waits for no move. */
export function isDurable({ kind, durability }: Pick<Lease, "kind" | "durability">): boolean {
  return kind === "region" && (durability === "evacuated" || durability === "mirrored");
}

/** Why a durable region is refused where there is memory for others. */
export const onlySharedText = "only memory of class shared, which takes no evacuated or mirrored region";

/** What was held by one lease in one span of time: see UsageRecord in types.proto. */
export interface UsageRecord {
  readonly leaseId: string;
  readonly slice: number;
  readonly node: string;
  readonly uid: number;
  readonly account: string;
  readonly jobId: number;
  readonly partition: string;
  readonly class: CapacityClass;
  readonly kind: LeaseKind;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly coreSeconds: number;
  readonly byteSeconds: number;
  readonly invocations: number;
  /** ACTIVE: more will follow. */
  readonly state: LeaseState;
  readonly reason: EndReason | undefined;
  readonly beginUnixMs: number;
  readonly endUnixMs: number;
}

/** The record's key: unique for ever. */
export function usageKey({ leaseId, slice }: Pick<UsageRecord, "leaseId" | "slice">): string {
  return `${leaseId}/${slice}`;
}
