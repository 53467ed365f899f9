/**
 * What each lease of this node has held, as records of slices: a slice begins where the one before ended, so that the
 * records of a lease add up to its life. Slices are measured by the monotonic clock, across a restart of the agent by the
 * time since the boot; what the wall clock does meanwhile moves no core-second. Pure: times come in.
 */
import type {
  Billing,
  CapacityClass,
  EndReason,
  LeaseKind,
  LeaseState,
  UsageRecord,
} from "../../src/common/nouns.ts";
import { betweenMs, type Moment, plusMs } from "./moment.ts";

/** A lease that lives, and where its next slice begins. What an agent needs to go on after a restart. */
export interface OpenLease extends Billing {
  readonly leaseId: string;
  readonly kind: LeaseKind;
  readonly class: CapacityClass;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly uid: number;
  readonly jobId: number;
  readonly slice: number;
  /** Where the next slice begins. */
  readonly begin: Moment;
  /** Calls that earlier slices have told. */
  readonly calls: number;
}

interface Kept {
  lease: OpenLease;
  /** The lease's begin on the monotonic clock. */
  beginMs: number;
}

export interface Ended {
  readonly state: LeaseState;
  readonly reason: EndReason | undefined;
}

export interface Cut {
  readonly record: UsageRecord;
  /** Calls that are told with it. */
  readonly calls: number;
}

export class Ledger {
  readonly #node: string;
  readonly #kept = new Map<string, Kept>();

  constructor(node: string) {
    this.#node = node;
  }

  get size(): number {
    return this.#kept.size;
  }

  has(leaseId: string): boolean {
    return this.#kept.has(leaseId);
  }

  *open(): Generator<OpenLease> {
    for (const { lease } of this.#kept.values()) yield lease;
  }

  /** nowMs and now: the same moment on all clocks. */
  begin(lease: OpenLease, nowMs: number, now: Moment): void {
    this.#kept.set(lease.leaseId, { lease, beginMs: nowMs - betweenMs(lease.begin, now) });
  }

  /** Leases whose slice is as long as slices may be. */
  due(nowMs: number, sliceMs: number): string[] {
    return [...this.#kept.values()]
      .filter(({ beginMs }) => nowMs - beginMs >= sliceMs)
      .map(({ lease }) => lease.leaseId);
  }

  /** Ends the slice, and with `ended` the lease. `calls`: of its whole life. undefined: the lease is not known. */
  cut(leaseId: string, nowMs: number, calls: number, ended?: Ended): Cut | undefined {
    const kept = this.#kept.get(leaseId);
    if (kept === undefined) return undefined;
    const { lease } = kept;
    const lengthMs = Math.max(0, Math.round(nowMs - kept.beginMs));
    const told = Math.max(lease.calls, calls);
    const record = recordOf(lease, this.#node, lengthMs, told - lease.calls, ended);
    if (ended !== undefined) this.#kept.delete(leaseId);
    else {
      kept.lease = { ...lease, slice: lease.slice + 1, begin: plusMs(lease.begin, lengthMs), calls: told };
      kept.beginMs += lengthMs;
    }
    return { record, calls: told };
  }
}

/** One slice of a lease. */
export function recordOf(
  lease: OpenLease,
  node: string,
  lengthMs: number,
  invocations: number,
  ended: Ended | undefined,
): UsageRecord {
  const { calls: _, begin, ...facts } = lease;
  return {
    ...facts,
    node,
    beginUnixMs: begin.unixMs,
    coreSeconds: (lease.cores * lengthMs) / 1000,
    byteSeconds: (lease.memoryBytes * lengthMs) / 1000,
    invocations,
    state: ended?.state ?? "ACTIVE",
    reason: ended?.reason,
    endUnixMs: begin.unixMs + lengthMs,
  };
}
