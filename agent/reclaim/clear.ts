/**
 * Makes a guest gone: no new process, kill, wait for the kernel, remove the cgroup. Removal is the proof (see
 * cgroup/guests.ts), so it is what is tried; the starter is not asked. The wait has no event to sleep on in v1, so it
 * looks every millisecond at first, and rarely once something (a process in an uninterruptible sleep) holds it up.
 */
import { SubletError } from "../../src/common/errors.ts";
import { type GuestTree, guestMemoryBytes, killGuest, removeGuest, sealGuest } from "../cgroup/guests.ts";

export interface Cleared {
  readonly tookMs: number;
  /** Still charged when the last process was gone: a region that a client on this node has mapped. */
  readonly heldBytes: number;
}

const fastMs = 1;
const slowMs = 250;
const slowAfterMs = 500;

export interface ClearOptions {
  readonly signal?: AbortSignal;
  /** Called once when it takes longer than a hook waits. */
  readonly onStuck?: (pids: number) => void;
  readonly stuckAfterMs: number;
}

/** Resolves when the guest is gone. @throws SubletError ABORTED by the signal. */
export async function clearGuest(tree: GuestTree, leaseId: string, options: ClearOptions): Promise<Cleared> {
  const beginMs = performance.now();
  let stuck = false;
  sealGuest(tree, leaseId);
  for (;;) {
    const pids = killGuest(tree, leaseId);
    if (pids === 0) {
      const heldBytes = guestMemoryBytes(tree, leaseId) ?? 0;
      if (removeGuest(tree, leaseId)) return { tookMs: performance.now() - beginMs, heldBytes };
    }
    const tookMs = performance.now() - beginMs;
    if (!stuck && tookMs > options.stuckAfterMs) {
      stuck = true;
      options.onStuck?.(pids);
    }
    if (options.signal?.aborted === true)
      throw new SubletError("ABORTED", `guest ${leaseId} still has ${pids} processes`);
    await new Promise((resolve) => setTimeout(resolve, tookMs > slowAfterMs ? slowMs : fastMs));
  }
}
