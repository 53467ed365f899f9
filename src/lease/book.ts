/**
 * The leases of one node: the only place that says yes. Pure: time and facts come in, decisions go out; the
 * agent carries them out (start an executor, end one) and tells the book what came of it.
 *
 * Invariants: a core is in at most one live lease; live leases never take more than was spare when they were
 * granted; every live lease ends at `expiresAtMs` unless it was renewed before.
 */
import { SubletError } from "../common/errors.ts";
import {
  type EndReason,
  isDurable,
  type Lease,
  type LeaseRequest,
  onlySharedText,
  type Principal,
  type RefusalReason,
  type Spare,
  spareBytesFor,
} from "../common/nouns.ts";
import { type LeaseEvent, leaseEnded, nextLeaseState } from "./lifecycle.ts";

/** Live leases by id. Immutable: every function returns the next book. */
export interface LeaseBook {
  readonly leases: ReadonlyMap<string, Lease>;
}

export const emptyBook: LeaseBook = { leases: new Map() };

export type GrantDecision =
  | { readonly granted: true; readonly book: LeaseBook; readonly lease: Lease }
  | { readonly granted: false; readonly reason: RefusalReason; readonly message: string };

/** What became of leases that just ended: their executors must be ended, their owners told. */
export interface EndDecision {
  readonly book: LeaseBook;
  readonly ended: readonly Lease[];
}

function replace(book: LeaseBook, changed: Lease): LeaseBook {
  const leases = new Map(book.leases);
  if (leaseEnded(changed.state)) leases.delete(changed.id);
  else leases.set(changed.id, changed);
  return { leases };
}

/** The live lease. @throws SubletError NOT_FOUND. */
export function findLease(book: LeaseBook, id: string): Lease {
  const lease = book.leases.get(id);
  if (lease === undefined)
    throw new SubletError("NOT_FOUND", `lease ${id} is not on this node (it may have ended)`);
  return lease;
}

/**
 * Grants a request from `spare`, which is what remains beside the leases of the book (see src/capacity), or
 * refuses it. Cores are taken from the top: Slurm fills nodes from the bottom, so these are needed last.
 * The same id again returns the lease that it made. `overheadBytes`: what the lease takes beyond its memory.
 */
export function grantLease(
  book: LeaseBook,
  id: string,
  request: LeaseRequest,
  owner: Principal,
  spare: readonly Spare[],
  nowMs: number,
  overheadBytes = 0,
): GrantDecision {
  const known = book.leases.get(id);
  if (known !== undefined) return { granted: true, book, lease: known };
  if (
    request.minCores > request.cores ||
    request.minCores < 0 ||
    request.memoryBytes < 0 ||
    !(request.termMs > 0)
  )
    throw new SubletError(
      "INVALID_ARGUMENT",
      "a lease wants 0 <= minCores <= cores, memory >= 0 and a term > 0",
    );
  if (spare.length === 0) return { granted: false, reason: "closed", message: "the node lends nothing now" };
  const taken = new Set<number>();
  for (const lease of book.leases.values()) for (const core of lease.cores) taken.add(core);
  let reason: RefusalReason = "no_cores";
  let onlyShared = false;
  for (const offer of spare) {
    const free = offer.cores.filter((core) => !taken.has(core));
    if (free.length < Math.max(request.minCores, request.cores > 0 ? 1 : 0)) continue;
    if (spareBytesFor(offer, spare) < request.memoryBytes + overheadBytes) {
      reason = "no_memory";
      continue;
    }
    if (offer.class === "shared" && isDurable(request)) {
      reason = "no_memory";
      onlyShared = true;
      continue;
    }
    const cores = free.slice(Math.max(0, free.length - request.cores));
    const lease: Lease = {
      id,
      kind: request.kind,
      state: nextLeaseState("REQUESTED", "grant"),
      reason: undefined,
      class: offer.class,
      cores: request.cores === 0 ? [] : cores,
      memoryBytes: request.memoryBytes,
      owner,
      termMs: request.termMs,
      expiresAtMs: nowMs + request.termMs,
      ...(request.durability === undefined || request.durability === "ephemeral"
        ? {}
        : { durability: request.durability }),
      ...(request.billing === undefined ? {} : { billing: request.billing }),
    };
    return { granted: true, book: replace(book, lease), lease };
  }
  const short = reason === "no_cores" ? "not enough spare cores" : "not enough spare memory";
  const message = onlyShared ? onlySharedText : short;
  return { granted: false, reason, message };
}

