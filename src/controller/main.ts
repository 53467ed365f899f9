/**
 * sublet-controller: brings offers and lease requests of a cluster together. Can be killed at any time: guests and
 * their callers do not need it, and agents tell the next one everything. SIGTERM and SIGINT end it cleanly, SIGHUP reads the settings again.
 */
import { toSubletError } from "../common/errors.ts";
import { logEvent } from "../common/log-events.ts";
import { daemonLog } from "../common/logger.ts";
import { controllerFlags, exits, settingsUsage } from "../config/arguments.ts";
import { begin } from "../config/begin.ts";
import { type ControllerConfig, compileController, readController } from "../config/config.ts";
import { reloadOnHangup } from "../config/hangup.ts";
import { readTls, type TlsPair } from "../dashboard/tls.ts";
import { configMetrics } from "../metrics/config.ts";
import { mungeIdentity } from "../rpc/munge.ts";
import { serviceManager } from "../rpc/notify.ts";
import { commandRunner, systemClock } from "../slurm/runner.ts";
import { startController } from "./controller.ts";

const usage = `usage: sublet-controller [options]
${settingsUsage("controller", controllerFlags)}`;

const daemon = daemonLog("sublet-controller");
const { log } = daemon;

function leave(code: number): never {
  daemon.flushSync();
  process.exit(code);
}

/** The dashboard's certificate, if it is to have one. @throws SubletError FAILED_PRECONDITION. */
function tlsOf({ dashboard }: ControllerConfig): TlsPair | undefined {
  if (dashboard.listen === undefined || dashboard.tls === undefined) return undefined;
  return readTls(dashboard.tls);
}

async function main(): Promise<void> {
  const { given, settings, hangups } = begin({
    name: "controller",
    usage,
    flags: controllerFlags,
    read: (sources) => {
      const found = readController(sources);
      // A start goes on without a dashboard; who asks whether all is well is told.
      if (sources.checkConfig) tlsOf(found.config);
      return found;
    },
  });
  const { config } = settings;
  daemon.configure(config.log);
  const manager = serviceManager();
  const controller = await startController({
    config,
    log,
    identity: mungeIdentity({ socket: config.mungeSocket }),
    runner: commandRunner(config.slurmConf),
    clock: systemClock,
  });
  const metrics = configMetrics(controller.registry);
  // One that runs is not to be broken by a reload; where there is none, nothing else waits for it.
  const tlsToCheck = (next: ControllerConfig): TlsPair | undefined =>
    controller.dashboardAddress === undefined ? undefined : tlsOf(next);
  reloadOnHangup({
    running: settings,
    hangups,
    onBegun: (done) => manager.reloading(done),
    read: (read) => {
      const found = readController(given, read);
      tlsToCheck(found.config);
      return found;
    },
    compile: compileController,
    alsoLive: (key) => key.startsWith("dashboard.") && controller.dashboardAddress === undefined,
    prepare: (next) => {
      const tls = tlsToCheck(next);
      return () => {
        log.level = next.log.level;
        controller.apply(next, tls);
      };
    },
    open: (next) => controller.openDashboard(next),
    log,
    onOutcome(outcome, pending) {
      metrics.reloads.inc({ outcome });
      metrics.pending.set(pending);
    },
  });
  let ending = false;
  const end = (signal: string): void => {
    if (ending) return;
    ending = true;
    log.info({ signal }, "controller is ending");
    manager.stopping();
    controller.close().then(
      () => leave(exits.ok),
      (thrown: unknown) => {
        log.error({ message: toSubletError(thrown).message }, "controller did not end cleanly");
        leave(exits.failed);
      },
    );
  };
  process.on("SIGTERM", () => end("SIGTERM"));
  process.on("SIGINT", () => end("SIGINT"));
  manager.ready(() => {
    const { address, dashboardTrouble: why } = controller;
    return `listens on ${address}${why === undefined ? "" : `; no dashboard: ${why}`}`;
  });
}

main().catch((thrown: unknown) => {
  const error = toSubletError(thrown);
  log.fatal(
    logEvent("cannot_start", { code: error.code, message: error.message }),
    "controller cannot start",
  );
  leave(exits.failed);
});
