/** Runs commands with a deadline and a clean environment: nothing of the caller's own environment reaches a daemon or a job. */
import { execa } from "execa";
import { SubletError } from "../../src/common/errors.ts";

export const baseEnv: Readonly<Record<string, string>> = {
  PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
  LANG: "C.UTF-8",
  HOME: "/root",
};

/** An emulated machine (test/vm) says how much slower it is: every wait here is that much longer. */
export const slowness = Number(process.env.SUBLET_TEST_SLOWNESS ?? "1");

export interface RunOptions {
  /** 30 s by default. */
  timeoutMs?: number;
  input?: string;
  env?: Readonly<Record<string, string>>;
  cwd?: string;
}

export interface RunResult {
  readonly stdout: string;
  readonly stderr: string;
  readonly exitCode: number;
}

/** Runs a command to its end; a non-zero exit is a result, not an error. @throws SubletError on deadline or when it cannot start. */
export async function attempt(argv: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const [file, ...args] = argv;
  if (file === undefined) throw new SubletError("INVALID_ARGUMENT", "empty command");
  const timeoutMs = (options.timeoutMs ?? 30_000) * slowness;
  const result = await execa(file, args, {
    extendEnv: false,
    env: { ...baseEnv, ...options.env },
    reject: false,
    timeout: timeoutMs,
    killSignal: "SIGKILL",
    maxBuffer: 64 * 1024 * 1024,
    ...(options.input === undefined ? { stdin: "ignore" as const } : { input: options.input }),
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  if (result.timedOut)
    throw new SubletError("DEADLINE_EXCEEDED", `${argv.join(" ")}: no end within ${timeoutMs} ms`);
  if (result.exitCode === undefined && result.signal === undefined)
    throw new SubletError("INTERNAL", `${argv.join(" ")}: ${result.shortMessage ?? "cannot start"}`);
  return { stdout: result.stdout, stderr: result.stderr, exitCode: result.exitCode ?? 128 };
}

/** Runs a command that must succeed and returns its output. @throws SubletError INTERNAL with what the command said. */
export async function run(argv: readonly string[], options: RunOptions = {}): Promise<string> {
  const result = await attempt(argv, options);
  if (result.exitCode !== 0) {
    const said = (result.stderr.trim() || result.stdout.trim()).slice(-2000);
    throw new SubletError("INTERNAL", `${argv.join(" ")}: exit status ${result.exitCode}: ${said}`, {
      details: { exit_code: result.exitCode },
    });
  }
  return result.stdout;
}

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Asks `probe` again until it answers something else than undefined. @throws SubletError DEADLINE_EXCEEDED naming `what`. */
export async function until<T>(
  what: string,
  timeoutMs: number,
  probe: () => T | undefined | Promise<T | undefined>,
  everyMs = 50,
): Promise<T> {
  const patienceMs = timeoutMs * slowness;
  const deadline = performance.now() + patienceMs;
  let last: unknown;
  for (;;) {
    try {
      const answer = await probe();
      if (answer !== undefined) return answer;
    } catch (error) {
      last = error; // kept as the cause: the probe may fail until the thing is there
    }
    if (performance.now() >= deadline)
      throw new SubletError("DEADLINE_EXCEEDED", `${what}: not within ${patienceMs} ms${reasonOf(last)}`, {
        cause: last,
      });
    await pause(everyMs);
  }
}

/** " (message: message of the cause)"; fetch says why only in its cause. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return "";
  return ` (${error.message}${error.cause instanceof Error ? `: ${error.cause.message}` : ""})`;
}
