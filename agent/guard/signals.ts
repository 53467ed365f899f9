/**
 * Reads the signals: plain files of the kernel, no forks, and only those that this machine has (probed once per kind, told
 * in the findings). What a signal cannot be read for gives no reading, and nothing is decided by it.
 *
 * A rate wants two looks: a job and a guest count from the second one on.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type GuestTree, guestDirs } from "../cgroup/guests.ts";
import { type JobRoots, jobDirs } from "../jobs/scan.ts";
import type { Reading } from "./decide.ts";
import type { GuardPolicy } from "./policy.ts";
import { type SignalKind, type SignalName, signalNames, signalTable } from "./table.ts";
import { TaskMeter, tasksBelow } from "./tasks.ts";

export interface SampledJob {
  readonly jobId: number;
  readonly cores: readonly number[] | undefined;
}

export interface SampledGuest {
  readonly leaseId: string;
  readonly cores: readonly number[];
  /** It is throttled or frozen: it stays a suspect though it does not run. */
  readonly held: boolean;
}

export interface Scene {
  readonly jobs: readonly SampledJob[];
  readonly guests: readonly SampledGuest[];
  readonly nowMs: number;
}

export interface SignalRoots {
  readonly tree: GuestTree;
  readonly roots: JobRoots;
  /** Groups of hardware threads that share a core. */
  readonly siblings: readonly (readonly number[])[];
  readonly availableBytes: () => number;
  readonly proc?: string;
}

/** A guest that ran less than this part of one core is no cause of a CPU signal. */
const activeShare = 0.005;
/** A job that ran and waited less than this part of one core tells nothing about delays. */
const speakingShare = 0.01;
const pageMib = 1024 * 1024;

function text(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined; // Gone, or a kernel without it.
  }
}

/** Total of the line `some` of a pressure file, in µs. */
export function pressureUs(content: string | undefined): number | undefined {
  const total = /^some .*total=(\d+)/m.exec(content ?? "")?.[1];
  return total === undefined ? undefined : Number(total);
}

/** Sum of the named fields of a file of `key value` lines; undefined when it has none of them. */
export function fieldSum(content: string | undefined, keys: readonly string[]): number | undefined {
  let sum: number | undefined;
  for (const line of (content ?? "").split("\n")) {
    const [key, value] = line.split(" ");
    if (key !== undefined && keys.includes(key)) sum = (sum ?? 0) + Number(value);
  }
  return sum;
}

/** With the v1 hierarchy the sums over the job's steps carry another name. */
const refaultKeys = {
  1: ["total_workingset_refault_anon", "total_workingset_refault_file"],
  2: ["workingset_refault_anon", "workingset_refault_file"],
} as const;

export class Signals {
  readonly #where: SignalRoots;
  readonly #jobs = new Map<number, TaskMeter>();
  readonly #guests = new Map<string, TaskMeter>();
  /** Counters as last seen, by what they are of, with the time. */
  #counters = new Map<string, { value: number; atMs: number }>();
  #next = new Map<string, { value: number; atMs: number }>();
  #lastMs: number | undefined;
  readonly found: Record<SignalName, boolean>;

  constructor(where: SignalRoots) {
    this.#where = where;
    const { version, mounts } = where.tree.layout;
    const proc = where.proc ?? "/proc";
    this.found = Object.fromEntries(signalNames.map((name) => [name, false])) as Record<SignalName, boolean>;
    this.found.job_run_delay = existsSync(join(proc, "self", "schedstat"));
    const perGroup =
      version === 2 && existsSync(join(mounts.get("memory") ?? "", where.tree.root, "memory.pressure"));
    this.found.job_cpu_pressure = perGroup;
    this.found.job_memory_pressure = perGroup;
    this.found.job_throttled = version === 2;
    this.found.job_refaults =
      fieldSum(
        text(join(mounts.get("memory") ?? "", where.tree.root, "memory.stat")),
        refaultKeys[version],
      ) !== undefined;
    this.found.node_memory_pressure = existsSync(join(proc, "pressure", "memory"));
    this.found.node_memory_headroom = true;
  }

