/**
 * What clients and hooks ask of their node's agent. Leases asked for on a connection, wherever they are, end with it; a
 * renewal makes its connection the holder. Hooks are root's.
 *
 * A lease for functions that this node can serve is granted here, without a controller: calls on the same node cost a
 * fiftieth of those across, and the controllers hear of it by the report (see here.ts).
 *
 * Race: a lease may be granted after its client has gone. Then it is released at once (see `keep`).
 */
import { randomBytes } from "node:crypto";
import { SubletError, toSubletError } from "../../src/common/errors.ts";
import { logEvent } from "../../src/common/log-events.ts";
import type { Principal } from "../../src/common/nouns.ts";
import { jobFactsFromWire, leaseRequestFromWire, reasonToWire, stateToWire } from "../../src/rpc/convert.ts";
import { encodeLeasedAhead, leaseRequestBytes } from "../../src/rpc/local.ts";
import type {
  Init,
  LeaseMessage,
  LeaseRequestMessage,
  LocalHook,
  LocalJob,
  LocalLease,
  LocalRelease,
  LocalRenew,
  LocalRequest,
  LocalResponse,
  OfferMessage,
  ReceiptMessage,
} from "../../src/rpc/messages.ts";
import { briefReceipt } from "../../src/rpc/receipts.ts";
import { noPort } from "../executor/vouchers.ts";
import type { JobWatcher } from "../jobs/watch.ts";
import type { AgentLog } from "../log.ts";
import type { NodeAdmin } from "../node/admin.ts";
import { endpointMessage, type Identification, leaseMessage } from "../offer/messages.ts";
import type { Asker } from "../reactor/events.ts";
import type { Guest } from "../reactor/state.ts";
import { fitReceipts, type Receipts } from "../receipts/keep.ts";
import type { Ask, Shell } from "../shell.ts";
import type { Billed } from "../usage/billing.ts";
import type { Ahead } from "./ahead.ts";
import {
  type Controllers,
  listRemote,
  receiptsRemote,
  releaseAbandoned,
  releaseRemote,
  renewRemote,
  requestLease,
} from "./controllers.ts";
import type { KnownAtSocket } from "./granting-ahead.ts";
import { servedHere } from "./here.ts";
import type { Connection, LocalHandlers } from "./server.ts";

export interface LocalOptions {
  readonly shell: Shell;
  readonly self: () => Identification;
  readonly offer: () => OfferMessage;
  /** For how long what is spare is likely to stay so; 0: unknown. */
  readonly horizonMs: () => number;
  readonly controllers: Controllers;
  /** How long one of them is given to find a lease. */
  readonly controllerTimeoutMs: number;
  readonly controllerConnected: () => boolean;
  /** For how long from now this node may lend without asking; 0: ask. */
  readonly openMs: () => number;
  readonly adminGid: number | undefined;
  readonly findings: () => Record<string, string>;
  readonly admin: NodeAdmin;
  readonly jobs: Pick<JobWatcher, "begun" | "ended" | "rescan">;
  readonly log: AgentLog;
  readonly receipts?: Pick<Receipts, "of">;
  /** Whose account leases are counted to; a pilot's are nobody's. */
  readonly billed?: Pick<Billed, "admit" | "mayGrant" | "mayGrantAll" | "of">;
  /** Leases on other nodes that are granted ahead. */
  readonly ahead?: Pick<Ahead, "claimed" | "ended" | "granted">;
}

interface Session {
  readonly connection: Connection;
  /** Leases on other nodes: node by lease id. */
  readonly remote: Map<string, string>;
}

/** More leases than this do not fit into one frame. */
const maxListed = 400;

export function newToken(): string {
  return randomBytes(32).toString("hex");
}

export function newLeaseId(node: string): string {
  return `${node.replace(/[^A-Za-z0-9_-]/g, "-").slice(0, 32)}-${randomBytes(9).toString("base64url")}`;
}

function hookEvent(said: LocalHook): Ask {
  const { event, jobId, stepId, cores, memoryBytes } = said;
  if (event === "HOOK_EVENT_EPILOG") return { type: "epilog", jobId };
  const facts = jobFactsFromWire(said);
  if (event === "HOOK_EVENT_PROLOG") return { type: "prolog", jobId, ...facts };
  return { type: "step", jobId, stepId, cores, memoryBytes, ...facts };
}

const alonePauseMs = 10_000;

