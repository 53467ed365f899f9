/**
 * Do jobs wait longer on nodes that lend than on those held out? Pure. Which nodes are held out is drawn by lot, so all else is
 * equal but for chance, and the interval says how far chance goes. Nodes are what was drawn: what one of them counted at two
 * times is not two observations. So the sums are kept by groups of nodes that never change (a hash of the name), however many nodes
 * there are, and the groups are compared.
 *
 * Each side: waited core-time over all core-time of jobs, a ratio of sums over its groups, and the variance of that ratio by the
 * groups' deviations from it (Cochran, Sampling Techniques, 3rd ed., 1977, 6.4 and 6.5; random groups: Wolter, Introduction to Variance
 * Estimation, 2nd ed., 2007, chapter 2). The difference: Welch's t interval, with Satterthwaite's degrees of freedom (Welch,
 * Biometrika 34, 1947, 28-35). A side counts as many groups as would have the same weight (Kish), so that one large group beside
 * eleven small ones is not taken for twelve.
 */
import type { WaitingComparison, WaitingSide } from "./api.ts";

export const groups = 12;
/** Of each side; below, chance cannot be told. */
const leastGroups = 3;
const leastCoreHours = 10;
const confidence = 0.95;
const hourMs = 3_600_000;

export const sides = ["lending", "holdOut"] as const;
export const resources = ["cpu", "memory"] as const;
export type Side = (typeof sides)[number];
export type Resource = (typeof resources)[number];
export type GroupName = `${Side}.${Resource}.${"coreMs" | "waitedMs"}.${number}`;

/** By group, so that these can be added to. */
export const groupNames: readonly GroupName[] = Array.from({ length: groups }, (_, group) =>
  sides.flatMap((side) =>
    resources.flatMap((resource) => [
      `${side}.${resource}.coreMs.${group}` as const,
      `${side}.${resource}.waitedMs.${group}` as const,
    ]),
  ),
).flat();

/** What a comparison is made of: sums since the controller began. */
export const comparedNames = ["lendingNodeMs", "holdOutNodeMs", ...groupNames] as const;
export type ComparedName = (typeof comparedNames)[number];

/** FNV-1a: nothing to do with the lots. */
export function groupOf(node: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < node.length; i++) hash = Math.imul(hash ^ node.charCodeAt(i), 0x01000193);
  return ((hash ^ (hash >>> 16)) >>> 0) % groups;
}

/** Core-time of jobs, and what of it they waited. */
export interface Unit {
  readonly coreMs: number;
  readonly waitedMs: number;
}

interface Estimate {
  readonly share: number;
  readonly variance: number;
  /** Units of the same weight that would tell as much. */
  readonly units: number;
  readonly coreMs: number;
}

/** undefined: there is nothing to divide by. */
function estimate(units: readonly Unit[]): Estimate | undefined {
  const seen = units.filter(({ coreMs }) => coreMs > 0);
  const sum = (value: (unit: Unit) => number): number => seen.reduce((all, unit) => all + value(unit), 0);
  const coreMs = sum((unit) => unit.coreMs);
  if (coreMs === 0) return undefined;
  const share = sum(({ waitedMs }) => waitedMs) / coreMs;
  const squares = sum((unit) => (unit.waitedMs - share * unit.coreMs) ** 2);
  const count = seen.length;
  return {
    share,
    variance: count < 2 ? Number.POSITIVE_INFINITY : ((count / (count - 1)) * squares) / coreMs ** 2,
    units: coreMs ** 2 / sum((unit) => unit.coreMs ** 2),
    coreMs,
  };
}

/**
 * How many standard errors hold 95 % of Student's t. With t = sqrt(n) tan(a) its density goes by the cosine of a to the power
 * of n - 1, which is added up until the share is reached. freedom: at least 1.
 */
export function studentQuantile(freedom: number): number {
  const steps = 4096;
  const width = Math.PI / 2 / steps;
  const heights = Array.from({ length: steps }, (_, i) => Math.cos((i + 0.5) * width) ** (freedom - 1));
  let left = confidence * heights.reduce((sum, height) => sum + height, 0);
  let step = 0;
  for (; left > (heights[step] ?? left); step++) left -= heights[step] ?? 0;
  return Math.sqrt(freedom) * Math.tan((step + left / (heights[step] ?? 1)) * width);
}

export interface Difference {
  readonly share: number;
  readonly low: number;
  readonly high: number;
}

/** Lending less held out, as shares of core-time; undefined: too little data. */
export function differenceOf(lending: readonly Unit[], heldOut: readonly Unit[]): Difference | undefined {
  const of = [estimate(lending), estimate(heldOut)] as const;
  const [a, b] = of;
  const tells = (side: Estimate | undefined): boolean =>
    side !== undefined && side.units >= leastGroups && side.coreMs >= leastCoreHours * hourMs;
  if (a === undefined || b === undefined || !of.every(tells)) return undefined;
  const share = a.share - b.share;
  const variance = a.variance + b.variance;
  if (variance === 0) return { share, low: share, high: share };
  const freedom = variance ** 2 / (a.variance ** 2 / (a.units - 1) + b.variance ** 2 / (b.units - 1));
  const half = studentQuantile(freedom) * Math.sqrt(variance);
  return { share, low: share - half, high: share + half };
}

/** sum: of a total over the span. coveredMs: how long that was. */
export function comparisonOf(
  sum: (name: ComparedName) => number,
  resource: Resource,
  coveredMs: number,
): WaitingComparison {
  const unitsOf = (side: Side): Unit[] =>
    Array.from({ length: groups }, (_, group) => ({
      coreMs: sum(`${side}.${resource}.coreMs.${group}`),
      waitedMs: sum(`${side}.${resource}.waitedMs.${group}`),
    }));
  const sideOf = (side: Side, units: readonly Unit[]): WaitingSide => {
    const found = estimate(units);
    return {
      waitedPercent: found === undefined ? null : 100 * found.share,
      nodes: found === undefined || coveredMs === 0 ? 0 : sum(`${side}NodeMs`) / coveredMs,
      jobCoreHours: (found?.coreMs ?? 0) / hourMs,
    };
  };
  const lending = unitsOf("lending");
  const heldOut = unitsOf("holdOut");
  const found = differenceOf(lending, heldOut);
  const percent = (share: number | undefined): number | null => (share === undefined ? null : 100 * share);
  return {
    lending: sideOf("lending", lending),
    heldOut: sideOf("holdOut", heldOut),
    differencePercent: percent(found?.share),
    lowPercent: percent(found?.low),
    highPercent: percent(found?.high),
  };
}
