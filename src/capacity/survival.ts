/**
 * How long spare capacity lasts, learned from how long it did. Pure.
 *
 * A **spell** is the time from the moment when a node's capacity became what it is (idle, or the rest beside jobs) to the
 * next arrival of a batch job. Its hazard (arrivals per unit of time, given that it lasted so far) is taken as constant
 * within a bin of age and a block of the day: the maximum-likelihood estimate is arrivals / time watched, for spells that
 * are watched from any age and to any age alike (piecewise exponential model, e.g. Friedman 1982), so nothing is lost when a
 * watch begins late or ends early. What is seldom watched leans on what is wider: a node class in a block of the day on that
 * class all day, that on all classes, by `priorArrivals` pseudo-arrivals (the mean of a gamma posterior).
 *
 *   S(t | age) = exp(- sum over bins of hazard * time in bin)
 *   horizon(age, confidence) = the t with S(t | age) = confidence
 *
 * Old facts fade with a half-life, since sites change.
 */

/** Upper ends of the bins of age; the last bin is open. */
export const ageEdgesMs: readonly number[] = [
  15, 30, 60, 90, 120, 180, 240, 300, 420, 600, 900, 1200, 1800, 2700, 3600, 5400, 7200, 14_400, 28_800,
  86_400,
].map((seconds) => seconds * 1000);

export const binCount = ageEdgesMs.length + 1;
/** Blocks of four hours. */
export const dayBlocks = 6;
const blockMs = 86_400_000 / dayBlocks;

/** No horizon is longer: more than that is "for good", and nobody leases for longer. */
export const maxHorizonMs = 86_400_000;
/** How many arrivals the wider figure counts for beside a narrow one. */
const priorArrivals = 5;
/** With fewer arrivals in all, nothing is said. */
export const minArrivals = 20;

export interface Bin {
  arrivals: number;
  watchedMs: number;
}

/** Facts about spells, by node class and block of the day. Changes in place. */
export interface SpellFacts {
  readonly classes: Map<string, Bin[][]>;
}

export function newFacts(): SpellFacts {
  return { classes: new Map() };
}

/** Which block of the day it is, at the site. */
export function dayBlock(unixMs: number, offsetMs = -new Date(unixMs).getTimezoneOffset() * 60_000): number {
  const inDayMs = (((unixMs + offsetMs) % 86_400_000) + 86_400_000) % 86_400_000;
  return Math.floor(inDayMs / blockMs);
}

function binOf(ageMs: number): number {
  const bin = ageEdgesMs.findIndex((edge) => ageMs < edge);
  return bin < 0 ? ageEdgesMs.length : bin;
}

/** Calls back for each bin that [fromMs, toMs) crosses, with the time in it. */
function across(fromMs: number, toMs: number, each: (bin: number, ms: number) => boolean): void {
  let atMs = fromMs;
  for (let bin = binOf(fromMs); atMs < toMs; bin++) {
    const endMs = Math.min(toMs, ageEdgesMs[bin] ?? Number.POSITIVE_INFINITY);
    if (!each(bin, endMs - atMs)) return;
    atMs = endMs;
  }
}

function cellsOf(facts: SpellFacts, nodeClass: string): Bin[][] {
  let cells = facts.classes.get(nodeClass);
  if (cells === undefined) {
    cells = Array.from({ length: dayBlocks }, () =>
      Array.from({ length: binCount }, () => ({ arrivals: 0, watchedMs: 0 })),
    );
    facts.classes.set(nodeClass, cells);
  }
  return cells;
}

/** A spell was watched from one age to another, and ended then by an arrival, or went on (or ended otherwise). */
export function learnSpell(
  facts: SpellFacts,
  nodeClass: string,
  block: number,
  fromAgeMs: number,
  toAgeMs: number,
  arrived: boolean,
): void {
  const cell = cellsOf(facts, nodeClass)[block];
  if (cell === undefined) throw new RangeError(`block ${block}: a day has ${dayBlocks}`);
  across(fromAgeMs, toAgeMs, (bin, ms) => {
    const into = cell[bin];
    if (into !== undefined) into.watchedMs += ms;
    return true;
  });
  const last = cell[binOf(Math.max(0, toAgeMs - 1))];
  if (arrived && last !== undefined) last.arrivals += 1;
}

