/**
 * What would this cluster gain? From the timelines of its nodes: how much was spare, in holes of which length, and what
 * leases of each term would have caught of it. Pure; slow parts say how far they are and give way to the event loop.
 */
import { addHoles, areaOf, freeOverTime, holeEdgesS, newHoles } from "./holes.ts";
import { type Simulated, simulate } from "./simulate.ts";
import type { Timeline } from "./timeline.ts";

export interface EstimateInput {
  readonly source: string;
  readonly fromMs: number;
  readonly toMs: number;
  readonly jobs: number;
  /** One reading of the history, or several where it does not tell which node it was. */
  readonly readings: readonly { readonly name: string; readonly timelines: readonly Timeline[] }[];
  /** Allocated and not used, where the history says it: it can be lent with the owners' consent only. */
  readonly heldUnusedCoreHours: number | undefined;
  readonly heldUnusedGibHours: number | undefined;
  /** What a reader should know of the history. */
  readonly notes: readonly string[];
  readonly termsS: readonly number[];
  readonly leaseCores: number;
  readonly leaseMibPerCore: number;
}

export interface TermEstimate {
  readonly termS: number;
  /** Share of the spare core-hours that whole terms fill, of each core's hole by itself. `caught` may be more: it is of a sample. */
  readonly fits: number;
  /** Simulated: shares of the spare core-hours in leases that lasted, and in leases that a job cut short. */
  readonly caught: number;
  readonly lost: number;
  /** Of 100 leases, how many a job cut short. */
  readonly cutPercent: number;
  readonly caughtCoreHours: number;
  readonly leasesPerHour: number;
  readonly simulatedNodes: number;
}

export interface ReadingEstimate {
  readonly name: string;
  /** One more than holeEdgesS: the last is open. */
  readonly holes: readonly {
    readonly count: number;
    readonly coreHours: number;
    readonly gibHours: number;
  }[];
  readonly terms: readonly TermEstimate[];
}

export interface Estimate {
  readonly source: string;
  readonly fromMs: number;
  readonly toMs: number;
  readonly jobs: number;
  readonly nodes: number;
  readonly cores: number;
  readonly memoryGib: number;
  /** Hours over the span. idle: on nodes without a job; unallocated: beside jobs. */
  readonly coreHours: Resource;
  readonly gibHours: Resource;
  readonly holeEdgesS: readonly number[];
  readonly readings: readonly ReadingEstimate[];
  /** Means over equal parts of the span. */
  readonly overTime: { readonly stepMs: number; readonly spareCores: readonly number[] };
  readonly notes: readonly string[];
}

export interface Resource {
  readonly total: number;
  readonly allocated: number;
  readonly idle: number;
  readonly unallocated: number;
  readonly heldUnused: number | null;
}

/** Leases that the simulation of one term makes at most, about; so many nodes are looked at as this allows. */
const leaseBudget = 120_000;
const leastNodes = 8;
const mostNodes = 512;
const points = 240;

export type Progress = (what: string, done: number, of: number) => void;

export async function estimate(input: EstimateInput, progress: Progress): Promise<Estimate> {
  const endS = Math.floor((input.toMs - input.fromMs) / 1000);
  const [first] = input.readings;
  if (first === undefined || endS <= 0) throw new RangeError("an estimate wants a reading and a span");
  const areas = first.timelines.map((timeline) => areaOf(timeline, endS));
  const spare = areas.reduce(
    (sum, area) => ({
      coreSeconds: sum.coreSeconds + area.coreSeconds,
      mibSeconds: sum.mibSeconds + area.mibSeconds,
      idleCoreSeconds: sum.idleCoreSeconds + area.idleCoreSeconds,
      idleMibSeconds: sum.idleMibSeconds + area.idleMibSeconds,
    }),
    { coreSeconds: 0, mibSeconds: 0, idleCoreSeconds: 0, idleMibSeconds: 0 },
  );
  const cores = first.timelines.reduce((sum, timeline) => sum + timeline.cores, 0);
  const memoryMib = first.timelines.reduce((sum, timeline) => sum + timeline.memoryMib, 0);
  const readings: ReadingEstimate[] = [];
  for (const { name, timelines } of input.readings)
    readings.push(await readingOf(name, timelines, endS, input, spare.coreSeconds, progress));
  return {
    source: input.source,
    fromMs: input.fromMs,
    toMs: input.toMs,
    jobs: input.jobs,
    nodes: first.timelines.length,
    cores,
    memoryGib: memoryMib / 1024,
    coreHours: resource(
      cores * endS,
      spare.coreSeconds,
      spare.idleCoreSeconds,
      3600,
      input.heldUnusedCoreHours,
    ),
    gibHours: resource(
      memoryMib * endS,
      spare.mibSeconds,
      spare.idleMibSeconds,
      3600 * 1024,
      input.heldUnusedGibHours,
    ),
    holeEdgesS,
    readings,
    overTime: {
      stepMs: (endS * 1000) / points,
      spareCores: [...freeOverTime(first.timelines, endS, points)],
    },
    notes: input.notes,
  };
}

