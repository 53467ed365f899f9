/**
 * The pilot's directory: mode 700, its user's, no link. What an earlier life of the same job left (Slurm ends what does
 * not end by itself with SIGKILL) is removed by the next pilot of that user on the node, if nobody answers there.
 */
import { lstatSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { SubletError } from "../../src/common/errors.ts";
import { pilotPrefix } from "../../src/common/pilot.ts";
import { isServed } from "../../src/rpc/served.ts";

function isOwn(dir: string, uid: number): boolean {
  const info = lstatSync(dir, { throwIfNoEntry: false });
  return info?.isDirectory() === true && info.uid === uid;
}

/** Removes what pilots of this user left in this base. Nothing of others, and nothing that lives. */
export async function removeLeftovers(base: string, uid: number): Promise<string[]> {
  const removed: string[] = [];
  for (const name of readdirSync(base).filter((each) => each.startsWith(pilotPrefix(uid)))) {
    const dir = join(base, name);
    if (!isOwn(dir, uid) || (await isServed(join(dir, "agent.sock")))) continue;
    if (Date.now() - lstatSync(dir).mtimeMs < youngMs) continue;
    rmSync(dir, { recursive: true, force: true });
    removed.push(dir);
  }
  return removed;
}

/** A directory this young may be one whose pilot has not bound its sockets yet. */
const youngMs = 30_000;

/** @throws SubletError FAILED_PRECONDITION when something else has that name, or a pilot lives there. */
export async function makeRunDir(dir: string, uid: number): Promise<void> {
  const taken = (why: string): SubletError => new SubletError("FAILED_PRECONDITION", `${dir}: ${why}`);
  if (lstatSync(dir, { throwIfNoEntry: false }) !== undefined) {
    if (!isOwn(dir, uid)) throw taken(`is there already, and not a directory of uid ${uid}`);
    if (await isServed(join(dir, "agent.sock"))) throw taken("another pilot of this job serves it");
    rmSync(dir, { recursive: true });
  }
  await removeLeftovers(dirname(dir), uid);
  mkdirSync(dir, { mode: 0o700 });
  mkdirSync(join(dir, "x"), { mode: 0o700 });
}

function lives(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** After the connection to the starter was closed: waits until it has ended its guests and itself, then removes all. */
export async function removeRunDir(dir: string, timeoutMs: number): Promise<void> {
  const endMs = performance.now() + timeoutMs;
  let pid = 0;
  try {
    pid = Number(readFileSync(join(dir, "starter.lock"), "utf8").trim());
  } catch {
    pid = 0; // It never came up.
  }
  while (pid > 1 && lives(pid) && performance.now() < endMs)
    await new Promise((resolve) => setTimeout(resolve, 5));
  if (basename(dir).startsWith("sublet-pilot-")) rmSync(dir, { recursive: true, force: true });
}
