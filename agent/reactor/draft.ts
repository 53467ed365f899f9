/** The working copy of the state while one event is handled, and the questions that all handlers ask of it. */

import type { JobUse } from "../../src/capacity/shared.ts";
import { spareCapacity } from "../../src/capacity/spare.ts";
import { SubletError } from "../../src/common/errors.ts";
import type { JobFacts, Lease, RefusalReason } from "../../src/common/nouns.ts";
import type { EndDecision } from "../../src/lease/book.ts";
import type { GuestLimits } from "../cgroup/limits.ts";
import { jobsOnNode } from "../consent/sharing.ts";
import type { Effect } from "./events.ts";
import type { AgentState, Guest, KnownJob, NodeSetup, Voucher, Wait } from "./state.ts";

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

export interface Draft
  extends Omit<
    Mutable<AgentState>,
    "guests" | "vouchers" | "jobs" | "announced" | "said" | "uses" | "waits"
  > {
  guests: Map<string, Guest>;
  vouchers: Map<string, Voucher>;
  jobs: Map<number, KnownJob>;
  announced: Map<number, number>;
  said: Map<number, JobFacts>;
  uses: Map<number, JobUse>;
  waits: Map<number, Wait>;
  readonly nowMs: number;
  readonly unixMs: number;
  readonly out: Effect[];
}

/** What the executor itself needs. */
const executorOverheadBytes = 32 * 1024 * 1024;
/** What the process takes that serves a region over a fabric: 2 MiB, but up to 70 with ofi_rxm (message buffers). */
const fabricOverheadBytes = 128 * 1024 * 1024;

/** What a lease takes beside its own memory. */
export function overheadBytes(setup: Pick<NodeSetup, "fabric">, kind: Lease["kind"]): number {
  return executorOverheadBytes + (kind === "region" && setup.fabric === true ? fabricOverheadBytes : 0);
}

export function draftOf(state: AgentState, nowMs: number, unixMs: number): Draft {
  return {
    ...state,
    guests: new Map(state.guests),
    vouchers: new Map(state.vouchers),
    jobs: new Map(state.jobs),
    announced: new Map(state.announced),
    said: new Map(state.said),
    uses: new Map(state.uses),
    waits: new Map(state.waits),
    nowMs,
    unixMs,
    out: [],
  };
}

/** The spare capacity by all facts of the draft, without what is kept for leases that do not run yet. */
export function spareOf(draft: Omit<AgentState, "spare">, kept: readonly Lease[] = []) {
  const keptBytes = (lease: Lease): number => lease.memoryBytes + overheadBytes(draft.setup, lease.kind);
  const guests = [...draft.guests.values()];
  const known = [...draft.jobs.values()];
  const untouched = guests.reduce(
    (sum, guest) =>
      sum +
      Math.max(
        0,
        guest.lease.memoryBytes + overheadBytes(draft.setup, guest.lease.kind) - guest.touchedBytes,
      ),
    kept.reduce((sum, lease) => sum + keptBytes(lease), 0),
  );
  return spareCapacity({
    inventory: {
      cores: draft.setup.cores,
      memoryBytes: draft.setup.memoryBytes,
      siblings: draft.setup.siblings ?? [],
    },
    reserve: { cores: draft.setup.reserveCores, memoryBytes: draft.setup.reserveMemoryBytes },
    jobs: jobsOnNode(draft),
    announcedJobs: [
      ...draft.announced.keys(),
      ...known.filter((job) => job.cores === undefined).map((job) => job.jobId),
    ],
    leases: [...guests.map(({ lease }) => lease), ...kept].map((lease) => ({
      class: lease.class,
      cores: lease.cores,
      memoryBytes: keptBytes(lease),
    })),
    memoryAvailableBytes: draft.memoryAvailableBytes - untouched,
    unallocated: draft.setup.consent.unallocated,
    closed: !draft.adopted || !draft.starterUp || draft.leaving || draft.drain !== undefined || draft.guarded,
  });
}

/**
 * Where a guest may run: the cores of its lease. A region leases none; its threads sleep unless a client on another
 * node calls, and then run, at the lowest weight, on a core that neither a job nor a lease has; on any where all are taken.
 */
export function coresFor(draft: Draft, lease: Lease): readonly number[] {
  if (lease.cores.length > 0) return lease.cores;
  const leased = new Set([...draft.guests.values()].flatMap((guest) => guest.lease.cores));
  const jobless = coresWithoutJobs(draft);
  const free = jobless.filter((core) => !leased.has(core));
  if (free.length > 0) return free;
  return jobless.length > 0 ? jobless : draft.setup.cores;
}

/** Cores that no batch job is known to own. */
export function coresWithoutJobs({ jobs, setup }: Pick<AgentState, "jobs" | "setup">): readonly number[] {
  const owned = new Set([...jobs.values()].flatMap((job) => job.cores ?? []));
  return setup.cores.filter((core) => !owned.has(core));
}

export function limitsFor(draft: Draft, lease: Lease, cores: readonly number[]): GuestLimits {
  return {
    cores,
    mems: draft.setup.mems,
    cpuQuotaCores: Math.max(1, lease.cores.length),
    memoryBytes: lease.memoryBytes + overheadBytes(draft.setup, lease.kind),
    pidsMax: 64 + 16 * lease.cores.length,
  };
}

export function refusal(draft: Draft, reason: RefusalReason | "start_failed", message: string): SubletError {
  return new SubletError("RESOURCE_EXHAUSTED", `${draft.setup.node}: ${message}`, {
    details: { reason, node: draft.setup.node },
  });
}

/**
 * Leases ended in the book: their guests must go, their waiting callers and their holders be told. `quiet` is the
 * holder that asked for it himself.
 */
export function endGuests(draft: Draft, decision: EndDecision, quiet?: number): readonly Guest[] {
  draft.book = decision.book;
  const ended: Guest[] = [];
  for (const lease of decision.ended) {
    const guest = draft.guests.get(lease.id);
    if (guest === undefined) continue;
    const last: Guest = { ...guest, lease, phase: "ending", callers: [], holder: undefined };
    draft.guests.set(lease.id, last);
    ended.push(last);
    for (const call of guest.callers) {
      const why = lease.reason === "start_failed" ? "start_failed" : "closed";
      const message =
        why === "closed"
          ? `lease was taken back while it started (${lease.reason})`
          : "executor did not start";
      draft.out.push({ type: "refuse", call, error: refusal(draft, why, message) });
    }
    if (guest.holder !== undefined && guest.holder !== quiet && guest.callers.length === 0)
      draft.out.push({ type: "notify", holder: guest.holder, guest: last });
    draft.out.push(
      { type: "end", leaseId: lease.id },
      { type: "lease", guest: last },
      { type: "ended", guest: last },
    );
  }
  return ended;
}