function resource(
  total: number,
  free: number,
  idle: number,
  per: number,
  heldUnused: number | undefined,
): Resource {
  return {
    total: total / per,
    allocated: (total - free) / per,
    idle: idle / per,
    unallocated: (free - idle) / per,
    heldUnused: heldUnused ?? null,
  };
}

async function readingOf(
  name: string,
  timelines: readonly Timeline[],
  endS: number,
  input: EstimateInput,
  spareCoreSeconds: number,
  progress: Progress,
): Promise<ReadingEstimate> {
  const { termsS } = input;
  const cores = newHoles(termsS.length);
  const mib = newHoles(termsS.length);
  for (const [i, timeline] of timelines.entries()) {
    addHoles(cores, timeline.atS, timeline.freeCores, endS, termsS);
    addHoles(mib, timeline.atS, timeline.freeMib, endS, termsS);
    if (i % 500 !== 499) continue;
    progress("measuring holes", i + 1, timelines.length);
    await breathe();
  }
  const terms: TermEstimate[] = [];
  for (const [i, termS] of termsS.entries()) {
    progress(`simulating leases of ${termS} s`, i, termsS.length);
    await breathe();
    const sample = sampleOf(timelines, endS, termS, input.leaseCores, spareCoreSeconds);
    const options = { ...input, termS, endS };
    const simulated = simulate(sample, options);
    terms.push(termOf(termS, simulated, sample.length, (cores.fits[i] ?? 0) / spareCoreSeconds));
  }
  const hours = endS / 3600;
  return {
    name,
    holes: cores.count.map((count, bin) => ({
      count,
      coreHours: (cores.unitSeconds[bin] ?? 0) / 3600,
      gibHours: (mib.unitSeconds[bin] ?? 0) / 3600 / 1024,
    })),
    terms: terms.map((term) => ({
      ...term,
      caughtCoreHours: (term.caught * spareCoreSeconds) / 3600,
      leasesPerHour: (term.leasesPerHour * spareCoreSeconds) / hours,
    })),
  };
}

/** Shares of what was spare in the sample; leases per spare core-second, for the caller to scale. */
function termOf(termS: number, simulated: Simulated, nodes: number, fits: number): TermEstimate {
  const share = (value: number): number => (simulated.spare === 0 ? 0 : value / simulated.spare);
  return {
    termS,
    fits: Number.isFinite(fits) ? fits : 0,
    caught: share(simulated.caught),
    lost: share(simulated.lost),
    cutPercent: simulated.leases === 0 ? 0 : (100 * simulated.cut) / simulated.leases,
    caughtCoreHours: 0,
    leasesPerHour: share(simulated.leases),
    simulatedNodes: nodes,
  };
}

/**
 * Nodes for the simulation, evenly from the one with the least to the one with the most spare time, as many as the
 * budget of leases allows. All of them where they are few.
 */
function sampleOf(
  timelines: readonly Timeline[],
  endS: number,
  termS: number,
  leaseCores: number,
  spareCoreSeconds: number,
): readonly Timeline[] {
  const leasesOfAll = spareCoreSeconds / leaseCores / termS;
  const wanted = Math.ceil((timelines.length * leaseBudget) / Math.max(1, leasesOfAll));
  const size = Math.min(timelines.length, Math.max(leastNodes, Math.min(mostNodes, wanted)));
  if (size === timelines.length) return timelines;
  const sorted = timelines
    .map((timeline) => ({ timeline, spare: areaOf(timeline, endS).coreSeconds }))
    .sort((a, b) => a.spare - b.spare);
  return Array.from({ length: size }, (_, i) => {
    const place = Math.floor(((i + 0.5) * sorted.length) / size);
    return (sorted[place] as { timeline: Timeline }).timeline;
  });
}

function breathe(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
