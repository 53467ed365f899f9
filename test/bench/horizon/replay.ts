/**
 * Leases on idle spells as they were measured on a real machine, in simulated time, with the real placement and the real
 * model of horizons: how many are cut short by the next batch job?
 *
 * Nodes are idle for a time drawn from the distribution, then busy for an exponential time. Requests come as a Poisson
 * stream with terms of 1, 5 and 15 minutes in equal shares; a request that finds no node is refused (and counted). The
 * model learns from the spells as a controller does, while it is used; what happens in the first part is not counted.
 */
import {
  dayBlock,
  fade,
  type Hazards,
  hazardsOf,
  horizonMs,
  learnSpell,
  newFacts,
} from "../../../src/capacity/survival.ts";
import { type PlacementOffer, place } from "../../../src/placement/place.ts";
import { draws } from "../../unit/capacity/draws.ts";

/** Points of a cumulative distribution of idle times, ascending. */
export type Distribution = readonly { readonly ms: number; readonly cdf: number }[];

const minuteMs = 60_000;
const longestMs = 86_400_000;

/**
 * How long a node of Piz Daint stayed idle, 14 days in March 2022, sampled every 100 s: the two readings of the samples
 * (a spell is at least, or at most, as long as what was seen). Public artifact of "Software Resource Disaggregation for
 * HPC with Serverless Computing", IPDPS 2024.
 */
export const daintIdle: Readonly<Record<"optimistic" | "pessimistic", Distribution>> = {
  optimistic: points([300, 0.304], [600, 0.698], [1200, 0.882], [1800, 0.932], [6000, 0.988]),
  pessimistic: points(
    [100, 0.328],
    [200, 0.505],
    [300, 0.621],
    [600, 0.801],
    [1200, 0.904],
    [1800, 0.941],
    [6000, 0.988],
  ),
};

function points(...pairs: readonly (readonly [number, number])[]): Distribution {
  return pairs.map(([seconds, cdf]) => ({ ms: seconds * 1000, cdf }));
}

/** Between two points evenly; beyond the last one as a power law that goes on with the slope of the last two. */
export function drawSpellMs(distribution: Distribution, uniform: number): number {
  let from = { ms: 0, cdf: 0 };
  for (const to of distribution) {
    if (uniform < to.cdf) return from.ms + ((uniform - from.cdf) / (to.cdf - from.cdf)) * (to.ms - from.ms);
    from = to;
  }
  const before = distribution.at(-2) ?? { ms: 1, cdf: 0 };
  const slope = Math.log((1 - before.cdf) / (1 - from.cdf)) / Math.log(from.ms / before.ms);
  return Math.min(longestMs, from.ms * ((1 - from.cdf) / (1 - uniform)) ** (1 / slope));
}

/** Share of spells that last for longer. */
function survival(distribution: Distribution, ms: number): number {
  let from = { ms: 0, cdf: 0 };
  for (const to of distribution) {
    if (ms < to.ms) return 1 - from.cdf - ((ms - from.ms) / (to.ms - from.ms)) * (to.cdf - from.cdf);
    from = to;
  }
  const before = distribution.at(-2) ?? { ms: 1, cdf: 0 };
  const slope = Math.log((1 - before.cdf) / (1 - from.cdf)) / Math.log(from.ms / before.ms);
  return ms >= longestMs ? 0 : (1 - from.cdf) * (ms / from.ms) ** -slope;
}

/**
 * The fewest leases per spell that any policy can have cut short that holds this share of the idle time and knows of a spell
 * how old it is: a spell's end cuts what is lent then, so it lends at the ages at which fewest end (Neyman and Pearson's
 * lemma). Who knew each end beforehand would have none cut.
 */
export function leastCut(distribution: Distribution, coverage: number, stepMs = 1000): number {
  const ages = Array.from({ length: longestMs / stepMs }, (_, i) => {
    const lives = survival(distribution, i * stepMs);
    return { lives, ends: lives - survival(distribution, (i + 1) * stepMs) };
  }).filter(({ lives }) => lives > 0);
  let left = coverage * ages.reduce((sum, { lives }) => sum + lives, 0);
  let cut = 0;
  for (const { lives, ends } of ages.sort((a, b) => a.ends / a.lives - b.ends / b.lives)) {
    const share = Math.min(1, left / lives);
    cut += share * ends;
    left -= share * lives;
    if (left <= 0) break;
  }
  return cut;
}

export type Policy = "first-fit" | "any" | "horizon";

export interface ReplayOptions {
  readonly distribution: Distribution;
  readonly policy: Policy;
  /** Leases asked for, as a share of the idle node-time: 1 asks for all of it. */
  readonly demand: number;
  readonly nodes: number;
  readonly days: number;
  /** Not counted: the model learns. */
  readonly learnDays: number;
  readonly seed: number;
}

export interface Replayed {
  readonly granted: number;
  readonly refused: number;
  readonly cut: number;
  /** That ended in the time that counts. */
  readonly spells: number;
  /** Share of the idle node-time that leases held. */
  readonly coverage: number;
  /** Share of the predictions made at the start of a lease that came true; the model says `confidence`. */
  readonly kept: number;
}

