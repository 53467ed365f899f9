/**
 * Makes a guest gone: no new process, kill, wait for the kernel, remove the cgroup. Removal is the proof (see
 * cgroup/guests.ts), so it is what counts.
 *
 * The starter is asked first: it is the parent of the guest's process 1, so it kills without looking for pids and hears
 * of the end at once; when that is reaped, its memory is free and every process of its pid namespace is gone. To look for
 * it here instead costs the very CPU time and cgroup locks that the dying guests need (half of the time of a reclaim was
 * that). A starter that does not answer in time, or does not know the guest, changes nothing: then it is killed from here,
 * by what its cgroup lists, looking ever more rarely.
 */
import { SubletError } from "../../src/common/errors.ts";
import { type GuestTree, guestMemoryBytes, killGuest, removeGuest, sealGuest } from "../cgroup/guests.ts";

export interface Cleared {
  readonly tookMs: number;
  /** Still charged when the last process was gone: a region that a client on this node has mapped. */
  readonly heldBytes: number;
}

/** How long the starter alone is trusted to end a guest; giving back many GiB takes longer, and is then looked at. */
const trustMs = 200;
const pauseFirstMs = 1;
const pauseMaxMs = 250;

export interface ClearOptions {
  readonly signal?: AbortSignal;
  /** Kills the guest by its parent; resolves when it is reaped. */
  readonly stop?: (() => Promise<void>) | undefined;
  /** Where the guest may die; none: where it is. */
  readonly cores?: readonly number[];
  /** Called once when it takes longer than a hook waits. */
  readonly onStuck?: (pids: number) => void;
  readonly stuckAfterMs: number;
}

/** Resolves when the promise settles, however, or the time is over. */
function settled(promise: Promise<void>, timeoutMs: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, timeoutMs);
    const done = (): void => {
      clearTimeout(timer);
      resolve();
    };
    promise.then(done, done);
  });
}

/** Resolves when the guest is gone. @throws SubletError ABORTED by the signal. */
export async function clearGuest(tree: GuestTree, leaseId: string, options: ClearOptions): Promise<Cleared> {
  const beginMs = performance.now();
  let stuck = false;
  sealGuest(tree, leaseId, options.cores);
  if (options.stop !== undefined) await settled(options.stop(), trustMs);
  for (let pauseMs = pauseFirstMs; ; pauseMs = Math.min(pauseMaxMs, pauseMs * 2)) {
    const heldBytes = guestMemoryBytes(tree, leaseId) ?? 0;
    if (removeGuest(tree, leaseId)) return { tookMs: performance.now() - beginMs, heldBytes };
    const pids = killGuest(tree, leaseId);
    const tookMs = performance.now() - beginMs;
    if (!stuck && tookMs > options.stuckAfterMs) {
      stuck = true;
      options.onStuck?.(pids);
    }
    if (options.signal?.aborted === true)
      throw new SubletError("ABORTED", `guest ${leaseId} still has ${pids} processes`);
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
}
