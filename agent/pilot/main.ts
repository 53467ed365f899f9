/**
 * The pilot as a process: what `sublet pilot` runs in each node's step of its job. See pilot.ts.
 * Exit status: 75 after SIGTERM or SIGINT with everything given back, 1 otherwise.
 */
import { hostname } from "node:os";
import { parseArgs } from "node:util";
import { pino } from "pino";
import { SubletError, toSubletError } from "../../src/common/errors.ts";
import { logSink } from "../../src/common/log.ts";
import { pilotDir } from "../../src/common/pilot.ts";
import { defaultNativeDir } from "../../src/config/config.ts";
import { pilotInventory } from "./inventory.ts";
import { startPilot } from "./pilot.ts";

const usage = `usage: sublet-pilot [--budget-ms N] [--reserve-mib N] [--lease-term-ms N]
  --budget-ms N      after SIGTERM, time for holders to finish and for regions to move (5000)
  --reserve-mib N    of the job's memory, not lent (256)
  --lease-term-ms N  of leases that do not say (60000)
Runs inside a Slurm job, as an ordinary user; see docs/pilot.md.
`;

/** EX_TEMPFAIL: wanted back, not done. */
const statusWantedBack = 75;
const mib = 1024 * 1024;

const destination = logSink(2);
// In the output of a user's own job each lease is worth a line.
const log = pino({ name: "sublet-pilot", base: null, level: "debug" }, destination);

function leave(code: number): never {
  destination.flushSync();
  process.exit(code);
}

function whole(text: string, name: string, min: number, max: number): number {
  const value = Number(text);
  if (!/^\d{1,9}$/.test(text) || value < min || value > max)
    throw new SubletError("INVALID_ARGUMENT", `${name}: expected a whole number from ${min} to ${max}`);
  return value;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      "budget-ms": { type: "string", default: "5000" },
      "reserve-mib": { type: "string", default: "256" },
      "lease-term-ms": { type: "string", default: "60000" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    process.stderr.write(usage);
    leave(0);
  }
  const budgetMs = whole(values["budget-ms"], "--budget-ms", 1, 3_600_000);
  const { env } = process;
  const uid = process.getuid?.() ?? 0;
  if (uid === 0)
    throw new SubletError("FAILED_PRECONDITION", "a pilot is an ordinary user's: as root, run sublet-agent");
  if (env.SLURM_JOB_ID === undefined)
    throw new SubletError(
      "FAILED_PRECONDITION",
      "a pilot runs inside a Slurm job: submit it by `sublet pilot`",
    );
  const node = env.SLURMD_NODENAME ?? hostname().split(".")[0] ?? "node";
  // From here on, since Slurm may want the node back at once: what has begun is ended in order.
  const { promise: told, resolve: tell } = Promise.withResolvers<string>();
  process.on("SIGTERM", () => tell("SIGTERM"));
  process.on("SIGINT", () => tell("SIGINT"));
  const pilot = await startPilot({
    uid,
    gid: process.getgid?.() ?? uid,
    node,
    runDir: pilotDir(env, uid, env.SLURM_JOB_ID, node),
    nativeDir: defaultNativeDir(),
    inventory: pilotInventory(),
    reserveMemoryBytes: whole(values["reserve-mib"], "--reserve-mib", 0, 1 << 20) * mib,
    leaseTermMs: whole(values["lease-term-ms"], "--lease-term-ms", 100, 3_600_000),
    jobEndUnixMs: Number(env.SLURM_JOB_END_TIME ?? 0) * 1000 || 0,
    log,
    onLost: () => {
      log.fatal({}, "the starter is gone, and all guests with it");
      leave(1);
    },
  });
  process.stdout.write(`export SUBLET_AGENT_SOCKET=${pilot.socket}  # on ${node}\n`);
  log.info({ node, socket: pilot.socket, cores: pilot.shell.state.setup.cores }, "pilot is ready");
  const signal = await told;
  log.info({ signal, budgetMs, leases: pilot.shell.state.guests.size }, "pilot gives all back");
  leave((await pilot.close(budgetMs)) ? statusWantedBack : 1);
}

if (import.meta.main)
  main().catch((thrown: unknown) => {
    const error = toSubletError(thrown);
    log.fatal({ code: error.code, message: error.message }, "pilot failed");
    leave(1);
  });