export const confidence = 0.8;
const termsMs: readonly number[] = [minuteMs, 5 * minuteMs, 15 * minuteMs];
const busyMeanMs = 10 * minuteMs;
const modelEveryMs = 10 * minuteMs;

interface Node {
  readonly name: string;
  idleSinceMs: number;
  /** When its next job arrives; the node is busy from then until `idleSinceMs` of the next spell. */
  arrivalMs: number;
  leaseUntilMs: number;
}

export function replay(options: ReplayOptions): Replayed {
  const { distribution, nodes: count } = options;
  const spellDraw = draws(options.seed);
  const requestDraw = draws(options.seed + 1);
  const exponential = (mean: number, draw: () => number): number => -Math.log(1 - draw()) * mean;
  const nextSpell = (node: Node, fromMs: number): void => {
    node.idleSinceMs = fromMs + exponential(busyMeanMs, spellDraw);
    node.arrivalMs = node.idleSinceMs + drawSpellMs(distribution, spellDraw());
  };
  const nodes = Array.from({ length: count }, (_, i): Node => {
    const node: Node = {
      name: `n${String(i).padStart(4, "0")}`,
      idleSinceMs: 0,
      arrivalMs: 0,
      leaseUntilMs: 0,
    };
    nextSpell(node, 0);
    return node;
  });
  const meanSpellMs = Array.from({ length: 10_000 }, (_, i) =>
    drawSpellMs(distribution, (i + 0.5) / 10_000),
  ).reduce((sum, ms) => sum + ms / 10_000, 0);
  const idleNodes = (count * meanSpellMs) / (meanSpellMs + busyMeanMs);
  const meanTermMs = termsMs.reduce((sum, ms) => sum + ms, 0) / termsMs.length;
  const gapMs = meanTermMs / (options.demand * idleNodes);
  const countFromMs = options.learnDays * 86_400_000;
  const endMs = options.days * 86_400_000;

  const facts = newFacts();
  let hazards: Hazards | undefined;
  let modelAtMs = 0;
  let granted = 0;
  let refused = 0;
  let cut = 0;
  let spells = 0;
  let leasedMs = 0;
  let idleMs = 0;
  let predicted = 0;
  let kept = 0;

  for (let nowMs = 0; nowMs < endMs; nowMs += exponential(gapMs, requestDraw)) {
    for (const node of nodes)
      while (node.arrivalMs <= nowMs) {
        const lastsMs = node.arrivalMs - node.idleSinceMs;
        learnSpell(facts, "idle", dayBlock(node.idleSinceMs, 0), 0, lastsMs, true);
        if (node.idleSinceMs >= countFromMs) {
          idleMs += lastsMs;
          spells += 1;
        }
        nextSpell(node, node.arrivalMs);
      }
    if (nowMs - modelAtMs >= modelEveryMs) {
      fade(facts, nowMs - modelAtMs, 7 * 86_400_000);
      hazards = hazardsOf(facts, "idle");
      modelAtMs = nowMs;
    }
    const termMs = termsMs[Math.floor(requestDraw() * termsMs.length)] ?? minuteMs;
    const free = nodes.filter((node) => node.idleSinceMs <= nowMs && node.leaseUntilMs <= nowMs);
    const horizonOf = (node: Node): number =>
      hazards === undefined
        ? 0
        : horizonMs(hazards, dayBlock(nowMs, 0), nowMs - node.idleSinceMs, confidence);
    const chosen = choose(options.policy, free, termMs, nowMs, horizonOf, `${nowMs}`);
    const counts = nowMs >= countFromMs;
    if (chosen === undefined) {
      if (counts) refused += 1;
      continue;
    }
    const untilMs = Math.min(nowMs + termMs, chosen.arrivalMs);
    const saysMs = horizonOf(chosen);
    chosen.leaseUntilMs = untilMs;
    if (!counts) continue;
    granted += 1;
    leasedMs += untilMs - nowMs;
    if (untilMs < nowMs + termMs) cut += 1;
    if (saysMs > 0) {
      predicted += 1;
      if (nowMs + saysMs <= chosen.arrivalMs) kept += 1;
    }
  }
  return { granted, refused, cut, spells, coverage: leasedMs / idleMs, kept: kept / predicted };
}

function choose(
  policy: Policy,
  free: readonly Node[],
  termMs: number,
  nowMs: number,
  horizonOf: (node: Node) => number,
  seed: string,
): Node | undefined {
  if (policy === "first-fit") return free[0];
  const offers = free.map(
    (node): PlacementOffer => ({
      node: node.name,
      receivedAtMs: nowMs,
      connected: true,
      spare: [{ class: "idle", cores: [0], memoryBytes: 1 }],
      horizonMs: policy === "any" ? 0 : horizonOf(node),
    }),
  );
  const request = {
    kind: "function" as const,
    cores: 1,
    minCores: 1,
    memoryBytes: 1,
    termMs,
    excludeNodes: new Set<string>(),
    node: undefined,
    seed,
  };
  const [best] = place(request, offers, undefined, [], nowMs).candidates;
  return free.find((node) => node.name === best?.node);
}
