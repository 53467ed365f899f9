/** Leases: asked for, started, renewed, given back, over. Each handler takes the draft and one event. */
import { SubletError } from "../../src/common/errors.ts";
import type { Lease, LeaseRequest } from "../../src/common/nouns.ts";
import {
  activateLease,
  adoptLease,
  expireLeases,
  findLease,
  grantLease,
  releaseLease,
  renewLease,
  revokeLeases,
} from "../../src/lease/book.ts";
import { durablePatience } from "../reclaim/patience.ts";
import { takeBack } from "../reclaim/take.ts";
import { answerWhenGone } from "../reclaim/waits.ts";
import { coresFor, type Draft, endGuests, limitsFor, overheadBytes, refusal, spareOf } from "./draft.ts";
import type { AgentEvent, Asker } from "./events.ts";
import type { Guest } from "./state.ts";

type Event<T extends AgentEvent["type"]> = Extract<AgentEvent, { type: T }>;

/** The charset of the starter: ids become names of directories and sockets. */
const leaseIdPattern = /^[A-Za-z0-9_-]{1,63}$/;

/** More cores than a node has workers, or than one guest may ask for. */
const maxLeaseCores = 64;

/** A worker's stack, the function's code and its buffers want memory, whatever was asked for. */
const minFunctionMemoryBytes = 16 * 1024 * 1024;

function checkRequest({ leaseId, request }: Event<"grant">): void {
  const bad = (why: string): SubletError => new SubletError("INVALID_ARGUMENT", why);
  if (!leaseIdPattern.test(leaseId)) throw bad("a lease id has 1 to 63 of A-Z a-z 0-9 _ -");
  if (request.kind === "function" && !(request.cores >= 1 && request.cores <= maxLeaseCores))
    throw bad(`a lease for functions wants 1 to ${maxLeaseCores} cores`);
  if (request.kind === "region" && request.cores !== 0) throw bad("a region takes no cores");
  if (request.kind === "region" && !(request.memoryBytes > 0)) throw bad("a region wants memory");
  if (!Number.isSafeInteger(request.memoryBytes)) throw bad("memory is not a whole number of bytes");
}

/** A uid that no guest on this node has. @throws SubletError RESOURCE_EXHAUSTED. */
function freeUid(draft: Draft): number {
  const used = new Set([...draft.guests.values()].map((guest) => guest.uid));
  const { guestUidFirst, guestUidCount } = draft.setup;
  for (let i = 0; i < guestUidCount; i++) {
    const uid = guestUidFirst + ((draft.nextUid + i) % guestUidCount);
    if (used.has(uid)) continue;
    draft.nextUid = (uid - guestUidFirst + 1) % guestUidCount;
    return uid;
  }
  throw refusal(draft, "closed", `all ${guestUidCount} uids for guests are in use`);
}

/** What is granted of a request at most, and at least. */
export function boundedRequest({ setup }: Pick<Draft, "setup">, request: LeaseRequest): LeaseRequest {
  const minBytes = request.kind === "function" ? minFunctionMemoryBytes : 0;
  return {
    ...request,
    termMs: Math.min(request.termMs, setup.leaseTermMaxMs),
    memoryBytes: Math.max(minBytes, request.memoryBytes),
  };
}

export function onGrant(draft: Draft, event: Event<"grant">): void {
  checkRequest(event);
  const { call, leaseId, owner } = event;
  const known = draft.guests.get(leaseId);
  if (known !== undefined) {
    // A call that was sent again. An owner cannot take over the lease, and with it the token, of somebody else.
    if (known.lease.owner.uid !== owner.uid || known.phase === "ending")
      throw new SubletError("ABORTED", `lease id ${leaseId} is taken: ask again with a new one`);
    if (known.phase === "running")
      draft.out.push({ type: "answer", call, answer: { kind: "leased", guest: known } });
    else draft.guests.set(leaseId, { ...known, callers: [...known.callers, call] });
    return;
  }
  const request = boundedRequest(draft, event.request);
  if (draft.lending !== "on")
    throw refusal(draft, "closed", `lends nothing: its mode is ${draft.lending.replace("_", "-")}`);
  const kept = [...draft.vouchers.values()].map((voucher) => voucher.lease);
  const spare = spareOf(draft, kept);
  const decision = grantLease(
    draft.book,
    leaseId,
    request,
    owner,
    spare,
    draft.nowMs,
    overheadBytes(draft.setup, request.kind),
  );
  if (!decision.granted) throw refusal(draft, decision.reason, decision.message);
  const { lease } = decision;
  const uid = freeUid(draft);
  draft.book = decision.book;
  const guest: Guest = {
    lease,
    phase: "starting",
    uid,
    grantedUnixMs: draft.unixMs,
    startedAtMs: draft.nowMs,
    holder: event.holder,
    token: event.token,
    port: 0,
    touchedBytes: 0,
    cores: coresFor(draft, lease),
    callers: [call],
  };
  draft.guests.set(leaseId, guest);
  draft.out.push(
    { type: "start", guest, limits: limitsFor(draft, lease, guest.cores) },
    { type: "lease", guest },
  );
}

