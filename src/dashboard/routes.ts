/** What each path of the API answers. Parameters are bounded here; what is wrong with them is said. */
import { SubletError } from "../common/errors.ts";
import type { AdminRequest, LeaseRow, Session } from "./api.ts";
import { maxPoints } from "./chart.ts";
import type { DashboardSource, Principal } from "./source.ts";
import type { View } from "./view.ts";

const dayMs = 86_400_000;
const maxSpanMs = 366 * dayMs;
const defaultLeases = 1_000;
const maxLeases = 10_000;
const maxNames = 20_000;
const maxReason = 1_000;

function bad(why: string): SubletError {
  return new SubletError("INVALID_ARGUMENT", why);
}

function numberOf(query: URLSearchParams, key: string, standard: number): number {
  const text = query.get(key);
  if (text === null || text === "") return standard;
  const value = Number(text);
  if (!Number.isFinite(value) || value < 0 || value > 8.64e15) throw bad(`${key} is no number that fits`);
  return Math.floor(value);
}

export function spanOf(query: URLSearchParams, nowMs: number): { fromMs: number; toMs: number } {
  const toMs = numberOf(query, "to", nowMs);
  const fromMs = numberOf(query, "from", toMs - dayMs);
  if (fromMs > toMs) throw bad("from is after to");
  if (toMs - fromMs > maxSpanMs) throw bad("the span is longer than a year");
  return { fromMs, toMs };
}

/** What GET answers as a value; undefined: there is no such path. */
export async function read(
  path: string,
  query: URLSearchParams,
  { view, source, nowMs }: { view: View; source: DashboardSource; nowMs: number },
): Promise<unknown> {
  const [first, second, more] = path.split("/");
  if (more !== undefined || (second !== undefined && first !== "nodes")) return undefined;
  switch (first) {
    case "summary":
      return view.summary();
    case "nodes":
      return second === undefined ? view.table : source.node(second);
    case "leases": {
      const node = query.get("node");
      const user = query.get("user");
      const wanted = (lease: LeaseRow): boolean =>
        (node === null || lease.node === node) &&
        (user === null || lease.user === user || String(lease.uid) === user);
      const limit = Math.min(maxLeases, numberOf(query, "limit", defaultLeases));
      return view.leases(wanted, limit);
    }
    case "history":
      return view.history({
        ...spanOf(query, nowMs),
        points: Math.min(maxPoints, Math.max(1, numberOf(query, "points", 600))),
      });
    case "gain":
      return view.gain(spanOf(query, nowMs));
    case "reclaims":
      return view.reclaims(spanOf(query, nowMs));
    case "accounts": {
      const { fromMs, toMs } = spanOf(query, nowMs);
      return await source.accounts(fromMs, toMs);
    }
    default:
      return undefined;
  }
}

export function sessionOf(source: DashboardSource, principal: Principal | undefined): Session {
  if (principal === undefined) return { user: null, admin: false };
  return { user: source.userName(principal.uid), admin: source.isAdmin(principal) };
}

function words(value: unknown, key: string): string[] {
  if (value === undefined) return [];
  if (!Array.isArray(value) || value.length > maxNames) throw bad(`${key} is no list of names that fits`);
  return value.map((word) => {
    if (typeof word !== "string" || word.length > 4_096) throw bad(`${key} holds something that is no name`);
    return word;
  });
}

/** The body of drain, resume, reclaim, every part of it checked. @throws SubletError INVALID_ARGUMENT. */
export function adminRequest(body: Readonly<Record<string, unknown>>): Required<AdminRequest> {
  const { all, graceful, budgetMs, reason } = body;
  if (typeof reason !== "string" || reason.trim() === "")
    throw bad("a reason is wanted: it goes into the log");
  if (reason.length > maxReason) throw bad(`the reason is longer than ${maxReason} characters`);
  if (all !== undefined && typeof all !== "boolean") throw bad("all is neither true nor false");
  if (graceful !== undefined && typeof graceful !== "boolean")
    throw bad("graceful is neither true nor false");
  const budget = budgetMs ?? 0;
  if (typeof budget !== "number" || !Number.isSafeInteger(budget) || budget < 0 || budget > dayMs)
    throw bad("budgetMs is no span of at most a day");
  return {
    nodes: words(body.nodes, "nodes"),
    partitions: words(body.partitions, "partitions"),
    leaseIds: words(body.leaseIds, "leaseIds"),
    all: all ?? false,
    graceful: graceful ?? false,
    budgetMs: budget,
    reason,
  };
}
