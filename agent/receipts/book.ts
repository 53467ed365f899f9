/**
 * Interference receipts: per batch job, which guests were on its node, how much they held and for how long, what the guard
 * did, and how long the job waited while there was a guest and while there was none. Pure: facts and times come
 * in; the reading of pressure is passed in.
 *
 * A guest counts from its grant until its cgroup is gone, a job from when it is known until it is gone, both piece by
 * piece: sums are exact. All of it is soft: a receipt begins with the agent's life (its from_unix_ms says so), those of
 * jobs that ended are kept for the controllers and for `sublet jobs`, the newest `maxKept`. Leases beyond `maxLines` of
 * one job are summed in one line.
 */
import type { Consent, Lease } from "../../src/common/nouns.ts";
import { classToWire, consentToWire, kindToWire } from "../../src/rpc/convert.ts";
import type { PressureMessage, ReceiptGuestMessage, ReceiptMessage } from "../../src/rpc/messages.ts";
import { sumGuests } from "../../src/rpc/receipts.ts";

export const maxKept = 256;
export const maxLines = 200;

export interface SeenNeighbours {
  readonly jobs: readonly {
    readonly jobId: number;
    readonly uid: number;
    readonly consent: Consent | undefined;
  }[];
  readonly guests: readonly Pick<Lease, "id" | "kind" | "class" | "cores" | "memoryBytes" | "owner">[];
}

/** How long a job has waited since it was watched; they never fall. */
export interface PressureTotals {
  /** By the pressure of its cgroup, or by its tasks, which tell of cores alone. */
  readonly of: "job" | "tasks";
  readonly watchedMs: number;
  readonly cpuUs: number;
  readonly memoryUs: number;
  readonly ioUs: number;
}

type Guest = SeenNeighbours["guests"][number];

interface Line {
  readonly guest: Guest;
  readonly fromMs: number;
}

interface Span {
  durationMs: number;
  watchedMs: number;
  memoryWatchedMs: number;
  cpuUs: number;
  memoryUs: number;
  ioUs: number;
}

interface Open {
  uid: number;
  consent: Consent | undefined;
  readonly fromUnixMs: number;
  readonly live: Map<string, Line>;
  readonly done: ReceiptGuestMessage[];
  more: ReceiptGuestMessage | undefined;
  readonly actions: Map<string, number>;
  readonly alone: Span;
  readonly beside: Span;
  sinceMs: number;
  last: PressureTotals | undefined;
}

const noSpan = (): Span => ({
  durationMs: 0,
  watchedMs: 0,
  memoryWatchedMs: 0,
  cpuUs: 0,
  memoryUs: 0,
  ioUs: 0,
});

function lineOf({ guest, fromMs }: Line, nowMs: number): ReceiptGuestMessage {
  const seconds = Math.max(0, nowMs - fromMs) / 1000;
  return {
    leaseId: guest.id,
    uid: guest.owner.uid,
    kind: kindToWire(guest.kind),
    class: classToWire(guest.class),
    coreSeconds: seconds * guest.cores.length,
    byteSeconds: seconds * guest.memoryBytes,
    leases: 1,
  };
}

function whole(span: Span): PressureMessage {
  return {
    durationMs: Math.round(span.durationMs),
    watchedMs: Math.round(span.watchedMs),
    memoryWatchedMs: Math.round(span.memoryWatchedMs),
    cpuUs: Math.round(span.cpuUs),
    memoryUs: Math.round(span.memoryUs),
    ioUs: Math.round(span.ioUs),
  };
}

export class ReceiptBook {
  readonly #node: string;
  readonly #pressure: (jobId: number) => PressureTotals | undefined;
  readonly #open = new Map<number, Open>();
  readonly #kept: ReceiptMessage[] = [];

  /** pressure: how long a job has waited; undefined: it is gone, or the kernel does not tell. */
  constructor(node: string, pressure: (jobId: number) => PressureTotals | undefined) {
    this.#node = node;
    this.#pressure = pressure;
  }

  /** Of jobs that ended, oldest first. */
  get kept(): readonly ReceiptMessage[] {
    return this.#kept;
  }

