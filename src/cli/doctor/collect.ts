/** What goes into a support bundle, file by file. Each is asked for by itself: what cannot be had is said, and the rest goes on. */
import { execFile } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { hostname, version as kernelVersion, machine, release } from "node:os";
import { join } from "node:path";
import { toSubletError } from "../../common/errors.ts";
import { version } from "../../common/version.ts";
import { readCli } from "../../config/cli.ts";
import { readAgent, readController } from "../../config/config.ts";
import { settingsJson } from "../../config/show.ts";
import type { Configuration } from "../../config/sources.ts";
import { listLeases } from "../leases.ts";
import { type Session, withAgent, withController } from "../session.ts";
import { readOptional, runSlurm } from "./ask.ts";
import { judge } from "./checks.ts";
import { formatFindings } from "./doctor.ts";
import { gatherFacts } from "./gather.ts";
import { parseSlurmConfig } from "./parse.ts";
import type { AllSources } from "./secrets.ts";

export interface Item {
  readonly name: string;
  /** For the manifest. */
  readonly what: string;
  readonly gather: () => Promise<string>;
}

export interface CollectOptions {
  readonly session: Session;
  readonly environment: NodeJS.ProcessEnv;
  readonly logLines: number;
  /** Files of the daemons where they are not the default ones. */
  readonly agentFile?: string | undefined;
  readonly controllerFile?: string | undefined;
}

const maxLogBytes = 4 * 1024 * 1024;
const maxMetricsBytes = 4 * 1024 * 1024;
const maxCgroups = 2_000;

/** Of `scontrol show config`: how jobs and nodes are treated. Nothing that names a credential. */
export const slurmSettings = [
  "SLURM_VERSION",
  "ClusterName",
  "AuthType",
  "CgroupPlugin",
  "CompleteWait",
  "DefMemPerCPU",
  "DefMemPerNode",
  "Epilog",
  "HealthCheckInterval",
  "HealthCheckProgram",
  "JobAcctGatherFrequency",
  "JobAcctGatherType",
  "KillWait",
  "LaunchParameters",
  "MaxMemPerNode",
  "MessageTimeout",
  "OverTimeLimit",
  "PlugStackConfig",
  "PreemptMode",
  "PreemptType",
  "PrivateData",
  "ProctrackType",
  "Prolog",
  "PrologEpilogTimeout",
  "PrologFlags",
  "RebootProgram",
  "ResumeProgram",
  "SchedulerParameters",
  "SchedulerType",
  "SelectType",
  "SelectTypeParameters",
  "SlurmctldParameters",
  "SlurmdParameters",
  "SlurmdTimeout",
  "SuspendProgram",
  "SuspendTime",
  "TaskPlugin",
  "TaskPluginParam",
  "TaskProlog",
  "UnkillableStepTimeout",
] as const;

const json = (value: unknown): string => `${JSON.stringify(value, undefined, 2)}\n`;

function run(program: string, args: readonly string[], timeoutMs: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = { timeout: timeoutMs, killSignal: "SIGKILL" as const, maxBuffer: maxLogBytes };
    execFile(program, args, options, (error, stdout, stderr) => {
      if (error === null || stdout !== "") resolve(stdout);
      else reject(new Error(stderr.trim() || error.message));
    });
  });
}

/** The host of an address to listen at, as one to ask at. */
async function page(address: string, timeoutMs: number): Promise<string> {
  const at = address.replace(/^(0\.0\.0\.0|\[::\]):/, "127.0.0.1:");
  const response = await fetch(`http://${at}/metrics`, { signal: AbortSignal.timeout(timeoutMs) });
  return (await response.text()).slice(0, maxMetricsBytes);
}

