/**
 * The history as sums over equal spans of time. Pure. A point holds for each gauge its value times the milliseconds that
 * were watched, and for each counter what was added; so points of any length can be put together, and a span in which
 * nobody watched is a gap and not a zero.
 */
import type { Gain, History, Shares } from "./api.ts";
import { type ComparedName, comparedNames, comparisonOf } from "./comparison.ts";
import { type Gauges, gaugeNames, shareNames } from "./shares.ts";
import { type Totals, totalNames } from "./source.ts";

/** Places in older data bases: of waiting of whole nodes, which was no waiting of jobs. */
const retired = Array.from({ length: 10 }, (_, i) => `retired.${i}`);
const lastBefore = totalNames.indexOf("receipts");

/** Append only: the data base keeps values by their place. */
export const fieldNames: readonly string[] = [
  ...gaugeNames.map((name) => `cores.${name}`),
  ...gaugeNames.map((name) => `memory.${name}`),
  ...totalNames.slice(0, lastBefore + 1),
  ...retired,
  ...totalNames.slice(lastBefore + 1),
];
const place = new Map(fieldNames.map((name, index) => [name, index]));
export interface Point {
  readonly atMs: number;
  coveredMs: number;
  readonly values: Float64Array;
}

export function newPoint(atMs: number, fields = fieldNames.length): Point {
  return { atMs, coveredMs: 0, values: new Float64Array(fields) };
}

export function addPoint(sum: Point, more: Point): void {
  sum.coveredMs += more.coveredMs;
  const { values } = sum;
  for (let i = 0; i < values.length; i++) values[i] = (values[i] ?? 0) + (more.values[i] ?? 0);
}

const totalPlaces = totalNames.map((name) => fieldNames.indexOf(name));
const comparedPlaces = [...comparedNames.keys()];

function rose(
  { values }: Point,
  names: readonly (keyof Totals)[],
  places: readonly number[],
  now: Totals,
  before: Totals,
): void {
  for (const [i, name] of names.entries()) {
    const at = places[i] ?? -1;
    values[at] = (values[at] ?? 0) + Math.max(0, (now[name] ?? 0) - (before[name] ?? 0));
  }
}

export interface Sample {
  readonly cores: Gauges;
  readonly memory: Gauges;
  readonly totals: Totals;
}

/** What a sample adds to a point: it stood for `lengthMs`, and the counters rose since `before`. */
export function addSample(point: Point, sample: Sample, before: Totals, lengthMs: number): void {
  point.coveredMs += lengthMs;
  let i = 0;
  for (const gauges of [sample.cores, sample.memory])
    for (const name of gaugeNames) {
      point.values[i] = (point.values[i] ?? 0) + gauges[name] * lengthMs;
      i++;
    }
  rose(point, totalNames, totalPlaces, sample.totals, before);
}

/** Likewise to a point of what is compared, which is kept apart, in longer points. */
export function addCompared(point: Point, { totals }: Sample, before: Totals, lengthMs: number): void {
  point.coveredMs += lengthMs;
  rose(point, comparedNames, comparedPlaces, totals, before);
}

const sumOf = (point: Point, name: string): number => point.values[place.get(name) ?? -1] ?? 0;

