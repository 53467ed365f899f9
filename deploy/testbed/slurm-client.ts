/**
 * What an ordinary user does on the testbed: sbatch, srun, squeue. All as the job user and from the control side, so that
 * Slurm's count of remote procedure calls by user tells these apart from what our daemons (root) ask.
 */
import { statSync } from "node:fs";
import { join } from "node:path";
import { SubletError } from "../../src/common/errors.ts";
import { jobUser, type Layout } from "./layout.ts";
import { enter } from "./namespaces.ts";
import { attempt, type RunOptions, type RunResult, run, until } from "./shell.ts";
import { slurmEnv } from "./slurm-daemons.ts";

/** States in which a job has ended and its nodes are free. */
const ended = /^(COMPLETED|FAILED|CANCELLED|TIMEOUT|NODE_FAIL|OUT_OF_MEMORY|PREEMPTED|BOOT_FAIL|DEADLINE)$/;

export interface JobInfo {
  readonly id: number;
  readonly state: string;
  readonly exitCode: number;
  /** Every field of `scontrol show job -d -o` whose value has no blanks. */
  readonly fields: ReadonlyMap<string, string>;
}

export interface RpcCount {
  /** REQUEST_... to number of calls since slurmctld started. */
  readonly byType: Readonly<Record<string, number>>;
  /** User name to number of calls. Our helpers ask as the job user; root is our daemons and Slurm's own. */
  readonly byUser: Readonly<Record<string, number>>;
}

export interface SbatchOptions {
  /** Options of sbatch, e.g. ["-N2", "--exclusive"]. */
  args?: readonly string[];
  /** The batch script; `#!/bin/sh` is put before it when it has no first line of that kind. */
  script?: string;
  env?: Readonly<Record<string, string>>;
}

/** argv that runs `command` on the control side or a node as the job user. */
export function asJobUser(layout: Layout, where: string, command: readonly string[]): string[] {
  const id = [`--reuid=${jobUser.uid}`, `--regid=${jobUser.gid}`, "--clear-groups"];
  return enter(layout.stateDir, where, ["setpriv", ...id, "--", ...command]);
}

export function userEnv(layout: Layout, more: Readonly<Record<string, string>> = {}): Record<string, string> {
  const who = { HOME: layout.home, USER: jobUser.name, LOGNAME: jobUser.name };
  return { ...slurmEnv(layout.stateDir), ...who, ...more };
}

export class SlurmClient {
  readonly layout: Layout;

  constructor(layout: Layout) {
    this.layout = layout;
  }

