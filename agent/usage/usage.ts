/**
 * The accounting's part in an agent: follows the leases, keeps what was not acknowledged, hands it to the reporters.
 *
 * At least once, and never twice: a record has its key for ever and is sent only after it is in the spool, so that no later
 * life gives the key to something else. A controller acknowledges what its data base has. What an earlier life left open goes
 * on where it was if the guest was adopted; else it ends when the agent was last known to live.
 *
 * Leases and hooks wait for nothing here: without a disk all is kept in memory, bounded, and what does not fit is counted.
 */
import { join } from "node:path";
import { toSubletError } from "../../src/common/errors.ts";
import { type Billing, type UsageRecord, usageKey } from "../../src/common/nouns.ts";
import type { AgentConfig } from "../../src/config/config.ts";
import { usageToWire } from "../../src/rpc/convert.ts";
import type { UsageRecordMessage } from "../../src/rpc/messages.ts";
import type { LeaseStats } from "../executor/stats.ts";
import type { AgentLog } from "../log.ts";
import type { AdoptedGuest, Effect } from "../reactor/events.ts";
import type { Guest } from "../reactor/state.ts";
import type { Shell } from "../shell.ts";
import {
  ackLine,
  aliveLine,
  keptLine,
  never,
  openLine,
  type Past,
  readJournal,
  recordLine,
} from "./journal.ts";
import { type Ended, Ledger, type OpenLease, recordOf } from "./ledger.ts";
import { betweenMs, type Moment, thisMoment } from "./moment.ts";
import { Outbox } from "./outbox.ts";
import { readSpool, Spool } from "./spool.ts";

export interface UsageOptions {
  readonly node: string;
  /** Addresses; each must acknowledge each record. */
  readonly controllers: readonly string[];
  readonly stateDir: string;
  readonly sliceMs: number;
  readonly spoolBytes: number;
  readonly log: AgentLog;
  readonly now?: () => Moment;
  readonly spool?: { readonly syncMs?: number; readonly retryMs?: number };
}

/** For one reporter. */
export interface UsageSource {
  /** The oldest that its controller has not acknowledged. */
  next(most: number): UsageRecordMessage[];
  acked(keys: readonly string[]): void;
}

export interface UsageFigures {
  readonly records: number;
  readonly oldestSeconds: number;
  readonly spoolBytes: number;
  readonly lostRecords: number;
}

/** The file may be larger than what it keeps by what was acknowledged. */
const fileFactor = 4;
const none: Past = { open: new Map(), records: new Map(), alive: never, strange: 0 };

export class Usage {
  readonly #options: UsageOptions;
  readonly #ledger: Ledger;
  readonly #outbox: Outbox;
  readonly #spool: Spool;
  #controllers: number;
  readonly #open: Map<string, OpenLease>;
  readonly #alive: Moment;
  #shell: Pick<Shell, "listen" | "nowMs"> | undefined;
  #stats: Pick<LeaseStats, "invocations"> | undefined;
  #onAdded: () => void = () => undefined;

