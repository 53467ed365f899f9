/**
 * The core of the agent: an event changes the state and gives effects. No I/O, no clock of its own. The shell
 * (agent/shell.ts) feeds events one at a time and carries the effects out in order.
 *
 * Invariants after every event: a guest exists for every lease of the book; capacity of a guest is spare again only when
 * the guest is gone; each call is answered once; the offer's revision rises exactly when the offer changes.
 */
import { toSubletError } from "../../src/common/errors.ts";
import type { Spare } from "../../src/common/nouns.ts";
import { onFacts, onUse } from "../consent/sharing.ts";
import { nextSpell } from "../offer/spell.ts";
import { onDrain, onLending, onReclaim, onResume, onSettings } from "../reclaim/admin.ts";
import {
  endUnwanted,
  onDeadlines,
  onEpilog,
  onGuestGone,
  onJobs,
  onProlog,
  onStep,
} from "../reclaim/jobs.ts";
import { coresFor, type Draft, draftOf, limitsFor, spareOf } from "./draft.ts";
import type { AgentEvent, Effect } from "./events.ts";
import {
  onAdopt,
  onExecutorExited,
  onExpiry,
  onGrant,
  onGuard,
  onHold,
  onHolderGone,
  onLeave,
  onRelease,
  onRenew,
  onStarted,
  onStartFailed,
} from "./leases.ts";
import type { AgentState } from "./state.ts";
import { onRedeemed, onUnvouch, onVouch } from "./vouchers.ts";

/** Memory is offered in steps, so that the kernel's breathing is no news. */
const memoryStepBytes = 64 * 1024 * 1024;

function handle(draft: Draft, event: AgentEvent): void {
  switch (event.type) {
    case "adopt":
      onAdopt(draft, event);
      break;
    case "grant":
      onGrant(draft, event);
      break;
    case "started":
      onStarted(draft, event);
      break;
    case "start_failed":
      onStartFailed(draft, event);
      break;
    case "guest_gone":
      onGuestGone(draft, event);
      break;
    case "executor_exited":
      onExecutorExited(draft, event);
      break;
    case "renew":
      onRenew(draft, event);
      break;
    case "release":
      onRelease(draft, event);
      break;
    case "hold":
      onHold(draft, event);
      break;
    case "vouch":
      onVouch(draft, event);
      break;
    case "unvouch":
      onUnvouch(draft, event);
      break;
    case "redeemed":
      onRedeemed(draft, event);
      break;
    case "holder_gone":
      onHolderGone(draft, event);
      break;
    case "prolog":
      onProlog(draft, event);
      break;
    case "step":
      onStep(draft, event);
      break;
    case "epilog":
      onEpilog(draft, event);
      break;
    case "jobs":
      onJobs(draft, event);
      break;
    case "memory":
      draft.memoryAvailableBytes = event.availableBytes;
      for (const [id, touchedBytes] of event.touchedBytes) {
        const guest = draft.guests.get(id);
        if (guest !== undefined) draft.guests.set(id, { ...guest, touchedBytes });
      }
      break;
    case "use":
      onUse(draft, event);
      endUnwanted(draft);
      break;
    case "facts":
      onFacts(draft, event);
      endUnwanted(draft);
      break;
    case "guard":
      onGuard(draft, event);
      break;
    case "starter":
      draft.starterUp = event.up;
      break;
    case "timer":
      break;
    case "reclaim":
      onReclaim(draft, event);
      break;
    case "settings":
      onSettings(draft, event);
      break;
    case "lending":
      onLending(draft, event);
      break;
    case "drain":
      onDrain(draft, event);
      break;
    case "resume":
      onResume(draft, event);
      break;
    case "leave":
      onLeave(draft);
      break;
  }
}

/** Regions have no cores of their own: they move out of the way of jobs and leases. */
function moveRegions(draft: Draft): void {
  for (const guest of [...draft.guests.values()]) {
    if (guest.lease.cores.length > 0 || guest.phase === "ending") continue;
    const cores = coresFor(draft, guest.lease);
    if (cores.join() === guest.cores.join()) continue;
    draft.guests.set(guest.lease.id, { ...guest, cores });
    draft.out.push({ type: "limit", leaseId: guest.lease.id, limits: limitsFor(draft, guest.lease, cores) });
  }
}

function sameSpare(a: readonly Spare[], b: readonly Spare[], slackBytes: number): boolean {
  return (
    a.length === b.length &&
    a.every((spare, i) => {
      const other = b[i];
      const more = (other?.memoryBytes ?? 0) - spare.memoryBytes;
      return (
        spare.class === other?.class &&
        spare.cores.join() === other.cores.join() &&
        more >= 0 &&
        more <= slackBytes
      );
    })
  );
}

/** The next offer, in steps. Memory that only the kernel's figure gave back is news from two steps on. */
function reoffer(draft: Draft, event: AgentEvent): void {
  const spare = spareOf(draft).map((each) => ({
    ...each,
    memoryBytes: Math.floor(each.memoryBytes / memoryStepBytes) * memoryStepBytes,
  }));
  const slackBytes = event.type === "memory" || event.type === "use" ? memoryStepBytes : 0;
  const lends = draft.lending === "on";
  const [offered, shadow] = lends ? [spare, []] : [[], spare];
  if (sameSpare(draft.spare, offered, slackBytes) && sameSpare(draft.shadowSpare, shadow, slackBytes)) return;
  draft.spare = offered;
  draft.shadowSpare = shadow;
  draft.revision += 1;
  draft.out.push({ type: "offer" });
}

export interface Reaction {
  readonly state: AgentState;
  readonly effects: readonly Effect[];
}

/** nowMs: monotonic. Never throws for what a caller asked: that becomes a `refuse` effect. */
export function react(state: AgentState, event: AgentEvent, nowMs: number, unixMs: number): Reaction {
  let draft = draftOf(state, nowMs, unixMs);
  onExpiry(draft);
  onDeadlines(draft);
  const before = draftOf(draft, nowMs, unixMs);
  before.out.push(...draft.out);
  try {
    handle(draft, event);
  } catch (thrown) {
    if (!("call" in event)) throw thrown;
    draft = before;
    draft.out.push({ type: "refuse", call: event.call, error: toSubletError(thrown) });
  }
  moveRegions(draft);
  reoffer(draft, event);
  Object.assign(draft, nextSpell(state, draft, event.type === "jobs", nowMs));
  const { nowMs: _now, unixMs: _unix, out, ...next } = draft;
  return { state: next, effects: out };
}

/** When the reactor wants to be woken next; undefined: not before something happens. */
export function nextWakeMs(state: AgentState): number | undefined {
  let at = Number.POSITIVE_INFINITY;
  for (const lease of state.book.leases.values()) at = Math.min(at, lease.expiresAtMs);
  for (const untilMs of state.announced.values()) at = Math.min(at, untilMs);
  for (const job of state.jobs.values()) at = Math.min(at, job.untilMs ?? at);
  for (const wait of state.waits.values()) at = Math.min(at, wait.deadlineMs);
  return Number.isFinite(at) ? at : undefined;
}
