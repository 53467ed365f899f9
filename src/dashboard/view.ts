/**
 * What all viewers see, made once for all of them: the table, the summary, which leases changed, the history. A look at the
 * source costs a pass over nodes and leases, so there is at most one a second, and while nobody watches only one every
 * 10 s, for the history.
 */
import type { Gain, History, LeaseChanges, LeaseRow, NodeTable, Reclaims, Summary } from "./api.ts";
import { historyOf } from "./chart.ts";
import { gainOf, type Price, quantile, reclaimsOf, type Span } from "./gain.ts";
import type { Recorder } from "./history.ts";
import { addNode, noSums, type Sums, sharesOf } from "./shares.ts";
import type { Counts, DashboardSource } from "./source.ts";
import { LiveTable } from "./table.ts";

export const sampleMs = 10_000;
const gainMs = 60_000;
const rateMs = 60_000;
const dayMs = 86_400_000;
/** Of one event; a page that shows more reads them again. */
const maxLeaseChanges = 500;

export interface ViewOptions {
  readonly source: DashboardSource;
  readonly recorder: Recorder;
  readonly price: () => Price | undefined;
  readonly nowUnixMs: () => number;
  /** Monotonic. */
  readonly nowMs: () => number;
}

const guardSum = ({ guard }: Counts): number => guard.throttle + guard.freeze + guard.shrink + guard.evict;

export class View {
  readonly #options: ViewOptions;
  readonly #table: LiveTable;
  #sums: Sums = noSums();
  #lookedMs = Number.NEGATIVE_INFINITY;
  #sampledMs: number;
  #counts: Counts;
  #reclaims: number;
  readonly #heldOut = new Set<string>();
  #rates: { readonly atMs: number; readonly invocations: number }[] = [];
  #gains: { readonly atMs: number; readonly today: Gain; readonly month: Gain } | undefined;
  #tokens = new Map<string, { token: object; row: LeaseRow | undefined }>();

  constructor(options: ViewOptions) {
    this.#options = options;
    this.#table = new LiveTable(options.nowUnixMs());
    this.#sampledMs = options.nowMs();
    this.#counts = options.source.counts();
    this.#reclaims = options.source.reclaims().at(-1)?.atMs ?? 0;
  }

  get live(): LiveTable {
    return this.#table;
  }

  get table(): NodeTable {
    this.look(1_000);
    return this.#table.table;
  }

