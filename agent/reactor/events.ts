/** What can happen to an agent, and what it may do about it: the whole interface between reactor and shell. */

import type { UseSample } from "../../src/capacity/shared.ts";
import type { SubletError } from "../../src/common/errors.ts";
import type {
  Billing,
  EndReason,
  JobFacts,
  LeaseRequest,
  Principal,
  SlurmJobFacts,
} from "../../src/common/nouns.ts";
import type { GuestLimits } from "../cgroup/limits.ts";
import type { SeenJob } from "../jobs/scan.ts";
import type { LendingMode } from "../lending/mode.ts";
import type { Drain, Guest, LiveSetup } from "./state.ts";

/** Who asks. `all`: root, the admin group or a trusted daemon: may touch leases of others. */
export interface Asker {
  readonly uid: number;
  readonly all: boolean;
}

/** A guest of an earlier life of the agent, as its starter still has it. */
export type AdoptedGuest = Pick<Guest, "lease" | "uid" | "grantedUnixMs" | "token" | "port" | "cores">;

/** `call` numbers a call that waits for an answer; each gets exactly one. */
export type AgentEvent =
  | { type: "adopt"; guests: readonly AdoptedGuest[] }
  | {
      type: "grant";
      call: number;
      leaseId: string;
      request: LeaseRequest;
      owner: Principal;
      holder: number | undefined;
      token: string;
    }
  /** uid: of an executor that was prepared before. */
  | { type: "started"; leaseId: string; port: number; uid?: number }
  | { type: "start_failed"; leaseId: string; message: string }
  | { type: "guest_gone"; leaseId: string }
  | { type: "executor_exited"; leaseId: string }
  | { type: "renew"; call: number; leaseId: string; asker: Asker; holder: number | undefined }
  | { type: "release"; call: number; leaseId: string; asker: Asker }
  | { type: "hold"; leaseId: string; holder: number }
  /** Grant this ahead, to be served by an executor with this uid and port (0: not known yet). Nothing happens where it cannot be. */
  | {
      type: "vouch";
      leaseId: string;
      request: LeaseRequest;
      owner: Principal;
      token: string;
      uid: number;
      port: number;
    }
  | { type: "unvouch"; leaseIds: readonly string[] }
  /** What was granted ahead was asked for, by this job of its owner's. */
  | { type: "redeemed"; leaseId: string; jobId: number; port?: number; holder?: number; billing?: Billing }
  | { type: "holder_gone"; holder: number }
  | ({ type: "prolog"; call: number; jobId: number } & Partial<JobFacts>)
  /** The job's cores (Linux numbers) and memory on this node, before its tasks start. No cores: not known. */
  | ({
      type: "step";
      call: number;
      jobId: number;
      stepId: number;
      cores: readonly number[];
      memoryBytes: number;
    } & JobFacts)
  | { type: "epilog"; call: number; jobId: number }
  | { type: "jobs"; jobs: readonly SeenJob[] }
  | { type: "memory"; availableBytes: number; touchedBytes: ReadonlyMap<string, number> }
  /** How jobs that share use what they hold, by job. */
  | { type: "use"; samples: ReadonlyMap<number, UseSample> }
  /** All jobs of this node by a controller's view of Slurm. */
  | { type: "facts"; jobs: readonly SlurmJobFacts[] }
  /**
   * The guard wants these leases back, since a job suffers: durable regions may move, all else ends. `closed`: nothing new
   * is lent beside it for now.
   */
  | { type: "guard"; leaseIds: readonly string[]; closed: boolean }
  | { type: "starter"; up: boolean }
  | { type: "timer" }
  /** An administrator: these leases, or all; budgetMs 0 at once, else graceful. */
  | { type: "reclaim"; call: number; leaseIds: readonly string[] | undefined; budgetMs: number }
  /** The configuration was read again. */
  | { type: "settings"; setup: LiveSetup }
  /** Whether the node lends, by the configuration and the lot of the period. */
  | { type: "lending"; mode: LendingMode }
  /** An administrator: lend nothing more; budgetMs as above, undefined: leases stay until they end. */
  | {
      type: "drain";
      call: number;
      drain: Drain;
      budgetMs: number | undefined;
      /** What holders are told; an administrator's word unless said. */
      reason?: EndReason;
    }
  | { type: "resume"; call: number }
  /** The agent ends and leaves nothing behind. */
  | { type: "leave" };

/** Which of Slurm's messengers spoke. */
export type HookKind = "prolog" | "epilog" | "step";

export type Answer =
  | { kind: "leased"; guest: Guest }
  | { kind: "lease"; guest: Guest }
  | { kind: "hook"; event: HookKind; leasesEnded: number; tookUs: number }
  /** What an administrator asked for. left: guests that should be gone and are not yet. */
  | { kind: "reclaimed"; ended: number; draining: readonly string[]; left: number };

export type Effect =
  /** Make the cgroup, start the executor; then `started` or `start_failed`. */
  | { type: "start"; guest: Guest; limits: GuestLimits }
  /** Kill, verify empty, remove; then `guest_gone`. */
  | { type: "end"; leaseId: string }
  /** Write new limits to a running guest. */
  | { type: "limit"; leaseId: string; limits: GuestLimits }
  /** The executor is ready, for the metrics. ahead: it was before the lease was asked for, and nothing was started. */
  | { type: "ready"; guest: Guest; ahead?: true }
  | { type: "answer"; call: number; answer: Answer }
  | { type: "refuse"; call: number; error: SubletError }
  /** A lease of this connection ended and its holder did not ask for it. */
  | { type: "notify"; holder: number; guest: Guest }
  /** The lease is wanted back: its holder, if there is one here, must hear what is left of its budget. */
  | { type: "draining"; guest: Guest }
  /** Controllers must learn of this lease. */
  | { type: "lease"; guest: Guest }
  /** Controllers must learn of new spare capacity. */
  | { type: "offer" }
  /** A job's cores were lent when its cgroup appeared: no prolog had taken them back. */
  | { type: "missed"; jobId: number; leases: number }
  /** Leases that may not be beside a job any more were ended: it uses what it shared, or does not consent. */
  | { type: "unshared"; leases: number }
  /** The lease ended, for the metrics. */
  | { type: "ended"; guest: Guest };
