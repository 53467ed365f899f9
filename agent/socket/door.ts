/**
 * sublet-door (functions/door), which serves agent.sock and passes on to us what users send: no user can make this thread
 * wait by descriptors that he passes along. One process, started with the agent and ended with it; should it die, another is
 * started, and clients connect anew.
 */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import type { Readable, Writable } from "node:stream";
import { SubletError, toSubletError } from "../../src/common/errors.ts";
import type { AgentLog } from "../log.ts";

type DoorProcess = ChildProcessByStdio<Writable, Readable, null>;

export interface DoorOptions {
  readonly program: string;
  /** Where users connect. */
  readonly path: string;
  /** Where this agent listens. */
  readonly innerPath: string;
  readonly starterPath: string;
  /** To be ready. */
  readonly timeoutMs: number;
  readonly log: AgentLog;
}

export interface Door {
  /** Whether the starter may be asked for leases that were granted ahead. */
  openVouchers(open: boolean): void;
  close(): void;
}

const againMs = 200;
/** One user may do it again and again. */
const tellEveryMs = 10_000;

/** @throws SubletError FAILED_PRECONDITION: it does not start; it has said why on our standard error. */
export async function openDoor({
  program,
  path,
  innerPath,
  starterPath,
  timeoutMs,
  log,
}: DoorOptions): Promise<Door> {
  let door: DoorProcess | undefined;
  let closed = false;
  let vouchers = false;
  let toldMs = Number.NEGATIVE_INFINITY;

  function hear(line: string): void {
    const [word, uid] = line.split(" ");
    if (word !== "passed" || performance.now() - toldMs < tellEveryMs) return;
    toldMs = performance.now();
    log.warn({ uid: Number(uid) }, "a user passed descriptors to the agent's socket: disconnected");
  }

  async function start(): Promise<void> {
    const child = spawn(program, [path, innerPath, starterPath], { stdio: ["pipe", "pipe", "inherit"] });
    child.stdin.on("error", () => undefined);
    child.stdout.setEncoding("utf8");
    let text = "";
    const ready = new Promise<void>((resolve) => {
      child.stdout.on("data", (chunk: string) => {
        const lines = (text + chunk).split("\n");
        text = lines.pop() ?? "";
        for (const line of lines)
          if (line.startsWith("ready")) resolve();
          else hear(line);
      });
    });
    const gone = once(child, "exit").then(
      ([code, signal]) => `ended with ${signal ?? code}`,
      (thrown: unknown) => `does not start (${toSubletError(thrown).message})`,
    );
    const late = new Promise<string>((resolve) => {
      setTimeout(resolve, timeoutMs, `is not ready after ${timeoutMs} ms`).unref();
    });
    const why = await Promise.race([ready, gone, late]);
    if (why !== undefined) {
      child.kill("SIGKILL");
      throw new SubletError(
        "FAILED_PRECONDITION",
        `${program} ${why}: native_dir must hold the programs that came with this agent`,
      );
    }
    door = child;
    if (vouchers) child.stdin.write("+");
    if (closed) child.kill("SIGKILL");
    else void gone.then(again);
  }

  function again(why: string): void {
    if (closed) return;
    log.error({ why }, "sublet-door is gone: another is started, clients connect anew");
    setTimeout(() => {
      if (closed) return;
      start().catch((thrown: unknown) => again(toSubletError(thrown).message));
    }, againMs);
  }

  await start();
  return {
    openVouchers(open) {
      if (open === vouchers) return;
      vouchers = open;
      door?.stdin.write(open ? "+" : "-");
    },
    close() {
      closed = true;
      door?.kill("SIGKILL");
    },
  };
}
