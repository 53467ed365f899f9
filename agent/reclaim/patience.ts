/**
 * Who has time to move before a lease is taken back for a batch job, and how much: durable regions whose holder hears of
 * it. Nobody has more than a hook waits for, whoever wants the lease back: a job that suffers, or wakes, is not to wait
 * longer than one that starts.
 *
 *   a hook                evacuated regions; of a mirrored one the other copy is there
 *   the guard             all durable regions
 *   a job that wakes      all durable regions, as long as the job has its margin to go on with (see wakePatience)
 *   the cgroup tree       nobody: the job is there
 */
import { isDurable } from "../../src/common/nouns.ts";
import { sharingJobs } from "../consent/sharing.ts";
import type { Draft } from "../reactor/draft.ts";
import type { Guest } from "../reactor/state.ts";
import type { Patience } from "./take.ts";

/** Of a hook's wait, kept for a guest to end in when its budget is over. */
const clearMs = 500;

/** Is anybody told that the lease is wanted back? The holder is connected here, or his agent hears it by a controller. */
function hasListener(draft: Draft, { holder, lease }: Guest): boolean {
  return holder !== undefined || (lease.owner.node !== "" && lease.owner.node !== draft.setup.node);
}

function budgetMs({ setup }: Draft): number {
  return Math.max(0, Math.min(setup.reclaimBudgetMs, setup.hookTimeoutMs - clearMs));
}

/** What a hook may wait for: it keeps a job from starting. */
export function hookPatience(draft: Draft): Patience {
  return {
    budgetMs: budgetMs(draft),
    has: (guest) => guest.lease.durability === "evacuated" && hasListener(draft, guest),
  };
}

export function durablePatience(draft: Draft): Patience {
  return { budgetMs: budgetMs(draft), has: (guest) => isDurable(guest.lease) && hasListener(draft, guest) };
}

/**
 * A job that touches again what it shared has its margin left, which was never lent. Until half of that is gone, too,
 * durable regions may move that are in its way (of a version that lent them class shared, or of the site's own change
 * of mind). `excessBytes`: what the jobs lack by now. What a hook waits for keeps the hook's time.
 */
export function wakePatience(draft: Draft, excessBytes: number): Patience {
  const durable = durablePatience(draft);
  const hooks = [...draft.waits.values()].filter(({ kind }) => kind === "hook");
  const marginBytes = sharingJobs(draft).length > 0 ? draft.setup.consent.memoryMarginBytes : 0;
  const roomy = excessBytes <= marginBytes / 2;
  return {
    ...durable,
    has: (guest) =>
      roomy
        ? durable.has(guest)
        : guest.lease.state === "DRAINING" && hooks.some(({ guests }) => guests.has(guest.lease.id)),
  };
}

/** What a hook, or a job that woke, has begun to wait for; nobody else. */
export function witnessPatience(draft: Draft, excessBytes: number): Patience {
  const wake = wakePatience(draft, excessBytes);
  return {
    ...wake,
    has: (guest) => guest.lease.state === "DRAINING" && guest.lease.reason === "batch_job" && wake.has(guest),
  };
}
