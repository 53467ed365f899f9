/**
 * Which leases go when not all must: those of class shared before all others (what they take is a job's that is there),
 * then those whose end loses the least work, and of these the newest. Pure.
 *
 * Lost work, the least first:
 *   an executor that still starts    nothing
 *   functions                        calls under way, which are made again elsewhere; a new lease has the fewest
 *   a mirrored region                a copy, which is made again
 *   an evacuated region              the time of a move, the less the less of it was touched
 *   an ephemeral region              its contents, the less the less of it was touched
 */
import type { Lease } from "../common/nouns.ts";

export interface Victim {
  readonly lease: Lease;
  /** Its executor is not ready yet. */
  readonly starting: boolean;
  /** Memory in use when it was last looked at. */
  readonly touchedBytes: number;
  /** Of its grant, monotonic. */
  readonly startedAtMs: number;
}

function lossRank({ lease, starting }: Victim): number {
  if (starting) return 0;
  if (lease.kind === "function") return 1;
  return lease.durability === "mirrored" ? 2 : lease.durability === "evacuated" ? 3 : 4;
}

function lostBytes({ lease, touchedBytes }: Victim): number {
  return lease.kind === "region" ? touchedBytes : 0;
}

/** The cheapest first, of equally cheap ones the newest. */
export function cheapestFirst<V extends Victim>(victims: Iterable<V>): V[] {
  return [...victims].sort(
    (a, b) =>
      Number(b.lease.class === "shared") - Number(a.lease.class === "shared") ||
      lossRank(a) - lossRank(b) ||
      lostBytes(a) - lostBytes(b) ||
      b.startedAtMs - a.startedAtMs ||
      (a.lease.id < b.lease.id ? -1 : 1),
  );
}

/**
 * The victims that together free `bytes`; all of them where that is not enough. None is in it without which the rest
 * would do: from the cheapest on they are taken until it is enough, then the dearest that are not needed are let go.
 */
export function victimsFor<V extends Victim>(
  victims: Iterable<V>,
  bytes: number,
  freedBytes: (victim: V) => number,
): V[] {
  const taken: V[] = [];
  let freed = 0;
  for (const victim of cheapestFirst(victims)) {
    if (freed >= bytes) break;
    taken.push(victim);
    freed += freedBytes(victim);
  }
  for (const victim of [...taken].reverse()) {
    if (freed - freedBytes(victim) < bytes) continue;
    freed -= freedBytes(victim);
    taken.splice(taken.indexOf(victim), 1);
  }
  return taken;
}