/** Names and limits of the cgroups below a directory; of processes only how many. */
function cgroupLines(dir: string, depth: number, lines: string[]): string[] {
  if (lines.length >= maxCgroups) return lines;
  const of = (name: string): string | undefined => {
    try {
      return readFileSync(join(dir, name), "utf8").trim();
    } catch {
      return undefined; // Another controller's hierarchy, or another version.
    }
  };
  const found = [
    "cpuset.cpus",
    "cpu.max",
    "cpu.idle",
    "cpu.shares",
    "cpu.weight",
    "memory.max",
    "memory.current",
  ]
    .concat(["memory.limit_in_bytes", "memory.usage_in_bytes", "cgroup.freeze", "freezer.state"])
    .flatMap((name) => {
      const value = of(name);
      return value === undefined ? [] : [`${name}=${value.replaceAll("\n", " ")}`];
    });
  const processes = (of("cgroup.procs") ?? "").split("\n").filter((line) => line !== "").length;
  lines.push(`${dir} processes=${processes} ${found.join(" ")}`.trimEnd());
  if (depth === 0) return lines;
  const inner = readdirSync(dir, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  for (const { name } of inner.sort((a, b) => a.name.localeCompare(b.name)))
    cgroupLines(join(dir, name), depth - 1, lines);
  return lines;
}

async function cgroups(session: Session): Promise<string> {
  const mounts = ((await readOptional("/proc/self/mounts")) ?? "")
    .split("\n")
    .filter((line) => / cgroup2? /.test(line));
  const { findings } = await withAgent(session, (agent) => agent.status());
  const roots = [findings["cgroup.root"], ...(findings["slurm.jobs"] ?? "").split(",")];
  const lines = roots
    .filter((dir) => dir?.startsWith("/"))
    .flatMap((dir = "") => {
      try {
        return cgroupLines(dir, 4, []);
      } catch {
        return [`${dir}: is not there`];
      }
    });
  return `${[...mounts, "", ...lines].join("\n")}\n`;
}

/** Lines about us only: others may say what is none of our business. */
async function ourLines(path: string | undefined): Promise<string> {
  if (path === undefined || !path.startsWith("/")) return "";
  const text = await readOptional(path);
  if (text === undefined) return `${path}: cannot be read\n`;
  const lines = text.split("\n").filter((line) => /sublet/i.test(line));
  return `${path}: ${lines.length} lines about Sublet\n${lines.map((line) => `  ${line}\n`).join("")}`;
}

async function hooks(timeoutMs: number): Promise<string> {
  const config = parseSlurmConfig(await runSlurm(["show", "config"], timeoutMs));
  const beside = config.SLURM_CONF?.replace(/[^/]*$/, "plugstack.conf");
  const paths = [config.PlugStackConfig ?? beside, config.Prolog, config.Epilog, config.TaskProlog];
  return (await Promise.all(paths.map(ourLines))).join("");
}

async function slurm(timeoutMs: number): Promise<string> {
  const config = parseSlurmConfig(await runSlurm(["show", "config"], timeoutMs));
  const chosen = Object.fromEntries(slurmSettings.map((name) => [name, config[name] ?? null]));
  const ping = await runSlurm(["ping"], timeoutMs).catch((thrown: Error) => thrown.message);
  return json({
    version: (await runSlurm(["--version"], timeoutMs)).trim(),
    ping: ping.trim(),
    config: chosen,
  });
}

async function versions(): Promise<string> {
  const system = (await readOptional("/etc/os-release")) ?? "";
  return json({
    sublet: version,
    node: process.version,
    kernel: { release: release(), version: kernelVersion(), machine: machine() },
    system: /^PRETTY_NAME="?([^"\n]*)/m.exec(system)?.[1] ?? null,
  });
}

async function findings(session: Session): Promise<string> {
  return formatFindings(judge(await gatherFacts(session)), 120);
}

function log(identifier: string, { session, logLines }: CollectOptions): Promise<string> {
  const args = ["--no-pager", "-t", identifier, "-n", String(logLines), "-o", "short-iso-precise"];
  return run("journalctl", args, session.config.timeoutMs);
}

/** Where each program's settings come from. */
export function allSources({ environment, agentFile, controllerFile }: CollectOptions): AllSources {
  return {
    agent: { file: agentFile, environment },
    controller: { file: controllerFile, environment },
    sublet: { environment },
  };
}

export function items(options: CollectOptions): readonly Item[] {
  const { session } = options;
  const { timeoutMs } = session.config;
  const sources = allSources(options);
  const agent = () => readAgent(sources.agent);
  const controller = () => readController(sources.controller);
  const settings: Readonly<Record<string, () => Configuration<unknown, unknown>>> = {
    agent,
    controller,
    sublet: () => readCli(sources.sublet),
  };
  const metricsAt = { agent, controller };
  return [
    { name: "versions.json", what: "of Sublet, Node, the kernel and the system", gather: versions },
    { name: "findings.txt", what: "what sublet doctor says", gather: () => findings(session) },
    ...Object.entries(settings).map(
      ([name, read]): Item => ({
        name: `config/${name}.json`,
        what: `settings of ${name} in effect and where each came from; secrets are not in it`,
        gather: async () => json(settingsJson(name, read())),
      }),
    ),
    {
      name: "cgroups.txt",
      what: "mounts, guests' and jobs' cgroups with their limits",
      gather: () => cgroups(session),
    },
    {
      name: "slurm.json",
      what: "Slurm's version and the settings that matter to us",
      gather: () => slurm(timeoutMs),
    },
    {
      name: "hooks.txt",
      what: "lines about Sublet in plugstack.conf, prolog and epilog",
      gather: () => hooks(timeoutMs),
    },
    {
      name: "status.json",
      what: "what this node's agent offers and found",
      gather: async () => json(await withAgent(session, (agent) => agent.status())),
    },
    {
      name: "nodes.json",
      what: "the cluster's nodes, by the controller",
      gather: async () => json(await withController(session, (controller) => controller.listNodes({}))),
    },
    { name: "leases.json", what: "live leases", gather: async () => json(await listLeases(session)) },
    ...(["agent", "controller"] as const).flatMap((name): Item[] => [
      {
        name: `metrics/${name}.prom`,
        what: `the metrics page of the ${name} on this machine`,
        gather: () => page(metricsAt[name]().config.metricsListen, timeoutMs),
      },
      {
        name: `logs/sublet-${name}.txt`,
        what: `the last lines of sublet-${name} in the journal`,
        gather: () => log(`sublet-${name}`, options),
      },
    ]),
  ];
}

export interface Gathered {
  readonly item: Item;
  /** Empty when it could not be had. */
  readonly text: string;
  readonly why: string | undefined;
}

/** onDone: for each, as it comes. */
export async function gatherAll(all: readonly Item[], onDone: () => void): Promise<Gathered[]> {
  return Promise.all(
    all.map(async (item): Promise<Gathered> => {
      try {
        return { item, text: await item.gather(), why: undefined };
      } catch (thrown) {
        return { item, text: "", why: toSubletError(thrown).message };
      } finally {
        onDone();
      }
    }),
  );
}

export const thisHost = (): string => hostname().split(".")[0] ?? "host";
