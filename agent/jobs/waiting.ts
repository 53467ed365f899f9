/**
 * How long batch jobs wait, as the kernel tells it of each: by the pressure of its cgroup (PSI, some), for cores and for memory,
 * where there is one (v2); else by its tasks' time on run queues (schedstat), which says nothing of memory. A node's own
 * pressure stands for neither: guests that wait as they should are in it.
 *
 * A job's waiting is a part of its time: that in which some task waited, or what its tasks waited per core, at most all of it.
 * In the node's sums each job counts by its cores: core-time that was watched, and what of it was waited. Totals are read with
 * the agent's slow tick, and when guests come beside a job or leave it; what is not between two readings was not watched.
 *
 * Tasks cost a read each, so that at most looksPerTick jobs are read by them between two ticks, who waited longest for it first,
 * and of each at most as many as tasks.ts allows.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pressureUs } from "../guard/signals.ts";
import { someTasks, TaskMeter } from "../guard/tasks.ts";
import type { PressureTotals } from "../receipts/book.ts";
import type { JobRoots } from "./roots.ts";
import { jobDirs } from "./scan.ts";

const looksPerTick = 16;
/** Before a job's tasks, or the jobs' directories, are looked at again. */
const tasksGapMs = 1_000;
const scanGapMs = 100;

/** Core-time of jobs, in ms. */
export interface Waited {
  readonly coreMs: number;
  readonly waitedMs: number;
}

export interface WaitingSums {
  /** Time in which some job was watched. */
  readonly watchedMs: number;
  readonly cpu: Waited;
  /** Zeros where the kernel tells of no job's memory. */
  readonly memory: Waited;
}

export interface WaitingOptions {
  readonly roots: JobRoots;
  readonly nowMs: () => number;
  /** How many cores a job has. */
  readonly cores: (jobId: number) => number;
  readonly proc?: string;
}

interface Watched {
  readonly meter: TaskMeter;
  dir: string | undefined;
  /** When it was read last; undefined: not yet, in this life of the job. */
  readMs: number | undefined;
  psi: Waits | undefined;
  totals: PressureTotals | undefined;
}

type Waits = Pick<PressureTotals, "cpuUs" | "memoryUs" | "ioUs">;

const noWaits: Waits = { cpuUs: 0, memoryUs: 0, ioUs: 0 };

function read(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined; // The kernel has none, or the job has ended.
  }
}

function psiIn(dir: string): Waits | undefined {
  const [cpuUs, memoryUs, ioUs] = ["cpu", "memory", "io"].map((what) =>
    pressureUs(read(join(dir, `${what}.pressure`))),
  );
  return cpuUs === undefined || memoryUs === undefined ? undefined : { cpuUs, memoryUs, ioUs: ioUs ?? 0 };
}

const plus = ({ coreMs, waitedMs }: Waited, moreCoreMs: number, share: number): Waited => ({
  coreMs: coreMs + moreCoreMs,
  waitedMs: waitedMs + moreCoreMs * share,
});

