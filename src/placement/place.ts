/**
 * Where a lease request should be tried, best node first. Pure. It only proposes: the agent of a node decides.
 *
 * Terms are fitted to what is likely to last: a lease that goes on is renewed, and one that is cut short had less promised.
 *
 * Out are nodes that Slurm says are draining, down, reserved, powering, held exclusively (unless their agent offers what that
 * job shares) or about to start a planned job;
 * nodes whose agent is silent; nodes that cannot serve the request beside the leases that their offer does
 * not know of yet; and, for a durable region, class shared: its owner waits for no move. Without any snapshot of Slurm the
 * offers alone count: agents see the jobs on their nodes.
 *
 * The order, strongest first:
 * 1. the whole wish before part of it; among parts the larger one;
 * 2. capacity by how much of the term it is likely to last (by its horizon and Slurm's plans), up to twice;
 * 3. by class. A function goes beside a job before it goes to an idle node: whatever fits goes to idle nodes when the
 *    next job starts (median idle spell 3 to 7 minutes), while the rest of a node suits small jobs only; and whole idle
 *    nodes stay for regions and large leases. A region is the other way round: its traffic costs a job beside it
 *    4 to 12 %, and on an idle node there is none. Shared capacity comes last: its owner may want it any moment;
 * 4. beside jobs the emptiest node first (spread: each node keeps a margin), among idle nodes the fullest first
 *    (pack: few nodes are touched);
 * 5. by a hash of seed and name, so that controllers with equal views do not all run to the same node.
 */
import {
  type CapacityClass,
  isDurable,
  type LeaseRequest,
  onlySharedText,
  type Spare,
  spareBytesFor,
} from "../common/nouns.ts";

export interface PlacementRequest extends LeaseRequest {
  readonly excludeNodes: ReadonlySet<string>;
  /** Only this node. */
  readonly node: string | undefined;
  /** Breaks ties; the lease's id. */
  readonly seed: string;
}

export interface PlacementOffer {
  readonly node: string;
  /** When the agent last confirmed it, on the clock of nowMs. */
  readonly receivedAtMs: number;
  readonly connected: boolean;
  readonly spare: readonly Spare[];
  /** From receivedAtMs; 0 = unknown. */
  readonly horizonMs: number;
}

/** What placement needs of a Slurm snapshot (src/slurm provides it). */
export interface SlurmView {
  readonly nodes: ReadonlyMap<
    string,
    { readonly state: string; readonly exclusive: boolean; readonly plannedStartMs: number | undefined }
  >;
}

/** A lease that its node's offer does not know of yet: proposed or granted since. */
export interface UnseenLease {
  readonly node: string;
  readonly cores: number;
  readonly memoryBytes: number;
}

export interface Candidate {
  readonly node: string;
  readonly class: CapacityClass;
  /** What to expect there; never more than was offered. */
  readonly cores: number;
  readonly memoryBytes: number;
  /** The term that fits: as asked, or less where the capacity is not likely to last so long. */
  readonly termMs: number;
}

export type OutReason =
  | "not_named"
  | "excluded"
  | "agent_gone"
  | "offer_old"
  | "unknown_to_slurm"
  | "slurm_state"
  | "exclusive_job"
  | "planned_soon"
  | "closed"
  | "no_cores"
  | "no_memory"
  | "only_shared";

export interface Placement {
  readonly candidates: readonly Candidate[];
  readonly out: readonly { readonly node: string; readonly reason: OutReason; readonly detail: string }[];
}

export interface PlacementLimits {
  readonly maxOfferAgeMs: number;
  /** Nothing is lent this long before a planned start (or for the term of the lease, if that is longer). */
  readonly plannedMarginMs: number;
}

export const defaultPlacementLimits: PlacementLimits = { maxOfferAgeMs: 30_000, plannedMarginMs: 120_000 };

/** No term is made shorter than this: its renewals would cost more than a lease that is cut short. */
const minFittedTermMs = 15_000;

const lendable = new Set(["idle", "mixed", "allocated", "planned"]);

