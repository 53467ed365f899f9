/**
 * Batch jobs as Slurm's cgroups show them (roots.ts: where they are). The cores of a job are those of its cpuset
 * (effective), never the abstract numbers of `scontrol`. A directory may outlive its job: one without any process is
 * stale once it is not new. A job may have two directories, when Slurm's configuration changed between two of its steps.
 */
import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { parseCpuList } from "../../src/common/cpulist.ts";
import type { JobRoots } from "./roots.ts";
import { isSluid, isStandIn, stepdDirs } from "./sluid.ts";

export interface SeenJob {
  readonly jobId: number;
  /** undefined: a directory exists, but no cores are set in it (yet). */
  readonly cores: readonly number[] | undefined;
  readonly memoryLimitBytes: number | undefined;
  readonly memoryUsedBytes: number;
}

/** Depth of nesting that is looked at, and entries per directory: bounds, not expectations. */
const maxDepth = 6;
const maxEntries = 4096;

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

export interface JobDirs {
  /** By job; of more than one, the first speaks for pressure and use. */
  readonly jobs: ReadonlyMap<number, readonly string[]>;
  /** Every directory that must be watched to see new jobs, and the number of those that are here. */
  readonly watch: readonly string[];
}

/** Directories of jobs below these roots. */
export function jobDirs({ sluids }: Pick<JobRoots, "sluids">, roots: readonly string[]): JobDirs {
  const jobs = new Map<number, string[]>();
  const watch = [...roots];
  const add = (dir: string, jobId: number): void => {
    jobs.set(jobId, [...(jobs.get(jobId) ?? []), dir]);
  };
  const visit = (root: string, name: string): void => {
    const dir = join(root, name);
    const jobId = isSluid(name) ? sluids.jobIdOf(dir, name) : jobIdOf(name);
    if (jobId === undefined) return;
    add(dir, jobId);
    if (isStandIn(jobId)) watch.push(...stepdDirs(dir));
  };
  for (const root of roots)
    for (const name of entries(root)) {
      if (!/^uid_\d{1,10}$/.test(name)) visit(root, name);
      else {
        watch.push(join(root, name));
        for (const inner of entries(join(root, name))) visit(join(root, name), inner);
      }
    }
  return { jobs, watch };
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

function coresIn(dir: string): readonly number[] | undefined {
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

/** Those of all its directories; unknown when one has none. */
function coresOf(dirs: readonly string[]): readonly number[] | undefined {
  const cores = new Set<number>();
  for (const dir of dirs) {
    const part = coresIn(dir);
    if (part === undefined) return undefined;
    for (const core of part) cores.add(core);
  }
  return cores.size === 0 ? undefined : [...cores].sort((a, b) => a - b);
}

/** Limits beyond this are the kernel's way to say "none". */
const unlimitedBytes = 2 ** 60;

/** Sums over its directories; no limit when one has none. */
function memoryOf(dirs: readonly string[]): { limit: number | undefined; used: number } {
  let limit = dirs.length === 0 ? Number.NaN : 0;
  let used = 0;
  for (const dir of dirs) {
    limit += Number(firstText(dir, ["memory.limit_in_bytes", "memory.max"]) || "NaN");
    const here = Number(firstText(dir, ["memory.usage_in_bytes", "memory.current"]) || "0");
    used += Number.isFinite(here) ? here : 0;
  }
  return { limit: limit < unlimitedBytes ? limit : undefined, used };
}

export interface Scan {
  readonly jobs: SeenJob[];
  /** All whose directory is there, stale ones too. */
  readonly onDisk: ReadonlySet<number>;
  readonly watch: readonly string[];
}

/**
 * All jobs on this node now. `stale` says of a job without processes whether it does not count (it ended, or it is
 * old); a new one has no processes yet and counts. A nameless one counts from its first process or core on: until then
 * its slurmstepd is on its way.
 */
export function scanJobs(roots: JobRoots, stale: (jobId: number) => boolean): Scan {
  const all = jobDirs(roots, roots.all);
  const cpuset = jobDirs(roots, roots.cpuset).jobs;
  const memory = jobDirs(roots, roots.memory).jobs;
  const jobs: SeenJob[] = [];
  const watch = [...all.watch];
  const names = new Set<string>();
  for (const jobId of [...all.jobs.keys()].sort((a, b) => a - b)) {
    const dirs = all.jobs.get(jobId) ?? [];
    watch.push(...dirs);
    for (const dir of dirs) names.add(basename(dir));
    const cores = coresOf(cpuset.get(jobId) ?? []);
    const waits = stale(jobId) || (isStandIn(jobId) && cores === undefined);
    if (waits && !dirs.some((dir) => hasProcess(dir))) continue;
    const { limit, used } = memoryOf(memory.get(jobId) ?? []);
    jobs.push({ jobId, cores, memoryLimitBytes: limit, memoryUsedBytes: used });
  }
  roots.sluids.keep(names);
  return { jobs, onDisk: new Set(all.jobs.keys()), watch: [...new Set(watch)] };
}
