/**
 * Daemons of the testbed: started detached inside their namespace with a clean environment, remembered in `<state>/pid/<name>`
 * as "pid starttime" (a pid alone may be another process by now), output in `<state>/log/<name>.log`.
 * nsenter becomes the command it runs, so the pid of the child is the daemon's.
 */
import { spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { SubletError } from "../../src/common/errors.ts";
import { enter, listDir, readOr } from "./namespaces.ts";
import { baseEnv, until } from "./shell.ts";

export interface DaemonSpec {
  readonly name: string;
  /** "ctl" or a node's name. */
  readonly where: string;
  readonly argv: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

export interface DaemonStatus {
  readonly name: string;
  readonly pid: number;
  readonly alive: boolean;
}

export const pidDir = (stateDir: string): string => join(stateDir, "pid");
export const logFile = (stateDir: string, name: string): string => join(stateDir, "log", `${name}.log`);

/** State and start time (clock ticks since boot) from /proc/PID/stat; undefined when there is no such process. */
export function processStat(pid: number): { state: string; startTime: string } | undefined {
  const text = readOr(() => readFileSync(`/proc/${pid}/stat`, "utf8"));
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const [state, startTime] = [fields[0], fields[19]];
  return state === undefined || startTime === undefined ? undefined : { state, startTime };
}

/** Whether the very process that was started then still runs (a zombie does not). */
export function isSame(pid: number, startTime: string): boolean {
  const stat = processStat(pid);
  return stat !== undefined && stat.startTime === startTime && stat.state !== "Z" && stat.state !== "X";
}

/** Starts a daemon; refused while it runs. */
export async function startDaemon(stateDir: string, spec: DaemonSpec): Promise<number> {
  if (daemonStatus(stateDir, spec.name)?.alive === true)
    throw new SubletError("FAILED_PRECONDITION", `${spec.name} runs already`);
  mkdirSync(pidDir(stateDir), { recursive: true });
  mkdirSync(join(stateDir, "log"), { recursive: true });
  const log = openSync(logFile(stateDir, spec.name), "a");
  const [file = "", ...args] = enter(stateDir, spec.where, spec.argv);
  try {
    const child = spawn(file, args, {
      cwd: "/",
      detached: true,
      stdio: ["ignore", log, log],
      env: { ...baseEnv, ...spec.env },
    });
    const pid = await new Promise<number>((resolve, reject) => {
      child.once("spawn", () => resolve(child.pid ?? 0));
      child.once("error", reject);
    });
    child.unref();
    const startTime = processStat(pid)?.startTime ?? "0";
    const path = join(pidDir(stateDir), spec.name);
    writeFileSync(`${path}.new`, `${pid} ${startTime}\n`);
    renameSync(`${path}.new`, path);
    return pid;
  } finally {
    closeSync(log);
  }
}

export function daemonStatus(stateDir: string, name: string): DaemonStatus | undefined {
  const [pid, startTime] = readOr(() => readFileSync(join(pidDir(stateDir), name), "utf8"))
    .trim()
    .split(" ");
  if (pid === undefined || startTime === undefined) return undefined;
  return { name, pid: Number(pid), alive: isSame(Number(pid), startTime) };
}

export function allDaemons(stateDir: string): DaemonStatus[] {
  return listDir(pidDir(stateDir))
    .filter((name) => !name.endsWith(".new"))
    .sort()
    .flatMap((name) => daemonStatus(stateDir, name) ?? []);
}

/** Sends a signal to one daemon and waits until it is gone. False when it did not run. */
export async function endDaemon(
  stateDir: string,
  name: string,
  signal: NodeJS.Signals = "SIGKILL",
  timeoutMs = 10_000,
): Promise<boolean> {
  const status = daemonStatus(stateDir, name);
  if (status === undefined)
    throw new SubletError(
      "NOT_FOUND",
      `no daemon ${name}; there are ${allDaemons(stateDir)
        .map((d) => d.name)
        .join(", ")}`,
    );
  if (!status.alive) return false;
  send(status.pid, signal);
  await until(
    `${name} ends on ${signal}`,
    timeoutMs,
    () => (daemonStatus(stateDir, name)?.alive === true ? undefined : true),
    10,
  );
  return true;
}

export function forgetDaemon(stateDir: string, name: string): void {
  rmSync(join(pidDir(stateDir), name), { force: true });
}

/** kill(2) that takes "already gone" for success. */
export function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

/** The last lines of a daemon's log, for error messages. */
export function logTail(stateDir: string, name: string, lines = 15): string {
  return readOr(() => readFileSync(logFile(stateDir, name), "utf8"))
    .trimEnd()
    .split("\n")
    .slice(-lines)
    .join("\n");
}
