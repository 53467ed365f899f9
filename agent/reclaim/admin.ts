/**
 * What administrators ask of a node: drain (lend nothing until resume), resume, reclaim (take leases back). The answer
 * comes when what goes at once is gone, or says after hookTimeoutMs how much is not; what has a budget is listed.
 */
import type { EndReason, Lease } from "../../src/common/nouns.ts";
import type { Draft } from "../reactor/draft.ts";
import type { AgentEvent } from "../reactor/events.ts";
import { endUnwanted } from "./jobs.ts";
import { type Taken, takeBack } from "./take.ts";
import { answerWhenGone, endingGuests } from "./waits.ts";

type Event<T extends AgentEvent["type"]> = Extract<AgentEvent, { type: T }>;

const everyGuest = (): boolean => true;

function take(
  draft: Draft,
  leaseIds: readonly string[] | undefined,
  budgetMs: number,
  reason: EndReason = "admin",
): Taken {
  const wanted = leaseIds === undefined ? undefined : new Set(leaseIds);
  return takeBack(draft, (lease) => wanted?.has(lease.id) ?? true, reason, { budgetMs, has: everyGuest });
}

/** Waits for everything that is ending. */
function answer(draft: Draft, call: number, taken: Taken): void {
  answerWhenGone(draft, call, {
    kind: "admin",
    guests: new Set(endingGuests(draft)),
    ended: taken.ended,
    draining: taken.draining,
    released: undefined,
  });
}

export function onReclaim(draft: Draft, event: Event<"reclaim">): void {
  answer(draft, event.call, take(draft, event.leaseIds, event.budgetMs));
}

export function onDrain(draft: Draft, event: Event<"drain">): void {
  draft.drain = event.drain;
  const { budgetMs, reason } = event;
  const taken =
    budgetMs === undefined ? { ended: 0, draining: [] } : take(draft, undefined, budgetMs, reason);
  answer(draft, event.call, taken);
}

/**
 * New settings hold from now on. A lease on a core that is reserved from now on goes, with the usual budget, and so does what
 * may not be beside the jobs any more; terms that were granted stay.
 */
export function onSettings(draft: Draft, { setup }: Event<"settings">): void {
  draft.setup = { ...draft.setup, ...setup };
  const reserved = new Set(setup.reserveCores);
  const { reclaimBudgetMs: budgetMs } = setup;
  const onReserved = (lease: Lease): boolean => lease.cores.some((core) => reserved.has(core));
  takeBack(draft, onReserved, "admin", { budgetMs, has: everyGuest });
  endUnwanted(draft);
}

/** A node that stops lending gives its guests no new neighbours to be compared with: they go, with the usual budget. */
export function onLending(draft: Draft, event: Event<"lending">): void {
  if (event.mode === draft.lending) return;
  draft.lending = event.mode;
  if (event.mode !== "on") take(draft, undefined, draft.setup.reclaimBudgetMs);
}

export function onResume(draft: Draft, event: Event<"resume">): void {
  draft.drain = undefined;
  answer(draft, event.call, { ended: 0, draining: [] });
}
