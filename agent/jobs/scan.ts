/**
 * Batch jobs as Slurm's cgroups show them. Layouts: v1 `<controller>/<slurm>/uid_U/job_J`, v2
 * `<mount>/[system.slice/]<slurm>/job_J`. The cores of a job are those of its cpuset (effective), never the abstract
 * numbers of `scontrol`. A directory may outlive its job: one without any process is stale once it is not new.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseCpuList } from "../../src/common/cpulist.ts";
import type { CgroupLayout } from "../cgroup/layout.ts";

export interface SeenJob {
  readonly jobId: number;
  /** undefined: a directory exists, but no cores are set in it (yet). */
  readonly cores: readonly number[] | undefined;
  readonly memoryLimitBytes: number | undefined;
  readonly memoryUsedBytes: number;
}

/** Where to look: directories of Slurm's own root per purpose. They need not exist yet. */
export interface JobRoots {
  readonly version: 1 | 2;
  readonly cpuset: string;
  readonly memory: string;
  /** All roots in which a job's directory tells that the job is here, without repeats. */
  readonly all: readonly string[];
}

/** Depth of nesting that is looked at, and entries per directory: bounds, not expectations. */
const maxDepth = 6;
const maxEntries = 4096;

/** `slurm` is the configured name ("slurm_n1"); with v2 the first of the known places that exists. */
export function jobRoots(layout: CgroupLayout, slurm: string, exists: (path: string) => boolean): JobRoots {
  const at = (controller: "cpuset" | "memory" | "freezer"): string | undefined => {
    const mount = layout.mounts.get(controller);
    if (mount === undefined) return undefined;
    if (layout.version === 1) return join(mount, slurm);
    const places = [join(mount, "system.slice", slurm), join(mount, slurm)];
    return places.find(exists) ?? places[0];
  };
  const cpuset = at("cpuset") ?? "";
  const memory = at("memory") ?? "";
  const all = [cpuset, memory, at("freezer")].filter((path) => path !== undefined);
  return { version: layout.version, cpuset, memory, all: [...new Set(all)] };
}

function entries(dir: string): string[] {
  try {
    return readdirSync(dir, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .slice(0, maxEntries)
      .map((entry) => entry.name);
  } catch {
    return []; // Not there (any more): holds no jobs.
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    return ""; // Gone between listing and reading, or a kernel without it.
  }
}

export function jobIdOf(name: string): number | undefined {
  const match = /^job_(\d{1,10})$/.exec(name);
  return match === null ? undefined : Number(match[1]);
}

/** Directories of jobs below one root, by job; and every directory that must be watched to see new ones. */
export function jobDirs(root: string): { jobs: Map<number, string>; parents: string[] } {
  const jobs = new Map<number, string>();
  const parents = [root];
  for (const name of entries(root)) {
    const id = jobIdOf(name);
    if (id !== undefined) jobs.set(id, join(root, name));
    else if (/^uid_\d{1,10}$/.test(name)) {
      parents.push(join(root, name));
      for (const inner of entries(join(root, name))) {
        const innerId = jobIdOf(inner);
        if (innerId !== undefined) jobs.set(innerId, join(root, name, inner));
      }
    }
  }
  return { jobs, parents };
}

/** True when a process is in the directory or below. */
export function hasProcess(dir: string, depth = 0): boolean {
  if (read(join(dir, "cgroup.procs")) !== "") return true;
  if (depth >= maxDepth) return true; // Too deep to tell: in doubt somebody is there.
  return entries(dir).some((name) => hasProcess(join(dir, name), depth + 1));
}

function firstText(dir: string, files: readonly string[]): string {
  for (const file of files) {
    const text = read(join(dir, file));
    if (text !== "") return text;
  }
  return "";
}

function coresOf(dir: string | undefined): readonly number[] | undefined {
  if (dir === undefined) return undefined;
  // Before its cpuset is written, a v1 job has no cores; the effective ones are then not its own.
  const text =
    firstText(dir, ["cpuset.cpus"]) &&
    firstText(dir, ["cpuset.effective_cpus", "cpuset.cpus.effective", "cpuset.cpus"]);
  try {
    const cores = parseCpuList(text);
    return cores.length === 0 ? undefined : cores;
  } catch {
    return undefined; // Unreadable counts as unknown, and unknown lends nothing.
  }
}

/** Limits beyond this are the kernel's way to say "none". */
const unlimitedBytes = 2 ** 60;

function memoryOf(dir: string | undefined): { limit: number | undefined; used: number } {
  if (dir === undefined) return { limit: undefined, used: 0 };
  const limit = Number(firstText(dir, ["memory.limit_in_bytes", "memory.max"]) || "NaN");
  const used = Number(firstText(dir, ["memory.usage_in_bytes", "memory.current"]) || "0");
  return { limit: limit < unlimitedBytes ? limit : undefined, used: Number.isFinite(used) ? used : 0 };
}

/**
 * All jobs on this node now. `known` says of a job without processes whether it counts as stale (it ended, or it is
 * old); a new one has no processes yet and counts.
 */
export function scanJobs(
  roots: JobRoots,
  stale: (jobId: number) => boolean,
): { jobs: SeenJob[]; watch: string[] } {
  const found = roots.all.map((root) => ({ root, ...jobDirs(root) }));
  const in_ = (root: string): Map<number, string> =>
    found.find((each) => each.root === root)?.jobs ?? new Map();
  const ids = new Set(found.flatMap((each) => [...each.jobs.keys()]));
  const jobs: SeenJob[] = [];
  const watch = found.flatMap((each) => each.parents);
  for (const jobId of [...ids].sort((a, b) => a - b)) {
    const dirs = found.flatMap((each) => each.jobs.get(jobId) ?? []);
    watch.push(...dirs);
    if (stale(jobId) && !dirs.some((dir) => hasProcess(dir))) continue;
    const memory = memoryOf(in_(roots.memory).get(jobId));
    jobs.push({
      jobId,
      cores: coresOf(in_(roots.cpuset).get(jobId)),
      memoryLimitBytes: memory.limit,
      memoryUsedBytes: memory.used,
    });
  }
  return { jobs, watch: [...new Set(watch)] };
}
