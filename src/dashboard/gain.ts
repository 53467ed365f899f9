/** What lending won and what the jobs paid, in a span of time: definitions at Gain in api.ts. Pure. */
import type { Gain, ReclaimRow, Reclaims } from "./api.ts";
import type { Sum } from "./history.ts";
import type { Amounts } from "./shares.ts";
import type { ReceiptFacts } from "./source.ts";

const hourMs = 3_600_000;
const gib = 2 ** 30;

export interface Price {
  readonly currency: string;
  readonly perCoreHour: number;
  readonly perGibHour: number;
}

export interface Span {
  readonly fromMs: number;
  readonly toMs: number;
}

function hoursOf(amounts: Amounts, unit: number): Gain["coreHours"] {
  const hours = (amountMs: number): number => amountMs / hourMs / unit;
  return {
    total: hours(amounts.total),
    slurmAlone: hours(amounts.allocated),
    lent: hours(amounts.lent),
    beyondPacking: hours(amounts.beyond),
    perfectPacking: hours(amounts.holes),
  };
}

/** Weighted by how long each receipt is. */
class Mean {
  #sum = 0;
  #weight = 0;

  add(value: number | undefined, weight: number): void {
    if (value === undefined || weight <= 0) return;
    this.#sum += value * weight;
    this.#weight += weight;
  }

  get value(): number | null {
    return this.#weight === 0 ? null : this.#sum / this.#weight;
  }
}

function difference(of: number | null, less: number | null): number | null {
  return of === null || less === null ? null : Math.round((of - less) * 1000) / 1000;
}

function costOf(
  sum: Sum,
  receipts: Iterable<ReceiptFacts>,
  heldOut: (node: string) => boolean,
  { fromMs, toMs }: Span,
): Gain["cost"] {
  const means = {
    cpuBeside: new Mean(),
    cpuAlone: new Mean(),
    memoryBeside: new Mean(),
    memoryAlone: new Mean(),
  };
  const lending = new Mean();
  const out = new Mean();
  let count = 0;
  for (const receipt of receipts) {
    if (receipt.toMs < fromMs || receipt.fromMs >= toMs) continue;
    count++;
    const weight = receipt.toMs - receipt.fromMs;
    means.cpuBeside.add(receipt.cpuBesidePercent, weight);
    means.cpuAlone.add(receipt.cpuAlonePercent, weight);
    means.memoryBeside.add(receipt.memoryBesidePercent, weight);
    means.memoryAlone.add(receipt.memoryAlonePercent, weight);
    const group = heldOut(receipt.node) ? out : lending;
    group.add(receipt.cpuBesidePercent ?? receipt.cpuAlonePercent, weight);
  }
  return {
    guardActions: Math.round(sum.counted.guardActions),
    leasesReclaimed: Math.round(sum.counted.leasesReclaimed),
    cpuPressurePercent: difference(means.cpuBeside.value, means.cpuAlone.value),
    memoryPressurePercent: difference(means.memoryBeside.value, means.memoryAlone.value),
    holdOutDifferencePercent: difference(lending.value, out.value),
    receipts: count,
  };
}

export function gainOf(
  sum: Sum,
  span: Span,
  price: Price | undefined,
  receipts: Iterable<ReceiptFacts>,
  heldOut: (node: string) => boolean,
): Gain {
  const coreHours = hoursOf(sum.cores, 1);
  const gibHours = hoursOf(sum.memoryBytes, gib);
  const spanMs = span.toMs - span.fromMs;
  return {
    ...span,
    covered: spanMs <= 0 ? 0 : Math.min(1, sum.coveredMs / spanMs),
    coreHours,
    gibHours,
    money:
      price === undefined
        ? null
        : {
            value: coreHours.lent * price.perCoreHour + gibHours.lent * price.perGibHour,
            currency: price.currency,
          },
    cost: costOf(sum, receipts, heldOut, span),
  };
}

/** Upper ends of the bins of reclaim latencies. */
export const reclaimEdgesMs: readonly number[] = [
  1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000,
];

/** The value that this share of the ascending list does not exceed. */
export function quantile(ascending: readonly number[], share: number): number | null {
  if (ascending.length === 0) return null;
  return ascending[Math.min(ascending.length - 1, Math.ceil(share * ascending.length) - 1)] ?? null;
}

const latestReclaims = 100;

/** rows: oldest first. */
export function reclaimsOf(rows: readonly ReclaimRow[], { fromMs, toMs }: Span): Reclaims {
  const within = rows.filter(({ atMs }) => atMs >= fromMs && atMs < toMs);
  const ascending = within.map(({ durationMs }) => durationMs).sort((a, b) => a - b);
  const counts = new Array<number>(reclaimEdgesMs.length + 1).fill(0);
  for (const ms of ascending) {
    const found = reclaimEdgesMs.findIndex((edge) => ms <= edge);
    const bin = found < 0 ? reclaimEdgesMs.length : found;
    counts[bin] = (counts[bin] ?? 0) + 1;
  }
  return {
    fromMs,
    toMs,
    count: within.length,
    p50Ms: quantile(ascending, 0.5),
    p99Ms: quantile(ascending, 0.99),
    maxMs: ascending.at(-1) ?? null,
    edgesMs: [...reclaimEdgesMs],
    counts,
    latest: within.slice(-latestReclaims).reverse(),
  };
}