export function onStarted(draft: Draft, event: Event<"started">): void {
  const guest = draft.guests.get(event.leaseId);
  // Taken back while it started: its end is under way.
  if (guest?.phase !== "starting") return;
  draft.book = activateLease(draft.book, event.leaseId);
  const lease = findLease(draft.book, event.leaseId);
  const running: Guest = {
    ...guest,
    lease,
    phase: "running",
    port: event.port,
    callers: [],
    uid: event.uid ?? guest.uid,
  };
  draft.guests.set(event.leaseId, running);
  for (const call of guest.callers)
    draft.out.push({ type: "answer", call, answer: { kind: "leased", guest: running } });
  draft.out.push({ type: "ready", guest: running }, { type: "lease", guest: running });
}

export function onStartFailed(draft: Draft, event: Event<"start_failed">): void {
  if (draft.guests.get(event.leaseId)?.phase !== "starting") return;
  endGuests(
    draft,
    revokeLeases(draft.book, (lease) => lease.id === event.leaseId, "start_failed"),
  );
}

export function onExecutorExited(draft: Draft, event: Event<"executor_exited">): void {
  const guest = draft.guests.get(event.leaseId);
  if (guest === undefined || guest.phase === "ending") return;
  const reason = guest.phase === "starting" ? "start_failed" : "executor_lost";
  endGuests(
    draft,
    revokeLeases(draft.book, (lease) => lease.id === event.leaseId, reason),
  );
}

/** @throws SubletError NOT_FOUND also for leases of others: that they exist is not everybody's business. */
function guestOf(draft: Draft, leaseId: string, asker: Asker): Guest {
  const lease = findLease(draft.book, leaseId);
  const guest = draft.guests.get(leaseId);
  if (guest === undefined || (!asker.all && lease.owner.uid !== asker.uid))
    throw new SubletError("NOT_FOUND", `lease ${leaseId} is not on this node (it may have ended)`);
  return guest;
}

export function onRenew(draft: Draft, event: Event<"renew">): void {
  const guest = guestOf(draft, event.leaseId, event.asker);
  const { book, lease } = renewLease(draft.book, event.leaseId, draft.nowMs);
  draft.book = book;
  const renewed: Guest = { ...guest, lease, holder: event.holder ?? guest.holder };
  draft.guests.set(event.leaseId, renewed);
  draft.out.push({ type: "answer", call: event.call, answer: { kind: "lease", guest: renewed } });
}

export function onRelease(draft: Draft, event: Event<"release">): void {
  const { holder } = guestOf(draft, event.leaseId, event.asker);
  const [released] = endGuests(draft, releaseLease(draft.book, event.leaseId), holder);
  const guests = new Set([event.leaseId]);
  answerWhenGone(draft, event.call, { kind: "release", guests, ended: 1, released });
}

/** A lease that a controller placed on this very node belongs to the connection that asked for it. */
export function onHold(draft: Draft, event: Event<"hold">): void {
  const guest = draft.guests.get(event.leaseId);
  if (guest === undefined) return;
  const held: Guest = { ...guest, holder: event.holder };
  if (guest.phase === "ending") draft.out.push({ type: "notify", holder: event.holder, guest });
  else draft.guests.set(event.leaseId, held);
  if (held.lease.state === "DRAINING") draft.out.push({ type: "draining", guest: held });
}

export function onHolderGone(draft: Draft, event: Event<"holder_gone">): void {
  for (const guest of [...draft.guests.values()])
    if (guest.holder === event.holder && guest.phase !== "ending")
      endGuests(draft, releaseLease(draft.book, guest.lease.id), event.holder);
}

export function onExpiry(draft: Draft): void {
  endGuests(draft, expireLeases(draft.book, draft.nowMs));
}

/** Guests of an earlier life: each gets a full term to be renewed in. What clashes ends. */
export function onAdopt(draft: Draft, event: Event<"adopt">): void {
  for (const adopted of event.guests) {
    const lease: Lease = {
      ...adopted.lease,
      state: "ACTIVE",
      reason: undefined,
      expiresAtMs: draft.nowMs + adopted.lease.termMs,
    };
    const guest: Guest = {
      ...adopted,
      lease,
      phase: "running",
      startedAtMs: draft.nowMs,
      holder: undefined,
      touchedBytes: 0,
      callers: [],
    };
    const strange = lease.cores.some((core) => !draft.setup.cores.includes(core));
    try {
      if (strange) throw new SubletError("ABORTED", `cores of lease ${lease.id} are not this node's`);
      draft.book = adoptLease(draft.book, lease);
      draft.guests.set(lease.id, guest);
      draft.out.push({ type: "lease", guest });
    } catch (thrown) {
      if (!(thrown instanceof SubletError)) throw thrown;
      const last: Guest = {
        ...guest,
        phase: "ending",
        lease: { ...lease, state: "REVOKED", reason: "agent_restart" },
      };
      draft.guests.set(lease.id, last);
      draft.out.push(
        { type: "end", leaseId: lease.id },
        { type: "lease", guest: last },
        { type: "ended", guest: last },
      );
    }
  }
  draft.adopted = true;
}

/** The agent is told to leave the node empty. */
export function onLeave(draft: Draft): void {
  draft.leaving = true;
  takeBack(draft, () => true, "admin", durablePatience(draft));
}

export function onGuard(draft: Draft, event: Event<"guard">): void {
  draft.guarded = event.closed;
  takeBack(draft, (lease) => event.leaseIds.includes(lease.id), "guard", durablePatience(draft));
}
