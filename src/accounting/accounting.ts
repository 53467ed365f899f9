/**
 * The accounting as a controller uses it: takes usage records, stores them in batches, and says which are stored only
 * after the data base has them. What it does not acknowledge its sender keeps and sends again: so nothing is kept here
 * while the data base is away, and a kill at any moment loses nothing. Nobody who asks for a lease waits for any of this.
 *
 * Away: opening failed, or a statement did. Told once; tried again after 1 s, then ever longer up to 30 s.
 */

import { Days } from "../common/days.ts";
import { SubletError, toSubletError } from "../common/errors.ts";
import type { UsageRecord } from "../common/nouns.ts";
import { usageKey } from "../common/nouns.ts";
import type { Exhausted } from "../common/quota.ts";
import type { AccountingConfig } from "../config/accounting.ts";
import type { Database } from "./db/database.ts";
import { migrate } from "./db/migrations.ts";
import { type AccountQuota, exhausted, quotaOf, type Running, usedNow } from "./quota.ts";
import { Store, type Stored, type UsageQuery, type UsageRow } from "./store.ts";

export interface AccountingEvents {
  onStored(result: Stored): void;
  /** Records that cannot be: they are acknowledged, and gone. */
  onInvalid(count: number, why: string): void;
  /** Told when it changes. */
  onDatabase(up: boolean, place: string, why: string): void;
  onForgotten(records: number): void;
}

export interface AccountingOptions {
  readonly config: AccountingConfig;
  /** Gives the data base; may reject or throw while it is away. */
  readonly open: () => Promise<Database>;
  readonly place: string;
  readonly events: AccountingEvents;
  /** Users by uid, as far as known. */
  readonly names: () => ReadonlyMap<number, string>;
  /** Leases that live. */
  readonly running: () => Iterable<Running>;
  readonly nowUnixMs?: () => number;
  /** Pauses between tries while the data base is away. */
  readonly retryFirstMs?: number;
  readonly retryMaxMs?: number;
}

export type OnAcked = (keys: readonly string[]) => void;

export interface DatabaseStatus {
  readonly up: boolean;
  readonly place: string;
  readonly why: string;
}

export interface QuotaToday {
  readonly account: string;
  /** undefined: unlimited. */
  readonly limitCoreSeconds: number | undefined;
  readonly usedTodayCoreSeconds: number;
}

export interface Accounting {
  readonly days: Days;
  readonly status: DatabaseStatus;
  /** Records that wait to be stored. */
  readonly waiting: number;
  /** Stores them; `onAcked` is called once with those that are stored, or not at all. */
  take(records: readonly UsageRecord[], onAcked: OnAcked): void;
  /** Rejects with UNAVAILABLE while the data base is away. */
  usage(query: UsageQuery): Promise<UsageRow[]>;
  /** The same with a span of time: all days that it touches. */
  usageOf(
    span: { readonly fromMs: number; readonly toMs: number },
    groupBy: UsageQuery["groupBy"],
  ): Promise<UsageRow[]>;
  /** Of these accounts, today. */
  quotas(accounts: readonly string[]): QuotaToday[];
  /** Who has nothing left today; [] without quotas, and while it is not known. */
  exhausted(): readonly Exhausted[];
  close(): Promise<void>;
}

const gatherMs = 50;
/** Two hundred nodes with a report each. */
const maxBatch = 5_000;
const maxWaiting = 50_000;
/** What other controllers have stored is seen after this at the latest. */
const lookMs = 5_000;
const housekeepingMs = 3_600_000;
const dayMs = 86_400_000;
/** Ends of slices, of leases that live. */
const maxTold = 200_000;

interface Batch {
  readonly records: readonly UsageRecord[];
  readonly onAcked: OnAcked;
}

