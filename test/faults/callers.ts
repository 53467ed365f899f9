/** Clients that the fault tests tell what to do, step by step (native/caller.c), and what they said. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { until } from "../../deploy/testbed/shell.ts";
import { guestPids, theBed } from "./harness.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));

/** One line that the caller printed. */
export interface Step {
  readonly step: string;
  /** sublet_status. */
  readonly code: number;
  readonly ms: number;
  readonly text: string;
  /** Where it ran; "" is the caller itself. */
  readonly node?: string;
  readonly result?: string;
  /** sublet_lease_state, of info. */
  readonly state?: number;
  readonly reason?: string;
  readonly id?: string;
}

export const ok = 0;
export const crashed = 5;
export const timedOut = 4;

let built = "";

/** Compiles the caller and its slow function into the folder of the jobs, once. */
function build(base: string): void {
  if (built === base) return;
  const source = (name: string): string => join(root, "test/faults/native", name);
  const flags = ["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", `-I${join(root, "functions/include")}`];
  mkdirSync(join(base, "bin"), { recursive: true });
  const library = [`-L${join(base, "lib")}`, "-lsublet", "-Wl,-rpath,$ORIGIN/../lib"];
  execFileSync("cc", [...flags, "-o", join(base, "bin/caller"), source("caller.c"), ...library]);
  const shared = ["-shared", "-fPIC", "-fvisibility=hidden"];
  execFileSync("cc", [...flags, ...shared, "-o", join(base, "functions/libslow.so"), source("slow.c")]);
  built = base;
}

/** Runs a caller on a node, as the job user unless another uid is named, until its last step. */
export async function call(
  node: string,
  steps: readonly string[],
  options: { readonly uid?: number; readonly timeoutMs?: number } = {},
): Promise<Step[]> {
  const { cluster, base } = theBed();
  const { uid, timeoutMs = 60_000 } = options;
  build(base);
  const argv = [join(base, "bin/caller"), join(base, "functions"), ...steps];
  const as = uid === undefined ? [] : ["setpriv", `--reuid=${uid}`, `--regid=${uid}`, "--clear-groups", "--"];
  const run = await cluster.runOnNode(node, [...as, ...argv], {
    user: uid === undefined ? "job" : "root",
    timeoutMs,
  });
  assert.equal(run.exitCode, 0, run.stderr);
  return run.stdout
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Step);
}

/** The only step of that name. */
export function stepOf(steps: readonly Step[], name: string): Step {
  const found = steps.filter((each) => each.step === name);
  assert.equal(found.length, 1, JSON.stringify(steps));
  return found[0] as Step;
}

/** CPU time of a process in clock ticks (10 ms); 0 when it is gone. */
function cpuTicks(pid: number): number {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    return Number(fields[11]) + Number(fields[12]);
  } catch {
    return 0; // it ended between the listing and the look
  }
}

/** Waits until a guest of the node is in the middle of a call that computes. */
export async function computing(node: string): Promise<void> {
  await until(`a guest of ${node} computes`, 20_000, () =>
    guestPids(node).some((pid) => cpuTicks(pid) > 20) ? true : undefined,
  );
}
