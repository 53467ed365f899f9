/**
 * Leases that are granted before they are asked for (agent/executor/vouchers.ts). A voucher is no lease yet: its capacity is
 * offered like all that is spare, and only kept from other grants until it is withdrawn or redeemed. What was redeemed is a
 * lease like any other from then on.
 */
import { SubletError } from "../../src/common/errors.ts";
import type { EndReason, Lease, LeaseRequest } from "../../src/common/nouns.ts";
import { activateLease, adoptLease, findLease, grantLease } from "../../src/lease/book.ts";
import { takeBack } from "../reclaim/take.ts";
import { coresFor, type Draft, limitsFor, overheadBytes, spareOf } from "./draft.ts";
import type { AgentEvent } from "./events.ts";
import { boundedRequest, onHold } from "./leases.ts";
import type { AgentState, Guest } from "./state.ts";

type Event<T extends AgentEvent["type"]> = Extract<AgentEvent, { type: T }>;
type Facts = Pick<AgentState, "vouchers" | "spare" | "setup">;

function promisedBytes({ setup }: Pick<AgentState, "setup">, lease: Lease): number {
  return lease.memoryBytes + overheadBytes(setup, lease.kind);
}

/** What is offered without what vouchers keep. */
function besideVouchers(state: Facts) {
  return state.spare.map((part) => {
    const kept = [...state.vouchers.values()].map(({ lease }) => lease);
    const own = kept.filter((lease) => lease.class === part.class);
    return {
      ...part,
      cores: part.cores.filter((core) => !own.some((lease) => lease.cores.includes(core))),
      memoryBytes: part.memoryBytes - own.reduce((sum, lease) => sum + promisedBytes(state, lease), 0),
    };
  });
}

/** How many cores of a request one part can give; -1: it cannot be granted. */
function granted(request: LeaseRequest, bytes: number, parts: AgentState["spare"]): number {
  const least = Math.max(request.minCores, Math.min(1, request.cores));
  const most = parts
    .filter((part) => part.memoryBytes >= bytes && part.cores.length >= least)
    .map((part) => Math.min(request.cores, part.cores.length));
  return Math.max(-1, ...most);
}

/** Whether vouchers must go so that this can be granted, or more of it. */
export function inTheWayOf(state: Facts, asked: LeaseRequest): boolean {
  if (state.vouchers.size === 0) return false;
  const request = boundedRequest(state, asked);
  const bytes = request.memoryBytes + overheadBytes(state.setup, request.kind);
  return granted(request, bytes, state.spare) > granted(request, bytes, besideVouchers(state));
}

/** Why vouchers do not hold any more; undefined: all of them do. */
export function againstVouchers(state: AgentState): EndReason | undefined {
  if (state.vouchers.size === 0) return undefined;
  if (state.guarded) return "guard";
  if (state.lending !== "on" || state.leaving || state.drain !== undefined) return "admin";
  if (!state.starterUp || !state.adopted) return "executor_lost";
  const hooked = state.announced.size > 0 || [...state.waits.values()].some(({ kind }) => kind === "hook");
  if (hooked || besideVouchers(state).some((part) => part.memoryBytes < 0)) return "batch_job";
  const offered = (lease: Lease): boolean =>
    state.spare.some(
      (part) => part.class === lease.class && lease.cores.every((core) => part.cores.includes(core)),
    );
  return [...state.vouchers.values()].every(({ lease }) => offered(lease)) ? undefined : "batch_job";
}

/** Grants ahead what is asked for, if that is spare; only functions, whose executors are prepared. */
export function onVouch(draft: Draft, event: Event<"vouch">): void {
  const { leaseId, owner, token, uid, port } = event;
  const request = boundedRequest(draft, event.request);
  if (draft.lending !== "on" || draft.guests.has(leaseId) || request.kind !== "function") return;
  const kept = [...draft.vouchers.values()].map(({ lease }) => lease);
  const decision = grantLease(
    draft.book,
    leaseId,
    request,
    owner,
    spareOf(draft, kept).filter((part) => part.class !== "shared"),
    draft.nowMs,
    overheadBytes(draft.setup, request.kind),
  );
  if (!decision.granted || decision.lease.cores.length !== request.cores) return;
  const { lease } = decision;
  const limits = limitsFor(draft, lease, coresFor(draft, lease));
  draft.vouchers.set(leaseId, { lease, uid, token, port, limits });
  // What is offered goes by steps of memory: one that does not fit into those would be withdrawn at once, and made again.
  if (againstVouchers(draft) !== undefined) draft.vouchers.delete(leaseId);
}

export function onUnvouch(draft: Draft, event: Event<"unvouch">): void {
  for (const leaseId of event.leaseIds) draft.vouchers.delete(leaseId);
}

/**
 * Told twice, in any order: by the starter, which handed the lease out, and by the connection that holds it from then on.
 * What should not be lent any more goes at once.
 */
export function onRedeemed(draft: Draft, event: Event<"redeemed">): void {
  const { leaseId, jobId, holder } = event;
  const voucher = draft.vouchers.get(leaseId);
  const known = draft.guests.get(leaseId);
  if (known !== undefined && event.port !== undefined)
    draft.guests.set(leaseId, { ...known, port: event.port });
  if (voucher === undefined) {
    if (holder !== undefined) onHold(draft, { type: "hold", leaseId, holder });
    return;
  }
  const against = againstVouchers(draft);
  draft.vouchers.delete(leaseId);
  const { lease: granted, uid, token, port } = voucher;
  const lease: Lease = {
    ...granted,
    owner: { ...granted.owner, jobId },
    expiresAtMs: draft.nowMs + granted.termMs,
    ...(event.billing === undefined ? {} : { billing: event.billing }),
  };
  const guest: Guest = {
    lease,
    phase: "starting",
    uid,
    grantedUnixMs: draft.unixMs,
    startedAtMs: draft.nowMs,
    holder,
    token,
    port: event.port ?? port,
    touchedBytes: 0,
    cores: voucher.limits.cores,
    callers: [],
  };
  try {
    draft.book = activateLease(adoptLease(draft.book, lease), leaseId);
  } catch (thrown) {
    if (!(thrown instanceof SubletError)) throw thrown;
    // Its cores are in another lease. That cannot be; its executor ends.
    const last: Guest = { ...guest, phase: "ending", lease: { ...lease, state: "REVOKED", reason: "admin" } };
    draft.guests.set(leaseId, last);
    draft.out.push({ type: "end", leaseId }, { type: "lease", guest: last }, { type: "ended", guest: last });
    return;
  }
  const running: Guest = { ...guest, phase: "running", lease: findLease(draft.book, leaseId) };
  draft.guests.set(leaseId, running);
  draft.out.push({ type: "ready", guest: running, ahead: true }, { type: "lease", guest: running });
  if (against !== undefined) takeBack(draft, ({ id }) => id === leaseId, against);
}
