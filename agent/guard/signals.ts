/**
 * Reads the signals: plain files of the kernel, no forks, and only those that this machine has (probed once per kind, told
 * in the findings). What a signal cannot be read for gives no reading, and nothing is decided by it.
 *
 * A rate wants two looks: a job and a guest count from the second one on.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type GuestTree, guestDirs } from "../cgroup/guests.ts";
import type { JobRoots } from "../jobs/roots.ts";
import { jobDirs } from "../jobs/scan.ts";
import type { Reading } from "./decide.ts";
import { type CounterReader, type CounterSignal, counterSignals, JobCounters } from "./job-counters.ts";
import type { GuardPolicy } from "./policy.ts";
import { bandwidthBytes } from "./resctrl.ts";
import { type SignalKind, type SignalName, signalNames, signalTable } from "./table.ts";
import { TaskMeter, tasksBelow } from "./tasks.ts";
import { type Growth, Window } from "./window.ts";

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
  readonly resctrl?: string;
  /** Counters of a job's cgroup on these cores, in place of the kernel's. */
  readonly openCounters?: (dir: string, cores: readonly number[]) => CounterReader;
}

/** A guest that ran less than this part of one core is no cause of a CPU signal. */
const activeShare = 0.005;
/** A job that ran and waited less than this part of one core tells nothing about delays. */
const speakingShare = 0.01;
const bytesPerMib = 1024 * 1024;

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
  readonly #meters = new Map<string, TaskMeter>();
  readonly #windows = new Map<string, Window>();
  /** Keys of meters and windows that this look used. */
  #used = new Set<string>();
  #nowMs = 0;
  #windowMs = 0;
  readonly #resctrl: string;
  readonly #counters: JobCounters;
  #told: string | undefined;
  readonly found: Record<SignalName, boolean>;

  constructor(where: SignalRoots) {
    this.#where = where;
    this.#resctrl = where.resctrl ?? "/sys/fs/resctrl";
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
    this.found.node_bandwidth = bandwidthBytes(this.#resctrl) !== undefined;
    const { openCounters: open } = where;
    this.#counters = new JobCounters({
      version,
      resctrl: this.#resctrl,
      prefix: where.tree.root.replaceAll("/", "_"),
      ...(open === undefined ? {} : { open }),
    });
    for (const name of counterSignals) this.found[name] = this.#counters.why(name) === undefined;
  }

  /** Why signals of the hardware that the policy asks for cannot be read; undefined: all can, or it was said before. */
  lacking(policy: GuardPolicy): string | undefined {
    const lacks = counterSignals.filter((name) => policy.signals[name].use && !this.found[name]);
    const text = lacks.map((name) => `${name}: ${this.#counters.why(name)}`).join("; ");
    if (text === this.#told || text === "") return undefined;
    this.#told = text;
    return text;
  }

  /** For the findings: what the hardware's counters are to this agent. */
  get counters(): string {
    const why = (name: CounterSignal): string => this.#counters.why(name) ?? "yes";
    return `cycles and cache misses: ${why("job_cpi")}; bandwidth of jobs: ${why("job_bandwidth")}`;
  }

  /** Jobs have no guests beside them: what the hardware counts of them now is their normal. Call with the agent's slow tick. */
  alone(policy: GuardPolicy, jobs: readonly SampledJob[], nowMs: number): void {
    this.#count(policy, { jobs, guests: [], nowMs }, true);
  }

  #count(policy: GuardPolicy, { jobs, nowMs }: Scene, alone: boolean): ReturnType<JobCounters["look"]> {
    const uses = (name: CounterSignal): boolean => policy.signals[name].use && this.found[name];
    const dirs = counterSignals.some(uses)
      ? jobDirs(this.#where.roots, this.#where.roots.tasks).jobs
      : undefined;
    const watched = jobs.map(({ jobId, cores }) => ({
      jobId,
      dir: dirs?.get(jobId)?.[0],
      cores: cores ?? this.#where.siblings.flat(),
    }));
    const found = this.#counters.look(uses, watched, alone, nowMs, policy.escalateMs);
    for (const name of counterSignals) this.found[name] = this.#counters.why(name) === undefined;
    return found;
  }

  close(): void {
    this.#counters.close();
  }

  /** All readings of now. Call at most one policy's interval apart, and again soon after guests and jobs met. */
  sample(policy: GuardPolicy, scene: Scene): Reading[] {
    const used = (name: SignalName): boolean => policy.signals[name].use && this.found[name];
    this.#used = new Set();
    this.#nowMs = scene.nowMs;
    this.#windowMs = policy.escalateMs;
    const { active, unknown } = this.#activeGuests(scene);
    const readings: Reading[] = [];
    const add = (signal: SignalName, job: SampledJob | undefined, value: number | undefined): void => {
      if (value === undefined) return;
      const leaseIds = this.#suspects(signalTable[signal].kind, job, scene, active);
      readings.push({ signal, jobId: job?.jobId, value, leaseIds });
    };
    const counted = this.#count(policy, scene, active.size === 0 && !unknown);
    for (const job of scene.jobs)
      for (const name of counterSignals) add(name, job, counted.get(job.jobId)?.[name]);
    const cpuDirs = jobDirs(this.#where.roots, this.#where.roots.tasks).jobs;
    const memoryDirs = jobDirs(this.#where.roots, this.#where.roots.memory).jobs;
    for (const job of scene.jobs) {
      const dir = cpuDirs.get(job.jobId)?.[0];
      const memory = memoryDirs.get(job.jobId)?.[0];
      if (dir !== undefined && used("job_run_delay")) add("job_run_delay", job, this.#runDelay(job, dir));
      if (dir !== undefined && used("job_cpu_pressure"))
        add("job_cpu_pressure", job, this.#pressure(join(dir, "cpu.pressure")));
      if (dir !== undefined && used("job_throttled"))
        add("job_throttled", job, this.#throttled(join(dir, "cpu.stat")));
      if (memory !== undefined && used("job_memory_pressure"))
        add("job_memory_pressure", job, this.#pressure(join(memory, "memory.pressure")));
      if (memory !== undefined && used("job_refaults"))
        add("job_refaults", job, this.#refaults(join(memory, "memory.stat")));
    }
    const proc = this.#where.proc ?? "/proc";
    if (used("node_memory_pressure"))
      add("node_memory_pressure", undefined, this.#pressure(join(proc, "pressure", "memory")));
    if (used("node_memory_headroom"))
      add("node_memory_headroom", undefined, this.#where.availableBytes() / bytesPerMib);
    if (used("node_bandwidth")) {
      const rate = this.#rate("resctrl", bandwidthBytes(this.#resctrl));
      add("node_bandwidth", undefined, rate === undefined ? undefined : rate / bytesPerMib);
    }
    this.#forget();
    return readings;
  }

  /** Rates begin anew: what was counted before a pause says nothing about now. */
  reset(): void {
    this.#windows.clear();
    this.#meters.clear();
  }

  #forget(): void {
    for (const map of [this.#meters, this.#windows])
      for (const key of map.keys()) if (!this.#used.has(key)) map.delete(key);
  }

  /** Growth of counters of one thing over the window; undefined at the first look. */
  #growth(key: string, values: readonly number[]): Growth | undefined {
    const window = this.#windows.get(key) ?? new Window();
    this.#windows.set(key, window);
    this.#used.add(key);
    return window.add(this.#nowMs, this.#windowMs, values);
  }

  /** What the tasks of a cgroup did over the window, in ns. */
  #tasks(
    key: string,
    dir: string | undefined,
  ): { spanMs: number; runNs: number; waitNs: number } | undefined {
    const meter = this.#meters.get(key) ?? new TaskMeter(this.#where.proc);
    this.#meters.set(key, meter);
    const { runNs, waitNs } = meter.measure(dir === undefined ? [] : tasksBelow(dir));
    const growth = this.#growth(key, [runNs, waitNs]);
    return growth && { spanMs: growth.spanMs, runNs: growth.by[0] ?? 0, waitNs: growth.by[1] ?? 0 };
  }

  /** Guests that used CPU; those whose first look it is do not count yet, and are unknown. */
  #activeGuests({ guests }: Scene): { active: Set<string>; unknown: boolean } {
    let unknown = false;
    const active = new Set<string>();
    for (const { leaseId } of guests) {
      const [dir] = guestDirs(this.#where.tree, leaseId);
      const did = this.#tasks(`guest ${leaseId}`, dir);
      unknown ||= did === undefined;
      if (did !== undefined && did.runNs / 1e6 >= activeShare * did.spanMs) active.add(leaseId);
    }
    return { active, unknown };
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

  #runDelay(job: SampledJob, dir: string): number | undefined {
    const did = this.#tasks(`job ${job.jobId}`, dir);
    if (did === undefined) return undefined;
    const wanted = did.runNs + did.waitNs;
    return wanted / 1e6 < speakingShare * did.spanMs ? 0 : (100 * did.waitNs) / wanted;
  }

  /** Per second; undefined at the first look, or without the counter. */
  #rate(key: string, value: number | undefined): number | undefined {
    const growth = value === undefined ? undefined : this.#growth(key, [value]);
    return growth && (1000 * (growth.by[0] ?? 0)) / growth.spanMs;
  }

  /** µs per second as percent. */
  #percent(key: string, us: number | undefined): number | undefined {
    const rate = this.#rate(key, us);
    return rate === undefined ? undefined : Math.min(100, rate / 1e4);
  }

  #pressure(path: string): number | undefined {
    return this.#percent(path, pressureUs(text(path)));
  }

  #throttled(path: string): number | undefined {
    return this.#percent(path, fieldSum(text(path), ["throttled_usec"]));
  }

  #refaults(path: string): number | undefined {
    return this.#rate(path, fieldSum(text(path), refaultKeys[this.#where.tree.layout.version]));
  }
}

/** For the findings: what this machine has, and what it lacks. */
export function foundSignals({ found }: Signals): string {
  const named = (wanted: boolean): string =>
    signalNames.filter((name) => found[name] === wanted).join(",") || "none";
  return `${named(true)}; not here: ${named(false)}`;
}
