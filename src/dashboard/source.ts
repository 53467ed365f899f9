/** What the dashboard wants to know of the cluster, and of whom it asks it: the controller, or a simulation. */
import type { AccountRow, AdminOutcome, AdminRequest, LeaseRow, NodeDetail, Notice } from "./api.ts";
import { comparedNames, type GroupName } from "./comparison.ts";

export type NodeLending = "none" | "on" | "shadow" | "hold-out" | "drained";

/** One resource of one node: cores, or bytes. */
export interface Amounts {
  readonly total: number;
  /** By Slurm, to jobs. */
  readonly allocated: number;
  /** Of that, by jobs as their node's agent sees it; `allocated` where no agent says. */
  readonly used: number;
  readonly lent: number;
  /** Of what is lent, what jobs hold and do not use. */
  readonly lentShared: number;
  readonly spare: number;
  readonly spareShared: number;
}

export interface NodeFacts {
  readonly name: string;
  readonly slurmState: string;
  readonly partitions: readonly string[];
  readonly lending: NodeLending;
  /** Its agent reports. */
  readonly reporting: boolean;
  /** Slurm may start jobs on it: neither down nor drained. */
  readonly usable: boolean;
  readonly cores: Amounts;
  readonly memoryBytes: Amounts;
  readonly leases: number;
}

/** Counted since the controller began; they never fall. */
export interface Totals {
  readonly invocations: number;
  /** Jobs for which something was taken back, and leases taken. */
  readonly reclaims: number;
  readonly leasesReclaimed: number;
  readonly throttle: number;
  readonly freeze: number;
  readonly shrink: number;
  readonly evict: number;
  readonly receipts: number;
  /** Of jobs, from their receipts: time alone and beside guests that was watched, and waiting within it. */
  readonly aloneMs: number;
  readonly aloneCpuUs: number;
  readonly aloneMemoryMs: number;
  readonly aloneMemoryUs: number;
  readonly besideMs: number;
  readonly besideCpuUs: number;
  readonly besideMemoryMs: number;
  readonly besideMemoryUs: number;
  /** Times of all nodes that lend, and of all held out, in which some job of theirs was watched. */
  readonly lendingNodeMs: number;
  readonly holdOutNodeMs: number;
  /** Core-time of jobs that was watched, and waited, by groups of nodes; see comparison.ts. */
  readonly [name: GroupName]: number;
}

export const totalNames = [
  "invocations",
  "reclaims",
  "leasesReclaimed",
  "throttle",
  "freeze",
  "shrink",
  "evict",
  "receipts",
  "aloneMs",
  "aloneCpuUs",
  "aloneMemoryMs",
  "aloneMemoryUs",
  "besideMs",
  "besideCpuUs",
  "besideMemoryMs",
  "besideMemoryUs",
] as const satisfies readonly (keyof Totals)[];

export const noTotals: Totals = Object.fromEntries(
  [...totalNames, ...comparedNames].map((name) => [name, 0]),
) as unknown as Totals;

export interface ClusterFacts {
  readonly nodes: readonly NodeFacts[];
  readonly leases: { readonly functions: number; readonly regions: number; readonly draining: number };
  readonly totals: Totals;
  readonly snapshot: { readonly valid: boolean; readonly ageMs: number };
  readonly notices: readonly Notice[];
}

export interface Person {
  readonly uid: number;
  readonly gid: number;
  readonly user: string;
  readonly admin: boolean;
}

export interface DashboardSource {
  facts(): ClusterFacts;
  /** Live ones, newest first. */
  leases(): LeaseRow[];
  node(name: string): Omit<NodeDetail, "reclaims"> | undefined;
  accounts(fromMs: number, toMs: number): Promise<AccountRow[]>;
  /** Who made the credential. @throws SubletError UNAUTHENTICATED. */
  identify(credential: string): Promise<Person>;
  /** @throws SubletError, also when that person may not. */
  administer(
    what: "drain" | "resume" | "reclaim",
    request: AdminRequest,
    person: Person,
  ): Promise<AdminOutcome[]>;
}