/** The executor of a granted lease is ready. */
export function activateLease(book: LeaseBook, id: string): LeaseBook {
  const lease = findLease(book, id);
  return replace(book, { ...lease, state: nextLeaseState(lease.state, "activate") });
}

/**
 * Extends a lease to a full term from now. A draining one is not extended but given as it is: its holder learns that it
 * is wanted back, and when. @throws SubletError NOT_FOUND.
 */
export function renewLease(book: LeaseBook, id: string, nowMs: number): { book: LeaseBook; lease: Lease } {
  const found = findLease(book, id);
  if (found.state === "DRAINING") return { book, lease: found };
  // A clock that seems to run backwards must not shorten what was promised.
  const lease = { ...found, expiresAtMs: Math.max(found.expiresAtMs, nowMs + found.termMs) };
  return { book: replace(book, lease), lease };
}

function end(book: LeaseBook, leases: Iterable<Lease>, event: LeaseEvent, reason: EndReason): EndDecision {
  const ended: Lease[] = [];
  const next = new Map(book.leases);
  for (const lease of leases) {
    const last = { ...lease, state: nextLeaseState(lease.state, event), reason };
    if (leaseEnded(last.state)) next.delete(last.id);
    else next.set(last.id, last);
    ended.push(last);
  }
  return ended.length === 0 ? { book, ended } : { book: { leases: next }, ended };
}

/** Its owner gives the lease back. @throws SubletError NOT_FOUND. */
export function releaseLease(book: LeaseBook, id: string): EndDecision {
  return end(book, [findLease(book, id)], "release", "released");
}

/** Ends every lease whose term is over, and takes back those whose budget is. */
export function expireLeases(book: LeaseBook, nowMs: number): EndDecision {
  const late: Lease[] = [];
  for (const lease of book.leases.values()) if (lease.expiresAtMs <= nowMs) late.push(lease);
  if (late.length === 0) return { book, ended: late };
  let { book: next, ended } = end(
    book,
    late.filter(({ state }) => state !== "DRAINING"),
    "expire",
    "term_ended",
  );
  for (const lease of late) {
    if (lease.state !== "DRAINING") continue;
    const over = end(next, [lease], "revoke", lease.reason ?? "admin");
    next = over.book;
    ended = [...ended, ...over.ended];
  }
  return { book: next, ended };
}

/** Leases that are wanted back and whose holders have to be told: their budget was set, or is shorter now. */
export interface DrainDecision {
  readonly book: LeaseBook;
  readonly draining: readonly Lease[];
}

/**
 * Wants leases back: each keeps its capacity until it is released, or until `endAtMs`, which takes the place of its
 * term. One that drains already keeps the earlier end.
 */
export function drainLeases(
  book: LeaseBook,
  inTheWay: (lease: Lease) => boolean,
  endAtMs: number,
  reason: EndReason,
): DrainDecision {
  const draining: Lease[] = [];
  let next = book;
  for (const lease of book.leases.values()) {
    const already = lease.state === "DRAINING";
    if (!inTheWay(lease) || (already && lease.expiresAtMs <= endAtMs)) continue;
    const state = already ? lease.state : nextLeaseState(lease.state, "drain");
    const changed = { ...lease, state, reason, expiresAtMs: endAtMs };
    next = replace(next, changed);
    draining.push(changed);
  }
  return { book: next, draining };
}

/** Takes back all leases for which `inTheWay` holds; unconditionally. */
export function revokeLeases(
  book: LeaseBook,
  inTheWay: (lease: Lease) => boolean,
  reason: EndReason,
): EndDecision {
  return end(book, [...book.leases.values()].filter(inTheWay), "revoke", reason);
}

/** After a restart: puts a lease whose executor still runs back into the book. @throws ABORTED on a clash of cores. */
export function adoptLease(book: LeaseBook, lease: Lease): LeaseBook {
  if (leaseEnded(lease.state))
    throw new SubletError("FAILED_PRECONDITION", `lease ${lease.id} has ended and cannot be adopted`);
  for (const other of book.leases.values()) {
    const clash = other.id !== lease.id && lease.cores.find((core) => other.cores.includes(core));
    if (clash !== false && clash !== undefined)
      throw new SubletError("ABORTED", `core ${clash} is in lease ${other.id} and in lease ${lease.id}`);
  }
  return replace(book, lease);
}