/** Points of one length (`stepMs`), ascending, as the pages draw them. */
export function historyOf(points: Iterable<Point>, fromMs: number, toMs: number, stepMs: number): History {
  const steps = Math.max(1, Math.ceil((toMs - fromMs) / stepMs));
  const bins: (Point | undefined)[] = new Array(steps).fill(undefined);
  for (const point of points) {
    const bin = Math.floor((point.atMs - fromMs) / stepMs);
    if (bin < 0 || bin >= steps) continue;
    const sum = bins[bin] ?? newPoint(fromMs + bin * stepMs);
    addPoint(sum, point);
    bins[bin] = sum;
  }
  const mean = (name: string): (number | null)[] =>
    bins.map((bin) => (bin === undefined || bin.coveredMs === 0 ? null : sumOf(bin, name) / bin.coveredMs));
  const shares = (kind: string): Record<keyof Shares, (number | null)[]> =>
    Object.fromEntries(shareNames.map((name) => [name, mean(`${kind}.${name}`)])) as Record<
      keyof Shares,
      (number | null)[]
    >;
  const rate = (names: readonly string[], perMs: number): (number | null)[] =>
    bins.map((bin) =>
      bin === undefined || bin.coveredMs === 0
        ? null
        : (names.reduce((sum, name) => sum + sumOf(bin, name), 0) * perMs) / bin.coveredMs,
    );
  return {
    fromMs,
    toMs,
    stepMs,
    atMs: bins.map((_, i) => fromMs + i * stepMs),
    cores: shares("cores"),
    memoryBytes: shares("memory"),
    invocationsPerSecond: rate(["invocations"], 1000),
    reclaimsPerHour: rate(["reclaims"], 3_600_000),
    guardActionsPerHour: rate(["throttle", "freeze", "shrink", "evict"], 3_600_000),
  };
}

export interface Price {
  readonly currency: string;
  readonly perCoreHour: number;
  readonly perGibHour: number;
}

const hourMs = 3_600_000;
const gib = 1024 ** 3;

/** What was won between two moments; see Gain in api.ts for what the words mean. compared: points of addCompared. */
export function gainOf(
  points: Iterable<Point>,
  fromMs: number,
  toMs: number,
  price: Price | undefined,
  compared: Iterable<Point> = [],
): Gain {
  const sum = newPoint(fromMs);
  for (const point of points) if (point.atMs >= fromMs && point.atMs < toMs) addPoint(sum, point);
  const hours = (kind: string, unit: number) => {
    const value = (name: string): number => sumOf(sum, `${kind}.${name}`) / hourMs / unit;
    const allocated = value("allocated");
    return {
      total: value("total"),
      slurmAlone: allocated,
      lent: value("lent"),
      beyondPacking: value("lentShared"),
      perfectPacking: allocated + value("unallocated"),
    };
  };
  const coreHours = hours("cores", 1);
  const gibHours = hours("memory", gib);
  /** Percent of time, or nothing where nothing was watched. */
  const percent = (waited: string, watched: string): number | null => {
    const ms = sumOf(sum, watched);
    return ms === 0 ? null : sumOf(sum, waited) / 10 / ms;
  };
  const less = (a: number | null, b: number | null): number | null =>
    a === null || b === null ? null : a - b;
  const sides = newPoint(fromMs, comparedNames.length);
  for (const point of compared) if (point.atMs >= fromMs && point.atMs < toMs) addPoint(sides, point);
  const sideSum = (name: ComparedName): number => sides.values[comparedNames.indexOf(name)] ?? 0;
  const holdOut = {
    cpu: comparisonOf(sideSum, "cpu", sides.coveredMs),
    memory: comparisonOf(sideSum, "memory", sides.coveredMs),
  };
  return {
    fromMs,
    toMs,
    covered: toMs > fromMs ? Math.min(1, sum.coveredMs / (toMs - fromMs)) : 0,
    coreHours,
    gibHours,
    money:
      price === undefined
        ? null
        : {
            value: coreHours.lent * price.perCoreHour + gibHours.lent * price.perGibHour,
            currency: price.currency,
          },
    cost: {
      guardActions: ["throttle", "freeze", "shrink", "evict"].reduce(
        (all, name) => all + sumOf(sum, name),
        0,
      ),
      leasesReclaimed: sumOf(sum, "leasesReclaimed"),
      cpuPressurePercent: less(percent("besideCpuUs", "besideMs"), percent("aloneCpuUs", "aloneMs")),
      memoryPressurePercent: less(
        percent("besideMemoryUs", "besideMemoryMs"),
        percent("aloneMemoryUs", "aloneMemoryMs"),
      ),
      holdOutDifferencePercent: holdOut.cpu.differencePercent,
      holdOut,
      receipts: sumOf(sum, "receipts"),
    },
  };
}
