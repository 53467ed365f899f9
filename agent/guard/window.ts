/**
 * Growth of counters over the last while. The kernel books waiting when it is over, in lumps: between two looks that follow
 * each other closely a busy job may show none, and then a lot. So a rate is taken over a stretch of some length,
 * however often it is looked at.
 */
export interface Growth {
  readonly spanMs: number;
  readonly by: readonly number[];
}

export class Window {
  #past: { readonly atMs: number; readonly values: readonly number[] }[] = [];

  /** Adds what the counters say now; growth since the youngest look that is at least windowMs old, else since the first one. */
  add(nowMs: number, windowMs: number, values: readonly number[]): Growth | undefined {
    while ((this.#past[1]?.atMs ?? Number.POSITIVE_INFINITY) <= nowMs - windowMs) this.#past.shift();
    const [from] = this.#past;
    this.#past.push({ atMs: nowMs, values });
    if (from === undefined || nowMs <= from.atMs) return undefined;
    return {
      spanMs: nowMs - from.atMs,
      by: values.map((value, index) => Math.max(0, value - (from.values[index] ?? value))),
    };
  }
}
