/** SIGHUP of the agent: its configuration and its guard's policy are read and checked together, and applied together. */
import type { Logger } from "pino";
import { toSubletError } from "../src/common/errors.ts";
import { type AgentConfig, type AgentRaw, compileAgent, readAgent } from "../src/config/config.ts";
import { type Hangups, reloadOnHangup } from "../src/config/hangup.ts";
import type { Reloader } from "../src/config/reload.ts";
import type { Configuration, FileReader, Sources } from "../src/config/sources.ts";
import { configMetrics } from "../src/metrics/config.ts";
import type { ServiceManager } from "../src/rpc/notify.ts";
import type { Agent } from "./agent.ts";
import type { GuardPolicy } from "./guard/policy.ts";

export function reloadAgent(options: {
  readonly agent: Agent;
  readonly running: Configuration<AgentConfig, AgentRaw>;
  readonly sources: Sources;
  readonly hangups: Hangups;
  readonly manager: ServiceManager;
  readonly log: Logger;
}): Reloader<AgentConfig, AgentRaw> {
  const { agent, running, sources, hangups, manager, log } = options;
  const metrics = configMetrics(agent.registry);
  /** Why the policy was not taken; "": it is not what was wrong. */
  let complaint = "";

  function policyOf(config: AgentConfig, read: FileReader): GuardPolicy {
    try {
      return agent.readPolicy(config, read);
    } catch (thrown) {
      complaint = toSubletError(thrown).message;
      throw thrown;
    }
  }

  return reloadOnHangup({
    running,
    hangups,
    onBegun: (done) => manager.reloading(done),
    read(read) {
      complaint = "";
      return readAgent(sources, read);
    },
    compile: compileAgent,
    prepare(config, read) {
      const policy = policyOf(config, read);
      return () => {
        log.level = config.log.level;
        agent.apply(config, policy);
      };
    },
    log,
    onOutcome(outcome, pending) {
      metrics.reloads.inc({ outcome });
      metrics.pending.set(pending);
      if (outcome === "refused" && complaint !== "") agent.guard.refused(complaint);
    },
  });
}