  /** Looks at the source unless the last look is younger than this. */
  look(maxAgeMs: number): void {
    const { source, nowMs, nowUnixMs } = this.#options;
    if (nowMs() - this.#lookedMs < maxAgeMs) return;
    this.#lookedMs = nowMs();
    const sums = noSums();
    this.#heldOut.clear();
    this.#table.update(source, nowUnixMs(), (node) => {
      addNode(sums, node);
      if (node.lending === "hold-out") this.#heldOut.add(node.name);
    });
    this.#sums = sums;
    const { invocations } = source.counts();
    this.#rates.push({ atMs: nowMs(), invocations });
    while ((this.#rates[0]?.atMs ?? 0) < nowMs() - rateMs) this.#rates.shift();
  }

  /** Call it every second; records a sample every 10 s. True when it did. */
  sample(): boolean {
    const { source, recorder, nowMs, nowUnixMs } = this.#options;
    const lengthMs = nowMs() - this.#sampledMs;
    if (lengthMs < sampleMs - 500) return false;
    this.#sampledMs = nowMs();
    this.look(1_000);
    const before = this.#counts;
    const counts = source.counts();
    this.#counts = counts;
    // A counter that fell began anew with what counts it.
    const rise = (now: number, then: number): number => (now >= then ? now - then : now);
    const rows = source.reclaims();
    const fresh = rows.filter(({ atMs }) => atMs > this.#reclaims);
    this.#reclaims = rows.reduce((last, { atMs }) => Math.max(last, atMs), this.#reclaims);
    const counted = {
      invocations: rise(counts.invocations, before.invocations),
      reclaims: fresh.length,
      guardActions: rise(guardSum(counts), guardSum(before)),
      leasesReclaimed: rise(counts.leasesReclaimed, before.leasesReclaimed),
    };
    const { cores, memoryBytes } = this.#sums;
    recorder.add({ cores, memoryBytes, counted }, nowUnixMs(), lengthMs);
    return true;
  }

  /** A span that begins in the future, or ends before it begins, holds nothing. */
  gain(span: Span): Gain {
    const { source, recorder, price, nowUnixMs } = this.#options;
    const now = nowUnixMs();
    const until = { fromMs: span.fromMs, toMs: Math.max(span.fromMs, Math.min(span.toMs, now)) };
    const sum = recorder.sum(until.fromMs, until.toMs, now);
    return gainOf(sum, until, price(), source.receipts(), (node) => this.#heldOut.has(node));
  }

  history(span: Span & { readonly points: number }): History {
    return historyOf(this.#options.recorder, span, this.#options.nowUnixMs());
  }

  reclaims(span: Span): Reclaims {
    return reclaimsOf(this.#options.source.reclaims(), span);
  }

  #gainsNow(): { today: Gain; month: Gain } {
    const { source, nowUnixMs } = this.#options;
    const now = nowUnixMs();
    if (this.#gains === undefined || Math.abs(now - this.#gains.atMs) >= gainMs) {
      const today = this.gain({ fromMs: source.dayStartMs(now), toMs: now });
      const month = this.gain({ fromMs: now - 30 * dayMs, toMs: now });
      this.#gains = { atMs: now, today, month };
    }
    return this.#gains;
  }

  summary(): Summary {
    this.look(1_000);
    const { source, nowUnixMs } = this.#options;
    const { cores, memoryBytes, nodes } = this.#sums;
    const { today, month } = this.#gainsNow();
    const counts = source.counts();
    const first = this.#rates[0];
    const last = this.#rates.at(-1);
    const seconds = ((last?.atMs ?? 0) - (first?.atMs ?? 0)) / 1000;
    const rose = Math.max(0, (last?.invocations ?? 0) - (first?.invocations ?? 0));
    const rows = source.reclaims();
    const ascending = rows.map(({ durationMs }) => durationMs).sort((a, b) => a - b);
    return {
      atMs: nowUnixMs(),
      cluster: source.cluster,
      version: source.version,
      cores: sharesOf(cores),
      memoryBytes: sharesOf(memoryBytes),
      nodes: { ...nodes },
      leases: source.leasesByKind(),
      invocations: {
        total: counts.invocations,
        perSecond: seconds <= 0 ? 0 : Math.round((rose / seconds) * 10) / 10,
      },
      reclaim: { total: rows.length, p50Ms: quantile(ascending, 0.5), p99Ms: quantile(ascending, 0.99) },
      guardActions: { ...counts.guard },
      gain: { today, month },
      snapshot: source.snapshot(),
      notices: source.notices(),
    };
  }

  /** Newest first. */
  leases(wanted: (lease: LeaseRow) => boolean, limit: number): LeaseRow[] {
    const { source } = this.#options;
    const rows: LeaseRow[] = [];
    source.eachLease((_, token) => {
      const row = source.leaseRow(token);
      if (wanted(row)) rows.push(row);
    });
    return rows.sort((a, b) => b.grantedAtMs - a.grantedAtMs || (a.id < b.id ? -1 : 1)).slice(0, limit);
  }

  /** Since the call before; a renewal alone is no change. undefined: none, or the first call. */
  leaseChanges(): LeaseChanges | undefined {
    const { source, nowUnixMs } = this.#options;
    const before = this.#tokens;
    const after: typeof before = new Map();
    const live: LeaseRow[] = [];
    source.eachLease((id, token) => {
      const known = before.get(id);
      before.delete(id);
      if (known?.token === token) {
        after.set(id, known);
        return;
      }
      const row = source.leaseRow(token);
      if (known?.row === undefined || differs(known.row, row)) live.push(row);
      after.set(id, { token, row });
    });
    const ended = [...before.values()].flatMap(({ row }) => (row === undefined ? [] : [row]));
    this.#tokens = after;
    if (live.length + ended.length === 0) return undefined;
    return { atMs: nowUnixMs(), live: live.slice(-maxLeaseChanges), ended: ended.slice(-maxLeaseChanges) };
  }

  /** Nobody watches leases any more: what changes until the next call is not told. */
  forgetLeases(): void {
    this.#tokens.clear();
  }

  /** What changes from now on. */
  watchLeases(): void {
    if (this.#tokens.size === 0) this.leaseChanges();
  }
}

function differs(a: LeaseRow, b: LeaseRow): boolean {
  return (
    a.state !== b.state ||
    a.reason !== b.reason ||
    a.cores !== b.cores ||
    a.memoryBytes !== b.memoryBytes ||
    a.invocations !== b.invocations
  );
}
