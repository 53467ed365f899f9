/** A job's receipts in one line: for `sublet jobs --summary` and for its record in Slurm. */
import { formatBytes } from "../common/units.ts";
import type { PressureMessage, ReceiptMessage } from "./messages.ts";

/** "1.50 %": of the time that was watched; "-": none was. */
export function stalled(us: number, watchedMs: number): string {
  return watchedMs === 0 ? "-" : `${((us / 1000 / watchedMs) * 100).toFixed(2)} %`;
}

/** Sums over all nodes. No quotes, no blanks at its ends, below 200 characters. */
export function summaryOf(receipts: readonly ReceiptMessage[]): string {
  const guests = receipts.flatMap((receipt) => receipt.guests);
  const leases = guests.reduce((sum, guest) => sum + guest.leases, 0);
  if (leases === 0) return "sublet: no guests";
  const coreSeconds = guests.reduce((sum, guest) => sum + guest.coreSeconds, 0);
  const byteSeconds = guests.reduce((sum, guest) => sum + guest.byteSeconds, 0);
  const acted = receipts.flatMap(({ actions }) => actions).reduce((sum, { count }) => sum + count, 0);
  const cpu = (of: (receipt: ReceiptMessage) => PressureMessage | null): string => {
    const spans = receipts.flatMap((receipt) => of(receipt) ?? []).filter(({ watchedMs }) => watchedMs > 0);
    const sum = (key: keyof PressureMessage): number => spans.reduce((all, span) => all + span[key], 0);
    return stalled(sum("cpuUs"), sum("watchedMs"));
  };
  return (
    `sublet: ${leases} ${leases === 1 ? "guest" : "guests"}, ${coreSeconds.toFixed(1)} core s, ` +
    `${formatBytes(byteSeconds)} s, guard acted ${acted} times, ` +
    `cpu pressure ${cpu(({ alone }) => alone)} without and ${cpu(({ beside }) => beside)} with guests`
  );
}