/** Time went by: old facts count for less. */
export function fade(facts: SpellFacts, elapsedMs: number, halfLifeMs: number): void {
  const factor = 0.5 ** (elapsedMs / halfLifeMs);
  for (const cells of facts.classes.values())
    for (const bin of cells.flat()) {
      bin.arrivals *= factor;
      bin.watchedMs *= factor;
    }
}

/** Hazards per ms, by block of the day and bin of age. */
export type Hazards = readonly (readonly number[])[];

function sumBins(cells: readonly (readonly Bin[])[]): Bin[] {
  return Array.from({ length: binCount }, (_, bin) => ({
    arrivals: cells.reduce((sum, cell) => sum + (cell[bin]?.arrivals ?? 0), 0),
    watchedMs: cells.reduce((sum, cell) => sum + (cell[bin]?.watchedMs ?? 0), 0),
  }));
}

/** Posterior mean of the hazard of each bin, leaning on the wider figure. */
function leaning(bins: readonly Bin[], wider: readonly number[]): number[] {
  return bins.map(({ arrivals, watchedMs }, i) => {
    const prior = wider[i] ?? 0;
    return prior <= 0 ? 0 : (arrivals + priorArrivals) / (watchedMs + priorArrivals / prior);
  });
}

/** All classes, all day. A bin without enough arrivals leans on the mean of all ages. */
function baseHazards(facts: SpellFacts): number[] | undefined {
  const bins = sumBins([...facts.classes.values()].flat());
  const arrivals = bins.reduce((sum, bin) => sum + bin.arrivals, 0);
  const watchedMs = bins.reduce((sum, bin) => sum + bin.watchedMs, 0);
  if (arrivals < minArrivals || watchedMs <= 0) return undefined;
  const hazards = leaning(
    bins,
    bins.map(() => arrivals / watchedMs),
  );
  // Ages that nobody has reached yet: as the oldest that were watched, not as the mean of the young.
  let known = hazards[0] ?? 0;
  return hazards.map((hazard, i) => {
    if ((bins[i]?.watchedMs ?? 0) > 0) known = hazard;
    return known;
  });
}

/** What is known for a class of nodes; for one that was never watched, what is known of all. Undefined: too little. */
export function hazardsOf(facts: SpellFacts, nodeClass: string): Hazards | undefined {
  const base = baseHazards(facts);
  if (base === undefined) return undefined;
  const cells = facts.classes.get(nodeClass);
  if (cells === undefined) return Array.from({ length: dayBlocks }, () => base);
  const allDay = leaning(sumBins(cells), base);
  return cells.map((cell) => leaning(cell, allDay));
}

/** Probability that a spell of this age lasts `forMs` more. */
export function survival(hazards: Hazards, block: number, ageMs: number, forMs: number): number {
  let sum = 0;
  across(ageMs, ageMs + forMs, (bin, ms) => {
    sum += (hazards[block]?.[bin] ?? 0) * ms;
    return true;
  });
  return Math.exp(-sum);
}

/** How long a spell of this age lasts with this probability (0 to 1), at most maxHorizonMs. */
export function horizonMs(hazards: Hazards, block: number, ageMs: number, confidence: number): number {
  let left = -Math.log(confidence);
  let lasts = 0;
  across(ageMs, ageMs + maxHorizonMs, (bin, ms) => {
    const hazard = hazards[block]?.[bin] ?? 0;
    if (hazard * ms >= left) {
      lasts += left / hazard;
      return false;
    }
    left -= hazard * ms;
    lasts += ms;
    return true;
  });
  return Math.min(maxHorizonMs, Math.floor(lasts));
}
