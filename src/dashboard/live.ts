/**
 * What all viewers share: looked at once, whoever watches. Every second while somebody watches, else every ten seconds for
 * the history. Answers are strings that are made once; a viewer costs what it takes to send them.
 */
import type { Days } from "../common/days.ts";
import type { Gain, LeaseChanges, LeaseRow, NodeChanges, ReclaimRow, Summary } from "./api.ts";
import type { HistoryStore } from "./history.ts";
import { NodeBoard } from "./nodes.ts";
import { gainOf, type Price } from "./points.ts";
import { ReclaimLog } from "./reclaims.ts";
import { type Gauges, gaugesOf, shareNames } from "./shares.ts";
import { type ClusterFacts, type DashboardSource, noTotals, type Totals } from "./source.ts";

export type Topic = "summary" | "nodes" | "leases";
export type OnEvent = (topic: Topic, text: string) => void;

export interface LiveOptions {
  readonly source: DashboardSource;
  readonly history: HistoryStore;
  readonly cluster: string;
  readonly version: string;
  readonly price: Price | undefined;
  /** Of the site: where its days begin. */
  readonly days: Days;
  readonly longHistory: boolean;
  readonly unixMs: () => number;
  /** Monotonic. */
  readonly nowMs: () => number;
  readonly onEvent: OnEvent;
  /** Which topics somebody watches. */
  readonly watched: (topic: Topic) => boolean;
}

const sampleMs = 10_000;
const gainMs = 30_000;
const saveMs = 60_000;
/** A summary is told when a figure changed, at most this often, and at least this often. */
const summaryLeastMs = 2_000;
const summaryMostMs = 15_000;
const dayMs = 86_400_000;

export class Live {
  readonly board = new NodeBoard();
  readonly reclaims = new ReclaimLog();
  readonly #options: LiveOptions;
  #facts: ClusterFacts | undefined;
  #factsAtMs = Number.NEGATIVE_INFINITY;
  #sampledAtMs = Number.NEGATIVE_INFINITY;
  #savedAtMs: number;
  #gain: { readonly atMs: number; readonly today: Gain; readonly month: Gain } | undefined;
  #told = { text: "", sent: "", atMs: Number.NEGATIVE_INFINITY };
  /** What was told of each live lease. */
  #leases = new Map<string, string>();
  #ended: LeaseRow[] = [];
  /** As it was written for its revision. */
  #table: { readonly revision: number; readonly text: string } | undefined;
  /** Of the last minute or so, for rates. */
  readonly #calls: { readonly atMs: number; readonly total: number }[] = [];

  constructor(options: LiveOptions) {
    this.#options = options;
    this.#savedAtMs = options.nowMs();
  }

  /** Call about once a second. */
  tick(): void {
    const { nowMs, history, onEvent, watched } = this.#options;
    const now = nowMs();
    const anybody = watched("summary") || watched("nodes") || watched("leases");
    if (anybody || now - this.#sampledAtMs >= sampleMs) this.#look();
    if (now - this.#sampledAtMs >= sampleMs) this.#sample(now);
    if (now - this.#savedAtMs >= saveMs) {
      this.#savedAtMs = now;
      history.save();
    }
    if (watched("summary")) this.#tellSummary(now);
    if (watched("leases")) this.#tellLeases();
    else {
      this.#leases.clear();
      this.#ended = [];
    }
    if (!anybody) return;
    const changes = this.board.update(this.#facts?.nodes ?? [], this.#options.unixMs());
    if (changes !== undefined && watched("nodes")) onEvent("nodes", JSON.stringify(changes));
  }

  #look(): ClusterFacts {
    this.#facts = this.#options.source.facts();
    this.#factsAtMs = this.#options.nowMs();
    return this.#facts;
  }

  /** Not older than a second. */
  #now(): ClusterFacts {
    const fresh = this.#options.nowMs() - this.#factsAtMs < 1000;
    return fresh && this.#facts !== undefined ? this.#facts : this.#look();
  }

  #sample(now: number): void {
    this.#sampledAtMs = now;
    const facts = this.#facts;
    if (facts === undefined) return;
    const { cores, memory } = this.#gauges(facts);
    this.#options.history.add({ cores, memory, totals: facts.totals }, this.#options.unixMs(), now);
  }