/** Handlers of the local socket, and what the shell must tell them. */
export function localHandlers(options: LocalOptions): LocalHandlers & {
  notify(holder: number, guest: Guest): void;
  /** A controller says that these leases on other nodes have ended: their holders here hear it, once. */
  remoteEnded(leases: readonly LeaseMessage[]): void;
  /** A lease of this node is wanted back: its holder hears what is left of the budget. */
  draining(guest: Guest): void;
  /** The same of leases on other nodes. */
  remoteDraining(leases: readonly LeaseMessage[]): void;
  /** For leases that are granted ahead. */
  desk: KnownAtSocket;
} {
  const { shell, controllers, admin } = options;
  const sessions = new Map<number, Session>();

  function principal({ peer }: Connection, jobId: number): Principal {
    return { uid: peer.uid, gid: peer.gid, jobId, node: options.self().node };
  }

  function asker({ peer }: Connection): Asker {
    return { uid: peer.uid, all: peer.uid === 0 || peer.gid === options.adminGid };
  }

  function sessionOf(connection: Connection): Session {
    let session = sessions.get(connection.id);
    if (session === undefined) {
      session = { connection, remote: new Map() };
      sessions.set(connection.id, session);
    }
    return session;
  }

  function isLocal(node: string): boolean {
    return node === "" || node === options.self().node;
  }

  function message(guest: Guest): LeaseMessage {
    return leaseMessage(guest, options.self(), shell.nowMs());
  }

  function abandon(leaseId: string, node: string, owner: Principal): void {
    releaseAbandoned(controllers, leaseId, node, owner).catch((thrown: unknown) => {
      options.log.warn(
        { lease: leaseId, node, message: toSubletError(thrown).message },
        "lease ends with its term only",
      );
    });
  }

  /** The lease belongs to this connection from now on; to nobody, if that has closed meanwhile. */
  function keep(session: Session, lease: Pick<LeaseMessage, "id" | "node">, owner: Principal): void {
    const { connection } = session;
    const open = sessions.has(connection.id);
    if (isLocal(lease.node)) {
      shell.dispatch({ type: "hold", leaseId: lease.id, holder: connection.id });
      if (!open) shell.dispatch({ type: "holder_gone", holder: connection.id });
    } else if (open) {
      for (const other of sessions.values()) other.remote.delete(lease.id);
      session.remote.set(lease.id, lease.node);
    } else abandon(lease.id, lease.node, owner);
  }

  /** `why`: what is known about the controllers that do not answer. */
  async function leaseHere(
    connection: Connection,
    { request }: LocalLease,
    owner: Principal,
    why: string | undefined,
  ) {
    const self = options.self().node;
    if (request === null || !isLocal(request.node) || request.excludeNodes.includes(self))
      throw new SubletError(
        "UNAVAILABLE",
        `no controller answers, and ${self} alone may not serve this request${why === undefined ? "" : ` (${why})`}`,
      );
    const billing = options.billed?.admit(owner);
    const wish = leaseRequestFromWire(request, shell.state.setup.leaseTermMs);
    const answer = await shell.ask({
      type: "grant",
      leaseId: newLeaseId(self),
      request: billing === undefined ? wish : { ...wish, billing },
      owner,
      holder: connection.id,
      token: newToken(),
    });
    if (answer.kind !== "leased") throw new SubletError("INTERNAL", "grant was answered with something else");
    if (!sessions.has(connection.id)) shell.dispatch({ type: "holder_gone", holder: connection.id });
    return { lease: message(answer.guest), endpoint: endpointMessage(answer.guest, options.self()) };
  }

  function mayServe(request: LeaseRequestMessage, owner: Principal): boolean {
    if (options.billed?.mayGrant(owner) === false) return false;
    const { spare, setup } = shell.state;
    const wish = leaseRequestFromWire(request, setup.leaseTermMs);
    return servedHere(
      { ...wish, node: request.node, excludeNodes: request.excludeNodes },
      {
        node: options.self().node,
        spare,
        openMs: options.openMs(),
        horizonMs: options.horizonMs(),
      },
    );
  }

  let alone = { times: 0, toldAtMs: Number.NEGATIVE_INFINITY };

  /** Why, for the sysadmin: one line in ten seconds at most, since clients ask again and again. */
  function noController(message: string): void {
    alone.times++;
    const nowMs = performance.now();
    if (nowMs - alone.toldAtMs < alonePauseMs) return;
    options.log.warn({ message, times: alone.times }, "no controller answers: this node decides alone");
    alone = { times: 0, toldAtMs: nowMs };
  }

  /** He may ask for the same again. */
  function remember(
    { request }: LocalLease,
    owner: Principal,
    body: Buffer,
    where: "here" | "elsewhere",
  ): void {
    const bytes = leaseRequestBytes(body);
    if (bytes === undefined || request?.kind !== "LEASE_KIND_FUNCTION") return;
    const demand = { request: Buffer.from(bytes), owner, message: request };
    if (where === "here") shell.executors.vouchers.asked(demand);
    else options.ahead?.granted(demand);
  }

  async function lease(
    connection: Connection,
    wanted: LocalLease,
    body: Buffer,
  ): Promise<Init<LocalResponse>> {
    const session = sessionOf(connection);
    const owner = principal(connection, wanted.jobId);
    if (wanted.request === null) throw new SubletError("INVALID_ARGUMENT", "lease without a request");
    if (controllers.length > 0 && mayServe(wanted.request, owner))
      try {
        const leased = await leaseHere(connection, wanted, owner, undefined);
        remember(wanted, owner, body, "here");
        return { body: "leased", leased };
      } catch (thrown) {
        if (!(thrown instanceof SubletError) || thrown.code !== "RESOURCE_EXHAUSTED") throw thrown;
        options.log.debug({ message: thrown.message }, "not granted here: the controller is asked");
      }
    let why: string | undefined;
    if (controllers.length > 0)
      try {
        const askedAtMs = shell.nowMs();
        const granted = await requestLease(controllers, wanted.request, owner, options.controllerTimeoutMs);
        if (granted.lease === null) throw new SubletError("INTERNAL", "the controller granted nothing");
        shell.steps.add("controller", shell.nowMs() - askedAtMs);
        keep(session, granted.lease, owner);
        if (!isLocal(granted.lease.node)) remember(wanted, owner, body, "elsewhere");
        return { body: "leased", leased: { lease: granted.lease, endpoint: granted.endpoint } };
      } catch (thrown) {
        if (!(thrown instanceof SubletError) || thrown.code !== "UNAVAILABLE") throw thrown;
        why = thrown.message;
        noController(why);
      }
    return { body: "leased", leased: await leaseHere(connection, wanted, owner, why) };
  }

  async function renew(connection: Connection, { leaseId, node }: LocalRenew): Promise<Init<LocalResponse>> {
    const session = sessionOf(connection);
    if (isLocal(node)) {
      const answer = await shell.ask({
        type: "renew",
        leaseId,
        asker: asker(connection),
        holder: connection.id,
      });
      if (answer.kind !== "lease")
        throw new SubletError("INTERNAL", "renewal was answered with something else");
      return { body: "lease", lease: message(answer.guest) };
    }
    const owner = principal(connection, 0);
    const renewed = await renewRemote(controllers, leaseId, node, owner);
    if (renewed === null) throw new SubletError("INTERNAL", "the controller renewed nothing");
    keep(session, renewed, owner);
    return { body: "lease", lease: renewed };
  }

  async function release(
    connection: Connection,
    { leaseId, node }: LocalRelease,
  ): Promise<Init<LocalResponse>> {
    if (isLocal(node)) {
      const answer = await shell.ask({ type: "release", leaseId, asker: asker(connection) });
      if (answer.kind !== "lease")
        throw new SubletError("INTERNAL", "release was answered with something else");
      return { body: "lease", lease: message(answer.guest) };
    }
    const released = await releaseRemote(controllers, leaseId, node, principal(connection, 0));
    for (const session of sessions.values()) session.remote.delete(leaseId);
    return { body: "lease", lease: released ?? { id: leaseId } };
  }

  async function list(connection: Connection): Promise<Init<LocalResponse>> {
    const who = asker(connection);
    const own = [...shell.state.guests.values()].filter(
      (guest) => guest.phase !== "ending" && (who.all || guest.lease.owner.uid === who.uid),
    );
    let remote: LeaseMessage[] = [];
    if (options.controllerConnected())
      try {
        const all = await listRemote(controllers, who.all ? null : principal(connection, 0));
        remote = all.filter((each) => !isLocal(each.node));
      } catch (thrown) {
        options.log.warn({ message: toSubletError(thrown).message }, "leases of other nodes are not listed");
      }
    return { body: "leases", leases: { leases: [...own.map(message), ...remote].slice(0, maxListed) } };
  }

  async function hook(connection: Connection, said: LocalHook): Promise<Init<LocalResponse>> {
    const { event, jobId } = said;
    if (connection.peer.uid !== 0) throw new SubletError("PERMISSION_DENIED", "hooks are Slurm's: root only");
    if (jobId === 0) throw new SubletError("INVALID_ARGUMENT", "hook without a job id");
    if (event === "HOOK_EVENT_UNSPECIFIED")
      throw new SubletError("INVALID_ARGUMENT", "hook without an event");
    if (event !== "HOOK_EVENT_EPILOG") options.jobs.begun(jobId);
    const asked = shell.ask(hookEvent(said));
    if (event === "HOOK_EVENT_EPILOG") options.jobs.ended(jobId);
    const answer = await asked.catch((thrown: unknown) => {
      const { code, message } = toSubletError(thrown);
      if (code === "DEADLINE_EXCEEDED")
        options.log.error(
          logEvent("hook_timed_out", { job: jobId, hook: event, message }),
          "a hook was not answered in time",
        );
      throw thrown;
    });
    if (answer.kind !== "hook") throw new SubletError("INTERNAL", "hook was answered with something else");
    return { body: "hookDone", hookDone: { leasesEnded: answer.leasesEnded, tookUs: answer.tookUs } };
  }

  /** What this node knows, and of other nodes what the controller knows, as far as it fits into a frame. */
  async function job(connection: Connection, { jobId }: LocalJob): Promise<Init<LocalResponse>> {
    const found = options.receipts?.of(jobId, asker(connection)) ?? [];
    let others: ReceiptMessage[] = [];
    if (options.controllerConnected())
      try {
        const all = await receiptsRemote(controllers, jobId, principal(connection, 0));
        others = all.filter((each) => !isLocal(each.node));
      } catch (thrown) {
        options.log.warn(
          { message: toSubletError(thrown).message },
          "receipts of other nodes are not listed",
        );
      }
    const all = [...found, ...others];
    return { body: "receipts", receipts: fitReceipts(jobId === 0 ? all.map(briefReceipt) : all) };
  }

  function status(): Init<LocalResponse> {
    return {
      body: "status",
      status: {
        offer: options.offer(),
        findings: options.findings(),
        controllerConnected: options.controllerConnected(),
      },
    };
  }

  return {
    async request(connection: Connection, request: LocalRequest, body: Buffer) {
      switch (request.body) {
        case "lease":
          return lease(connection, request.lease, body);
        case "renew":
          return renew(connection, request.renew);
        case "release":
          return release(connection, request.release);
        case "list":
          return list(connection);
        case "hook":
          return hook(connection, request.hook);
        case "status":
          return status();
        case "drain":
          return { body: "outcome", outcome: await admin.drain(asker(connection), request.drain) };
        case "resume":
          return { body: "outcome", outcome: await admin.resume(asker(connection)) };
        case "reclaim":
          return { body: "outcome", outcome: await admin.reclaim(asker(connection), request.reclaim) };
        case "job":
          return job(connection, request.job);
        default:
          throw new SubletError(
            "INVALID_ARGUMENT",
            "request is not known here: is the client newer than the agent?",
          );
      }
    },
    closed(connection) {
      const session = sessions.get(connection.id);
      sessions.delete(connection.id);
      shell.dispatch({ type: "holder_gone", holder: connection.id });
      const owner = principal(connection, 0);
      for (const [leaseId, node] of session?.remote ?? []) abandon(leaseId, node, owner);
    },
    redeemed(connection, { leaseId, jobId }) {
      const session = sessionOf(connection);
      const far = options.ahead?.claimed(leaseId);
      if (far === undefined) shell.executors.vouchers.claimed(leaseId, jobId, connection.id);
      else keep(session, { id: leaseId, ...far }, principal(connection, jobId));
    },
    desk: {
      mayGrant: ({ message: request, owner }) =>
        options.billed?.mayGrantAll() !== false && controllers.length > 0 && mayServe(request, owner),
      billing: (owner) => options.billed?.of(owner),
      newLeaseId: () => newLeaseId(options.self().node),
      newToken,
      answer(guest) {
        const self = options.self();
        const endpoint = endpointMessage(guest, self);
        const tcpAddress = guest.port === 0 ? `${self.fabricAddress}:${noPort}` : endpoint.tcpAddress;
        return encodeLeasedAhead(message(guest), { ...endpoint, tcpAddress });
      },
    },
    remoteEnded(leases) {
      options.ahead?.ended(leases);
      for (const { id, node, state, reason } of leases)
        for (const session of sessions.values()) {
          if (session.remote.get(id) !== node) continue;
          session.remote.delete(id);
          session.connection.send({ body: "revoked", revoked: { leaseId: id, state, reason } });
        }
    },
    draining({ holder, lease: { id, reason, expiresAtMs } }) {
      if (holder === undefined) return;
      const remainingMs = Math.max(0, Math.round(expiresAtMs - shell.nowMs()));
      sessions.get(holder)?.connection.send({
        body: "draining",
        draining: { leaseId: id, remainingMs, reason: reasonToWire(reason) },
      });
    },
    remoteDraining(leases) {
      for (const { id, node, remainingMs, reason } of leases)
        for (const session of sessions.values())
          if (session.remote.get(id) === node)
            session.connection.send({ body: "draining", draining: { leaseId: id, remainingMs, reason } });
    },
    notify(holder, guest) {
      const { id, state, reason } = guest.lease;
      sessions.get(holder)?.connection.send({
        body: "revoked",
        revoked: { leaseId: id, state: stateToWire(state), reason: reasonToWire(reason) },
      });
    },
  };
}
