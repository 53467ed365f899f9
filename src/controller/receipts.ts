/**
 * Interference receipts that agents reported: the newest `maxReceipts`, lines of guests `maxLines` at most over all.
 * Soft: an agent tells what it keeps again at the start of each stream, so the same receipt may come twice.
 */
import { SubletError } from "../common/errors.ts";
import { classFromWire, kindFromWire } from "../rpc/convert.ts";
import type { PressureMessage, ReceiptMessage } from "../rpc/messages.ts";

const maxReceipts = 20_000;
const maxLines = 200_000;
const maxGuests = 256;
const maxActions = 32;

export class ReceiptStore {
  /** In the order in which they came. */
  readonly #byKey = new Map<string, ReceiptMessage>();
  readonly #byJob = new Map<number, Set<string>>();
  #lines = 0;

  get size(): number {
    return this.#byKey.size;
  }

  /** False: it was known. */
  add(receipt: ReceiptMessage): boolean {
    const key = `${receipt.jobId} ${receipt.node} ${receipt.fromUnixMs}`;
    if (this.#byKey.has(key)) return false;
    this.#byKey.set(key, receipt);
    this.#lines += receipt.guests.length;
    const keys = this.#byJob.get(receipt.jobId) ?? new Set();
    this.#byJob.set(receipt.jobId, keys.add(key));
    for (const [oldest, { jobId, guests }] of this.#byKey) {
      if (this.#byKey.size <= maxReceipts && this.#lines <= maxLines) break;
      this.#byKey.delete(oldest);
      this.#lines -= guests.length;
      const left = this.#byJob.get(jobId);
      left?.delete(oldest);
      if (left?.size === 0) this.#byJob.delete(jobId);
    }
    return true;
  }

  /** Of one node, the latest first. */
  ofNode(node: string, limit: number): ReceiptMessage[] {
    const found = [...this.#byKey.values()].filter((receipt) => receipt.node === node);
    return found.slice(-limit).reverse();
  }

  /** Of all jobs, the latest last, in the order in which they came. */
  all(): Iterable<ReceiptMessage> {
    return this.#byKey.values();
  }

  /** By node, and of one node the earlier life first. */
  of(jobId: number): ReceiptMessage[] {
    const found = [...(this.#byJob.get(jobId) ?? [])].flatMap((key) => this.#byKey.get(key) ?? []);
    return found.sort((a, b) => a.node.localeCompare(b.node) || a.fromUnixMs - b.fromUnixMs);
  }
}

const amount = (value: number): boolean => Number.isFinite(value) && value >= 0;

function checkPressure(pressure: PressureMessage | null): boolean {
  return pressure === null || Object.values(pressure).every((value) => Number.isSafeInteger(value));
}

/** A receipt as an agent of that node tells it. @throws SubletError INVALID_ARGUMENT. */
export function checkReceipt(receipt: ReceiptMessage, node: string): ReceiptMessage {
  const { jobId, guests, actions } = receipt;
  const bad = (why: string): SubletError =>
    new SubletError("INVALID_ARGUMENT", `report: ${node}: receipt of job ${jobId} ${why}`);
  if (receipt.node !== node) throw bad("is said to be of another node");
  if (jobId === 0) throw bad("is of no job");
  if (guests.length > maxGuests || actions.length > maxActions) throw bad("is too long");
  if (!Number.isSafeInteger(receipt.fromUnixMs) || !Number.isSafeInteger(receipt.toUnixMs))
    throw bad("is of no time");
  if (!checkPressure(receipt.alone) || !checkPressure(receipt.beside)) throw bad("has no pressure");
  if (receipt.pressureOf.length > 16 || actions.some(({ action }) => !/^[a-z_]{1,32}$/.test(action)))
    throw bad("has words that are none");
  for (const guest of guests) {
    if (!/^[A-Za-z0-9_-]{0,63}$/.test(guest.leaseId)) throw bad("names a lease that is none");
    if (!amount(guest.coreSeconds) || !amount(guest.byteSeconds)) throw bad("has sums that are none");
    if (guest.kind !== "LEASE_KIND_UNSPECIFIED") kindFromWire(guest.kind);
    if (guest.class !== "CAPACITY_CLASS_UNSPECIFIED") classFromWire(guest.class);
  }
  return receipt;
}
