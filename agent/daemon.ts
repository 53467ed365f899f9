/**
 * The agent as a process: arguments, log, signals. Started by main.ts.
 * SIGHUP reads the guard's policy again. SIGTERM and SIGINT end it; guests go on and the next agent adopts them (with --drain they end too).
 */
import { availableParallelism, totalmem } from "node:os";
import { parseArgs } from "node:util";
import { pino } from "pino";
import { toSubletError } from "../src/common/errors.ts";
import { logSink } from "../src/common/log.ts";
import { loadAgentConfig } from "../src/config/config.ts";
import { mungeIdentity } from "../src/rpc/munge.ts";
import { startAgent } from "./agent.ts";
import { loadPolicy } from "./guard/policy.ts";

const usage = `usage: sublet-agent --config FILE [--drain] [--check-config]
  --config FILE    settings (agent.toml)
  --drain          at SIGTERM, end all guests instead of leaving them to the next agent
  --check-config   read the settings, say what is wrong, and end
`;

const destination = logSink(2);
const log = pino({ name: "sublet-agent", base: null }, destination);

function leave(code: number): never {
  destination.flushSync();
  process.exit(code);
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      config: { type: "string" },
      drain: { type: "boolean", default: false },
      "check-config": { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help || values.config === undefined) {
    process.stderr.write(usage);
    leave(values.help ? 0 : 2);
  }
  const config = loadAgentConfig(values.config);
  if (values["check-config"]) {
    loadPolicy(config.guardPolicyFile, {
      cores: config.cores.length === 0 ? availableParallelism() : config.cores.length,
      memoryBytes: config.memoryBytes ?? totalmem(),
    });
    leave(0);
  }
  const agent = await startAgent({ config, log, identity: mungeIdentity({ socket: config.mungeSocket }) });
  let ending = false;
  const end = (signal: string): void => {
    if (ending) return;
    ending = true;
    log.info({ signal, drain: values.drain }, "agent is ending");
    agent.close(values.drain).then(
      () => leave(0),
      (thrown: unknown) => {
        log.error({ message: toSubletError(thrown).message }, "agent did not end cleanly");
        leave(1);
      },
    );
  };
  process.on("SIGHUP", () => agent.guard.reload());
  process.on("SIGTERM", () => end("SIGTERM"));
  process.on("SIGINT", () => end("SIGINT"));
}

if (import.meta.main)
  main().catch((thrown: unknown) => {
    const error = toSubletError(thrown);
    log.fatal({ code: error.code, message: error.message }, "agent cannot start");
    leave(1);
  });
