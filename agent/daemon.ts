/**
 * The agent as a process: arguments, log, signals. Started by main.ts.
 * SIGHUP reads all settings again (reload.ts). SIGTERM and SIGINT end it; guests go on and the next agent adopts them (with --drain they end too).
 */
import { availableParallelism, totalmem } from "node:os";
import { toSubletError } from "../src/common/errors.ts";
import { logEvent } from "../src/common/log-events.ts";
import { daemonLog } from "../src/common/logger.ts";
import { agentFlags, exits, settingsUsage } from "../src/config/arguments.ts";
import { begin } from "../src/config/begin.ts";
import { readAgent } from "../src/config/config.ts";
import type { Sources } from "../src/config/sources.ts";
import { mungeIdentity } from "../src/rpc/munge.ts";
import { serviceManager } from "../src/rpc/notify.ts";
import { startAgent } from "./agent.ts";
import { readPolicy } from "./guard/policy.ts";
import { reloadAgent } from "./reload.ts";

const usage = `usage: sublet-agent [--drain] [--supervised] [options]
  --drain                at SIGTERM, end all guests instead of leaving them to the next agent
  --supervised           the starter is a service of its own: wait for it, never start one
${settingsUsage("agent", agentFlags)}`;

const daemon = daemonLog("sublet-agent");
const { log } = daemon;

function leave(code: number): never {
  daemon.flushSync();
  process.exit(code);
}

/** The settings with the guard's policy, which is a part of them. @throws SubletError. */
function readAll(sources: Sources): ReturnType<typeof readAgent> {
  const settings = readAgent(sources);
  const { cores, memoryBytes, guardPolicyFile } = settings.config;
  const guard = readPolicy(guardPolicyFile, {
    cores: cores.length === 0 ? availableParallelism() : cores.length,
    memoryBytes: memoryBytes ?? totalmem(),
  });
  return { ...settings, parts: { guard } };
}

async function main(): Promise<void> {
  const { given, settings, hangups } = begin({
    name: "agent",
    usage,
    flags: agentFlags,
    switches: ["drain", "supervised"],
    read: readAll,
  });
  const drain = given.switches.has("drain");
  const { config } = settings;
  daemon.configure(config.log);
  const manager = serviceManager();
  const agent = await startAgent({
    config,
    log,
    identity: mungeIdentity({ socket: config.mungeSocket }),
    spawnsStarter: !given.switches.has("supervised"),
  });
  let ending = false;
  const end = (signal: string): void => {
    if (ending) return;
    ending = true;
    log.info({ signal, drain }, "agent is ending");
    manager.stopping();
    agent.close(drain).then(
      () => leave(exits.ok),
      (thrown: unknown) => {
        log.error({ message: toSubletError(thrown).message }, "agent did not end cleanly");
        leave(exits.failed);
      },
    );
  };
  reloadAgent({ agent, running: settings, sources: given, hangups, manager, log });
  process.on("SIGTERM", () => end("SIGTERM"));
  process.on("SIGINT", () => end("SIGINT"));
  manager.ready(() => `node ${config.node} at ${agent.address}`);
}

if (import.meta.main)
  main().catch((thrown: unknown) => {
    const error = toSubletError(thrown);
    log.fatal(logEvent("cannot_start", { code: error.code, message: error.message }), "agent cannot start");
    leave(exits.failed);
  });