  /** All readings of now. Call at most one policy's interval apart, and again soon after guests and jobs met. */
  sample(policy: GuardPolicy, scene: Scene): Reading[] {
    const used = (name: SignalName): boolean => policy.signals[name].use && this.found[name];
    this.#next = new Map();
    const spanMs = this.#lastMs === undefined ? undefined : Math.max(1, scene.nowMs - this.#lastMs);
    this.#lastMs = scene.nowMs;
    const active = this.#activeGuests(scene, spanMs);
    const readings: Reading[] = [];
    const add = (signal: SignalName, job: SampledJob | undefined, value: number | undefined): void => {
      if (value === undefined) return;
      const leaseIds = this.#suspects(signalTable[signal].kind, job, scene, active);
      readings.push({ signal, jobId: job?.jobId, value, leaseIds });
    };
    const cpuDirs = jobDirs(this.#where.roots.all.at(-1) ?? "").jobs;
    const memoryDirs = jobDirs(this.#where.roots.memory).jobs;
    for (const job of scene.jobs) {
      const dir = cpuDirs.get(job.jobId);
      const memory = memoryDirs.get(job.jobId);
      if (dir !== undefined && used("job_run_delay"))
        add("job_run_delay", job, this.#runDelay(job, dir, spanMs));
      if (dir !== undefined && used("job_cpu_pressure"))
        add("job_cpu_pressure", job, this.#pressure(join(dir, "cpu.pressure"), scene.nowMs));
      if (dir !== undefined && used("job_throttled"))
        add("job_throttled", job, this.#throttled(join(dir, "cpu.stat"), scene.nowMs));
      if (memory !== undefined && used("job_memory_pressure"))
        add("job_memory_pressure", job, this.#pressure(join(memory, "memory.pressure"), scene.nowMs));
      if (memory !== undefined && used("job_refaults"))
        add("job_refaults", job, this.#refaults(join(memory, "memory.stat"), scene.nowMs));
    }
    const proc = this.#where.proc ?? "/proc";
    if (used("node_memory_pressure"))
      add("node_memory_pressure", undefined, this.#pressure(join(proc, "pressure", "memory"), scene.nowMs));
    if (used("node_memory_headroom"))
      add("node_memory_headroom", undefined, this.#where.availableBytes() / pageMib);
    this.#counters = this.#next;
    this.#forget(scene);
    return readings;
  }

  /** Rates begin anew: what was counted before a pause says nothing about now. */
  reset(): void {
    this.#counters.clear();
    this.#jobs.clear();
    this.#guests.clear();
    this.#lastMs = undefined;
  }

  #forget(scene: Scene): void {
    const jobs = new Set(scene.jobs.map((job) => job.jobId));
    const guests = new Set(scene.guests.map((guest) => guest.leaseId));
    for (const id of this.#jobs.keys()) if (!jobs.has(id)) this.#jobs.delete(id);
    for (const id of this.#guests.keys()) if (!guests.has(id)) this.#guests.delete(id);
  }

  #meter<K>(meters: Map<K, TaskMeter>, key: K): TaskMeter {
    const known = meters.get(key) ?? new TaskMeter(this.#where.proc);
    meters.set(key, known);
    return known;
  }

  /** Guests that used CPU since the last look; those whose first look it is do not count yet. */
  #activeGuests({ guests }: Scene, spanMs: number | undefined): Set<string> {
    const active = new Set<string>();
    for (const { leaseId } of guests) {
      const [dir] = guestDirs(this.#where.tree, leaseId);
      const { runNs } = this.#meter(this.#guests, leaseId).measure(dir === undefined ? [] : tasksBelow(dir));
      if (spanMs !== undefined && runNs / 1e6 >= activeShare * spanMs) active.add(leaseId);
    }
    return active;
  }

  #suspects(
    kind: SignalKind,
    job: SampledJob | undefined,
    { guests }: Scene,
    active: ReadonlySet<string>,
  ): string[] {
    const wide = this.#coresNear(job?.cores);
    return guests
      .filter(({ leaseId, held, cores }) => {
        if (kind === "memory") return true;
        if (!held && !active.has(leaseId)) return false;
        return kind === "bus" || wide === undefined || cores.some((core) => wide.has(core));
      })
      .map(({ leaseId }) => leaseId);
  }

  /** The cores of a job and their siblings; undefined: it may run anywhere. */
  #coresNear(cores: readonly number[] | undefined): Set<number> | undefined {
    if (cores === undefined) return undefined;
    const near = new Set(cores);
    for (const group of this.#where.siblings)
      if (group.some((core) => near.has(core))) for (const core of group) near.add(core);
    return near;
  }

  #runDelay(job: SampledJob, dir: string, spanMs: number | undefined): number | undefined {
    const { runNs, waitNs } = this.#meter(this.#jobs, job.jobId).measure(tasksBelow(dir));
    if (spanMs === undefined) return undefined;
    const wanted = runNs + waitNs;
    return wanted / 1e6 < speakingShare * spanMs ? 0 : (100 * waitNs) / wanted;
  }

  /** Growth of a counter since the last look, per second; undefined at the first one. */
  #rate(key: string, value: number | undefined, nowMs: number): number | undefined {
    if (value === undefined) return undefined;
    this.#next.set(key, { value, atMs: nowMs });
    const last = this.#counters.get(key);
    return last === undefined || nowMs <= last.atMs
      ? undefined
      : (1000 * Math.max(0, value - last.value)) / (nowMs - last.atMs);
  }

  /** µs per second as percent. */
  #pressure(path: string, nowMs: number): number | undefined {
    const rate = this.#rate(path, pressureUs(text(path)), nowMs);
    return rate === undefined ? undefined : Math.min(100, rate / 1e4);
  }

  #throttled(path: string, nowMs: number): number | undefined {
    const rate = this.#rate(path, fieldSum(text(path), ["throttled_usec"]), nowMs);
    return rate === undefined ? undefined : Math.min(100, rate / 1e4);
  }

  #refaults(path: string, nowMs: number): number | undefined {
    const { version } = this.#where.tree.layout;
    return this.#rate(path, fieldSum(text(path), refaultKeys[version]), nowMs);
  }
}

/** For the findings: what this machine has, and what it lacks. */
export function foundSignals({ found }: Signals): string {
  const named = (wanted: boolean): string =>
    signalNames.filter((name) => found[name] === wanted).join(",") || "none";
  return `${named(true)}; not here: ${named(false)}`;
}
