/**
 * NodeService: what controllers, and the CLI for reading, ask of this node. A trusted daemon acts for the Principal
 * it names; everyone else is taken at his own uid.
 */
import { SubletError } from "../../src/common/errors.ts";
import type { Lease, Principal } from "../../src/common/nouns.ts";
import { version } from "../../src/common/version.ts";
import { leaseRequestFromWire } from "../../src/rpc/convert.ts";
import type { LeaseMessage, OfferMessage, PrincipalMessage } from "../../src/rpc/messages.ts";
import type { CallContext, NodeHandlers } from "../../src/rpc/server.ts";
import { bounded, knownProblems } from "../findings.ts";
import { endpointMessage, type Identification, leaseMessage, neverLeaseMessage } from "../offer/messages.ts";
import type { Asker } from "../reactor/events.ts";
import type { Guest } from "../reactor/state.ts";
import type { Shell } from "../shell.ts";
import { newToken } from "../socket/local.ts";
import type { Billed } from "../usage/billing.ts";
import type { NodeAdmin } from "./admin.ts";

export interface NodeServiceOptions {
  readonly shell: Shell;
  readonly self: () => Identification;
  readonly offer: () => OfferMessage;
  /** As the configuration says it now. */
  readonly adminGid: number | undefined;
  readonly findings: () => Record<string, string>;
  readonly controllerConnected: () => boolean;
  readonly admin: NodeAdmin;
  readonly billed?: Pick<Billed, "admit" | "of">;
}

export function nodeService(options: NodeServiceOptions): NodeHandlers {
  const { shell, self, offer, findings, admin, billed } = options;
  const isAdmin = (uid: number, gid: number): boolean => uid === 0 || gid === options.adminGid;

  function ownerOf({ caller }: CallContext, named: PrincipalMessage | null): Principal {
    if (!caller.trusted) return { uid: caller.uid, gid: caller.gid, jobId: named?.jobId ?? 0, node: "" };
    if (named === null) throw new SubletError("INVALID_ARGUMENT", "grant without an owner");
    return named;
  }

  function askerOf({ caller }: CallContext, named: PrincipalMessage | null): Asker {
    if (!caller.trusted) return { uid: caller.uid, all: isAdmin(caller.uid, caller.gid) };
    if (named === null) return { uid: caller.uid, all: true };
    return { uid: named.uid, all: isAdmin(named.uid, named.gid) };
  }

  function message(guest: Guest): LeaseMessage {
    return leaseMessage(guest, self(), shell.nowMs());
  }

  return {
    async grant({ leaseId, request, owner: named, account, partition, ahead }, context) {
      if (request === null) throw new SubletError("INVALID_ARGUMENT", "grant without a request");
      const owner = ownerOf(context, named);
      // A controller has looked at the quotas, and knows of jobs on other nodes.
      const { trusted } = context.caller;
      const known = trusted ? billed?.of(owner) : billed?.admit(owner);
      const billing = trusted && account !== "" ? { account, partition } : known;
      const asked = leaseRequestFromWire(request, shell.state.setup.leaseTermMs);
      const wish = billing === undefined ? asked : { ...asked, billing };
      if (ahead) {
        const guest = await shell.executors.vouchers.grantAhead({ leaseId, wish, owner });
        return { lease: message(guest), endpoint: endpointMessage(guest, self()), ahead };
      }
      const answer = await shell.ask({
        type: "grant",
        leaseId,
        request: wish,
        owner,
        holder: undefined,
        token: newToken(),
      });
      if (answer.kind !== "leased")
        throw new SubletError("INTERNAL", "grant was answered with something else");
      return { lease: message(answer.guest), endpoint: endpointMessage(answer.guest, self()) };
    },
    async renew({ leaseId, caller }, context) {
      const asker = askerOf(context, caller);
      await shell.executors.vouchers.giveBack(leaseId, asker); // its client is not here: there is nothing to renew
      const answer = await shell.ask({ type: "renew", leaseId, asker, holder: undefined });
      if (answer.kind !== "lease")
        throw new SubletError("INTERNAL", "renewal was answered with something else");
      return { lease: message(answer.guest) };
    },
    async release({ leaseId, caller }, context) {
      const asker = askerOf(context, caller);
      const unused = await shell.executors.vouchers.giveBack(leaseId, asker);
      if (unused !== undefined) {
        const released: Lease = { ...unused, state: "RELEASED", reason: "released" };
        return { lease: neverLeaseMessage(released, self(), shell.nowMs()) };
      }
      const answer = await shell.ask({ type: "release", leaseId, asker });
      if (answer.kind !== "lease")
        throw new SubletError("INTERNAL", "release was answered with something else");
      return { lease: message(answer.guest) };
    },
    async listLeases({ caller }, context) {
      const asker = askerOf(context, caller);
      const guests = [...shell.state.guests.values()].filter(
        (guest) => guest.phase !== "ending" && (asker.all || guest.lease.owner.uid === asker.uid),
      );
      return { leases: guests.map(message) };
    },
    async drain({ caller, ...wanted }, context) {
      return { outcome: await admin.drain(askerOf(context, caller), wanted) };
    },
    async resume({ caller }, context) {
      return { outcome: await admin.resume(askerOf(context, caller)) };
    },
    async reclaim({ caller, ...wanted }, context) {
      return { outcome: await admin.reclaim(askerOf(context, caller), wanted) };
    },
    async getNode() {
      return { offer: offer(), findings: findings() };
    },
    async getHealth() {
      const facts = findings();
      const problems = knownProblems(shell.state, facts, options.controllerConnected());
      return { version, unixMs: Date.now(), findings: bounded(facts), problems };
    },
  };
}
