/**
 * Taking leases back, at once or with a budget, as all messengers do it (jobs.ts, admin.ts).
 *
 * immediate: the lease is revoked, and its guest ends.
 * graceful: the lease is DRAINING, its holder is told the budget, and it is revoked when that is over; releasing it ends
 * it sooner. A lease whose executor still starts has nothing to move: it goes at once, whatever the budget.
 */
import type { EndReason, Lease } from "../../src/common/nouns.ts";
import { drainLeases, revokeLeases } from "../../src/lease/book.ts";
import { type Draft, endGuests } from "../reactor/draft.ts";
import type { Guest } from "../reactor/state.ts";

export interface Taken {
  /** Revoked now: their guests are ending. */
  readonly ended: number;
  /** In the way, with a budget. */
  readonly draining: readonly string[];
}

export interface Patience {
  readonly budgetMs: number;
  /** Who gets it; all others go at once. */
  readonly has: (guest: Guest) => boolean;
}

/** Takes back all leases for which `inTheWay` holds; without patience at once. */
export function takeBack(
  draft: Draft,
  inTheWay: (lease: Lease) => boolean,
  reason: EndReason,
  patience?: Patience,
): Taken {
  const patient = new Set<string>();
  if (patience !== undefined && patience.budgetMs > 0)
    for (const guest of draft.guests.values())
      if (guest.phase === "running" && inTheWay(guest.lease) && patience.has(guest))
        patient.add(guest.lease.id);
  const ended = endGuests(
    draft,
    revokeLeases(draft.book, (lease) => inTheWay(lease) && !patient.has(lease.id), reason),
  ).length;
  if (patience !== undefined) drain(draft, patient, draft.nowMs + patience.budgetMs, reason);
  return { ended, draining: [...patient] };
}

function drain(draft: Draft, ids: ReadonlySet<string>, endAtMs: number, reason: EndReason): void {
  const decision = drainLeases(draft.book, (lease) => ids.has(lease.id), endAtMs, reason);
  draft.book = decision.book;
  for (const lease of decision.draining) {
    const guest = draft.guests.get(lease.id);
    if (guest === undefined) continue;
    const told: Guest = { ...guest, lease };
    draft.guests.set(lease.id, told);
    draft.out.push({ type: "draining", guest: told }, { type: "lease", guest: told });
  }
}
