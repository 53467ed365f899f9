/**
 * Cgroup directories that Slurm (`slurm_nK`, v2: `nK_slurmstepd.scope`) and the agents (`sublet_nK`) made for the testbed's nodes,
 * in whatever hierarchies are mounted. Found by the exact names of a testbed's nodes; a production Slurm's `slurm` is not touched.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { listDir, readOr } from "./namespaces.ts";

const ours = /^(slurm|sublet)_n\d{1,3}$|^n\d{1,3}_slurmstepd\.scope$/;

/** Mount points of all cgroup hierarchies. */
export function cgroupMounts(): { path: string; v2: boolean; controllers: string[] }[] {
  return readFileSync("/proc/self/mounts", "utf8")
    .split("\n")
    .map((line) => line.split(" "))
    .filter(([, , type]) => type === "cgroup" || type === "cgroup2")
    .map(([, path = "", type, options = ""]) => ({
      path,
      v2: type === "cgroup2",
      controllers: options.split(","),
    }));
}

/** Which of Slurm's cgroup plugins fits this machine. */
export function cgroupPlugin(): "cgroup/v1" | "cgroup/v2" {
  return cgroupMounts().some((mount) => !mount.v2 && mount.controllers.includes("cpuset"))
    ? "cgroup/v1"
    : "cgroup/v2";
}

export const runsSystemd = (): boolean => existsSync("/run/systemd/system");

/** v2: Slurm makes the directories of its jobs in system.slice, where no controller may be on when nobody asked for one. */
export function enableControllers(): void {
  if (cgroupPlugin() === "cgroup/v1") return;
  const top = cgroupMounts().find((mount) => mount.v2)?.path ?? "/sys/fs/cgroup";
  const slice = join(top, "system.slice");
  mkdirSync(slice, { recursive: true });
  for (const dir of [top, slice])
    writeFileSync(join(dir, "cgroup.subtree_control"), "+cpuset +cpu +memory +pids");
}

/** The testbed's top directories that exist now. */
export function testbedCgroups(): string[] {
  const found: string[] = [];
  for (const mount of cgroupMounts())
    for (const parent of [mount.path, join(mount.path, "system.slice")])
      for (const name of listDir(parent)) if (ours.test(name)) found.push(join(parent, name));
  return found;
}

/** `dir` and all directories below it, deepest first. */
function tree(dir: string): string[] {
  let entries: string[];
  try {
    entries = readdirSync(dir, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => entry.name);
  } catch {
    return []; // gone: somebody removed it before us, which is what is wanted
  }
  return [...entries.flatMap((name) => tree(join(dir, name))), dir];
}

/** Processes in the testbed's cgroups. */
export function processesInCgroups(): number[] {
  const pids = new Set<number>();
  for (const top of testbedCgroups())
    for (const dir of tree(top))
      for (const line of readOr(() => readFileSync(join(dir, "cgroup.procs"), "utf8")).split("\n"))
        if (line !== "" && line !== "0") pids.add(Number(line));
  return [...pids];
}

/** Removes the testbed's cgroups; returns those that are still busy. */
export function removeCgroups(): string[] {
  const busy: string[] = [];
  for (const top of testbedCgroups())
    for (const dir of tree(top)) {
      try {
        rmdirSync(dir);
      } catch (error) {
        const code = (error as NodeJS.ErrnoException).code;
        if (code === "EBUSY" || code === "ENOTEMPTY") busy.push(dir);
        else if (code !== "ENOENT") throw error;
      }
    }
  return busy;
}
