/**
 * Usage records for one controller: one batch is on its way at a time, and what is not acknowledged in time goes out again,
 * first one record alone: a controller whose data base is away is not sent everything again and again.
 */
import type { UsageSource } from "../usage/usage.ts";

const maxBatch = 200;
const firstWaitMs = 15_000;
const maxWaitMs = 60_000;

export class UsageSender {
  readonly #source: UsageSource | undefined;
  #out = new Set<string>();
  #waitMs = firstWaitMs;
  #againAtMs = Number.NEGATIVE_INFINITY;
  #batch = maxBatch;

  constructor(source: UsageSource | undefined) {
    this.#source = source;
  }

  /** What goes with the next report. */
  next(nowMs: number): ReturnType<UsageSource["next"]> {
    if (this.#source === undefined) return [];
    if (this.#out.size > 0) {
      if (nowMs < this.#againAtMs) return [];
      this.#batch = 1;
      this.#waitMs = Math.min(maxWaitMs, this.#waitMs * 2);
    }
    const records = this.#source.next(this.#batch);
    this.#out = new Set(records.map(({ leaseId, slice }) => `${leaseId}/${slice}`));
    this.#againAtMs = nowMs + this.#waitMs;
    return records;
  }

  /** True when there may be more to send. */
  acked(keys: readonly string[]): boolean {
    if (keys.length === 0 || this.#source === undefined) return false;
    this.#source.acked(keys);
    this.#batch = maxBatch;
    this.#waitMs = firstWaitMs;
    for (const key of keys) this.#out.delete(key);
    return this.#out.size === 0 && this.#source.next(1).length > 0;
  }

  /** A new stream: what was on its way may not have arrived. */
  restart(): void {
    this.#out.clear();
    this.#batch = maxBatch;
    this.#waitMs = firstWaitMs;
  }
}
