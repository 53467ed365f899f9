/**
 * What leases that are granted ahead need of the rest of an agent: of its own clients (agent/executor/vouchers.ts) the
 * desk, of other nodes' (ahead.ts) the controllers, and of both whether the door need ask the starter at all.
 */
import { SubletError } from "../../src/common/errors.ts";
import type { Lease } from "../../src/common/nouns.ts";
import { encodeLeasedAhead } from "../../src/rpc/local.ts";
import type { VoucherDesk } from "../executor/vouchers.ts";
import type { Now } from "../live.ts";
import type { AgentLog } from "../log.ts";
import type { FollowedControllers } from "../offer/controllers.ts";
import { type Identification, neverLeaseMessage } from "../offer/messages.ts";
import { openMsOf } from "../offer/reporter.ts";
import type { Shell } from "../shell.ts";
import type { Billed } from "../usage/billing.ts";
import { Ahead } from "./ahead.ts";
import { releaseAbandoned, requestLease } from "./controllers.ts";

export interface GrantingAheadOptions {
  readonly shell: Pick<Shell, "executors" | "nowMs">;
  readonly self: () => Identification;
  readonly now: Now;
  readonly controllers: Pick<FollowedControllers, "clients" | "reporters" | "connectedCount">;
  readonly billed: Pick<Billed, "mayGrantTo">;
  readonly log: AgentLog;
}

export interface GrantingAhead {
  /** Leases on other nodes. */
  readonly ahead: Ahead;
  /** Leases on this node; it begins with what the socket's handlers know. */
  setDesk(known: KnownAtSocket): void;
  /** The door, once it is there. */
  setDoor(open: (open: boolean) => void): void;
}

/** What the local socket's handlers know of clients. */
export type KnownAtSocket = Omit<VoucherDesk, "on" | "mayStand" | "open" | "taken">;

export function grantingAhead(options: GrantingAheadOptions): GrantingAhead {
  const { shell, self, now, controllers, billed, log } = options;
  const waiting = { here: false, elsewhere: false };
  let open = (_: boolean): void => undefined;
  const openFor = (where: keyof typeof waiting) => (is: boolean) => {
    waiting[where] = is;
    open(waiting.here || waiting.elsewhere);
  };
  const ahead = new Ahead({
    starter: () => shell.executors.starter,
    request: (message, owner) =>
      requestLease(controllers.clients, message, owner, now.config.controllerTimeoutMs, true),
    release: (leaseId, node, owner) =>
      void releaseAbandoned(controllers.clients, leaseId, node, owner).catch(() => undefined), // its node forgets it
    mayAsk: () => now.config.grantAhead && controllers.connectedCount() > 0,
    answer: ({ lease, endpoint }) => {
      if (lease === null || endpoint === null) throw new SubletError("INTERNAL", "nothing was granted");
      return encodeLeasedAhead(lease, endpoint);
    },
    open: openFor("elsewhere"),
    nowMs: () => shell.nowMs(),
    onProblem: (message) => log.warn({}, message),
  });

  function taken(lease: Lease): void {
    const ended: Lease = { ...lease, state: "REVOKED", reason: "batch_job" };
    const message = neverLeaseMessage(ended, self(), shell.nowMs());
    for (const reporter of controllers.reporters) reporter.leaseChanged(message);
  }

  return {
    ahead,
    setDesk: (known) =>
      shell.executors.vouchers.setDesk({
        ...known,
        on: () => now.config.grantAhead,
        mayStand: ({ termMs, billing }) =>
          openMsOf(controllers.reporters) >= termMs && billed.mayGrantTo(billing),
        open: openFor("here"),
        taken,
      }),
    setDoor: (door) => {
      open = door;
    },
  };
}
