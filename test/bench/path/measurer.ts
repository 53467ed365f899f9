/**
 * One measuring program (functions/bench/measure.h): runs for the whole benchmark, is told what to measure, answers with
 * a line of JSON. It ends with its standard input, so nothing is left when the benchmark dies.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface, type Interface } from "node:readline";
import { baseEnv } from "../../../deploy/testbed/shell.ts";

/** Round trips in µs, of one round. */
export interface Times {
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
  readonly count: number;
  /** Calls per second, at the median step. */
  readonly perS?: number;
  /** Steps per second, of all of them together: also what came seldom and took long. */
  readonly stepsPerS?: number;
}

export interface Order {
  readonly name: string;
  readonly bytes: number;
  readonly count: number;
  readonly pauseUs?: number;
  readonly depth?: number;
}

export interface Measurer {
  measure(order: Order): Promise<Times>;
  close(): Promise<void>;
}

/** The next line, or an error when the program ends or says nothing for `timeoutMs`. */
export function nextLine(
  child: ChildProcess,
  lines: Interface,
  what: string,
  timeoutMs: number,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const end = (act: () => void) => {
      clearTimeout(timer);
      lines.off("line", onLine);
      child.off("exit", onExit);
      act();
    };
    const onLine = (line: string) => end(() => resolve(line));
    const onExit = () => end(() => reject(new Error(`${what} ended${said.get(child) ?? ""}`)));
    const timer = setTimeout(
      () => end(() => reject(new Error(`${what}: no answer within ${timeoutMs / 1000} s`))),
      timeoutMs,
    );
    lines.on("line", onLine);
    child.on("exit", onExit);
    if (child.exitCode !== null || child.signalCode !== null) onExit();
  });
}

const said = new WeakMap<ChildProcess, string>();

/** Starts a program whose stdin we hold; what it says on stderr is told when it fails. */
export function startProgram(
  argv: readonly string[],
  env: Readonly<Record<string, string>> = {},
): { child: ChildProcess; lines: Interface } {
  const [file = "", ...args] = argv;
  const child = spawn(file, args, { stdio: ["pipe", "pipe", "pipe"], env: { ...baseEnv, ...env } });
  child.on("error", (error) => said.set(child, `: ${error.message}`));
  child.stdin?.on("error", () => {}); // its end is told by `exit`
  child.stderr?.on("data", (chunk: Buffer) =>
    said.set(child, `: ${`${(said.get(child) ?? "").slice(2)}${chunk}`.trim().slice(-500)}`),
  );
  return { child, lines: createInterface({ input: child.stdout as NodeJS.ReadableStream }) };
}

/** Ends a program by its standard input; by force when it does not. */
export async function endProgram(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const gone = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  child.stdin?.end();
  const timer = setTimeout(() => child.kill("SIGKILL"), 3000);
  await gone;
  clearTimeout(timer);
}

export function startMeasurer(
  what: string,
  argv: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Measurer {
  const { child, lines } = startProgram(argv, env);
  return {
    async measure({ name, bytes, count, pauseUs = 0, depth = 1 }) {
      const answer = nextLine(child, lines, what, 60_000);
      child.stdin?.write(`${name} ${bytes} ${count} ${pauseUs} ${depth}\n`);
      const times = JSON.parse(await answer) as Record<string, number | string>;
      if (times.error !== undefined) throw new Error(`${what}: ${times.error}`);
      const p50 = Number(times.p50);
      return {
        p50,
        p99: Number(times.p99),
        p999: Number(times.p99_9),
        count: Number(times.count),
        perS: (1e6 / p50) * depth,
        stepsPerS: Number(times.per_s),
      };
    },
    close: () => endProgram(child),
  };
}
