/**
 * Start of an agent's life: whatever guests an earlier life left are adopted or ended, never lost.
 *
 *   executor with a valid meta and a cgroup    adopted: a full term, no holder until somebody renews it
 *   executor without                           stopped, its cgroup emptied and removed
 *   cgroup without executor                    emptied and removed
 *
 * Also after the starter was lost: what it does not list any more has ended (its executors die with it).
 */
import { SubletError, toSubletError } from "../../src/common/errors.ts";
import { type GuestTree, guestPids, listGuests } from "../cgroup/guests.ts";
import type { AgentLog } from "../log.ts";
import type { AdoptedGuest } from "../reactor/events.ts";
import { clearGuest } from "../reclaim/clear.ts";
import { type FoundGuest, parseMeta } from "./meta.ts";
import type { ListedExecutor, Starter } from "./starter.ts";

export interface AdoptOptions {
  readonly tree: GuestTree;
  /** undefined: no starter could be reached; then nothing can be adopted and all guests end. */
  readonly starter: Pick<Starter, "list" | "stop"> | undefined;
  readonly timeoutMs: number;
  readonly log: AgentLog;
  readonly onAdopt?: (guest: AdoptedGuest, executor: ListedExecutor) => void;
}

async function clear(tree: GuestTree, leaseId: string, options: AdoptOptions): Promise<void> {
  const signal = AbortSignal.timeout(options.timeoutMs);
  try {
    await clearGuest(tree, leaseId, { signal, stuckAfterMs: options.timeoutMs });
  } catch (thrown) {
    // A later start of the agent tries again; meanwhile its memory is missing from what the kernel calls available.
    options.log.error(
      { lease: leaseId, message: toSubletError(thrown).message },
      "leftover guest does not end",
    );
  }
}

/** What an earlier life has left with the starter; since when it is a lease, the starter knows better where it handed it out. */
export function guestOf({ meta, leaseId, port, redeemedUnixMs }: ListedExecutor): FoundGuest | undefined {
  const noted = parseMeta(meta, leaseId, port);
  return noted && { ...noted, grantedUnixMs: redeemedUnixMs ?? noted.grantedUnixMs };
}

/** Returns the guests to adopt; everything else is gone when it returns. */
export async function findGuests(options: AdoptOptions): Promise<FoundGuest[]> {
  const { tree, starter, log } = options;
  const adopted: FoundGuest[] = [];
  for (const executor of (await starter?.list(options.timeoutMs)) ?? []) {
    const guest = guestOf(executor);
    if (guest?.name !== undefined) tree.names?.set(executor.leaseId, guest.name);
    if (guest !== undefined && guestPids(tree, executor.leaseId).includes(executor.pid)) {
      adopted.push(guest);
      options.onAdopt?.(guest, executor);
      continue;
    }
    log.warn(
      { lease: executor.leaseId, pid: executor.pid },
      "executor cannot be matched to a lease: stopped",
    );
    await starter?.stop(executor.leaseId, options.timeoutMs).catch((thrown: unknown) => {
      log.warn(
        { lease: executor.leaseId, message: toSubletError(thrown).message },
        "starter did not stop it",
      );
    });
  }
  const kept = new Set(adopted.map((guest) => guest.name ?? guest.lease.id));
  const leftovers = listGuests(tree).filter((id) => !kept.has(id));
  for (const id of leftovers) log.warn({ lease: id }, "cgroup without executor: emptied and removed");
  await Promise.all(leftovers.map((id) => clear(tree, id, options)));
  return adopted;
}

export interface StarterKeeper {
  close(): void;
}

export interface KeeperOptions {
  /** Connects (and spawns, if need be). */
  readonly connect: (onLost: () => void) => Promise<Starter>;
  /** A new connection, with the leases that the starter still has. */
  readonly onStarter: (starter: Starter, live: ReadonlySet<string>) => void;
  readonly onLost: () => void;
  readonly log: AgentLog;
  readonly timeoutMs: number;
}

const pauseFirstMs = 100;
const pauseMaxMs = 5_000;

/** Keeps a connection to the starter: connects again whenever it is lost, with growing pauses. */
export function keepStarter(
  options: KeeperOptions,
  first: Starter | undefined,
): StarterKeeper & { lost(): void } {
  let current = first;
  let closed = false;
  let pauseMs = pauseFirstMs;
  let timer: NodeJS.Timeout | undefined;

  async function tryAgain(): Promise<void> {
    try {
      const starter = await options.connect(lost);
      if (closed) return starter.close();
      const live = new Set((await starter.list(options.timeoutMs)).map((each) => each.leaseId));
      current = starter;
      pauseMs = pauseFirstMs;
      options.onStarter(starter, live);
    } catch (thrown) {
      if (closed) return;
      const { message } = thrown instanceof SubletError ? thrown : toSubletError(thrown);
      options.log.error({ message }, "no starter: nothing can be lent");
      schedule();
    }
  }

  function schedule(): void {
    clearTimeout(timer);
    timer = setTimeout(() => void tryAgain(), pauseMs);
    pauseMs = Math.min(pauseMaxMs, pauseMs * 2);
  }

  function lost(): void {
    if (closed || (current === undefined && timer !== undefined)) return;
    current = undefined;
    options.onLost();
    schedule();
  }

  if (first === undefined) schedule();
  return {
    lost,
    close() {
      closed = true;
      clearTimeout(timer);
      current?.close();
    },
  };
}
