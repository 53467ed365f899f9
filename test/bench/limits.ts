/**
 * Swap space and a memory cgroup for a benchmark, both with fixed names, so that whatever a run leaves behind is taken
 * away: by a guard process when the run dies (its standard input ends then), and by the next start when the guard died,
 * too. Swap space that the system had before is not touched.
 */
import { existsSync, mkdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { attempt, run } from "../../deploy/testbed/shell.ts";
import { endProgram, startProgram } from "./path/measurer.ts";

export interface Limits {
  /** Runs a command within the memory limit. */
  readonly enter: readonly string[];
  /** Whether what does not fit is swapped out; else why not. */
  readonly swaps: true | string;
  close(): Promise<void>;
}

const v1 = existsSync("/sys/fs/cgroup/memory/memory.limit_in_bytes");
const cgroup = `/sys/fs/cgroup/${v1 ? "memory/" : ""}sublet-bench-limits`;
const limitFile = join(cgroup, v1 ? "memory.limit_in_bytes" : "memory.max");

/** Ends the swap space first: what is in it moves back to its processes, which have ended by then or are ended. */
const cleanUp = `
for pid in $(cat "$2/cgroup.procs" 2>/dev/null); do kill -KILL "$pid"; done
i=0
while [ -s "$2/cgroup.procs" ] && [ "$(cat "$2/cgroup.procs")" != "" ] && [ $i -lt 100 ]; do sleep 0.05; i=$((i+1)); done
if grep -q "^$1 " /proc/swaps; then swapoff "$1"; fi
rm -f "$1"
i=0
while [ -d "$2" ] && ! rmdir "$2" 2>/dev/null && [ $i -lt 100 ]; do sleep 0.05; i=$((i+1)); done
`;

async function leftOvers(file: string): Promise<void> {
  await attempt(["sh", "-c", cleanUp, "sh", file, cgroup], { timeoutMs: 60_000 });
  if (readFileSync("/proc/swaps", "utf8").includes(file)) throw new Error(`${file} is still swap space`);
}

async function swapOn(file: string, bytes: number): Promise<true | string> {
  await run(["fallocate", "-l", `${bytes}`, file]);
  await run(["chmod", "600", file]);
  await run(["mkswap", file]);
  const { exitCode, stderr } = await attempt(["swapon", file]);
  if (exitCode === 0) return true;
  rmSync(file, { force: true });
  return stderr.trim();
}

export async function openLimits(folder: string, bytes: number, swapBytes: number): Promise<Limits> {
  const file = join(folder, "limits-swap.img");
  mkdirSync(dirname(file), { recursive: true });
  await leftOvers(file);
  const { child } = startProgram(["setsid", "sh", "-c", `read -r _; ${cleanUp}`, "sh", file, cgroup]);
  const close = async () => {
    await endProgram(child);
    await leftOvers(file);
  };
  try {
    mkdirSync(cgroup);
    writeFileSync(limitFile, `${bytes}`);
    if (Math.abs(Number(readFileSync(limitFile, "utf8")) - bytes) > 4096)
      throw new Error(`${limitFile} does not hold what was written`);
    const swaps = await swapOn(file, swapBytes);
    return { enter: ["sh", "-c", `echo $$ > ${cgroup}/cgroup.procs; exec "$@"`, "sh"], swaps, close };
  } catch (error) {
    await close();
    if (existsSync(cgroup)) rmdirSync(cgroup);
    throw error;
  }
}