  /** Call after every change of jobs or guests. Gives the receipts of jobs that ended with it. */
  observe(seen: SeenNeighbours, nowMs: number, unixMs: number): readonly ReceiptMessage[] {
    const guests = new Map(seen.guests.map((guest) => [guest.id, guest]));
    const jobs = new Map(seen.jobs.map((job) => [job.jobId, job]));
    const ended: ReceiptMessage[] = [];
    for (const [jobId, open] of this.#open) {
      const job = jobs.get(jobId);
      if (job !== undefined) {
        open.uid = job.uid || open.uid;
        open.consent = job.consent;
        this.#move(jobId, open, guests, nowMs);
        continue;
      }
      this.#measure(jobId, open, nowMs);
      this.#open.delete(jobId);
      ended.push(this.#receipt(jobId, open, nowMs, unixMs, true));
    }
    for (const job of seen.jobs) {
      if (this.#open.has(job.jobId)) continue;
      const open: Open = {
        uid: job.uid,
        consent: job.consent,
        fromUnixMs: unixMs,
        live: new Map(),
        done: [],
        more: undefined,
        actions: new Map(),
        alone: noSpan(),
        beside: noSpan(),
        sinceMs: nowMs,
        last: this.#pressure(job.jobId),
      };
      this.#open.set(job.jobId, open);
      this.#move(job.jobId, open, guests, nowMs);
    }
    this.#kept.push(...ended);
    this.#kept.splice(0, Math.max(0, this.#kept.length - maxKept));
    return ended;
  }

  /** Reads the pressure now: a job's cgroup is gone when its end is noticed. For a slow tick. */
  measure(nowMs: number): void {
    for (const [jobId, open] of this.#open) this.#measure(jobId, open, nowMs);
  }

  /** The guard did something to a guest; it counts for all jobs beside it. */
  guardActed(action: string, leaseId: string): void {
    for (const open of this.#open.values())
      if (open.live.has(leaseId)) open.actions.set(action, (open.actions.get(action) ?? 0) + 1);
  }

  /** Receipts of this job (0: of all): of its lives that ended, and what there is so far of one that goes on. */
  of(jobId: number, nowMs: number, unixMs: number): ReceiptMessage[] {
    if (jobId === 0)
      return [...new Set([...this.#kept.map((receipt) => receipt.jobId), ...this.#open.keys()])].flatMap(
        (each) => this.of(each, nowMs, unixMs),
      );
    const found = this.#kept.filter((receipt) => receipt.jobId === jobId);
    const open = this.#open.get(jobId);
    if (open === undefined) return found;
    this.#measure(jobId, open, nowMs);
    return [...found, this.#receipt(jobId, open, nowMs, unixMs, false)];
  }

  #move(jobId: number, open: Open, guests: ReadonlyMap<string, Guest>, nowMs: number): void {
    const gone = [...open.live.values()].filter(({ guest }) => !guests.has(guest.id));
    const come = [...guests.values()].filter((guest) => !open.live.has(guest.id));
    const left = open.live.size - gone.length + come.length;
    // Which span the time belongs to is asked before it changes.
    if (open.live.size > 0 !== left > 0) this.#measure(jobId, open, nowMs);
    for (const line of gone) {
      open.live.delete(line.guest.id);
      const done = lineOf(line, nowMs);
      if (open.done.length < maxLines) open.done.push(done);
      else open.more = sumGuests(open.more, done);
    }
    for (const guest of come) open.live.set(guest.id, { guest, fromMs: nowMs });
  }

  #measure(jobId: number, open: Open, nowMs: number): void {
    const span = open.live.size > 0 ? open.beside : open.alone;
    const now = this.#pressure(jobId);
    span.durationMs += Math.max(0, nowMs - open.sinceMs);
    open.sinceMs = nowMs;
    const { last } = open;
    if (now === undefined) return;
    open.last = now;
    if (now.of !== last?.of) return;
    const watchedMs = now.watchedMs - last.watchedMs;
    span.watchedMs += watchedMs;
    span.cpuUs += now.cpuUs - last.cpuUs;
    if (now.of !== "job") return;
    span.memoryWatchedMs += watchedMs;
    span.memoryUs += now.memoryUs - last.memoryUs;
    span.ioUs += now.ioUs - last.ioUs;
  }

  #receipt(jobId: number, open: Open, nowMs: number, unixMs: number, ended: boolean): ReceiptMessage {
    const lines = [...open.done, ...[...open.live.values()].map((line) => lineOf(line, nowMs))];
    const rest = lines.slice(maxLines);
    const more = rest.reduce<ReceiptGuestMessage | undefined>(sumGuests, open.more);
    return {
      jobId,
      node: this.#node,
      uid: open.uid,
      fromUnixMs: open.fromUnixMs,
      toUnixMs: unixMs,
      ended,
      consent: consentToWire(open.consent),
      guests: [...lines.slice(0, maxLines), ...(more === undefined ? [] : [more])],
      actions: [...open.actions].map(([action, count]) => ({ action, count })),
      alone: whole(open.alone),
      beside: whole(open.beside),
      pressureOf: open.last?.of ?? "",
    };
  }
}
