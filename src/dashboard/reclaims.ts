/** The reclaims that agents told of, newest last, as many as a page can use. */
import type { ReclaimRow, Reclaims } from "./api.ts";

const maxKept = 20_000;
const maxLatest = 100;
export const reclaimEdgesMs: readonly number[] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000];

export class ReclaimLog {
  #rows: ReclaimRow[] = [];

  add(row: ReclaimRow): void {
    this.#rows.push(row);
    if (this.#rows.length > maxKept + 1000) this.#rows = this.#rows.slice(-maxKept);
  }

  ofNode(node: string, limit = 50): ReclaimRow[] {
    return this.#rows
      .filter((row) => row.node === node)
      .slice(-limit)
      .reverse();
  }

  /** p50 and p99 over the latest thousand. */
  recent(): { p50Ms: number | null; p99Ms: number | null } {
    const sorted = durations(this.#rows.slice(-1000));
    return { p50Ms: quantile(sorted, 0.5), p99Ms: quantile(sorted, 0.99) };
  }

  between(fromMs: number, toMs: number): Reclaims {
    const rows = this.#rows.filter(({ atMs }) => atMs >= fromMs && atMs <= toMs);
    const sorted = durations(rows);
    const counts = new Array<number>(reclaimEdgesMs.length + 1).fill(0);
    for (const duration of sorted) {
      const bin = reclaimEdgesMs.findIndex((edge) => duration <= edge);
      const at = bin === -1 ? reclaimEdgesMs.length : bin;
      counts[at] = (counts[at] ?? 0) + 1;
    }
    return {
      fromMs,
      toMs,
      count: rows.length,
      p50Ms: quantile(sorted, 0.5),
      p99Ms: quantile(sorted, 0.99),
      maxMs: sorted.at(-1) ?? null,
      edgesMs: [...reclaimEdgesMs],
      counts,
      latest: rows.slice(-maxLatest).reverse(),
    };
  }
}

/** Without those whose time was not measured: nobody waited for them. */
function durations(rows: readonly ReclaimRow[]): number[] {
  return rows.flatMap(({ durationMs }) => (durationMs > 0 ? [durationMs] : [])).sort((a, b) => a - b);
}

function quantile(sorted: readonly number[], q: number): number | null {
  return sorted.length === 0
    ? null
    : (sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? null);
}