  private constructor(options: UsageOptions, past: Past) {
    this.#options = options;
    this.#ledger = new Ledger(options.node);
    this.#outbox = new Outbox(options.controllers, options.spoolBytes);
    this.#open = new Map(past.open);
    this.#controllers = options.controllers.length;
    this.#alive = past.alive;
    for (const { record, acked } of past.records.values())
      this.#outbox.add(record, performance.now(), true, acked);
    this.#spool = new Spool({
      path: join(options.stateDir, "usage.spool"),
      snapshot: () => this.#snapshot(),
      onState: (ok, why) => {
        if (ok) options.log.info({}, "usage records are kept on the disk again");
        else options.log.error({ why }, "usage records are kept in memory only: the spool cannot be written");
      },
      ...options.spool,
    });
  }

  /** Reads what an earlier life has left. */
  static async load(options: UsageOptions): Promise<Usage> {
    const path = join(options.stateDir, "usage.spool");
    let past = none;
    try {
      const lines = await readSpool(path, fileFactor * options.spoolBytes);
      past = lines === undefined ? none : readJournal(lines);
    } catch (thrown) {
      options.log.error(
        { path, message: toSubletError(thrown).message },
        "usage of an earlier life cannot be read: it is lost",
      );
    }
    if (past.strange > 0)
      options.log.warn({ path, lines: past.strange }, "lines of the spool are none of ours");
    return new Usage(options, past);
  }

  setControllers(addresses: readonly string[]): void {
    this.#controllers = addresses.length;
    this.#outbox.setControllers(addresses);
  }

  /** Nobody is told anything where there is no controller, and nothing is kept. */
  #keep(line: string, done?: () => void): void {
    if (this.#controllers > 0) this.#spool.append(line, done);
  }

  /** Guests as they were billed in the earlier life. */
  billed<T extends AdoptedGuest>(guests: readonly T[]): T[] {
    return guests.map((guest) => {
      const known = this.#open.get(guest.lease.id);
      if (known === undefined) return guest;
      const billing: Billing = { account: known.account, partition: known.partition };
      return { ...guest, lease: { ...guest.lease, billing } };
    });
  }

  /** Before guests are adopted. */
  follow(shell: Pick<Shell, "listen" | "nowMs">, stats: Pick<LeaseStats, "invocations">): void {
    this.#shell = shell;
    this.#stats = stats;
    shell.listen({ onEffect: (effect) => this.#onEffect(effect) });
  }

  /** After it: what was open and has no guest any more has ended. */
  closeOrphans(): void {
    for (const lease of this.#open.values()) {
      const lengthMs = betweenMs(lease.begin, this.#alive);
      const ended: Ended = { state: "REVOKED", reason: "agent_restart" };
      this.#add(recordOf(lease, this.#options.node, lengthMs, 0, ended), lease.calls);
    }
    this.#open.clear();
  }

  /** There is something new to send. */
  onAdded(tell: () => void): void {
    this.#onAdded = tell;
  }

  #now(): Moment {
    return this.#options.now?.() ?? thisMoment();
  }

  /** A lease that no spool tells of began when it was granted, by the wall clock; not before the machine was there. */
  #granted(unixMs: number): Moment {
    const now = this.#now();
    const ageMs = Math.min(Math.max(0, Math.round(now.unixMs - unixMs)), now.bootMs);
    return { unixMs: Math.round(unixMs), boot: now.boot, bootMs: now.bootMs - ageMs };
  }

  #onEffect(effect: Effect): void {
    if (effect.type === "start") this.#begin(effect.guest);
    else if (effect.type === "lease" && effect.guest.phase === "running") this.#begin(effect.guest);
    else if (effect.type === "ended") {
      const { state, reason } = effect.guest.lease;
      this.#begin(effect.guest);
      this.#cut(effect.guest.lease.id, { state, reason });
    }
  }

  #begin(guest: Guest): void {
    const { lease, grantedUnixMs } = guest;
    if (this.#ledger.has(lease.id) || this.#shell === undefined) return;
    const found = this.#open.get(lease.id);
    this.#open.delete(lease.id);
    const open = found ?? {
      leaseId: lease.id,
      kind: lease.kind,
      class: lease.class,
      cores: lease.cores.length,
      memoryBytes: lease.memoryBytes,
      uid: lease.owner.uid,
      jobId: lease.owner.jobId,
      account: lease.billing?.account ?? "",
      partition: lease.billing?.partition ?? "",
      slice: 0,
      begin: this.#granted(grantedUnixMs),
      calls: 0,
    };
    this.#ledger.begin(open, this.#shell.nowMs(), this.#now());
    this.#keep(openLine(open));
  }

  #cut(leaseId: string, ended?: Ended): void {
    const calls = this.#stats?.invocations(leaseId) ?? 0;
    const cut = this.#ledger.cut(leaseId, this.#shell?.nowMs() ?? 0, calls, ended);
    if (cut !== undefined) this.#add(cut.record, cut.calls);
  }

  #add(record: UsageRecord, calls: number): void {
    const key = usageKey(record);
    this.#outbox.add(record, performance.now(), false);
    this.#keep(recordLine(record, calls), () => {
      this.#outbox.setSendable(key);
      this.#onAdded();
    });
  }

  /** For the agent's slow tick. */
  tick(): void {
    if (this.#shell === undefined || this.#ledger.size === 0) return;
    for (const leaseId of this.#ledger.due(this.#shell.nowMs(), this.#options.sliceMs)) this.#cut(leaseId);
    this.#keep(aliveLine(this.#now()));
  }

  #snapshot(): string {
    // Until an earlier life's leases are adopted or closed, its last sign of life is theirs.
    const lines = [aliveLine(this.#open.size > 0 ? this.#alive : this.#now())];
    for (const lease of this.#ledger.open()) lines.push(openLine(lease));
    for (const lease of this.#open.values()) lines.push(openLine(lease));
    for (const { text, acked } of this.#outbox.texts()) lines.push(keptLine(text, acked));
    return `${lines.join("\n")}\n`;
  }

  source(controller: string): UsageSource {
    return {
      next: (most) => this.#outbox.next(controller, most).map(usageToWire),
      acked: (keys) => {
        const news = this.#outbox.acked(controller, keys);
        if (news.length > 0) this.#keep(ackLine(news, controller));
      },
    };
  }

  figures(): UsageFigures {
    const { size, oldestMs, lost } = this.#outbox;
    return {
      records: size,
      oldestSeconds: oldestMs === undefined ? 0 : (performance.now() - oldestMs) / 1000,
      spoolBytes: this.#spool.bytes,
      lostRecords: lost.records,
    };
  }

  /** The agent ends; its guests go on. */
  async close(): Promise<void> {
    if (this.#ledger.size > 0) this.#keep(aliveLine(this.#now()));
    await this.#spool.close();
  }
}

export async function loadUsage(config: AgentConfig, log: AgentLog): Promise<Usage> {
  const { node, controllers, reclaim, accounting } = config;
  return await Usage.load({ node, controllers, stateDir: reclaim.stateDir, log, ...accounting });
}
