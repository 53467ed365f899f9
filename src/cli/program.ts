/** The `sublet` command: its words, their options, and what its exit status means. */

import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import { SubletError, toSubletError } from "../common/errors.ts";
import { version } from "../common/version.ts";
import type { loadCliConfig as LoadCliConfig } from "../config/cli.ts";
import { addCompletionCommands } from "./completion.ts";
import { addConfigCommands } from "./config-command.ts";
import type { BundleOptions } from "./doctor/bundle.ts";
import { addEstimateCommand } from "./estimate-command.ts";
import { addGainCommand } from "./gain.ts";
import type { InvokeOptions } from "./invoke.ts";
import { jobColumns } from "./job-list.ts";
import type { JobsOptions } from "./jobs.ts";
import { addLeaseCommands } from "./leases.ts";
import { addNodesCommand } from "./nodes.ts";
import { type Output, writeError } from "./output.ts";
import type { PilotOptions } from "./pilot.ts";
import { addAdminCommands } from "./reclaim.ts";
import type { Session } from "./session.ts";
import { addTableOptions, addWatchOption, type TableOptions } from "./table-options.ts";
import type { TopOptions } from "./top/top.ts";
import type { TraceOptions } from "./trace.ts";
import { addUsageCommand } from "./usage.ts";

export const exitStatus = { ok: 0, failed: 1, usage: 2, unavailable: 3, partly: 4 } as const;

interface GlobalOptions {
  readonly json?: true;
  readonly controller?: string;
  readonly agentSocket?: string;
  readonly config?: string;
  readonly timeout?: number;
}

const help = `
Exit status:
  0  done
  1  failed: refused, not found, no node did its part, or the doctor found something broken
  2  wrong usage or settings
  3  unavailable: no daemon answers in time, or nothing is spare
  4  partly: of several nodes some did their part and some not (drain, resume, reclaim), or some are well and some
     not (doctor --cluster); the output names them
  78 config check: the settings are wrong

Settings come from /etc/sublet/sublet.toml, then ~/.config/sublet/sublet.toml (keys controller, agent_socket,
starter_socket, munge_socket, timeout_ms, [tls]), then SUBLET_CONTROLLER and so on from the environment, then the options above.

Examples:
  sublet --controller head:7700 nodes       what is spare and lent in the cluster
  sublet nodes --state idle --sort -spare-cores --watch   the idle ones, most spare first, every 2 s
  sublet top                                the cluster, live
  sublet leases --json                      your leases, for programs
  sublet invoke ./libprice.so price --in options.bin --out prices.bin --cores 2
  sublet trace ./libprice.so price          where the time of a call goes
  sublet drain 'n[1-4]' --budget 60 --reason disk   lend nothing there, and have it empty in a minute
  sublet doctor                             what is wrong with this node, and how to mend it
  sublet doctor --require controller        the same; without a controller it has failed
  sublet doctor --cluster                   is every agent well? equal answers in one line
  sublet doctor --bundle out.tar.gz         the same and more, for who shall help, without secrets
`;

function integer(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d{1,12}$/.test(text) || value < min || value > max)
      throw new InvalidArgumentError(`Expected a whole number from ${min} to ${max}.`);
    return value;
  };
}

function exitStatusOf(error: SubletError): number {
  if (
    error.code === "UNAVAILABLE" ||
    error.code === "DEADLINE_EXCEEDED" ||
    error.code === "RESOURCE_EXHAUSTED"
  )
    return exitStatus.unavailable;
  return exitStatus.failed;
}

/** Settings that are wrong are wrong usage. */
function settings(
  load: typeof LoadCliConfig,
  options: GlobalOptions,
  environment: NodeJS.ProcessEnv,
): Session["config"] {
  const given = {
    ...environment,
    ...(options.controller === undefined ? {} : { SUBLET_CONTROLLER: options.controller }),
    ...(options.agentSocket === undefined ? {} : { SUBLET_AGENT_SOCKET: options.agentSocket }),
    ...(options.timeout === undefined ? {} : { SUBLET_TIMEOUT_MS: String(options.timeout * 1000) }),
  };
  try {
    return load(options.config, given);
  } catch (thrown) {
    const { message } = toSubletError(thrown);
    // Who gave an option did not set a variable.
    const said =
      options.controller === undefined
        ? message
        : message.replace("SUBLET_CONTROLLER: controller:", `--controller ${options.controller}:`);
    throw new CommanderError(exitStatus.usage, "sublet.settings", said);
  }
}

export interface Tree {
  readonly program: Command;
  readonly json: () => boolean;
  /** What the command that ran makes of itself. */
  readonly result: () => number;
}

/** Commander's complaints begin as all others of this command do, and say where more is. */
function complaint(text: string): string {
  return text.replace(/^error: /, "sublet: ");
}

