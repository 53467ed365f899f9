/**
 * Holes: how long spare capacity lasted. Pure.
 *
 * A node's spare cores over time are a skyline. It is cut into horizontal layers, one per core; a hole is a piece of a
 * layer without a gap. So a core that was free for an hour beside one that was free for a minute counts as one hole of
 * each length, and all holes together are exactly the area below the skyline. What became free last is taken first.
 */
import type { Timeline } from "./timeline.ts";

/** Upper ends of the bins of hole lengths, seconds; one more bin is open. */
export const holeEdgesS: readonly number[] = [60, 300, 900, 3600, 14_400, 86_400];

/** Of one resource: cores, or MiB. `unitSeconds` is amount times length. */
export interface Holes {
  /** One per bin. */
  readonly unitSeconds: number[];
  readonly count: number[];
  /** For each term: what whole terms could fill if nothing were lost between them, unit-seconds. */
  readonly fits: number[];
}

export function newHoles(terms: number): Holes {
  const bins = holeEdgesS.length + 1;
  return {
    unitSeconds: new Array<number>(bins).fill(0),
    count: new Array<number>(bins).fill(0),
    fits: new Array<number>(terms).fill(0),
  };
}

function addHole(holes: Holes, lengthS: number, amount: number, termsS: readonly number[]): void {
  if (lengthS <= 0 || amount <= 0) return;
  const found = holeEdgesS.findIndex((edge) => lengthS < edge);
  const bin = found === -1 ? holeEdgesS.length : found;
  holes.unitSeconds[bin] = (holes.unitSeconds[bin] ?? 0) + lengthS * amount;
  holes.count[bin] = (holes.count[bin] ?? 0) + 1;
  termsS.forEach((termS, i) => {
    holes.fits[i] = (holes.fits[i] ?? 0) + Math.floor(lengthS / termS) * termS * amount;
  });
}

/** Adds the holes of one node. Those that reach an end of the span count as long as they were seen. */
export function addHoles(
  holes: Holes,
  atS: Uint32Array,
  free: Int32Array,
  endS: number,
  termsS: readonly number[],
): void {
  const open: { sinceS: number; amount: number }[] = [];
  let now = 0;
  for (let i = 0; i < atS.length; i++) {
    const at = atS[i] ?? 0;
    const next = free[i] ?? 0;
    if (next > now) open.push({ sinceS: at, amount: next - now });
    let less = now - next;
    while (less > 0) {
      const last = open.at(-1);
      if (last === undefined) break;
      const part = Math.min(less, last.amount);
      addHole(holes, at - last.sinceS, part, termsS);
      less -= part;
      last.amount -= part;
      if (last.amount === 0) open.pop();
    }
    now = next;
  }
  for (const { sinceS, amount } of open) addHole(holes, endS - sinceS, amount, termsS);
}

/** Sums over one timeline, unit-seconds: all that was free, and what of it was on nodes without any job. */
export interface Area {
  readonly coreSeconds: number;
  readonly mibSeconds: number;
  readonly idleCoreSeconds: number;
  readonly idleMibSeconds: number;
}

export function areaOf({ atS, freeCores, freeMib, cores, memoryMib }: Timeline, endS: number): Area {
  const area = { coreSeconds: 0, mibSeconds: 0, idleCoreSeconds: 0, idleMibSeconds: 0 };
  for (let i = 0; i < atS.length; i++) {
    const lengthS = (atS[i + 1] ?? endS) - (atS[i] ?? 0);
    const core = freeCores[i] ?? 0;
    const mib = freeMib[i] ?? 0;
    area.coreSeconds += core * lengthS;
    area.mibSeconds += mib * lengthS;
    if (core !== cores || mib !== memoryMib) continue;
    area.idleCoreSeconds += core * lengthS;
    area.idleMibSeconds += mib * lengthS;
  }
  return area;
}

/** Free cores of all timelines, as the mean over each of `points` equal parts of the span. */
export function freeOverTime(timelines: readonly Timeline[], endS: number, points: number): Float64Array {
  const stepS = endS / points;
  const sums = new Float64Array(points);
  for (const { atS, freeCores } of timelines)
    for (let i = 0; i < atS.length; i++) {
      const from = atS[i] ?? 0;
      const to = atS[i + 1] ?? endS;
      const free = freeCores[i] ?? 0;
      if (free === 0) continue;
      for (let p = Math.floor(from / stepS); p < points && p * stepS < to; p++)
        sums[p] = (sums[p] ?? 0) + free * (Math.min(to, (p + 1) * stepS) - Math.max(from, p * stepS));
    }
  return sums.map((sum) => sum / stepS);
}