const classRank: Readonly<Record<LeaseRequest["kind"], Readonly<Record<CapacityClass, number>>>> = {
  function: { unallocated: 0, idle: 1, shared: 2 },
  region: { idle: 0, unallocated: 1, shared: 2 },
};

interface Scored extends Candidate {
  readonly whole: boolean;
  /** How much of the term the capacity is likely to last, in steps; see shareOfTerm. */
  readonly lasts: number;
  readonly rank: number;
  /** Lower first. */
  readonly room: number;
  readonly tie: number;
}

type Verdict = Scored | { readonly reason: OutReason; readonly detail: string };

export function place(
  request: PlacementRequest,
  offers: Iterable<PlacementOffer>,
  snapshot: SlurmView | undefined,
  unseen: Iterable<UnseenLease>,
  nowMs: number,
  limits: PlacementLimits = defaultPlacementLimits,
): Placement {
  const taken = new Map<string, { cores: number; memoryBytes: number }>();
  for (const lease of unseen) {
    const sum = taken.get(lease.node) ?? { cores: 0, memoryBytes: 0 };
    sum.cores += lease.cores;
    sum.memoryBytes += lease.memoryBytes;
    taken.set(lease.node, sum);
  }
  const scored: Scored[] = [];
  const out: { node: string; reason: OutReason; detail: string }[] = [];
  for (const offer of offers) {
    const verdict =
      outByRequest(request, offer) ??
      outByContact(offer, nowMs, limits) ??
      outBySlurm(request, offer, snapshot, nowMs, limits) ??
      fit(request, offer, taken.get(offer.node), snapshot, nowMs);
    if ("reason" in verdict) out.push({ node: offer.node, ...verdict });
    else scored.push(verdict);
  }
  scored.sort(compare);
  const candidates = scored.map(({ node, class: name, cores, memoryBytes, termMs }) => ({
    node,
    class: name,
    cores,
    memoryBytes,
    termMs,
  }));
  return { candidates, out };
}

function outByRequest(request: PlacementRequest, offer: PlacementOffer): Verdict | undefined {
  if (request.node !== undefined && offer.node !== request.node)
    return { reason: "not_named", detail: `only ${request.node} is asked for` };
  if (request.excludeNodes.has(offer.node)) return { reason: "excluded", detail: "excluded or tried" };
  return undefined;
}

function outByContact(offer: PlacementOffer, nowMs: number, limits: PlacementLimits): Verdict | undefined {
  if (!offer.connected) return { reason: "agent_gone", detail: "its agent is not connected" };
  const ageMs = nowMs - offer.receivedAtMs;
  if (ageMs > limits.maxOfferAgeMs)
    return { reason: "offer_old", detail: `its agent has been silent for ${Math.round(ageMs)} ms` };
  return undefined;
}

function outBySlurm(
  request: Pick<PlacementRequest, "termMs">,
  offer: Pick<PlacementOffer, "node" | "spare">,
  snapshot: SlurmView | undefined,
  nowMs: number,
  limits: PlacementLimits,
): Verdict | undefined {
  if (snapshot === undefined) return undefined;
  const node = snapshot.nodes.get(offer.node);
  if (node === undefined) return { reason: "unknown_to_slurm", detail: "Slurm does not name this node" };
  if (!lendable.has(node.state)) return { reason: "slurm_state", detail: node.state };
  // Its agent knows what the snapshot does not: whether the job's owner allows it.
  const shared = offer.spare.some((spare) => spare.class === "shared");
  if (node.exclusive && !shared) return { reason: "exclusive_job", detail: "a job holds it for itself" };
  const marginMs = Math.max(limits.plannedMarginMs, request.termMs);
  const soon =
    node.plannedStartMs === undefined ? node.state === "planned" : node.plannedStartMs - nowMs < marginMs;
  return soon ? { reason: "planned_soon", detail: "Slurm plans to start a job there" } : undefined;
}

/** Longest that openMs() promises: no plan of Slurm is older news than this. */
const openMaxMs = 86_400_000;

