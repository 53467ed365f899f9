/**
 * Records that not every controller has acknowledged. Bounded in bytes: when they do not fit any more the oldest goes; it is
 * lost if no controller has it. Kept as text, the smallest form in memory. Pure.
 */
import { type UsageRecord, usageKey } from "../../src/common/nouns.ts";

interface Entry {
  readonly text: string;
  /** Controllers that have not acknowledged it. */
  readonly waiting: Set<string>;
  readonly madeAtMs: number;
  /** It is on the disk, or there is no disk to wait for. */
  sendable: boolean;
}

export interface Lost {
  records: number;
  coreSeconds: number;
}

/** Of a record beyond its text. */
const entryBytes = 200;

export class Outbox {
  #controllers: readonly string[];
  readonly #maxBytes: number;
  readonly #entries = new Map<string, Entry>();
  #bytes = 0;
  readonly lost: Lost = { records: 0, coreSeconds: 0 };

  constructor(controllers: readonly string[], maxBytes: number) {
    this.#controllers = controllers;
    this.#maxBytes = maxBytes;
  }

  /** Who must acknowledge from now on: new ones all that is kept, dropped ones nothing. */
  setControllers(controllers: readonly string[]): void {
    const added = controllers.filter((each) => !this.#controllers.includes(each));
    const gone = this.#controllers.filter((each) => !controllers.includes(each));
    this.#controllers = [...new Set(controllers)];
    for (const [key, entry] of this.#entries) {
      for (const each of added) entry.waiting.add(each);
      for (const each of gone) entry.waiting.delete(each);
      if (entry.waiting.size === 0) this.#remove(key, entry);
    }
  }

  get size(): number {
    return this.#entries.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Since when the oldest waits; undefined: none does. */
  get oldestMs(): number | undefined {
    for (const { madeAtMs } of this.#entries.values()) return madeAtMs;
    return undefined;
  }

  /** `acked`: by whom already. */
  add(record: UsageRecord, nowMs: number, sendable: boolean, acked: readonly string[] = []): void {
    const key = usageKey(record);
    const waiting = new Set(this.#controllers.filter((each) => !acked.includes(each)));
    if (waiting.size === 0 || this.#entries.has(key)) return;
    const text = JSON.stringify(record);
    this.#entries.set(key, { text, waiting, madeAtMs: nowMs, sendable });
    this.#bytes += text.length + entryBytes;
    for (const [oldest, entry] of this.#entries) {
      if (this.#bytes <= this.#maxBytes) break;
      this.#remove(oldest, entry);
      if (entry.waiting.size < this.#controllers.length) continue;
      this.lost.records += 1;
      this.lost.coreSeconds += (JSON.parse(entry.text) as UsageRecord).coreSeconds;
    }
  }

  #remove(key: string, entry: Entry): void {
    this.#entries.delete(key);
    this.#bytes -= entry.text.length + entryBytes;
  }

  setSendable(key: string): void {
    const entry = this.#entries.get(key);
    if (entry !== undefined) entry.sendable = true;
  }

  /** The oldest that this controller has not acknowledged. */
  next(controller: string, most: number): UsageRecord[] {
    const records: UsageRecord[] = [];
    for (const { text, waiting, sendable } of this.#entries.values()) {
      if (records.length >= most) break;
      if (sendable && waiting.has(controller)) records.push(JSON.parse(text) as UsageRecord);
    }
    return records;
  }

  /** Gives those keys that were news. */
  acked(controller: string, keys: readonly string[]): string[] {
    return keys.filter((key) => {
      const entry = this.#entries.get(key);
      if (entry?.waiting.delete(controller) !== true) return false;
      if (entry.waiting.size === 0) this.#remove(key, entry);
      return true;
    });
  }

  /** All of them, as texts, with who has acknowledged each. */
  *texts(): Generator<{ readonly text: string; readonly acked: readonly string[] }> {
    for (const { text, waiting } of this.#entries.values())
      yield { text, acked: this.#controllers.filter((each) => !waiting.has(each)) };
  }
}
