/** Receipts in few words: what the list of jobs needs of each. */
import type { ReceiptGuestMessage, ReceiptMessage } from "./messages.ts";

/** Of several leases one line; what they do not have in common is left out. */
export function sumGuests(a: ReceiptGuestMessage | undefined, b: ReceiptGuestMessage): ReceiptGuestMessage {
  if (a === undefined) return { ...b, leaseId: "" };
  return {
    leaseId: "",
    uid: a.uid === b.uid ? a.uid : 0,
    kind: a.kind === b.kind ? a.kind : "LEASE_KIND_UNSPECIFIED",
    class: a.class === b.class ? a.class : "CAPACITY_CLASS_UNSPECIFIED",
    coreSeconds: a.coreSeconds + b.coreSeconds,
    byteSeconds: a.byteSeconds + b.byteSeconds,
    leases: a.leases + b.leases,
  };
}

/** With all guests of the node in one line. */
export function briefReceipt(receipt: ReceiptMessage): ReceiptMessage {
  let guests: ReceiptGuestMessage | undefined;
  for (const guest of receipt.guests) guests = sumGuests(guests, guest);
  return { ...receipt, guests: guests === undefined ? [] : [guests] };
}
