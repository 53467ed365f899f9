/**
 * `sublet pilot`: writes the batch script of a pilot (agent/pilot/pilot.ts) and submits it.
 *
 * The agent is a step (srun), since at preemption Slurm sends SIGTERM to steps at once and to the batch script at the end
 * of GraceTime only. The step overlaps, so that other steps of the job can run beside it. The budget of the agent is
 * three fifths of the partition's GraceTime, as the script finds it when the job starts.
 *
 * Exit status 75 of the agent: it gave all back. A job that ends within its GraceTime is over for Slurm even where
 * PreemptMode is REQUEUE, so the script requeues itself there; where it is CANCEL, and after scancel or the time limit
 * (the job is not RUNNING any more), it does not.
 */
import { spawn } from "node:child_process";
import { lstatSync, readdirSync } from "node:fs";
import { hostname } from "node:os";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { SubletError } from "../common/errors.ts";
import { isPilotOf, pilotBase, pilotPrefix } from "../common/pilot.ts";
import { isServed } from "../rpc/served.ts";
import type { Session } from "./session.ts";

export interface PilotOptions {
  readonly time?: string;
  readonly nodes?: number;
  readonly partition?: string;
  readonly cores?: number;
  readonly mem?: string;
  /** Instead of what the partition's GraceTime allows. */
  readonly graceMs?: number;
  readonly print?: true;
  readonly find?: true;
}

export interface PilotPrograms {
  readonly node: string;
  readonly main: string;
}

export const pilotPrograms: PilotPrograms = {
  node: process.execPath,
  main: fileURLToPath(new URL(`../../agent/pilot/main${extname(import.meta.url)}`, import.meta.url)),
};

/** With no GraceTime Slurm still waits KillWait (30 s unless the site changed it) between SIGTERM and SIGKILL. */
const defaultBudgetMs = 5000;
const submitTimeoutMs = 60_000;

/** One word of a POSIX shell. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function directive(name: string, value: string | number): string {
  const text = String(value);
  if (!/^[A-Za-z0-9_.,:+@%[\]-]{1,128}$/.test(text))
    throw new SubletError("INVALID_ARGUMENT", `--${name}: ${JSON.stringify(text)} is no value of sbatch`);
  return `#SBATCH --${name}=${text}`;
}

export function pilotScript(options: PilotOptions, programs: PilotPrograms = pilotPrograms): string {
  const directives = [
    directive("job-name", "sublet-pilot"),
    directive("nodes", options.nodes ?? 1),
    directive("ntasks-per-node", 1),
    ...(options.cores === undefined ? [] : [directive("cpus-per-task", options.cores)]),
    ...(options.mem === undefined ? [] : [directive("mem", options.mem)]),
    ...(options.time === undefined ? [] : [directive("time", options.time)]),
    ...(options.partition === undefined ? [] : [directive("partition", options.partition)]),
    "#SBATCH --requeue",
    "#SBATCH --open-mode=append",
  ];
  const agent = [
    programs.node,
    "--disable-warning=ExperimentalWarning",
    "--max-semi-space-size=1",
    programs.main,
  ];
  const budget =
    options.graceMs === undefined
      ? [
          "grace=$(printf '%s\\n' \"$partition\" | sed -n 's/.*GraceTime=\\([0-9][0-9]*\\).*/\\1/p')",
          `if [ "\${grace:-0}" -gt 0 ]; then budget_ms=$((grace * 600)); else budget_ms=${defaultBudgetMs}; fi`,
        ]
      : [`budget_ms=${options.graceMs}`];
  return `${[
    "#!/bin/sh",
    ...directives,
    "trap : TERM",
    'partition=$(scontrol show partition -o "$SLURM_JOB_PARTITION")',
    ...budget,
    'srun --overlap --ntasks="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 --cpu-bind=none --kill-on-bad-exit=0 \\',
    `  ${agent.map(quoted).join(" ")} --budget-ms "$budget_ms"`,
    "status=$?",
    '[ "$status" = 75 ] || exit "$status"',
    'case "$partition" in',
    "  *PreemptMode=*REQUEUE*)",
    '    [ "$(squeue --noheader --jobs "$SLURM_JOB_ID" --format %T)" = RUNNING ] || exit 0',
    '    exec scontrol requeue "$SLURM_JOB_ID" ;;',
    "esac",
  ].join("\n")}\n`;
}

/** Hands the script to sbatch. Resolves with what it printed: the number of the job. */
function submit(script: string, more: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn("sbatch", ["--parsable", ...more], { timeout: submitTimeoutMs });
    let out = "";
    let error = "";
    child.stdout.on("data", (chunk: Buffer) => {
      out += chunk.toString();
    });
    child.stderr.on("data", (chunk: Buffer) => {
      error += chunk.toString();
    });
    child.stdin.on("error", () => undefined); // sbatch has ended: its status says why.
    child.once("error", (cause) =>
      reject(new SubletError("UNAVAILABLE", "cannot run sbatch: is Slurm on PATH?", { cause })),
    );
    child.once("close", (code) =>
      code === 0
        ? resolve(out.trim())
        : reject(new SubletError("FAILED_PRECONDITION", error.trim() || `sbatch ended with ${code}`)),
    );
    child.stdin.end(script);
  });
}

/** Sockets of the pilots of this user that answer here; those of this node, as Slurm calls it, before others (/tmp may be shared). */
export async function findPilots(base: string, uid: number, node: string): Promise<string[]> {
  const found: { socket: string; own: boolean }[] = [];
  for (const name of readdirSync(base).filter((each) => each.startsWith(pilotPrefix(uid)))) {
    if (lstatSync(join(base, name), { throwIfNoEntry: false })?.uid !== uid) continue;
    const socket = join(base, name, "agent.sock");
    if (await isServed(socket)) found.push({ socket, own: isPilotOf(name, uid, node) });
  }
  const order = found.sort((a, b) => Number(b.own) - Number(a.own) || (a.socket < b.socket ? -1 : 1));
  return order.map(({ socket }) => socket);
}

export async function pilot(
  { output, json }: Session,
  more: readonly string[],
  options: PilotOptions,
  environment: NodeJS.ProcessEnv = process.env,
): Promise<void> {
  if (options.find === true) {
    const node = environment.SLURMD_NODENAME ?? hostname().split(".")[0] ?? "node";
    const [socket] = await findPilots(pilotBase(environment), process.getuid?.() ?? 0, node);
    if (socket === undefined) throw new SubletError("UNAVAILABLE", "no pilot of yours runs on this node");
    output.write(json ? `${JSON.stringify({ socket })}\n` : `${socket}\n`);
    return;
  }
  const script = pilotScript(options);
  if (options.print === true) {
    output.write(script);
    return;
  }
  const id = await submit(script, more);
  const jobId = Number(id.split(";")[0]);
  output.write(json ? `${JSON.stringify({ jobId })}\n` : `submitted pilot job ${jobId}\n`);
}
