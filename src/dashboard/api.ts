/**
 * What the dashboard's pages and the controller say to each other: JSON over HTTP, below /api/v1, read by the page
 * and by scripts. Sizes are bytes, times unix ms, spans ms; names carry the unit. Fields are added, never changed.
 *
 *   GET  summary                       Summary
 *   GET  nodes                         NodeTable (all nodes, by columns: 10,000 nodes stay small and fast to read)
 *   GET  nodes/NAME                    NodeDetail
 *   GET  leases                        LeaseRow[] (live ones, newest first; ?node= ?user= ?limit=)
 *   GET  history?from=&to=&points=     History (at most 2,000 points)
 *   GET  gain?from=&to=                Gain
 *   GET  reclaims?from=&to=            Reclaims
 *   GET  accounts?from=&to=            AccountRow[] (of the accounting; [] without it)
 *   GET  events?topics=a,b             server-sent events: `summary` (Summary), `nodes` (NodeChanges), `leases` (LeaseChanges);
 *                                      topics: only these, all without it. At least one event every 15 s.
 *   GET  whoami                        Session
 *   POST login                         body LoginRequest: a MUNGE credential buys a session cookie
 *   POST logout
 *   POST drain, resume, reclaim        body AdminRequest, for admins; answers AdminOutcome[]
 *
 * Everything that is read needs no login. Errors are ApiError with a fitting status.
 */

/** What becomes of one kind of resource at one moment; the parts add up to `total`. Cores, or bytes. */
export interface Shares {
  total: number;
  /** Allocated by Slurm to jobs, and used by them. */
  used: number;
  /** Allocated to jobs that do not use it. */
  heldUnused: number;
  /** Held by leases. */
  lent: number;
  /** Offered, and nobody wants it. */
  spare: number;
  /** Neither allocated nor offered: reserved, drained, down, held out, or without an agent. */
  closed: number;
}

export interface Summary {
  atMs: number;
  cluster: string;
  version: string;
  cores: Shares;
  memoryBytes: Shares;
  nodes: {
    total: number;
    reporting: number;
    lending: number;
    drained: number;
    shadow: number;
    holdOut: number;
  };
  leases: { functions: number; regions: number; draining: number };
  /** Since the controller began; rates are of the last minute. */
  invocations: { total: number; perSecond: number };
  reclaim: { total: number; p50Ms: number | null; p99Ms: number | null };
  guardActions: { throttle: number; freeze: number; shrink: number; evict: number };
  /** Of today, which began at the site's midnight, and of the last 30 days. */
  gain: { today: Gain; month: Gain };
  /** Where the site's days begin: Europe/Zurich. */
  timeZone: string;
  /** The site's Prometheus is asked for what is older than the controller's own history. */
  longHistory: boolean;
  snapshot: { valid: boolean; ageMs: number };
  /** What a person should know now, worst first. */
  notices: Notice[];
}

export interface Notice {
  level: "info" | "warn" | "error";
  text: string;
  /** Page of the docs about it, or "". */
  doc: string;
}

/** One array per column, all as long as `names`; sorted as a person counts (n2 before n10). */
export interface NodeTable {
  atMs: number;
  revision: number;
  names: string[];
  /** Slurm's word, by index into `slurmStates`. */
  slurmState: number[];
  slurmStates: string[];
  /** Index into `lendings`. */
  lending: number[];
  lendings: ("none" | "on" | "shadow" | "hold-out" | "drained")[];
  /** Partitions of each node, by index. */
  partitions: number[][];
  partitionNames: string[];
  cores: number[];
  coresAllocated: number[];
  coresLent: number[];
  coresSpare: number[];
  memoryMib: number[];
  memoryAllocatedMib: number[];
  memoryLentMib: number[];
  memorySpareMib: number[];
  leases: number[];
}

/**
 * Rows of NodeTable that changed since `fromRevision`; `table` in its place when that is too long ago. Who has an older
 * revision than `fromRevision` reads the table anew.
 */
export interface NodeChanges {
  atMs: number;
  fromRevision: number;
  revision: number;
  table?: NodeTable;
  rows?: { index: number; slurmState: string; lending: string; values: number[] }[];
}

/** Order of `values` in NodeChanges. */
export const nodeValues = [
  "cores",
  "coresAllocated",
  "coresLent",
  "coresSpare",
  "memoryMib",
  "memoryAllocatedMib",
  "memoryLentMib",
  "memorySpareMib",
  "leases",
] as const;

export type CoreUse = "job" | "guest" | "spare" | "reserved" | "unknown";

export interface NodeDetail {
  atMs: number;
  node: string;
  slurmState: string;
  partitions: string[];
  lending: string;
  offerAgeMs: number | null;
  horizonMs: number | null;
  /** One per core, in Linux's numbers. */
  cores: { id: number; use: CoreUse; leaseId?: string }[];
  memoryBytes: { total: number; allocated: number; usedByJobs: number; lent: number; spare: number };
  leases: LeaseRow[];
  reclaims: ReclaimRow[];
  receipts: {
    jobId: number;
    fromMs: number;
    toMs: number;
    guests: number;
    coreSeconds: number;
    actions: number;
  }[];
}

