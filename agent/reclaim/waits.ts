/**
 * Calls that wait until guests are gone: a hook's, an administrator's, a release. Each is answered when the last guest in
 * its way is gone, or refused (an administrator's: answered with what is left) at its deadline.
 */
import { SubletError } from "../../src/common/errors.ts";
import type { Draft } from "../reactor/draft.ts";
import type { Wait } from "../reactor/state.ts";

function answer(draft: Draft, call: number, wait: Wait): void {
  const { ended } = wait;
  if (wait.kind === "admin") {
    const { draining = [], guests } = wait;
    draft.out.push({
      type: "answer",
      call,
      answer: { kind: "reclaimed", ended, draining, left: guests.size },
    });
  } else if (wait.released === undefined) {
    const tookUs = Math.round((draft.nowMs - wait.arrivedAtMs) * 1000);
    const event = wait.event ?? "prolog";
    draft.out.push({ type: "answer", call, answer: { kind: "hook", event, leasesEnded: ended, tookUs } });
  } else draft.out.push({ type: "answer", call, answer: { kind: "lease", guest: wait.released } });
}

/** Answers at once when there is nothing to wait for. */
export function answerWhenGone(
  draft: Draft,
  call: number,
  wait: Omit<Wait, "arrivedAtMs" | "deadlineMs">,
): void {
  const { nowMs, setup } = draft;
  const whole: Wait = { ...wait, arrivedAtMs: nowMs, deadlineMs: nowMs + setup.hookTimeoutMs };
  if (whole.guests.size === 0) answer(draft, call, whole);
  else draft.waits.set(call, whole);
}

/** Ids of the guests that are ending already: what a caller is told is gone is gone, whoever ended it. */
export function endingGuests(draft: Draft): string[] {
  return [...draft.guests.values()]
    .filter((guest) => guest.phase === "ending")
    .map((guest) => guest.lease.id);
}

/** A guest is gone: who waited for it last is answered. */
export function settleWaits(draft: Draft, leaseId: string): void {
  for (const [call, wait] of [...draft.waits]) {
    if (!wait.guests.has(leaseId)) continue;
    const guests = new Set(wait.guests);
    guests.delete(leaseId);
    if (guests.size > 0) draft.waits.set(call, { ...wait, guests });
    else {
      draft.waits.delete(call);
      answer(draft, call, { ...wait, guests });
    }
  }
}

export function endOverdueWaits(draft: Draft): void {
  for (const [call, wait] of [...draft.waits]) {
    if (wait.deadlineMs > draft.nowMs) continue;
    draft.waits.delete(call);
    if (wait.kind === "admin") {
      answer(draft, call, wait);
      continue;
    }
    const error = new SubletError(
      "DEADLINE_EXCEEDED",
      `${wait.guests.size} guests are still there after ${Math.round(draft.nowMs - wait.arrivedAtMs)} ms: ` +
        "kill what is in their cgroups",
    );
    draft.out.push({ type: "refuse", call, error });
  }
}
