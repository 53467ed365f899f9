/** Messages for the tests of the controller. */
import type { LeaseMessage, OfferMessage, ReceiptMessage, ReportRequest } from "../../../src/rpc/messages.ts";

export const mib = 1024 * 1024;

export function offerMessage(node: string, changes: Partial<OfferMessage> = {}): OfferMessage {
  return {
    node,
    revision: 1,
    epochUnixMs: 1000,
    address: "127.0.0.1:7701",
    spare: [{ class: "CAPACITY_CLASS_IDLE", cores: [0, 1, 2, 3], memoryBytes: 1024 * mib }],
    horizonMs: 0,
    coresTotal: 4,
    memoryBytesTotal: 2048 * mib,
    coresUsedByJobs: 0,
    memoryBytesUsedByJobs: 0,
    spell: null,
    shadowSpare: [],
    lending: "LENDING_ON",
    ...changes,
  };
}

export function leaseMessage(id: string, node: string, changes: Partial<LeaseMessage> = {}): LeaseMessage {
  return {
    id,
    kind: "LEASE_KIND_FUNCTION",
    state: "LEASE_STATE_ACTIVE",
    reason: "REASON_UNSPECIFIED",
    node,
    cores: [3],
    memoryBytes: 64 * mib,
    class: "CAPACITY_CLASS_IDLE",
    owner: { uid: 20001, gid: 20001, jobId: 7, node: "n1" },
    grantedUnixMs: 1000,
    termMs: 60_000,
    remainingMs: 60_000,
    invocations: 0,
    durability: "DURABILITY_EPHEMERAL",
    account: "",
    partition: "",
    ...changes,
  };
}

export function receiptMessage(changes: Partial<ReceiptMessage> = {}): ReceiptMessage {
  return {
    jobId: 7,
    node: "n1",
    uid: 5000,
    fromUnixMs: 1000,
    toUnixMs: 2000,
    ended: true,
    consent: "CONSENT_SHARE",
    guests: [],
    actions: [],
    alone: null,
    beside: null,
    pressureOf: "job",
    ...changes,
  };
}

export function reportMessage(
  node: string,
  changes: Partial<OfferMessage> = {},
  leases: LeaseMessage[] = [],
  full = true,
): ReportRequest {
  return {
    offer: offerMessage(node, changes),
    leases,
    full,
    receipts: [],
    usage: [],
    reclaims: [],
    counters: null,
  };
}
