/**
 * A report of an agent, checked: every length and number is bounded before it enters the state. Agents are trusted
 * daemons, but one that is broken must not break the view of the others.
 */
import { maxCores } from "../common/cpulist.ts";
import { SubletError } from "../common/errors.ts";
import type { Spare } from "../common/nouns.ts";
import { leaseEnded } from "../lease/lifecycle.ts";
import { classFromWire, spareFromWire, stateFromWire } from "../rpc/convert.ts";
import type {
  LeaseMessage,
  NodeCountersMessage,
  OfferMessage,
  ReceiptMessage,
  ReclaimRecordMessage,
  ReportRequest,
} from "../rpc/messages.ts";
import { checkReceipt } from "./receipts.ts";
import { type CheckedUsage, checkUsage } from "./usage.ts";

export interface Report {
  readonly offer: OfferMessage;
  /** offer.spare as nouns. */
  readonly spare: readonly Spare[];
  readonly live: readonly LeaseMessage[];
  readonly ended: readonly LeaseMessage[];
  readonly full: boolean;
  readonly receipts: readonly ReceiptMessage[];
  readonly usage: CheckedUsage;
  readonly reclaims: readonly ReclaimRecordMessage[];
  readonly counters: NodeCountersMessage | null;
}

export const maxLeasesPerNode = 4096;
const maxSpare = 16;
const maxReceipts = 256;
const maxUsage = 1_000;
const maxReclaims = 256;

export const leaseIdPattern = /^[A-Za-z0-9_-]{1,63}$/;
export const nodeNamePattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const addressPattern = /^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]{1,255}):\d{1,5}$/;

/** @throws SubletError INVALID_ARGUMENT. */
export function checkReport(message: ReportRequest): Report {
  const bad = (why: string): SubletError => new SubletError("INVALID_ARGUMENT", `report: ${why}`);
  const { offer, leases, full, receipts } = message;
  if (offer === null) throw bad("has no offer; each report carries one");
  if (!nodeNamePattern.test(offer.node)) throw bad("the node's name is not one");
  if (!addressPattern.test(offer.address)) throw bad(`${offer.node}: the address is not host:port`);
  for (const [name, value] of Object.entries(offer))
    if (typeof value === "number" && !(Number.isSafeInteger(value) && value >= 0))
      throw bad(`${offer.node}: ${name} is out of bounds`);
  if (offer.spare.length > maxSpare || offer.shadowSpare.length > maxSpare)
    throw bad(`${offer.node}: more than ${maxSpare} kinds of spare capacity`);
  for (const { cores, memoryBytes } of [...offer.spare, ...offer.shadowSpare])
    checkShare(offer.node, cores, memoryBytes);
  if (leases.length > maxLeasesPerNode) throw bad(`${offer.node}: more than ${maxLeasesPerNode} leases`);
  if (receipts.length > maxReceipts) throw bad(`${offer.node}: more than ${maxReceipts} receipts at once`);
  if (message.reclaims.length > maxReclaims)
    throw bad(`${offer.node}: more than ${maxReclaims} reclaims at once`);
  if (message.usage.length > maxUsage)
    throw bad(`${offer.node}: more than ${maxUsage} usage records at once`);
  const checked = receipts.map((receipt) => checkReceipt(receipt, offer.node));
  const live: LeaseMessage[] = [];
  const ended: LeaseMessage[] = [];
  for (const lease of leases) {
    checkLease(lease, offer.node);
    (leaseEnded(stateFromWire(lease.state)) ? ended : live).push(lease);
  }
  return {
    offer,
    spare: offer.spare.map(spareFromWire),
    live,
    ended,
    full,
    receipts: checked,
    usage: checkUsage(message.usage, offer.node),
    reclaims: message.reclaims.map((record) => checkReclaim(record, offer.node)),
    counters: checkCounters(message.counters, offer.node),
  };
}

/** Status numbers; more than there will be. */
const maxOutcomes = 64;
const causes = /^[a-z_]{1,16}$/;

function checkReclaim(record: ReclaimRecordMessage, node: string): ReclaimRecordMessage {
  const { atUnixMs, durationUs, leases, cause } = record;
  if (![atUnixMs, durationUs, leases].every(countable) || !causes.test(cause))
    throw new SubletError("INVALID_ARGUMENT", `report: ${node}: a reclaim that cannot be`);
  return record;
}

function checkCounters(counters: NodeCountersMessage | null, node: string): NodeCountersMessage | null {
  if (
    counters !== null &&
    (counters.outcomes.length > maxOutcomes || !Object.values(counters).flat().every(countable))
  )
    throw new SubletError("INVALID_ARGUMENT", `report: ${node}: counters are out of bounds`);
  return counters;
}

const countable = (value: number): boolean => Number.isSafeInteger(value) && value >= 0;

function checkShare(node: string, cores: readonly number[], memoryBytes: number): void {
  if (
    cores.length > maxCores ||
    cores.some((core, i) => core >= maxCores || (i > 0 && core <= (cores[i - 1] ?? 0))) ||
    !Number.isSafeInteger(memoryBytes)
  )
    throw new SubletError("INVALID_ARGUMENT", `report: ${node}: cores or memory are out of bounds`);
}

/** A lease as an agent tells it, in a report or an answer. @throws SubletError INVALID_ARGUMENT. */
export function checkLease(lease: LeaseMessage, node: string): void {
  const bad = (why: string): SubletError => new SubletError("INVALID_ARGUMENT", `${node}: lease ${why}`);
  if (!leaseIdPattern.test(lease.id)) throw bad("id is not one");
  if (lease.node !== node) throw bad(`${lease.id} is said to be on another node`);
  if (lease.owner === null) throw bad(`${lease.id} has no owner`);
  if (!Number.isSafeInteger(lease.remainingMs)) throw bad(`${lease.id} has no end`);
  stateFromWire(lease.state);
  classFromWire(lease.class);
  checkShare(node, lease.cores, lease.memoryBytes);
}
