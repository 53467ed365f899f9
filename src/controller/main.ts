/**
 * sublet-controller: brings offers and lease requests of a cluster together. Can be killed at any time: guests and
 * their callers do not need it, and agents tell the next one everything. SIGTERM and SIGINT end it cleanly.
 */
import { parseArgs } from "node:util";
import { pino } from "pino";
import { toSubletError } from "../common/errors.ts";
import { logSink } from "../common/log.ts";
import { describeConfig, loadControllerConfig } from "../config/config.ts";
import { mungeIdentity } from "../rpc/munge.ts";
import { commandRunner, systemClock } from "../slurm/runner.ts";
import { startController } from "./controller.ts";

const usage = `usage: sublet-controller --config FILE [--check-config]
  --config FILE    settings (controller.toml)
  --check-config   read the settings, print the effective ones or what is wrong, and end
SUBLET_LOG_LEVEL (debug, info, warn, error) sets what is logged to stderr; default info.
`;

const destination = logSink(2);
const levels = ["debug", "info", "warn", "error"];
const level = levels.find((name) => name === process.env.SUBLET_LOG_LEVEL) ?? "info";
const log = pino({ name: "sublet-controller", base: null, level }, destination);

function leave(code: number): never {
  destination.flushSync();
  process.exit(code);
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      config: { type: "string" },
      "check-config": { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help || values.config === undefined) {
    process.stderr.write(usage);
    leave(values.help ? 0 : 2);
  }
  const config = loadControllerConfig(values.config);
  if (values["check-config"]) {
    process.stdout.write(describeConfig(config));
    leave(0);
  }
  const controller = await startController({
    config,
    log,
    identity: mungeIdentity({ socket: config.mungeSocket }),
    runner: commandRunner(config.slurmConf),
    clock: systemClock,
  });
  let ending = false;
  const end = (signal: string): void => {
    if (ending) return;
    ending = true;
    log.info({ signal }, "controller is ending");
    controller.close().then(
      () => leave(0),
      (thrown: unknown) => {
        log.error({ message: toSubletError(thrown).message }, "controller did not end cleanly");
        leave(1);
      },
    );
  };
  process.on("SIGTERM", () => end("SIGTERM"));
  process.on("SIGINT", () => end("SIGINT"));
}

main().catch((thrown: unknown) => {
  const error = toSubletError(thrown);
  log.fatal({ code: error.code, message: error.message }, "controller cannot start");
  leave(1);
});
