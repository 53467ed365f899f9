/**
 * Makes a guest gone, and proves all three: its cgroup is empty and its cpuset free (both directories are removed, which
 * the kernel refuses while a process is inside; see cgroup/guests.ts), and its memory is returned (read before they are;
 * page cache is dropped).
 *
 * Memory outlives its processes where a client on this node has mapped a region: libsublet lets go of it as soon as it
 * hears of the end. It is waited for so long; a client that does not (it is stopped, or not ours) is a job's process
 * and nothing that could be ended here: then the guest is called gone, and how much is held is told.
 *
 * The starter is asked first: it is the parent of the guest's process 1, so it kills without looking for pids and hears
 * of the end at once; when that is reaped, its memory is free and every process of its pid namespace is gone. To look for
 * it here instead costs the very CPU time and cgroup locks that the dying guests need (half of the time of a reclaim was
 * that). A starter that does not answer in time, or does not know the guest, changes nothing: then it is killed from here,
 * by what its cgroup lists, looking ever more rarely.
 */
import { SubletError, toSubletError } from "../../src/common/errors.ts";
import {
  dropGuestCache,
  type GuestTree,
  guestMemoryBytes,
  guestPids,
  killGuest,
  removeGuest,
  sealGuest,
} from "../cgroup/guests.ts";

export interface Cleared {
  readonly tookMs: number;
  /** Still charged when the last process was gone: a region that a client on this node has mapped. */
  readonly heldBytes: number;
}

/** How long the starter alone is trusted to end a guest; giving back many GiB takes longer, and is then looked at. */
const trustMs = 200;
/** How long memory that others hold is waited for, when the guest's own processes may be gone. */
const heldPatienceMs = 500;
/** What is no more than this is no region: what the kernel keeps for a guest, and its counters' slack. */
export const heldWorthBytes = 16 * 1024 * 1024;
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

/** Without cgroups (agent/pilot) the word of its parent is the proof: reaped, and all that it left behind with it. */
async function clearByParent(
  leaseId: string,
  { stop, signal, stuckAfterMs, onStuck }: ClearOptions,
): Promise<Cleared> {
  const beginMs = performance.now();
  let stuck = false;
  for (;;) {
    const failed = await stop?.().then(
      () => undefined,
      (thrown: unknown) => toSubletError(thrown).code,
    );
    // A parent that is gone took its guests with it (PDEATHSIG).
    if (failed === undefined || failed === "UNAVAILABLE")
      return { tookMs: performance.now() - beginMs, heldBytes: 0 };
    if (!stuck && performance.now() - beginMs > stuckAfterMs) {
      stuck = true;
      onStuck?.(1);
    }
    if (signal?.aborted === true) throw new SubletError("ABORTED", `guest ${leaseId} is not reaped`);
    await new Promise((resolve) => setTimeout(resolve, pauseMaxMs));
  }
}

/** Resolves when the guest is gone. @throws SubletError ABORTED by the signal. */
export async function clearGuest(tree: GuestTree, leaseId: string, options: ClearOptions): Promise<Cleared> {
  const beginMs = performance.now();
  if (tree.byParent === true) return clearByParent(leaseId, options);
  let stuck = false;
  let dropped = false;
  sealGuest(tree, leaseId, options.cores);
  if (options.stop !== undefined) await settled(options.stop(), trustMs);
  for (let pauseMs = pauseFirstMs; ; pauseMs = Math.min(pauseMaxMs, pauseMs * 2)) {
    const tookMs = performance.now() - beginMs;
    let heldBytes = guestMemoryBytes(tree, leaseId) ?? 0;
    if (heldBytes > heldWorthBytes && !dropped && guestPids(tree, leaseId).length === 0) {
      dropped = true;
      dropGuestCache(tree, leaseId);
      heldBytes = guestMemoryBytes(tree, leaseId) ?? 0;
    }
    if ((heldBytes <= heldWorthBytes || tookMs > heldPatienceMs) && removeGuest(tree, leaseId))
      return { tookMs: performance.now() - beginMs, heldBytes };
    const pids = killGuest(tree, leaseId);
    if (!stuck && tookMs > options.stuckAfterMs) {
      stuck = true;
      options.onStuck?.(pids);
    }
    if (options.signal?.aborted === true)
      throw new SubletError("ABORTED", `guest ${leaseId} still has ${pids} processes`);
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
}
