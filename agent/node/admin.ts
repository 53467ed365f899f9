/**
 * Drain, resume and reclaim of this node, whoever carries the request here: a controller (service.ts) or the local socket.
 * Administrators only. Order of a drain: it is kept first, then in force, then answered; so one that was answered outlives
 * the agent, and one that was not may.
 */
import { SubletError } from "../../src/common/errors.ts";
import { logEvent } from "../../src/common/log-events.ts";
import type { LocalDrain, LocalReclaim, NodeOutcome, ReclaimModeName } from "../../src/rpc/messages.ts";
import type { AgentLog } from "../log.ts";
import type { Answer, Asker } from "../reactor/events.ts";
import { forgetDrain, keepDrain, readDrain } from "../reclaim/drained.ts";
import type { Ask, Shell } from "../shell.ts";

export interface NodeAdminOptions {
  readonly shell: Pick<Shell, "ask" | "state">;
  readonly stateDir: string;
  readonly log: AgentLog;
  readonly unixMs?: () => number;
}

export interface NodeAdmin {
  drain(asker: Asker, request: LocalDrain): Promise<NodeOutcome>;
  resume(asker: Asker): Promise<NodeOutcome>;
  reclaim(asker: Asker, request: LocalReclaim): Promise<NodeOutcome>;
  /** At the agent's start, before anything is lent: a drain of an earlier life is in force again. */
  restore(): Promise<void>;
}

export const maxBudgetMs = 3_600_000;
const maxReason = 256;

/** undefined: leases stay. @throws SubletError INVALID_ARGUMENT. */
function budgetOf(mode: ReclaimModeName, budgetMs: number): number | undefined {
  if (mode === "RECLAIM_MODE_UNSPECIFIED") return undefined;
  if (mode === "RECLAIM_MODE_IMMEDIATE") return 0;
  if (!(budgetMs >= 1 && budgetMs <= maxBudgetMs))
    throw new SubletError("INVALID_ARGUMENT", `a budget has 1 to ${maxBudgetMs} ms`);
  return budgetMs;
}

export function nodeAdmin({ shell, stateDir, log, unixMs = Date.now }: NodeAdminOptions): NodeAdmin {
  function mustBeAdmin(asker: Asker): void {
    if (!asker.all)
      throw new SubletError(
        "PERMISSION_DENIED",
        "only root and the admin group may drain, resume and reclaim",
      );
  }

  async function ask(event: Ask): Promise<Extract<Answer, { kind: "reclaimed" }>> {
    const answer = await shell.ask(event);
    if (answer.kind !== "reclaimed")
      throw new SubletError("INTERNAL", "an administrator was answered with something else");
    return answer;
  }

  function outcome(
    { ended, draining, left }: Extract<Answer, { kind: "reclaimed" }>,
    message = "",
  ): NodeOutcome {
    return {
      node: shell.state.setup.node,
      code: 0,
      message,
      leasesEnded: Math.max(0, ended - left),
      leasesLeft: left,
      drainingLeaseIds: [...draining],
      lending: shell.state.drain === undefined ? "LENDING_ON" : "LENDING_DRAINED",
    };
  }

  return {
    async drain(asker, { mode, budgetMs, reason }) {
      mustBeAdmin(asker);
      const budget = budgetOf(mode, budgetMs);
      const drain = { uid: asker.uid, why: reason.slice(0, maxReason), sinceUnixMs: unixMs() };
      const endUnixMs = budget === undefined ? 0 : drain.sinceUnixMs + budget;
      const lost = keepDrain(stateDir, { ...drain, endUnixMs });
      log.warn(
        logEvent("node_drained", { uid: asker.uid, why: drain.why, mode, lost }),
        "drained: nothing is lent until resumed",
      );
      const answer = await ask({ type: "drain", drain, budgetMs: budget });
      return outcome(answer, lost === undefined ? "" : `a restart of the agent forgets it: ${lost}`);
    },
    async resume(asker) {
      mustBeAdmin(asker);
      const lost = forgetDrain(stateDir);
      log.warn(logEvent("node_resumed", { uid: asker.uid, lost }), "resumed: this node lends again");
      const answer = await ask({ type: "resume" });
      return outcome(answer, lost === undefined ? "" : `a restart of the agent drains it again: ${lost}`);
    },
    async reclaim(asker, { leaseIds, mode, budgetMs, reason }) {
      mustBeAdmin(asker);
      const budget = budgetOf(mode, budgetMs);
      if (budget === undefined) throw new SubletError("INVALID_ARGUMENT", "reclaim without a mode");
      const here = leaseIds.filter((id) => shell.state.book.leases.has(id));
      if (leaseIds.length > 0 && here.length === 0)
        throw new SubletError("NOT_FOUND", `no such lease on ${shell.state.setup.node} (it may have ended)`);
      const why = reason.slice(0, maxReason);
      log.warn({ uid: asker.uid, why, mode, leases: leaseIds }, "leases are taken back by an administrator");
      const answer = await ask({
        type: "reclaim",
        leaseIds: leaseIds.length === 0 ? undefined : here,
        budgetMs: budget,
      });
      const missing = leaseIds.length - here.length;
      return outcome(answer, missing === 0 ? "" : `${missing} leases had ended before`);
    },
    async restore() {
      const kept = readDrain(stateDir);
      if (kept === undefined) return;
      const { endUnixMs, ...drain } = kept;
      log.warn(logEvent("node_drained", { ...drain }), "still drained: nothing is lent until resumed");
      const leftMs = Math.min(maxBudgetMs, Math.max(0, endUnixMs - unixMs()));
      await ask({ type: "drain", drain, budgetMs: endUnixMs === 0 ? undefined : leftMs });
    },
  };
}