  #gauges(facts: ClusterFacts): { cores: Gauges; memory: Gauges } {
    return {
      cores: gaugesOf(facts.nodes, (node) => node.cores),
      memory: gaugesOf(facts.nodes, (node) => node.memoryBytes),
    };
  }

  /** The same string until a node changes. Who reads takes no news from those who watch: they are told it as well. */
  nodeTable(): string {
    const { onEvent, watched, unixMs } = this.#options;
    const changes = this.board.update(this.#now().nodes, unixMs());
    if (changes !== undefined && watched("nodes")) onEvent("nodes", JSON.stringify(changes));
    if (this.#table?.revision !== this.board.table.revision)
      this.#table = { revision: this.board.table.revision, text: JSON.stringify(this.board.table) };
    return this.#table.text;
  }

  reclaimed(row: ReclaimRow): void {
    this.reclaims.add(row);
  }

  leaseEnded(row: LeaseRow): void {
    if (this.#options.watched("leases") && this.#ended.length < 10_000) this.#ended.push(row);
  }

  gain(fromMs: number, toMs: number): Gain {
    const { history, price } = this.#options;
    return gainOf(history.between(fromMs, toMs), fromMs, toMs, price, history.compared(fromMs, toMs));
  }

  #gains(now: number): { readonly today: Gain; readonly month: Gain } {
    if (this.#gain !== undefined && now - this.#gain.atMs < gainMs) return this.#gain;
    const { days } = this.#options;
    const unixMs = this.#options.unixMs();
    const midnight = days.startOf(days.dayOf(unixMs));
    this.#gain = {
      atMs: now,
      // In the first moment of a day there is nothing yet to divide by.
      today: this.gain(midnight, Math.max(unixMs, midnight + 1)),
      month: this.gain(unixMs - 30 * dayMs, unixMs),
    };
    return this.#gain;
  }

  summary(): Summary {
    const { cluster, version, days, longHistory, unixMs, nowMs } = this.#options;
    const facts = this.#now();
    const now = nowMs();
    const { cores, memory } = this.#gauges(facts);
    const shares = (gauges: Gauges) =>
      Object.fromEntries(shareNames.map((name) => [name, gauges[name]])) as Record<
        (typeof shareNames)[number],
        number
      >;
    const count = (test: (node: ClusterFacts["nodes"][number]) => boolean): number =>
      facts.nodes.reduce((sum, node) => sum + (test(node) ? 1 : 0), 0);
    const { totals } = facts;
    const { today, month } = this.#gains(now);
    return {
      atMs: unixMs(),
      cluster,
      version,
      cores: shares(cores),
      memoryBytes: shares(memory),
      nodes: {
        total: facts.nodes.length,
        reporting: count(({ reporting }) => reporting),
        lending: count(({ lending }) => lending === "on"),
        drained: count(({ lending }) => lending === "drained"),
        shadow: count(({ lending }) => lending === "shadow"),
        holdOut: count(({ lending }) => lending === "hold-out"),
      },
      leases: facts.leases,
      invocations: { total: totals.invocations, perSecond: this.#callsPerSecond(totals, now) },
      reclaim: { total: totals.reclaims, ...this.reclaims.recent() },
      guardActions: {
        throttle: totals.throttle,
        freeze: totals.freeze,
        shrink: totals.shrink,
        evict: totals.evict,
      },
      gain: { today, month },
      timeZone: days.timeZone,
      longHistory,
      snapshot: facts.snapshot,
      notices: [...facts.notices],
    };
  }

  /** For a viewer that missed some of a topic: how things are, or that it has to read them anew. */
  latest(topic: Topic): string {
    const atMs = this.#options.unixMs();
    if (topic === "summary") return this.#told.sent || JSON.stringify(this.summary());
    if (topic === "leases")
      return JSON.stringify({ atMs, live: [], ended: [], missed: true } satisfies LeaseChanges);
    const { revision } = this.board.table;
    return JSON.stringify({ atMs, fromRevision: revision, revision } satisfies NodeChanges);
  }

  #callsPerSecond({ invocations }: Totals, now: number): number {
    const calls = this.#calls;
    calls.push({ atMs: now, total: invocations });
    while (calls.length > 2 && now - (calls[0]?.atMs ?? now) > 60_000) calls.shift();
    const first = calls[0];
    const seconds = (now - (first?.atMs ?? now)) / 1000;
    return seconds < 1 ? 0 : Math.max(0, invocations - (first?.total ?? 0)) / seconds;
  }

  #tellSummary(now: number): void {
    if (now - this.#told.atMs < summaryLeastMs) return;
    const found = this.summary();
    // Ages rise by themselves: alone they are no news.
    const text = JSON.stringify({ ...found, atMs: 0, snapshot: { ...found.snapshot, ageMs: 0 } });
    if (text === this.#told.text && now - this.#told.atMs < summaryMostMs) return;
    const sent = JSON.stringify(found);
    this.#told = { text, sent, atMs: now };
    this.#options.onEvent("summary", sent);
  }

  #tellLeases(): void {
    const rows = this.#options.source.leases();
    const live: LeaseRow[] = [];
    const next = new Map<string, string>();
    for (const row of rows) {
      const text = `${row.state} ${row.reason} ${row.invocations} ${row.cores}`;
      next.set(row.id, text);
      if (this.#leases.get(row.id) !== text) live.push(row);
    }
    this.#leases = next;
    const ended = this.#ended;
    this.#ended = [];
    if (live.length === 0 && ended.length === 0) return;
    this.#options.onEvent("leases", JSON.stringify({ atMs: this.#options.unixMs(), live, ended }));
  }
}

export { noTotals };
