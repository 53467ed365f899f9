/**
 * What a reload changes in an agent that runs. `now.config` is what every part reads that looks again each time; what keeps a
 * copy of its own is told here.
 */
import type { AgentConfig } from "../src/config/config.ts";
import type { Guard } from "./guard/guard.ts";
import type { GuardPolicy } from "./guard/policy.ts";
import type { FollowedControllers } from "./offer/controllers.ts";
import type { LiveSetup } from "./reactor/state.ts";
import type { Shell } from "./shell.ts";

/** The configuration in force. */
export interface Now {
  config: AgentConfig;
}

export function liveSetup(config: AgentConfig): LiveSetup {
  return {
    reserveCores: config.reserveCores,
    reserveMemoryBytes: config.reserveMemoryBytes,
    leaseTermMs: config.leaseTermMs,
    leaseTermMaxMs: config.leaseTermMaxMs,
    announceTimeoutMs: config.announceTimeoutMs,
    consent: config.consent,
    prolog: config.reclaim.prolog,
    reclaimBudgetMs: config.reclaim.budgetMs,
  };
}

export interface LiveParts {
  readonly now: Now;
  readonly shell: Pick<Shell, "executors" | "dispatch">;
  readonly guard: Pick<Guard, "take">;
  readonly controllers: Pick<FollowedControllers, "follow">;
  /** Does the node lend, by the configuration? */
  readonly lend: () => void;
}

/** Cannot fail: all was checked before. */
export function applyLive(parts: LiveParts, config: AgentConfig, policy: GuardPolicy): void {
  parts.now.config = config;
  parts.shell.dispatch({ type: "settings", setup: liveSetup(config) });
  const { pool, code, vouchers } = parts.shell.executors;
  pool.setMax(config.poolMax);
  code.setMax(config.codeCacheBytes);
  code.setPaths(config.codeFromPaths);
  parts.guard.take(policy);
  parts.controllers.follow(config.controllers);
  parts.lend();
  vouchers.reload();
}
