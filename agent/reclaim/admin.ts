/**
 * What administrators ask of a node: drain (lend nothing until resume), resume, reclaim (take leases back). The answer
 * comes when what goes at once is gone, or says after hookTimeoutMs how much is not; what has a budget is listed.
 */
import type { EndReason, Lease } from "../../src/common/nouns.ts";
import type { Draft } from "../reactor/draft.ts";
import type { AgentEvent } from "../reactor/events.ts";
import type { Wait } from "../reactor/state.ts";
import { endUnwanted } from "./jobs.ts";
import { type Taken, takeBack } from "./take.ts";

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

/** Waits for everything that is ending: what an administrator is told is gone is gone. */
function answerWhenGone(draft: Draft, call: number, taken: Taken): void {
  const going = [...draft.guests.values()].filter((guest) => guest.phase === "ending");
  const wait: Wait = {
    kind: "admin",
    guests: new Set(going.map((guest) => guest.lease.id)),
    arrivedAtMs: draft.nowMs,
    deadlineMs: draft.nowMs + draft.setup.hookTimeoutMs,
    ended: taken.ended,
    draining: taken.draining,
    released: undefined,
  };
  if (going.length === 0) answerAdmin(draft, call, wait);
  else draft.waits.set(call, wait);
}

export function answerAdmin(draft: Draft, call: number, { ended, draining, guests }: Wait): void {
  const answer = { kind: "reclaimed" as const, ended, draining: draining ?? [], left: guests.size };
  draft.out.push({ type: "answer", call, answer });
}

export function onReclaim(draft: Draft, event: Event<"reclaim">): void {
  answerWhenGone(draft, event.call, take(draft, event.leaseIds, event.budgetMs));
}

export function onDrain(draft: Draft, event: Event<"drain">): void {
  draft.drain = event.drain;
  const { budgetMs, reason } = event;
  const taken =
    budgetMs === undefined ? { ended: 0, draining: [] } : take(draft, undefined, budgetMs, reason);
  answerWhenGone(draft, event.call, taken);
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
  answerWhenGone(draft, event.call, { ended: 0, draining: [] });
}
