/**
 * 30 days of the cluster in two series of points: one a minute for 48 h, one every 10 minutes for 30 days. A sample says what
 * held since the one before it; it is added to the point of its moment, weighted by that time. A point knows how much of
 * its span was watched: while the controller was away, or stood still, there is nothing, and nothing is guessed.
 *
 * Lengths are of the monotonic clock, moments of the wall's. When that jumps forward there is a gap; when it jumps back, what
 * was watched twice counts once (a point takes no more time than its span has), and points of a future are dropped.
 * Bounded by the number of points, never by their age alone: a clock that is wrong for a minute must not cost 30 days.
 */
import { type Amounts, amountNames, noAmounts } from "./shares.ts";

export const counterNames = ["invocations", "reclaims", "guardActions", "leasesReclaimed"] as const;
export type Counter = (typeof counterNames)[number];

export interface Sample {
  readonly cores: Readonly<Amounts>;
  readonly memoryBytes: Readonly<Amounts>;
  /** What was counted since the sample before. */
  readonly counted: Readonly<Record<Counter, number>>;
}

/** Names of a point's numbers, in their order in the file, too: appended to, never changed. */
export const fieldNames: readonly string[] = [
  ...amountNames.map((name) => `cores_${name}`),
  ...amountNames.map((name) => `memory_${name}`),
  ...counterNames,
];
const amounts = amountNames.length;
const weighted = 2 * amounts;

export interface Point {
  /** Begin of its span. */
  readonly atMs: number;
  /** How much of it was watched. */
  coveredMs: number;
  /** Amounts times covered ms; counters as they are. */
  readonly sums: Float64Array;
  changed: boolean;
}

export interface Tier {
  readonly stepMs: number;
  readonly maxPoints: number;
}

export const minutes: Tier = { stepMs: 60_000, maxPoints: 2_880 };
export const tenMinutes: Tier = { stepMs: 600_000, maxPoints: 4_320 };
/** Longer without a sample: the controller did not watch. */
const maxSampleMs = 30_000;

function newPoint(atMs: number): Point {
  return { atMs, coveredMs: 0, sums: new Float64Array(fieldNames.length), changed: true };
}

export class Series {
  readonly tier: Tier;
  /** Ascending. */
  #points: Point[] = [];

  constructor(tier: Tier, points: readonly Point[] = []) {
    this.tier = tier;
    this.#points = [...points].sort((a, b) => a.atMs - b.atMs).slice(-tier.maxPoints);
  }

  get points(): readonly Point[] {
    return this.#points;
  }

  #at(nowMs: number): Point {
    const { stepMs, maxPoints } = this.tier;
    const atMs = Math.floor(nowMs / stepMs) * stepMs;
    while ((this.#points.at(-1)?.atMs ?? 0) > atMs + stepMs) this.#points.pop();
    for (let index = this.#points.length - 1; index >= 0; index--) {
      const point = this.#points[index];
      if (point?.atMs === atMs) return point;
      if (point !== undefined && point.atMs < atMs) break;
    }
    const point = newPoint(atMs);
    this.#points.push(point);
    this.#points.sort((a, b) => a.atMs - b.atMs);
    if (this.#points.length > maxPoints) this.#points.shift();
    return point;
  }

  add(sample: Sample, nowMs: number, lengthMs: number): void {
    const point = this.#at(nowMs);
    const ms = Math.min(lengthMs > maxSampleMs ? 0 : lengthMs, this.tier.stepMs - point.coveredMs);
    point.changed = true;
    for (const [index, name] of amountNames.entries()) {
      point.sums[index] = (point.sums[index] ?? 0) + sample.cores[name] * ms;
      point.sums[amounts + index] = (point.sums[amounts + index] ?? 0) + sample.memoryBytes[name] * ms;
    }
    for (const [index, name] of counterNames.entries())
      point.sums[weighted + index] = (point.sums[weighted + index] ?? 0) + sample.counted[name];
    point.coveredMs += ms;
  }
}

/** What a span held: ms watched, amounts times ms, counters. */
export interface Sum {
  coveredMs: number;
  readonly cores: Amounts;
  readonly memoryBytes: Amounts;
  readonly counted: Record<Counter, number>;
}

export function noSum(): Sum {
  const counted = { invocations: 0, reclaims: 0, guardActions: 0, leasesReclaimed: 0 };
  return { coveredMs: 0, cores: noAmounts(), memoryBytes: noAmounts(), counted };
}

/** Adds the part of a point that lies in the span [fromMs, toMs). */
export function addPoint(sum: Sum, point: Point, stepMs: number, fromMs: number, toMs: number): void {
  const part = (Math.min(toMs, point.atMs + stepMs) - Math.max(fromMs, point.atMs)) / stepMs;
  if (part <= 0) return;
  sum.coveredMs += point.coveredMs * part;
  for (const [index, name] of amountNames.entries()) {
    sum.cores[name] += (point.sums[index] ?? 0) * part;
    sum.memoryBytes[name] += (point.sums[amounts + index] ?? 0) * part;
  }
  for (const [index, name] of counterNames.entries())
    sum.counted[name] += (point.sums[weighted + index] ?? 0) * part;
}

export class Recorder {
  readonly minutes: Series;
  readonly tenMinutes: Series;

  constructor(kept: { readonly minutes: readonly Point[]; readonly tenMinutes: readonly Point[] }) {
    this.minutes = new Series(minutes, kept.minutes);
    this.tenMinutes = new Series(tenMinutes, kept.tenMinutes);
  }

  /** lengthMs: by the monotonic clock, since the sample before. */
  add(sample: Sample, nowMs: number, lengthMs: number): void {
    this.minutes.add(sample, nowMs, lengthMs);
    this.tenMinutes.add(sample, nowMs, lengthMs);
  }

  /** The finest series that goes back so far. */
  seriesFrom(fromMs: number, nowMs: number): Series {
    return fromMs >= nowMs - minutes.stepMs * minutes.maxPoints ? this.minutes : this.tenMinutes;
  }

  sum(fromMs: number, toMs: number, nowMs: number): Sum {
    const series = this.seriesFrom(fromMs, nowMs);
    const sum = noSum();
    // The last point's span is not over: what it has lies before now.
    for (const point of series.points)
      addPoint(sum, point, series.tier.stepMs, fromMs, toMs >= nowMs ? Number.POSITIVE_INFINITY : toMs);
    return sum;
  }
}