/** @throws CommanderError, a usage error: there is none of that name. */
function subcommand(command: Command, word: string): Command {
  return (
    command.commands.find((each) => each.name() === word) ?? command.error(`error: unknown command '${word}'`)
  );
}

/**
 * All words of the command. Light: what a command does is loaded when it runs, so that help and completion start at once.
 * `quiet`: complaints about words are left to the caller.
 */
export function commandTree(output: Output, environment: NodeJS.ProcessEnv, quiet = false): Tree {
  let result: number = exitStatus.ok;
  const program = new Command("sublet");
  const json = (): boolean => program.opts<GlobalOptions>().json === true;
  let load: typeof LoadCliConfig | undefined;
  const session = (): Session => {
    if (load === undefined) throw new SubletError("INTERNAL", "settings are read before they are loaded");
    return { config: settings(load, program.opts<GlobalOptions>(), environment), output, json: json() };
  };
  program.hook("preAction", async () => {
    ({ loadCliConfig: load } = await import("../config/cli.ts"));
  });

  program
    .description("Idle cores and memory of this Slurm cluster: what is spare, who has it, and how to use it.")
    .version(version)
    .option("--json", "print JSON, errors included")
    .option("--controller <host:port>", "the controller to ask; without one, the agent of this node is asked")
    .option("--agent-socket <path>", "socket of this node's agent")
    .option("--config <file>", "settings instead of /etc/sublet/sublet.toml")
    .option("--timeout <seconds>", "longest wait for an answer", integer(1, 86_400))
    .addHelpText("after", help)
    .helpCommand(false)
    .exitOverride()
    .configureHelp({ showGlobalOptions: true })
    .showHelpAfterError("For help: sublet --help, sublet COMMAND --help")
    .configureOutput({
      writeOut: (text) => output.write(text),
      writeErr: (text) => {
        if (!quiet) output.error(text);
      },
      outputError: (text, write) => write(complaint(text)),
      getOutHelpWidth: () => output.width ?? 100,
      getErrHelpWidth: () => output.width ?? 100,
    });
  addNodesCommand(program, session);
  addLeaseCommands(program, session);
  program
    .command("top")
    .description(
      "the cluster on a full screen, live: what is used, lent and spare; h lists its keys (needs a controller)",
    )
    .option("--delay <seconds>", "between two pictures", integer(1, 3600), 2)
    .option("--once", "print one picture, of all nodes, and end")
    .action(async (options: TopOptions) => (await import("./top/top.ts")).top(session(), options));
  const jobsCommand = program
    .command("jobs")
    .argument("[job-id]", "its number; none: a list of jobs", integer(1, 0xffff_fffe))
    .description(
      "what guests cost jobs, or one job by node: who, how long, pressure; yours, root and the admin group all",
    )
    .option("--summary", "of one job: one line, for its record in Slurm");
  addTableOptions(jobsCommand, jobColumns).action(
    async (job: number | undefined, options: JobsOptions, command: Command) => {
      if (job === undefined && options.summary === true)
        command.error("error: --summary is of one job: name its number");
      if (job !== undefined && (options.sort ?? options.format) !== undefined)
        command.error("error: --sort and --format are for the list of jobs: name no number");
      await (await import("./jobs.ts")).jobs(session(), job, options);
    },
  );
  addWatchOption(
    program.command("status").description("what the agent of this node offers and found"),
  ).action(async (options: Pick<TableOptions, "watch">) =>
    (await import("./status.ts")).status(session(), options),
  );
  program
    .command("invoke")
    .argument("<library>", "shared library with the function, see sublet/function.h")
    .argument("<function>", "its name")
    .description("call a function on leased cores if there are any, else here; its result goes to stdout")
    .addOption(new Option("--in <file>", "arguments from a file; - is stdin").conflicts("data"))
    .option("--data <text>", "arguments as text")
    .option("--out <file>", "result into a file")
    .option("--max-out <bytes>", "largest result", integer(1, 1 << 30), 1 << 20)
    .option("--cores <n>", "cores to lease, up to 64; 0 = run here", integer(0, 64), 1)
    .option("--node <name>", "lease on this node only")
    .option("--no-local", "fail rather than run here")
    .action(async (library: string, name: string, options: InvokeOptions) =>
      (await import("./invoke.ts")).invoke(session(), library, name, options),
    );
  program
    .command("trace")
    .argument("<library>", "shared library with the function, see sublet/function.h")
    .argument("<function>", "its name; it is called with bytes of zero, or --data")
    .description("call a function on a leased core and show where the time went")
    .option("--count <n>", "calls", integer(1, 1_000_000), 1000)
    .addOption(
      new Option("--payload-bytes <n>", "size of the arguments")
        .argParser(integer(0, 1 << 30))
        .conflicts("data"),
    )
    .option("--data <text>", "arguments as text")
    .option("--max-out <bytes>", "largest result", integer(0, 1 << 30))
    .option(
      "--pause-ms <n>",
      "pause before each call; a worker that waits for long sleeps",
      integer(0, 60_000),
      0,
    )
    .option("--node <name>", "lease on this node only")
    .action(async (library: string, name: string, options: TraceOptions) =>
      (await import("./trace.ts")).trace(session(), library, name, options),
    );
  program
    .command("pilot")
    .argument("[sbatch-options...]", "after --: more options for sbatch, as they are")
    .description("without root: submit a job that lends what it holds to your own jobs (docs/pilot.md)")
    .option("--time <limit>", "time limit, as for sbatch")
    .option("--nodes <n>", "nodes; each lends on its own", integer(1, 65_533), 1)
    .option("--partition <name>", "a preemptible one")
    .option("--cores <n>", "on each node", integer(1, 4096))
    .option("--mem <size>", "on each node, as for sbatch")
    .option("--grace-ms <n>", "to give all back; else by the partition's GraceTime", integer(1, 3_600_000))
    .option("--print", "print the batch script and submit nothing")
    .option("--find", "print the socket of your pilot on this node")
    .action(async (more: string[], options: PilotOptions) =>
      (await import("./pilot.ts")).pilot(session(), more, options, environment),
    );
  addUsageCommand(program, session);
  addGainCommand(program, session);
  addAdminCommands(program, session, (verdict) => {
    result = exitStatus[verdict];
  });
  addEstimateCommand(program, session);
  program
    .command("dashboard")
    .description("where the dashboard is; with --login, an address that logs you in there as yourself")
    .option("--login", "print an address that is good once and for a minute")
    .option(
      "--url <url>",
      "where the browser reaches it; default: dashboard_url of the settings, else a tunnel",
    )
    .action(async (options: { login?: boolean; url?: string }) => {
      const { dashboard } = await import("./dashboard.ts");
      await dashboard(session(), options);
    });
  addConfigCommands(
    program,
    () => ({ output, json: json(), environment }),
    (status) => {
      result = status;
    },
  );
  program
    .command("doctor")
    .description(
      "check this node: cgroups, kernel, Slurm, munge, sockets, fabric, clock; says how to mend each",
    )
    .addOption(
      new Option(
        "--require <check...>",
        "count warnings of these checks as failures, as in --require controller",
      )
        .default([], "none")
        .conflicts(["cluster", "bundle"]),
    )
    .option("--cluster", "ask every agent instead, and group equal answers (needs a controller)")
    .option("--bundle <file.tar.gz>", "write what somebody else needs to help, without secrets, into a file")
    .option("--log-lines <n>", "bundle: last lines of each daemon", integer(0, 1_000_000), 5000)
    .option("--agent-file <file>", "bundle: agent.toml where it is not the default one")
    .option("--controller-file <file>", "bundle: controller.toml where it is not the default one")
    .action(
      async (options: Partial<BundleOptions> & { logLines: number; cluster?: true; require: string[] }) => {
        if (options.cluster === true) {
          const { clusterDoctor } = await import("./doctor/cluster.ts");
          result = exitStatus[await clusterDoctor(session())];
          return;
        }
        if (options.bundle !== undefined) {
          const { bundle } = await import("./doctor/bundle.ts");
          await bundle(session(), { ...options, bundle: options.bundle }, environment);
          return;
        }
        const { doctor } = await import("./doctor/doctor.ts");
        if (!(await doctor(session(), options.require))) result = exitStatus.failed;
      },
    );
  addCompletionCommands(program, session, output);
  // As other tools have it.
  program
    .command("help")
    .argument("[command...]", "whose; none: of all")
    .description("the same as COMMAND --help")
    .action((words: string[]) => words.reduce(subcommand, program).help());
  return { program, json, result: () => result };
}

/** Runs one command line (without node and script) and gives the exit status. Writes to `output` only. */
export async function run(
  args: readonly string[],
  output: Output,
  environment: NodeJS.ProcessEnv = process.env,
): Promise<number> {
  // Words that are wrong may stop the reading of options before --json.
  const asJson = args.includes("--json");
  const { program, json, result } = commandTree(output, environment, asJson);
  try {
    await program.parseAsync([...args], { from: "user" });
    return result();
  } catch (thrown) {
    if (thrown instanceof CommanderError) {
      // Commander has printed its own complaints, but as JSON; its help and version end with 0.
      if (thrown.exitCode === 0) return exitStatus.ok;
      if (asJson || thrown.code === "sublet.settings") {
        const said =
          thrown.code === "commander.help" ? "a command is missing; --help lists them" : thrown.message;
        writeError(
          output,
          new SubletError("INVALID_ARGUMENT", said.replace(/^error: /, "")),
          asJson || json(),
        );
      }
      return exitStatus.usage;
    }
    const error = toSubletError(thrown);
    writeError(output, error, json());
    return exitStatusOf(error);
  }
}
