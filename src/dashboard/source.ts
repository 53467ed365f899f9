/** What the dashboard needs of its controller, or of whoever plays one. Sizes are bytes, times unix ms. */
import type {
  AccountRow,
  AdminOutcome,
  AdminRequest,
  LeaseRow,
  NodeDetail,
  Notice,
  ReclaimRow,
} from "./api.ts";

export type LendingWord = "none" | "on" | "shadow" | "hold-out" | "drained";

/** One kind of resource of one node, as it was told: nothing says yet that the parts fit together. */
export interface Told {
  readonly total: number;
  /** By Slurm, to jobs. */
  readonly allocated: number;
  /** By jobs; undefined: nobody measures it. */
  readonly used: number | undefined;
  readonly lent: number;
  /** Part of `lent` that jobs hold and do not use (class shared). */
  readonly lentShared: number;
  readonly spare: number;
  readonly spareShared: number;
}

export interface NodeFacts {
  readonly name: string;
  /** Slurm's word; "": Slurm does not know it. */
  readonly slurmState: string;
  readonly partitions: readonly string[];
  readonly lending: LendingWord;
  readonly cores: Told;
  readonly memoryBytes: Told;
  readonly leases: number;
}

/** What guests cost one job on one node. */
export interface ReceiptFacts {
  readonly node: string;
  readonly jobId: number;
  readonly fromMs: number;
  readonly toMs: number;
  readonly guests: number;
  readonly coreSeconds: number;
  readonly actions: number;
  /** Share of time in percent; undefined: not measured. */
  readonly cpuBesidePercent: number | undefined;
  readonly cpuAlonePercent: number | undefined;
  readonly memoryBesidePercent: number | undefined;
  readonly memoryAlonePercent: number | undefined;
}

/** Counters that only rise; one that falls began anew. */
export interface Counts {
  readonly invocations: number;
  readonly leasesReclaimed: number;
  readonly guard: {
    readonly throttle: number;
    readonly freeze: number;
    readonly shrink: number;
    readonly evict: number;
  };
}

export interface Principal {
  readonly uid: number;
  readonly gid: number;
}

export interface DashboardSource {
  readonly cluster: string;
  readonly version: string;
  eachNode(visit: (node: NodeFacts) => void): void;
  /** By id, with something that is another object whenever the lease was told anew. */
  eachLease(visit: (id: string, token: object) => void): void;
  leaseRow(token: object): LeaseRow;
  /** undefined: nobody knows it. */
  node(name: string): NodeDetail | undefined;
  leasesByKind(): { readonly functions: number; readonly regions: number; readonly draining: number };
  counts(): Counts;
  /** Newest last; bounded. */
  reclaims(): readonly ReclaimRow[];
  receipts(): Iterable<ReceiptFacts>;
  snapshot(): { readonly valid: boolean; readonly ageMs: number };
  notices(): Notice[];
  accounts(fromMs: number, toMs: number): Promise<AccountRow[]>;
  /** Where the site's day began. */
  dayStartMs(nowMs: number): number;
  userName(uid: number): string;
  /** Who made the credential. Throws a SubletError when it is not good for a login here. */
  identify(credential: string): Promise<Principal>;
  isAdmin(principal: Principal): boolean;
  /** Throws a SubletError. */
  administer(
    verb: "drain" | "resume" | "reclaim",
    request: AdminRequest,
    principal: Principal,
    signal: AbortSignal,
  ): Promise<AdminOutcome[]>;
}