/** For how long from now Slurm is not known to want the node, so that whoever lends there need not ask; 0: ask. */
export function openMs(
  name: string,
  snapshot: SlurmView | undefined,
  nowMs: number,
  limits: PlacementLimits = defaultPlacementLimits,
): number {
  const plannedMs = snapshot?.nodes.get(name)?.plannedStartMs;
  if (outBySlurm({ termMs: 0 }, { node: name, spare: [] }, snapshot, nowMs, limits) !== undefined) return 0;
  return plannedMs === undefined ? openMaxMs : Math.min(openMaxMs, Math.floor(plannedMs - nowMs));
}

/** Does the offer, less what it does not know of, serve the request? The best class of the node if several do. */
function fit(
  request: PlacementRequest,
  offer: PlacementOffer,
  taken: { cores: number; memoryBytes: number } | undefined,
  snapshot: SlurmView | undefined,
  nowMs: number,
): Verdict {
  const lasts = lastsMs(offer, snapshot, nowMs);
  let best: Scored | undefined;
  let short: OutReason = "closed";
  // Which class an unseen lease came from is the agent's choice: it counts against each of them.
  for (const spare of offer.spare) {
    const free = Math.max(0, spare.cores.length - (taken?.cores ?? 0));
    const cores = Math.min(request.cores, free);
    const memoryBytes = spareBytesFor(spare, offer.spare) - (taken?.memoryBytes ?? 0);
    if (cores < Math.max(request.minCores, request.cores > 0 ? 1 : 0)) {
      if (short === "closed") short = "no_cores";
      continue;
    }
    if (memoryBytes < request.memoryBytes) {
      if (short !== "only_shared") short = "no_memory";
      continue;
    }
    if (spare.class === "shared" && isDurable(request)) {
      short = "only_shared";
      continue;
    }
    const next: Scored = {
      node: offer.node,
      class: spare.class,
      cores,
      memoryBytes: request.memoryBytes,
      whole: cores === request.cores,
      lasts: shareOfTerm(lasts, request.termMs),
      termMs: Math.min(request.termMs, Math.max(minFittedTermMs, Math.floor(lasts))),
      rank: classRank[request.kind][spare.class],
      room: (spare.class === "idle" ? 1 : -1) * (request.cores > 0 ? free : memoryBytes),
      tie: hash(`${request.seed} ${offer.node}`),
    };
    if (best === undefined || compare(next, best) < 0) best = next;
  }
  return best ?? { reason: short, detail: shortText[short] ?? short };
}

const shortText: Partial<Record<OutReason, string>> = {
  closed: "it lends nothing now",
  no_cores: "not enough spare cores",
  no_memory: "not enough spare memory",
  only_shared: onlySharedText,
};

/** How long the capacity is likely to last from now; Infinity when nobody says. */
function lastsMs(offer: PlacementOffer, snapshot: SlurmView | undefined, nowMs: number): number {
  const byAgent =
    offer.horizonMs === 0 ? Number.POSITIVE_INFINITY : offer.receivedAtMs + offer.horizonMs - nowMs;
  const plannedMs = snapshot?.nodes.get(offer.node)?.plannedStartMs;
  return Math.min(byAgent, plannedMs === undefined ? Number.POSITIVE_INFINITY : plannedMs - nowMs);
}

/**
 * How often the term fits into what the capacity is likely to last, in tenths: a prediction is not finer than that, and
 * within a step the class decides. Beyond twice, more is no better: longer ones are left for longer terms. (In the replay
 * of test/bench/horizon this cuts fewest leases short; a choice of the shortest that fits does worse.)
 */
function shareOfTerm(lasts: number, termMs: number): number {
  return Math.floor(10 * Math.min(2, lasts / Math.max(1, termMs)));
}

function compare(a: Scored, b: Scored): number {
  return (
    Number(b.whole) - Number(a.whole) ||
    b.cores - a.cores ||
    b.lasts - a.lasts ||
    a.rank - b.rank ||
    a.room - b.room ||
    a.tie - b.tie ||
    (a.node < b.node ? -1 : 1)
  );
}

/** FNV-1a with a final mix: neighbours in name get unrelated places. */
function hash(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  return (h ^ (h >>> 13)) >>> 0;
}
