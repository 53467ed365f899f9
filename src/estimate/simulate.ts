/**
 * Leases on the spare capacity of past days, in simulated time, by the code that places and grants real ones. Pure.
 *
 * Somebody always wants more: whenever capacity is there, leases of one term are placed until a request is refused. A
 * lease that lasts its term was worth it; one that a job ends before was cut short, and what it did until then counts as
 * lost (functions are short and mostly done, so this is the careful reading). A job takes cores from the bottom and
 * memory as it comes; exactly the leases in its way go.
 */
import type { Lease, LeaseRequest, Principal, Spare } from "../common/nouns.ts";
import { emptyBook, expireLeases, grantLease, type LeaseBook, revokeLeases } from "../lease/book.ts";
import { victimsFor } from "../lease/victims.ts";
import { type PlacementOffer, place } from "../placement/place.ts";
import type { Timeline } from "./timeline.ts";

export interface SimulationOptions {
  readonly termS: number;
  /** A lease asks for so many cores, takes what there is, and brings so much memory for each that it asked for. */
  readonly leaseCores: number;
  readonly leaseMibPerCore: number;
  /** Of the span. */
  readonly endS: number;
}

export interface Simulated {
  readonly leases: number;
  /** Ended by a job before their term. */
  readonly cut: number;
  /** Core-seconds of leases that lasted, of those that were cut, and of all that was spare. */
  readonly caught: number;
  readonly lost: number;
  readonly spare: number;
}

interface Node {
  readonly timeline: Timeline;
  book: LeaseBook;
  free: number;
  freeMib: number;
  lentMib: number;
}

const mib = 1024 * 1024;
const owner: Principal = { uid: 1000, gid: 1000, jobId: 0, node: "" };

export function simulate(timelines: readonly Timeline[], options: SimulationOptions): Simulated {
  const { termS, endS } = options;
  const nodes = timelines.map(
    (timeline): Node => ({ timeline, book: emptyBook, free: 0, freeMib: 0, lentMib: 0 }),
  );
  const changes = changesOf(timelines);
  const expiries: { atS: number; node: Node }[] = [];
  const sum = { leases: 0, cut: 0, caught: 0, lost: 0, spare: 0 };
  let nextChange = 0;
  let nextExpiry = 0;

  const count = (node: Node, ended: readonly Lease[], nowS: number): void => {
    for (const lease of ended) {
      node.lentMib -= lease.memoryBytes / mib;
      const whole = lease.state === "EXPIRED";
      const heldS = whole ? termS : nowS - (lease.expiresAtMs / 1000 - termS);
      sum[whole ? "caught" : "lost"] += heldS * lease.cores.length;
      if (!whole) sum.cut++;
    }
  };

  for (;;) {
    const changeS = changes[nextChange]?.atS ?? Number.POSITIVE_INFINITY;
    const expiryS = expiries[nextExpiry]?.atS ?? Number.POSITIVE_INFINITY;
    const nowS = Math.min(changeS, expiryS);
    if (nowS >= endS) break;
    const touched = new Set<Node>();
    for (; expiries[nextExpiry]?.atS === nowS; nextExpiry++) {
      const node = (expiries[nextExpiry] as { node: Node }).node;
      const { book, ended } = expireLeases(node.book, nowS * 1000);
      node.book = book;
      count(node, ended, nowS);
      touched.add(node);
    }
    for (; changes[nextChange]?.atS === nowS; nextChange++) {
      const change = changes[nextChange] as Change;
      const node = nodes[change.node] as Node;
      node.free = node.timeline.freeCores[change.step] ?? 0;
      node.freeMib = node.timeline.freeMib[change.step] ?? 0;
      const { book, ended } = revokeLeases(node.book, inTheWay(node), "batch_job");
      node.book = book;
      count(node, ended, nowS);
      touched.add(node);
    }
    sum.leases += lend(touched, nowS, options, (node) => expiries.push({ atS: nowS + termS, node }));
  }
  // Those that go on at the end of the span were not cut.
  for (const node of nodes)
    for (const lease of node.book.leases.values())
      sum.caught += (endS - (lease.expiresAtMs / 1000 - termS)) * lease.cores.length;
  for (const { atS, freeCores } of timelines)
    for (let i = 0; i < atS.length; i++)
      sum.spare += (freeCores[i] ?? 0) * ((atS[i + 1] ?? endS) - (atS[i] ?? 0));
  return sum;
}

