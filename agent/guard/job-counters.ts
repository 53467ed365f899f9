/**
 * What the hardware counts of each job, compared with what it counted while no guest ran: cycles per instruction, cache misses per
 * instruction, bytes to and from memory. Used only where the policy asks for it and the machine can: the readers are opened
 * per job and closed with it.
 */
import { existsSync } from "node:fs";
import { Baseline } from "./baseline.ts";
import { CgroupCounters, whyNoCounters } from "./counters.ts";
import { JobBandwidth } from "./resctrl.ts";
import { tasksBelow } from "./tasks.ts";
import { Window } from "./window.ts";

export type CounterSignal = "job_cpi" | "job_cache_misses" | "job_bandwidth";
export const counterSignals: readonly CounterSignal[] = ["job_cpi", "job_cache_misses", "job_bandwidth"];

/** Cycles, instructions, misses of the last-level cache: totals. */
export interface CounterReader {
  read(): readonly number[];
  close(): void;
}

export interface WatchedJob {
  readonly jobId: number;
  /** Its cgroup; undefined: not found. */
  readonly dir: string | undefined;
  readonly cores: readonly number[];
}

export interface CounterRoots {
  readonly version: 1 | 2;
  readonly resctrl: string;
  /** Of our monitoring groups. */
  readonly prefix: string;
  /** In place of the kernel's counters. */
  readonly open?: (dir: string, cores: readonly number[]) => CounterReader;
}

/** A job that did less per second tells nothing about cycles. */
const speakingPerSecond = 1e6;
const speakingMibPerSecond = 10;
const mib = 1024 * 1024;
/** Jobs on one node that are counted; more of them share a core's counters no better. */
const jobsMost = 16;

interface Watched {
  reader: CounterReader | undefined;
  readonly counted: Window;
  readonly moved: Window;
  readonly normal: Record<CounterSignal, Baseline>;
  learntMs: number;
}

export type CounterReadings = ReadonlyMap<number, Partial<Record<CounterSignal, number>>>;

export class JobCounters {
  readonly #open: (dir: string, cores: readonly number[]) => CounterReader;
  readonly #bandwidth: JobBandwidth;
  readonly #jobs = new Map<number, Watched>();
  /** Why there are none; undefined: there may be. */
  #why: { counters: string | undefined; bandwidth: string | undefined };

  constructor(roots: CounterRoots) {
    this.#open = roots.open ?? ((dir, cores) => new CgroupCounters(dir, cores));
    this.#bandwidth = new JobBandwidth(roots.resctrl, roots.prefix);
    this.#why = {
      counters: roots.open === undefined ? whyNoCounters(roots.version) : undefined,
      bandwidth: this.#bandwidth.why(),
    };
  }

  why(signal: CounterSignal): string | undefined {
    return signal === "job_bandwidth" ? this.#why.bandwidth : this.#why.counters;
  }

  /**
   * Percent by which each job's figures are worse than without guests. alone: no guest ran for windowMs; then this is what is
   * learnt, and all is well by definition.
   */
  look(
    uses: (signal: CounterSignal) => boolean,
    jobs: readonly WatchedJob[],
    alone: boolean,
    nowMs: number,
    windowMs: number,
  ): CounterReadings {
    const wanted = counterSignals.some(uses) ? jobs.slice(0, jobsMost) : [];
    this.#keep(new Set(wanted.map(({ jobId }) => jobId)));
    const found = new Map<number, Partial<Record<CounterSignal, number>>>();
    for (const job of wanted) {
      if (job.dir === undefined) continue;
      const watched = this.#jobs.get(job.jobId) ?? this.#watch(job.jobId, nowMs);
      const now = this.#figures(uses, job, job.dir, watched, nowMs, windowMs);
      const learns = alone && nowMs - watched.learntMs >= windowMs;
      if (learns) watched.learntMs = nowMs;
      const readings: Partial<Record<CounterSignal, number>> = {};
      for (const signal of counterSignals) {
        const value = now[signal];
        if (value === undefined) continue;
        if (learns) watched.normal[signal].learn(value);
        const worse = alone
          ? 0
          : watched.normal[signal].worsePercent(value, signal === "job_bandwidth" ? "below" : "above");
        if (worse !== undefined) readings[signal] = worse;
      }
      found.set(job.jobId, readings);
    }
    return found;
  }

  #watch(jobId: number, nowMs: number): Watched {
    const normal = {
      job_cpi: new Baseline(),
      job_cache_misses: new Baseline(),
      job_bandwidth: new Baseline(),
    };
    const watched = {
      reader: undefined,
      counted: new Window(),
      moved: new Window(),
      normal,
      learntMs: nowMs,
    };
    this.#jobs.set(jobId, watched);
    return watched;
  }

  #figures(
    uses: (signal: CounterSignal) => boolean,
    { jobId, cores }: WatchedJob,
    dir: string,
    watched: Watched,
    nowMs: number,
    windowMs: number,
  ): Partial<Record<CounterSignal, number>> {
    const figures: Partial<Record<CounterSignal, number>> = {};
    if (this.#why.counters === undefined && (uses("job_cpi") || uses("job_cache_misses"))) {
      const growth = watched.counted.add(nowMs, windowMs, this.#count(watched, dir, cores));
      const [cycles = 0, instructions = 0, misses = 0] = growth?.by ?? [];
      if (growth !== undefined && 1000 * instructions > speakingPerSecond * growth.spanMs) {
        if (uses("job_cpi")) figures.job_cpi = cycles / instructions;
        if (uses("job_cache_misses")) figures.job_cache_misses = (1000 * misses) / instructions;
      }
    }
    if (this.#why.bandwidth === undefined && uses("job_bandwidth")) {
      const bytes = this.#bandwidth.read(jobId, tasksBelow(dir));
      const growth = bytes === undefined ? undefined : watched.moved.add(nowMs, windowMs, [bytes]);
      const rate = growth && (1000 * (growth.by[0] ?? 0)) / mib / growth.spanMs;
      if (rate !== undefined && rate > speakingMibPerSecond) figures.job_bandwidth = rate;
    }
    return figures;
  }

  /** Totals; zeros where there are none: the machine does not count after all (said by why), or the job is over. */
  #count(watched: Watched, dir: string, cores: readonly number[]): readonly number[] {
    try {
      watched.reader ??= this.#open(dir, cores);
      return watched.reader.read();
    } catch (thrown) {
      watched.reader?.close();
      watched.reader = undefined;
      if (!existsSync(dir)) return [0, 0, 0]; // The job has just ended.
      this.#why = { ...this.#why, counters: thrown instanceof Error ? thrown.message : String(thrown) };
      return [0, 0, 0];
    }
  }

  #keep(jobIds: ReadonlySet<number>): void {
    for (const [jobId, { reader }] of this.#jobs)
      if (!jobIds.has(jobId)) {
        reader?.close();
        this.#jobs.delete(jobId);
      }
    this.#bandwidth.keep(jobIds);
  }

  close(): void {
    this.#keep(new Set());
  }
}