export class JobWaiting {
  readonly #options: WaitingOptions;
  /** The kernel counts what tasks wait. */
  readonly #tasksTell: boolean;
  readonly #jobs = new Map<number, Watched>();
  #dirs: { readonly atMs: number; readonly jobs: ReadonlyMap<number, readonly string[]> } | undefined;
  #looksLeft = looksPerTick;
  #watchedToMs = Number.NEGATIVE_INFINITY;
  #sums: WaitingSums = {
    watchedMs: 0,
    cpu: { coreMs: 0, waitedMs: 0 },
    memory: { coreMs: 0, waitedMs: 0 },
  };

  constructor(options: WaitingOptions) {
    this.#options = options;
    // A kernel that does not count says "0 0 0".
    this.#tasksTell = /^[1-9]/.test(read(join(options.proc ?? "/proc", "self", "schedstat")) ?? "");
  }

  /** Since the agent began. */
  get sums(): WaitingSums {
    return this.#sums;
  }

  /** Reads all jobs of now, as far as their turn has come, and forgets the others. */
  tick(jobIds: readonly number[]): void {
    const here = new Set(jobIds);
    for (const jobId of this.#jobs.keys()) if (!here.has(jobId)) this.#jobs.delete(jobId);
    this.#looksLeft = looksPerTick;
    const readMs = (jobId: number): number => this.#jobs.get(jobId)?.readMs ?? 0;
    for (const jobId of [...jobIds].sort((a, b) => readMs(a) - readMs(b))) this.look(jobId);
  }

  /** How long a job has waited: now, or when its tasks were read last; undefined: not yet read, gone, or the kernel does not tell. */
  look(jobId: number): PressureTotals | undefined {
    const nowMs = this.#options.nowMs();
    const watched = this.#watch(jobId);
    watched.dir ??= this.#find(jobId, nowMs);
    if (watched.dir === undefined) return undefined;
    const { version } = this.#options.roots;
    const psi = version === 2 ? psiIn(watched.dir) : undefined;
    const known =
      psi !== undefined
        ? this.#byPressure(jobId, watched, psi, nowMs)
        : watched.psi === undefined && this.#tasksTell && this.#byTasks(jobId, watched, watched.dir, nowMs);
    if (known) return watched.totals;
    watched.dir = undefined; // Gone; or there is another one, of its next life.
    watched.readMs = undefined;
    watched.psi = undefined;
    return undefined;
  }

  #watch(jobId: number): Watched {
    const known = this.#jobs.get(jobId);
    if (known !== undefined) return known;
    const watched = {
      meter: new TaskMeter(this.#options.proc),
      dir: undefined,
      readMs: undefined,
      psi: undefined,
      totals: undefined,
    };
    this.#jobs.set(jobId, watched);
    return watched;
  }

  #find(jobId: number, nowMs: number): string | undefined {
    const { roots } = this.#options;
    if (this.#dirs === undefined || nowMs - this.#dirs.atMs >= scanGapMs)
      this.#dirs = { atMs: nowMs, jobs: jobDirs(roots, roots.tasks).jobs };
    return this.#dirs.jobs.get(jobId)?.[0];
  }

  #byPressure(jobId: number, watched: Watched, psi: Waits, nowMs: number): true {
    const { psi: before, readMs } = watched;
    watched.psi = psi;
    watched.readMs = nowMs;
    const goesOn = before !== undefined && readMs !== undefined && psi.cpuUs >= before.cpuUs;
    this.#add(jobId, watched, "job", goesOn ? nowMs - readMs : 0, {
      cpuUs: psi.cpuUs - (before?.cpuUs ?? 0),
      memoryUs: Math.max(0, psi.memoryUs - (before?.memoryUs ?? 0)),
      ioUs: Math.max(0, psi.ioUs - (before?.ioUs ?? 0)),
    });
    return true;
  }

  /** @returns false when there are no tasks. */
  #byTasks(jobId: number, watched: Watched, dir: string, nowMs: number): boolean {
    const { meter, readMs } = watched;
    if (this.#looksLeft <= 0 || (readMs !== undefined && nowMs - readMs < tasksGapMs)) return true;
    this.#looksLeft--;
    const { tasks, all } = someTasks(dir);
    if (tasks.length === 0) return false;
    const beforeNs = meter.total.waitNs;
    const waitedNs = meter.measure(tasks, all).waitNs - beforeNs;
    watched.readMs = nowMs;
    const watchedMs = readMs === undefined || meter.compared === 0 ? 0 : nowMs - readMs;
    const cpuUs = waitedNs / 1000 / this.#cores(jobId);
    this.#add(jobId, watched, "tasks", watchedMs, { ...noWaits, cpuUs: Math.min(cpuUs, 1000 * watchedMs) });
    return true;
  }

  #cores(jobId: number): number {
    return Math.max(1, this.#options.cores(jobId));
  }

  /** ms: how long these were waited for; 0: nothing was watched. */
  #add(jobId: number, watched: Watched, of: PressureTotals["of"], ms: number, waits: Waits): void {
    const so = watched.totals ?? { of, watchedMs: 0, ...noWaits };
    watched.totals = so;
    if (ms <= 0) return;
    watched.totals = {
      of,
      watchedMs: so.watchedMs + ms,
      cpuUs: so.cpuUs + waits.cpuUs,
      memoryUs: so.memoryUs + waits.memoryUs,
      ioUs: so.ioUs + waits.ioUs,
    };
    const coreMs = this.#cores(jobId) * ms;
    const share = (us: number): number => Math.min(1, us / 1000 / ms);
    const { nowMs } = this.#options;
    const toMs = nowMs();
    const { watchedMs, cpu, memory } = this.#sums;
    this.#sums = {
      watchedMs: watchedMs + Math.min(ms, Math.max(0, toMs - this.#watchedToMs)),
      cpu: plus(cpu, coreMs, share(waits.cpuUs)),
      memory: of === "job" ? plus(memory, coreMs, share(waits.memoryUs)) : memory,
    };
    this.#watchedToMs = Math.max(this.#watchedToMs, toMs);
  }
}
