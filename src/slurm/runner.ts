/**
 * Runs Slurm's commands for the poller: no shell, a fixed environment, output bounded, killed at the deadline.
 * The one place that forks for Slurm. Slurm's clients wait 9 s by default for a slurmctld that is gone.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { ExecaError, execa } from "execa";
import { SubletError } from "../common/errors.ts";
import { slurmEnvironment } from "./commands.ts";
import type { CommandRunner, PollerClock } from "./poller.ts";

/** 10,000 nodes print 6 MB. */
const maxOutputBytes = 128 * 1024 * 1024;

/** @param slurmConf path for SLURM_CONF; undefined leaves the search for it to Slurm. */
export function commandRunner(slurmConf: string | undefined): CommandRunner {
  const env = slurmEnvironment(slurmConf, process.env.PATH ?? "/usr/bin:/bin");
  return async (command, { timeoutMs, signal }) => {
    try {
      const { stdout, stderr } = await execa(command.program, [...command.args], {
        env,
        extendEnv: false,
        stdin: "ignore",
        timeout: timeoutMs,
        killSignal: "SIGKILL",
        maxBuffer: maxOutputBytes,
        stripFinalNewline: false,
        cancelSignal: signal,
      });
      return { stdout, stderr };
    } catch (thrown) {
      throw toRunnerError(command.program, timeoutMs, thrown);
    }
  };
}

function toRunnerError(program: string, timeoutMs: number, thrown: unknown): SubletError {
  if (!(thrown instanceof ExecaError))
    return new SubletError("INTERNAL", `${program}: ${String(thrown)}`, { cause: thrown });
  if (thrown.timedOut)
    return new SubletError("DEADLINE_EXCEEDED", `${program} gave no answer within ${timeoutMs} ms`, {
      cause: thrown,
    });
  if (thrown.isCanceled) return new SubletError("ABORTED", `${program} was ended with us`, { cause: thrown });
  if (thrown.code === "ENOENT")
    return new SubletError(
      "FAILED_PRECONDITION",
      `${program} is not in PATH: install Slurm's client commands`,
    );
  const stderr: unknown = (thrown as { stderr?: unknown }).stderr;
  const said = typeof stderr === "string" ? stderr.trim().slice(0, 300) : "";
  return new SubletError("UNAVAILABLE", `${program}: ${said === "" ? thrown.shortMessage : said}`, {
    cause: thrown,
  });
}

export const systemClock: PollerClock = {
  nowMs: () => performance.now(),
  unixMs: () => Date.now(),
  random: () => Math.random(),
  async sleep(ms, signal) {
    try {
      await sleep(ms, undefined, { signal });
    } catch (thrown) {
      if (!signal.aborted) throw thrown;
    }
  },
};