export interface LeaseRow {
  id: string;
  kind: "function" | "region";
  state: string;
  reason: string;
  node: string;
  class: string;
  cores: number;
  memoryBytes: number;
  uid: number;
  user: string;
  account: string;
  jobId: number;
  fromNode: string;
  grantedAtMs: number;
  remainingMs: number;
  invocations: number;
}

export interface LeaseChanges {
  atMs: number;
  /** Begun or changed. */
  live: LeaseRow[];
  ended: LeaseRow[];
  /** The reader was too slow: some changes were not sent, so leases have to be read anew. */
  missed?: boolean;
}

/** Points of equal distance; each array as long as `atMs`; null where nothing was recorded. */
export interface History {
  fromMs: number;
  toMs: number;
  stepMs: number;
  atMs: number[];
  cores: Record<keyof Shares, (number | null)[]>;
  memoryBytes: Record<keyof Shares, (number | null)[]>;
  invocationsPerSecond: (number | null)[];
  reclaimsPerHour: (number | null)[];
  guardActionsPerHour: (number | null)[];
  /** Where the span begins before the controller's own history: what is before `toMs` comes from the site's Prometheus. */
  before?: {
    toMs: number;
    /** Why some of it is missing, in words; null: nothing is. */
    trouble: string | null;
  };
}

/** How batch jobs waited on the nodes of one kind. */
export interface WaitingSide {
  /** Of their core-time; null: none was watched. */
  waitedPercent: number | null;
  /** With jobs that were watched, at a time. */
  nodes: number;
  jobCoreHours: number;
}

/** Lending less held out, in percent of the core-time of jobs, and its 95 % confidence interval; null: too little data. */
export interface WaitingComparison {
  lending: WaitingSide;
  heldOut: WaitingSide;
  differencePercent: number | null;
  lowPercent: number | null;
  highPercent: number | null;
}

/**
 * What was won. Slurm alone = what jobs had allocated. Perfect packing = all that was idle or unallocated, had Slurm
 * filled every hole at once: no scheduler can have more without sharing, so `beyondPacking` is what was lent out of
 * capacity that jobs hold and do not use.
 */
export interface Gain {
  fromMs: number;
  toMs: number;
  /** Share of the span that was watched, 0 to 1. */
  covered: number;
  coreHours: {
    total: number;
    slurmAlone: number;
    lent: number;
    beyondPacking: number;
    perfectPacking: number;
  };
  gibHours: {
    total: number;
    slurmAlone: number;
    lent: number;
    beyondPacking: number;
    perfectPacking: number;
  };
  /** lent in money; null when the site said no prices. */
  money: { value: number; currency: string } | null;
  /** What the jobs paid. */
  cost: {
    guardActions: number;
    leasesReclaimed: number;
    /** Waiting of jobs beside guests less waiting alone, in percent of time; null = not measured. */
    cpuPressurePercent: number | null;
    memoryPressurePercent: number | null;
    /** That of holdOut.cpu. */
    holdOutDifferencePercent: number | null;
    holdOut: { cpu: WaitingComparison; memory: WaitingComparison };
    receipts: number;
  };
}

export interface ReclaimRow {
  atMs: number;
  node: string;
  /** Announced until verified gone. */
  durationMs: number;
  leases: number;
  cause: string;
}

export interface Reclaims {
  fromMs: number;
  toMs: number;
  count: number;
  p50Ms: number | null;
  p99Ms: number | null;
  maxMs: number | null;
  /** Upper ends of the bins, the last is open; counts has one more. */
  edgesMs: number[];
  counts: number[];
  latest: ReclaimRow[];
}

export interface AccountRow {
  account: string;
  user: string;
  leases: number;
  coreSeconds: number;
  byteSeconds: number;
  invocations: number;
  /** Core-seconds per day that the account may use; null = unlimited. */
  quotaCoreSeconds: number | null;
  usedTodayCoreSeconds: number;
}

export interface Session {
  /** null: not logged in. */
  user: string | null;
  admin: boolean;
  /** Why nobody can log in by the way that the reader came: "over a network without TLS". */
  noLogin?: string;
}

export interface LoginRequest {
  credential: string;
}

export interface AdminRequest {
  nodes?: string[];
  partitions?: string[];
  all?: boolean;
  leaseIds?: string[];
  graceful?: boolean;
  budgetMs?: number;
  reason: string;
}

export interface AdminOutcome {
  node: string;
  ok: boolean;
  message: string;
  leasesEnded: number;
  leasesLeft: number;
}

export interface ApiError {
  error: string;
  /** What to do about it. */
  hint: string;
}