export function startAccounting(options: AccountingOptions): Accounting {
  const { config, events } = options;
  const nowUnixMs = options.nowUnixMs ?? Date.now;
  const days = new Days(config.timeZone);
  const hasQuota = (): boolean => Object.keys(config.quota).length > 0;
  let database: Database | undefined;
  let store: Store | undefined;
  let status: DatabaseStatus = { up: false, place: options.place, why: "it was not opened yet" };
  let told = false;
  let closed = false;
  let queue: Batch[] = [];
  let waiting = 0;
  let storing = false;
  let gather: NodeJS.Timeout | undefined;
  let retry: NodeJS.Timeout | undefined;
  let retryMs = options.retryFirstMs ?? 1_000;
  /** End of the last slice that was stored, of leases that live. */
  const toldUnixMs = new Map<string, number>();
  let stored = { day: "", used: new Map<string, number>(), lookedMs: Number.NEGATIVE_INFINITY };

  function say(up: boolean, why: string): void {
    const changed = !told || status.up !== up;
    status = { up, place: options.place, why };
    told = true;
    if (changed && !closed) events.onDatabase(up, options.place, why);
  }

  async function open(): Promise<void> {
    try {
      const opened = await options.open();
      database = opened;
      await migrate(opened, nowUnixMs());
      store = new Store(opened, days);
      retryMs = options.retryFirstMs ?? 1_000;
      say(true, "");
      await look();
      schedule();
    } catch (thrown) {
      away(thrown);
    }
  }

  /** Drops what waits: its senders keep it. */
  function away(thrown: unknown): void {
    const lost = database;
    database = undefined;
    store = undefined;
    queue = [];
    waiting = 0;
    void lost?.close().catch(() => undefined);
    say(false, toSubletError(thrown).message);
    if (closed || retry !== undefined) return;
    retry = setTimeout(() => {
      retry = undefined;
      void open();
    }, retryMs);
    retry.unref();
    retryMs = Math.min(options.retryMaxMs ?? 30_000, retryMs * 2);
  }

  function schedule(): void {
    if (gather !== undefined || storing || queue.length === 0 || store === undefined) return;
    gather = setTimeout(() => {
      gather = undefined;
      void storeNext();
    }, gatherMs);
  }

  async function storeNext(): Promise<void> {
    if (store === undefined || storing) return;
    storing = true;
    const batches: Batch[] = [];
    let count = 0;
    while (queue.length > 0 && count < maxBatch) {
      const batch = queue.shift();
      if (batch === undefined) break;
      batches.push(batch);
      count += batch.records.length;
    }
    waiting -= count;
    try {
      const result = await store.insert(
        batches.flatMap(({ records }) => records),
        options.names(),
        nowUnixMs(),
      );
      for (const { records } of batches) for (const record of records) remember(record);
      events.onStored(result);
      await look();
      for (const { records, onAcked } of batches) onAcked(records.map(usageKey));
    } catch (thrown) {
      away(thrown);
    } finally {
      storing = false;
      schedule();
    }
  }

  function remember({ leaseId, state, endUnixMs }: UsageRecord): void {
    if (state !== "ACTIVE") toldUnixMs.delete(leaseId);
    else if (toldUnixMs.size < maxTold || toldUnixMs.has(leaseId))
      toldUnixMs.set(leaseId, Math.max(endUnixMs, toldUnixMs.get(leaseId) ?? 0));
  }

  /** Reads what today's sums are by now. */
  async function look(): Promise<void> {
    if (store === undefined) return;
    const day = days.dayOf(nowUnixMs());
    stored = { day, used: await store.usedOn(day), lookedMs: performance.now() };
  }

  function usedToday(): Map<string, number> {
    const now = nowUnixMs();
    const day = days.dayOf(now);
    if (performance.now() - stored.lookedMs > lookMs && store !== undefined && !storing) {
      stored = { ...stored, lookedMs: performance.now() };
      look().catch(away);
    }
    const known = stored.day === day ? stored.used : new Map<string, number>();
    return usedNow(known, options.running(), toldUnixMs, days.startOf(day), now);
  }

  async function keepHouse(): Promise<void> {
    if (store === undefined) return;
    const now = nowUnixMs();
    const totalsBefore = days.shift(days.dayOf(now), -config.totalsRetentionDays);
    try {
      const removed = await store.forget(now - config.retentionDays * dayMs, totalsBefore);
      if (removed > 0) events.onForgotten(removed);
      const live = new Set([...options.running()].map(({ leaseId }) => leaseId));
      for (const leaseId of toldUnixMs.keys()) if (!live.has(leaseId)) toldUnixMs.delete(leaseId);
    } catch (thrown) {
      away(thrown);
    }
  }

  function present(): Store {
    if (store === undefined)
      throw new SubletError(
        "UNAVAILABLE",
        `accounting: the data base is away (${status.place}: ${status.why}); leases go on, and what is held meanwhile is told later`,
      );
    return store;
  }

  /** Older than what is kept: whether it was stored once cannot be known any more. */
  function tooOld({ endUnixMs }: UsageRecord): boolean {
    return endUnixMs < nowUnixMs() - config.retentionDays * dayMs;
  }

  if (config.enabled) void open();
  const housekeeping = setInterval(() => void keepHouse(), housekeepingMs);
  housekeeping.unref();

  return {
    days,
    get status() {
      return status;
    },
    get waiting() {
      return waiting;
    },
    take(records, onAcked) {
      if (!config.enabled) {
        onAcked(records.map(usageKey));
        return;
      }
      // What comes while the data base is opened for the first time waits for that.
      const away = store === undefined && told;
      if (closed || away || waiting + records.length > maxWaiting) return;
      const old = records.filter(tooOld);
      if (old.length > 0) events.onInvalid(old.length, "older than retention_days");
      const wanted = old.length === 0 ? records : records.filter((record) => !tooOld(record));
      if (wanted.length === 0) {
        onAcked(records.map(usageKey));
        return;
      }
      queue.push({
        records: wanted,
        onAcked: (keys) => onAcked([...keys, ...old.map(usageKey)]),
      });
      waiting += wanted.length;
      schedule();
    },
    async usage(query) {
      return await present().usage(query);
    },
    async usageOf({ fromMs, toMs }, groupBy) {
      const query = { fromDay: days.dayOf(fromMs), toDay: days.dayOf(toMs), groupBy };
      return await present().usage(query);
    },
    quotas(accounts) {
      const used = usedToday();
      return accounts.map((account) => ({
        account,
        limitCoreSeconds: quotaOf(config.quota, account),
        usedTodayCoreSeconds: used.get(account) ?? 0,
      }));
    },
    exhausted() {
      if (!config.enabled || !hasQuota()) return [];
      const now = nowUnixMs();
      const resetsInMs = days.endOf(days.dayOf(now)) - now;
      return exhausted(config.quota, usedToday()).map((each: AccountQuota) => ({
        ...each,
        resetsInMs,
        timeZone: days.timeZone,
      }));
    },
    async close() {
      closed = true;
      clearTimeout(gather);
      clearTimeout(retry);
      clearInterval(housekeeping);
      queue = [];
      await database?.close();
    },
  };
}