interface Change {
  readonly atS: number;
  readonly node: number;
  readonly step: number;
}

function changesOf(timelines: readonly Timeline[]): Change[] {
  const changes: Change[] = [];
  timelines.forEach(({ atS }, node) => {
    atS.forEach((at, step) => {
      changes.push({ atS: at, node, step });
    });
  });
  return changes.sort((a, b) => a.atS - b.atS);
}

/** Jobs hold the node's lowest cores; if memory is short, the cheapest leases that give enough of it. */
function inTheWay(node: Node): (lease: Lease) => boolean {
  const firstFree = node.timeline.cores - node.free;
  const byCores = (lease: Lease): boolean => lease.cores.some((core) => core < firstFree);
  const staying = [...node.book.leases.values()].filter((lease) => !byCores(lease));
  const stayingMib = staying.reduce((sum, lease) => sum + lease.memoryBytes / mib, 0);
  const short = stayingMib - node.freeMib;
  if (short <= 0) return byCores;
  const victims = victimsFor(
    staying.map((lease) => ({ lease, starting: false, touchedBytes: 0, startedAtMs: lease.expiresAtMs })),
    short * mib,
    ({ lease }) => lease.memoryBytes,
  );
  const ids = new Set(victims.map(({ lease }) => lease.id));
  return (lease) => byCores(lease) || ids.has(lease.id);
}

let serial = 0;

/** Places leases on the nodes that changed (the others are full) until one is refused. How many. */
function lend(
  touched: ReadonlySet<Node>,
  nowS: number,
  { termS, leaseCores, leaseMibPerCore }: SimulationOptions,
  granted: (node: Node) => void,
): number {
  const byName = new Map<string, Node>();
  for (const node of touched) byName.set(node.timeline.node, node);
  const request: LeaseRequest = {
    kind: "function",
    cores: leaseCores,
    minCores: 1,
    memoryBytes: leaseCores * leaseMibPerCore * mib,
    termMs: termS * 1000,
  };
  const offers = new Map<string, PlacementOffer>();
  const offer = (node: Node): void => {
    const spare = spareOf(node);
    const { node: name } = node.timeline;
    if (spare === undefined) offers.delete(name);
    else
      offers.set(name, {
        node: name,
        receivedAtMs: nowS * 1000,
        connected: true,
        spare: [spare],
        horizonMs: 0,
      });
  };
  for (const node of touched) offer(node);
  let leases = 0;
  while (offers.size > 0) {
    const id = `e${serial++}`;
    const wish = { ...request, excludeNodes: new Set<string>(), node: undefined, seed: id };
    const [candidate] = place(wish, offers.values(), undefined, [], nowS * 1000).candidates;
    const node = candidate === undefined ? undefined : byName.get(candidate.node);
    if (candidate === undefined || node === undefined) break;
    const spare = offers.get(candidate.node)?.spare ?? [];
    const decision = grantLease(node.book, id, request, owner, spare, nowS * 1000);
    if (!decision.granted) {
      offers.delete(candidate.node);
      continue;
    }
    node.book = decision.book;
    node.lentMib += decision.lease.memoryBytes / mib;
    leases++;
    granted(node);
    offer(node);
  }
  return leases;
}

function spareOf(node: Node): Spare | undefined {
  const { cores, memoryMib } = node.timeline;
  const taken = new Uint8Array(cores);
  for (const lease of node.book.leases.values()) for (const core of lease.cores) taken[core] = 1;
  const spare: number[] = [];
  for (let core = cores - node.free; core < cores; core++) if (taken[core] === 0) spare.push(core);
  if (spare.length === 0) return undefined;
  const idle = node.free === cores && node.freeMib === memoryMib;
  return {
    class: idle ? "idle" : "unallocated",
    cores: spare,
    memoryBytes: Math.max(0, node.freeMib - node.lentMib) * mib,
  };
}
