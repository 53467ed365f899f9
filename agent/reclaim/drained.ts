/**
 * What an administrator's drain leaves behind, so that it outlives the agent: `drained.json` in the state directory
 * (the run directory unless configured, so that a boot forgets it). Gone with resume, and nothing else is kept.
 *
 * A disk that is full costs the memory of it, not the drain: that is in force, and its answer says that a restart would
 * forget it. A file that cannot be read counts as a drain: in doubt nothing is lent.
 */
import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { toSubletError } from "../../src/common/errors.ts";
import type { Drain } from "../reactor/state.ts";

export interface KeptDrain extends Drain {
  /** When the leases that are there must be gone; 0: they stay. */
  readonly endUnixMs: number;
}

const schema = z.strictObject({
  uid: z.int().min(0),
  why: z.string().max(1024),
  sinceUnixMs: z.int().min(0),
  endUnixMs: z.int().min(0),
});

function path(stateDir: string): string {
  return join(stateDir, "drained.json");
}

/** undefined: not drained. */
export function readDrain(stateDir: string): KeptDrain | undefined {
  try {
    return schema.parse(JSON.parse(readFileSync(path(stateDir), "utf8")));
  } catch (thrown) {
    if (thrown instanceof Error && "code" in thrown && thrown.code === "ENOENT") return undefined;
    return { uid: 0, why: `${path(stateDir)} cannot be read`, sinceUnixMs: 0, endUnixMs: 0 };
  }
}

/** Why it could not be kept; undefined: it is. */
export function keepDrain(stateDir: string, drain: KeptDrain): string | undefined {
  const fresh = `${path(stateDir)}.new`;
  try {
    writeFileSync(fresh, `${JSON.stringify(drain)}\n`, { mode: 0o644, flush: true });
    renameSync(fresh, path(stateDir));
    return undefined;
  } catch (thrown) {
    rmSync(fresh, { force: true });
    return toSubletError(thrown).message;
  }
}

/** Why it is still there; undefined: it is gone. */
export function forgetDrain(stateDir: string): string | undefined {
  try {
    rmSync(path(stateDir), { force: true });
    return undefined;
  } catch (thrown) {
    return toSubletError(thrown).message;
  }
}

/** For people. */
export function drainText(drain: Drain | undefined): string {
  if (drain === undefined) return "no";
  return `by uid ${drain.uid} since ${new Date(drain.sinceUnixMs).toISOString()}: ${drain.why || "no reason given"}`;
}
