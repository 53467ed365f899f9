/**
 * When jobs that share are looked at: with the agent's slow tick while nothing of theirs is lent, before a grant that may
 * take of it, and every `wakeMs` while something is lent. So a job that uses its core again has it for itself after
 * wakeMs and the time to end a guest (until then the guest has the lowest weight), and a node without sharing jobs, or
 * without guests on them, has no clock for it.
 */
import { sharingJobs } from "../consent/sharing.ts";
import type { Shell } from "../shell.ts";
import type { UseReader } from "./use.ts";

export interface UseSampler {
  /** Looks now, unless that was done within `freshMs`. */
  sample(freshMs?: number): void;
  close(): void;
}

/** Before a grant a look is repeated when the last is older. */
const freshForGrantMs = 100;

export function startUseSampler(shell: Shell, reader: Pick<UseReader, "read">): UseSampler {
  let timer: NodeJS.Timeout | undefined;
  let lastMs = Number.NEGATIVE_INFINITY;
  let closed = false;

  function sample(freshMs = 0): void {
    const nowMs = shell.nowMs();
    if (nowMs - lastMs < freshMs) return;
    const jobs = sharingJobs(shell.state);
    if (jobs.length === 0) return;
    lastMs = nowMs;
    const guests = [...shell.state.guests.values()].map(({ lease }) => ({
      id: lease.id,
      cores: lease.cores,
    }));
    shell.dispatch({ type: "use", samples: reader.read(jobs, guests, nowMs) });
  }

  function lent(): boolean {
    return [...shell.state.book.leases.values()].some((lease) => lease.class === "shared");
  }

  function arm(): void {
    if (timer !== undefined || closed || !lent()) return;
    timer = setTimeout(() => {
      timer = undefined;
      sample();
      arm();
    }, shell.state.setup.consent.wakeMs);
  }

  shell.listen({
    onAsked: () => {
      if (shell.state.spare.some((spare) => spare.class === "shared")) sample(freshForGrantMs);
    },
    onLease: (guest) => {
      if (guest.lease.class === "shared") arm();
    },
  });
  arm(); // guests of an earlier life
  return {
    sample,
    close() {
      closed = true;
      clearTimeout(timer);
    },
  };
}
