/** The life of a lease. DRAINING still holds its capacity; the three last states hold nothing. */
import type { LeaseState } from "../common/nouns.ts";
import { isFinal, type TransitionTable, transition } from "../common/state-machine.ts";

export type LeaseEvent = "grant" | "activate" | "drain" | "release" | "expire" | "revoke";

export const leaseTable: TransitionTable<LeaseState, LeaseEvent> = {
  REQUESTED: { grant: "GRANTED", revoke: "REVOKED" },
  GRANTED: {
    activate: "ACTIVE",
    drain: "DRAINING",
    release: "RELEASED",
    expire: "EXPIRED",
    revoke: "REVOKED",
  },
  ACTIVE: { drain: "DRAINING", release: "RELEASED", expire: "EXPIRED", revoke: "REVOKED" },
  DRAINING: { release: "RELEASED", expire: "EXPIRED", revoke: "REVOKED" },
  RELEASED: {},
  EXPIRED: {},
  REVOKED: {},
};

/** The next state of a lease. @throws SubletError FAILED_PRECONDITION. */
export function nextLeaseState(state: LeaseState, event: LeaseEvent): LeaseState {
  return transition(leaseTable, state, event);
}

/** True when the lease holds no capacity any more. */
export function leaseEnded(state: LeaseState): boolean {
  return isFinal(leaseTable, state);
}
