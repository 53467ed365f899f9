/**
 * All that an agent knows, as one immutable value: the lease book, the guests behind the leases, the batch jobs, the
 * calls that wait for a guest to be gone. Only agent/reactor changes it (see react.ts).
 *
 * A guest outlives its lease: it holds cores and memory until its cgroup is verified gone, and only then may they be
 * lent again.
 */

import type { JobUse } from "../../src/capacity/shared.ts";
import type { Siblings } from "../../src/capacity/siblings.ts";
import type { JobFacts, Lease, SlurmJobFacts, Spare } from "../../src/common/nouns.ts";
import type { ConsentConfig } from "../../src/config/consent.ts";
import type { LeaseBook } from "../../src/lease/book.ts";
import { emptyBook } from "../../src/lease/book.ts";
import type { GuestLimits } from "../cgroup/limits.ts";
import type { LendingMode } from "../lending/mode.ts";
import type { Spell } from "../offer/spell.ts";

/** What the configuration and the inventory say. */
export interface NodeSetup {
  readonly node: string;
  readonly cores: readonly number[];
  /** Groups of cores that are threads of one: they are a job's together. */
  readonly siblings?: Siblings;
  /** NUMA nodes, as a list for cpuset.mems. */
  readonly mems: string;
  readonly memoryBytes: number;
  /** Regions may be served over a fabric, too. */
  readonly fabric?: boolean;
  readonly reserveCores: readonly number[];
  readonly reserveMemoryBytes: number;
  readonly guestUidFirst: number;
  readonly guestUidCount: number;
  readonly leaseTermMs: number;
  readonly leaseTermMaxMs: number;
  readonly announceTimeoutMs: number;
  /** A hook is answered after this, with an error, even when guests are still there: it helps itself then. */
  readonly hookTimeoutMs: number;
  /** How long a job that a prolog announced keeps its cores when its cgroup is gone and no epilog came. */
  readonly epilogTimeoutMs: number;
  readonly consent: ConsentConfig;
  /** What a prolog takes back; see agent/reclaim/jobs.ts. */
  readonly prolog: "all" | "close" | "learned";
  /** How long the client of an evacuated region in the way of a hook has to move it; 0: not at all. */
  readonly reclaimBudgetMs: number;
}

/** What of it a reload of the configuration may change; the rest is fixed for the agent's life. */
export type LiveSetup = Pick<
  NodeSetup,
  | "reserveCores"
  | "reserveMemoryBytes"
  | "leaseTermMs"
  | "leaseTermMaxMs"
  | "announceTimeoutMs"
  | "consent"
  | "prolog"
  | "reclaimBudgetMs"
>;

/** An administrator's word that this node lends nothing. */
export interface Drain {
  readonly uid: number;
  readonly why: string;
  readonly sinceUnixMs: number;
}

/** starting: asked of the starter. running: its executor is ready. ending: the lease is over, the cgroup not yet gone. */
export type GuestPhase = "starting" | "running" | "ending";

export interface Guest {
  readonly lease: Lease;
  readonly phase: GuestPhase;
  readonly uid: number;
  readonly grantedUnixMs: number;
  readonly startedAtMs: number;
  /** Connection of the agent's socket with which the lease ends; undefined: nobody here (yet). */
  readonly holder: number | undefined;
  /** 64 hex digits; what a client shows to the executor. */
  readonly token: string;
  /** TCP port of the executor; 0 until it is ready. */
  readonly port: number;
  /** Memory in use when it was last looked at. */
  readonly touchedBytes: number;
  /** Where it may run, as last written to its cpuset. */
  readonly cores: readonly number[];
  /** Calls that are answered when the executor is ready. */
  readonly callers: readonly number[];
}

/** A lease that is granted before it is asked for, and the prepared executor that is to serve it. */
export interface Voucher extends Pick<Guest, "lease" | "uid" | "token" | "port"> {
  readonly limits: GuestLimits;
}

export interface KnownJob {
  readonly jobId: number;
  /** undefined while its cgroup has none. */
  readonly cores: readonly number[] | undefined;
  readonly memoryLimitBytes: number | undefined;
  readonly memoryUsedBytes: number;
  /** Its cgroup is there. A job that a hook announced is kept without it until the epilog: it still owns its cores. */
  readonly present: boolean;
  readonly hooked: boolean;
  /** When doubt ends: for a job without cores, it is taken to own all; for one that is not present, it is forgotten. */
  readonly untilMs: number | undefined;
}

/** A call that is answered when these guests are gone, or with an error at the deadline. */
export interface Wait {
  readonly kind: "hook" | "release" | "admin";
  /** Which hook waits. */
  readonly event?: "prolog" | "step";
  readonly guests: ReadonlySet<string>;
  readonly arrivedAtMs: number;
  readonly deadlineMs: number;
  readonly ended: number;
  /** What an administrator is told: leases with a budget. */
  readonly draining?: readonly string[];
  /** What a release answers. */
  readonly released: Guest | undefined;
}

export interface AgentState {
  readonly setup: NodeSetup;
  readonly book: LeaseBook;
  readonly guests: ReadonlyMap<string, Guest>;
  /** By lease. Their capacity is offered, but granted to nobody else. */
  readonly vouchers: ReadonlyMap<string, Voucher>;
  readonly jobs: ReadonlyMap<number, KnownJob>;
  /** Jobs that a prolog announced and whose cgroup was not seen yet, with the end of patience. */
  readonly announced: ReadonlyMap<number, number>;
  /** What hooks said of the jobs that are announced or known. */
  readonly said: ReadonlyMap<number, JobFacts>;
  /** What the controller's view of Slurm says of the jobs of this node; may be old, may be of jobs not here yet. */
  readonly facts: ReadonlyMap<number, SlurmJobFacts>;
  /** How jobs that share use what they hold. */
  readonly uses: ReadonlyMap<number, JobUse>;
  readonly waits: ReadonlyMap<number, Wait>;
  readonly memoryAvailableBytes: number;
  /** The guests of an earlier life were looked at: only then is it known what is spare. */
  readonly adopted: boolean;
  /** Without a starter nothing can be granted. */
  readonly starterUp: boolean;
  /** The agent ends, and its guests with it. */
  readonly leaving: boolean;
  readonly drain: Drain | undefined;
  /** Steps named the cores of the jobs that came last, in this agent's life. */
  readonly stepsHeard: boolean;
  /** A job suffers from guests: nothing new is lent until it does not. */
  readonly guarded: boolean;
  /** Offered last; revision rises with every change. */
  readonly spare: readonly Spare[];
  /** Whether the node lends; what it would lend if it did. */
  readonly lending: LendingMode;
  readonly shadowSpare: readonly Spare[];
  readonly revision: number;
  /** Undefined until the jobs were looked at. */
  readonly spell: Spell | undefined;
  /** Batch jobs that arrived since. */
  readonly arrivals: number;
  readonly nextUid: number;
}

/** Lends nothing until the guests of an earlier life were adopted and the starter answers. */
export function initialState(setup: NodeSetup): AgentState {
  return {
    setup,
    book: emptyBook,
    guests: new Map(),
    vouchers: new Map(),
    jobs: new Map(),
    announced: new Map(),
    said: new Map(),
    facts: new Map(),
    uses: new Map(),
    waits: new Map(),
    memoryAvailableBytes: 0,
    adopted: false,
    starterUp: false,
    leaving: false,
    drain: undefined,
    stepsHeard: false,
    guarded: false,
    spare: [],
    lending: "on",
    shadowSpare: [],
    revision: 0,
    spell: undefined,
    arrivals: 0,
    nextUid: 0,
  };
}