  /** Runs a command on the control side as the job user; its exit status is a result. */
  attempt(command: readonly string[], options: RunOptions = {}): Promise<RunResult> {
    return attempt(asJobUser(this.layout, "ctl", command), this.#options(options));
  }

  /** The same for a command that must succeed. */
  run(command: readonly string[], options: RunOptions = {}): Promise<string> {
    return run(asJobUser(this.layout, "ctl", command), this.#options(options));
  }

  #options(options: RunOptions): RunOptions {
    return { cwd: this.layout.home, ...options, env: userEnv(this.layout, options.env) };
  }

  /** Submits a batch job; its number. */
  async sbatch(options: SbatchOptions): Promise<number> {
    const { script, args = [], env = {} } = options;
    const input =
      script === undefined ? {} : { input: script.startsWith("#!") ? script : `#!/bin/sh\n${script}\n` };
    const out = await this.run(["sbatch", "--parsable", ...args], { env, ...input });
    const id = Number(/^(\d+)/.exec(out.trim())?.[1]);
    if (!Number.isSafeInteger(id))
      throw new SubletError("INTERNAL", `sbatch said ${JSON.stringify(out.slice(0, 200))}`);
    return id;
  }

  async job(id: number): Promise<JobInfo> {
    const text = await this.run(["scontrol", "show", "job", "-d", "-o", String(id)]);
    const fields = new Map(
      [...text.matchAll(/(?:^| )([A-Za-z/:]+)=(\S*)/g)].map((m) => [m[1] ?? "", m[2] ?? ""]),
    );
    const [code = "0", signal = "0"] = (fields.get("ExitCode") ?? "0:0").split(":");
    const exitCode = Number(signal) > 0 ? 128 + Number(signal) : Number(code);
    return { id, state: fields.get("JobState") ?? "UNKNOWN", exitCode, fields };
  }

  /** Waits until a job has ended, whatever its end. @throws SubletError DEADLINE_EXCEEDED. */
  waitJob(id: number, timeoutMs = 120_000): Promise<JobInfo> {
    return until(
      `job ${id} ends`,
      timeoutMs,
      async () => {
        const job = await this.job(id);
        return ended.test(job.state) ? job : undefined;
      },
      100,
    );
  }

  /** Waits until a job's state is one of `states` (e.g. RUNNING). @throws SubletError when it ends before that, or in time not. */
  async waitState(id: number, states: readonly string[], timeoutMs = 60_000): Promise<JobInfo> {
    const job = await until(`job ${id} is ${states.join(" or ")}`, timeoutMs, async () => {
      const now = await this.job(id);
      return states.includes(now.state) || ended.test(now.state) ? now : undefined;
    });
    if (!states.includes(job.state))
      throw new SubletError("FAILED_PRECONDITION", `job ${id} ended as ${job.state}`);
    return job;
  }

  /**
   * Waits until a job runs and slurmctld has written that down: it saves its state some seconds late, and after a kill -9
   * a job from before the save is unknown to it and ended by its slurmd.
   */
  async waitSaved(id: number, timeoutMs = 20_000): Promise<void> {
    await this.waitState(id, ["RUNNING"], timeoutMs);
    const file = join(this.layout.stateDir, "ctl", "job_state");
    const from = Date.now();
    await this.run(["scontrol", "update", `JobId=${id}`, "Comment=saved"]); // a change after which a save must come
    await until(`slurmctld saves its state`, timeoutMs, () =>
      (statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0) > from ? true : undefined,
    );
  }

  /** What the job has written to its standard output so far. */
  async outputOf(id: number): Promise<string> {
    const path = (await this.job(id)).fields.get("StdOut");
    if (path === undefined) throw new SubletError("NOT_FOUND", `job ${id} has no output file`);
    const read = await this.attempt(["cat", path]);
    return read.exitCode === 0 ? read.stdout : ""; // not yet made
  }

  /** Lines of squeue, "%i %T %N" unless told otherwise. */
  async squeue(format = "%i %T %N"): Promise<string[]> {
    const out = await this.run(["squeue", "--noheader", "-o", format]);
    return out.split("\n").filter((line) => line !== "");
  }

  /** Node name to its state in Slurm's long form ("idle", "mixed", "down*"). */
  async nodeStates(): Promise<Map<string, string>> {
    const out = await this.run(["sinfo", "--noheader", "-N", "-o", "%N %T"], { timeoutMs: 10_000 });
    return new Map(out.split("\n").map((line) => line.split(" ") as [string, string]));
  }

  async waitIdle(timeoutMs = 30_000): Promise<void> {
    const names = this.layout.nodes.map((node) => node.name);
    await until(`nodes ${names.join(", ")} are idle`, timeoutMs, async () => {
      const states = await this.nodeStates();
      const busy = names.filter((name) => states.get(name) !== "idle");
      if (busy.length > 0)
        throw new SubletError("UNAVAILABLE", busy.map((n) => `${n} ${states.get(n)}`).join(", "));
      return true as const;
    });
  }

  async cancelAll(): Promise<void> {
    await this.run(["scancel", `--user=${jobUser.name}`]);
  }

  /** Slurm's own count of the calls it had to answer. */
  async rpcCount(): Promise<RpcCount> {
    return parseRpcCount(await this.run(["sdiag"]));
  }
}

/** The two tables at the end of sdiag's output. */
export function parseRpcCount(text: string): RpcCount {
  const table = (title: string): Record<string, number> => {
    const start = text.indexOf(title);
    if (start < 0) throw new SubletError("INTERNAL", `sdiag shows no table "${title}"`);
    const body = text.slice(start + title.length).split(/\n\s*\n/)[0] ?? "";
    return Object.fromEntries(
      [...body.matchAll(/^\s+(\S+)\s+\(\s*\d+\)\s+count:(\d+)/gm)].map((m) => [m[1] ?? "", Number(m[2])]),
    );
  };
  return {
    byType: table("Remote Procedure Call statistics by message type"),
    byUser: table("Remote Procedure Call statistics by user"),
  };
}
