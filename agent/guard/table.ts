/**
 * The signals that the guard knows: the one list that policy file, readers, metrics and docs/guard.md follow.
 *
 * kind says which guests can be its cause. cpu: those that run, on a core that the job has too. memory: all of the node.
 * bus: all of the node that run (memory bandwidth is shared by all cores).
 */
import { type guardSignals, guardSteps } from "../../src/metrics/guard.ts";

export type SignalKind = "cpu" | "memory" | "bus";
export type ActionName = (typeof guardSteps)[number];

/** From the mildest to the strongest. */
export const actionNames: readonly ActionName[] = guardSteps;

export interface SignalRow {
  readonly kind: SignalKind;
  /** Of its thresholds, as their keys end in the policy file. */
  readonly unit: "percent" | "per_s" | "mib";
  /** Which side of the thresholds is the bad one. */
  readonly bad: "above" | "below";
  readonly use: boolean;
  readonly enter: number;
  readonly leave: number;
  readonly strongest: ActionName;
}

export const signalTable = {
  job_run_delay: row("cpu", "percent", "above", 5, 2),
  job_cpu_pressure: row("cpu", "percent", "above", 10, 4),
  job_throttled: { ...row("cpu", "percent", "above", 10, 4), use: false },
  job_memory_pressure: row("memory", "percent", "above", 5, 1),
  job_refaults: row("memory", "per_s", "above", 2000, 200),
  job_cpi: { ...row("bus", "percent", "above", 15, 5), use: false, strongest: "freeze" },
  job_cache_misses: { ...row("bus", "percent", "above", 50, 20), use: false, strongest: "throttle" },
  job_bandwidth: { ...row("bus", "percent", "above", 20, 10), use: false, strongest: "freeze" },
  node_memory_pressure: row("memory", "percent", "above", 10, 2),
  node_memory_headroom: row("memory", "mib", "below", 192, 320),
  node_bandwidth: { ...row("bus", "mib", "above", 100_000, 80_000), use: false, strongest: "freeze" },
} as const satisfies Record<(typeof guardSignals)[number], SignalRow>;

function row(
  kind: SignalKind,
  unit: SignalRow["unit"],
  bad: SignalRow["bad"],
  enter: number,
  leave: number,
): SignalRow {
  return { kind, unit, bad, use: true, enter, leave, strongest: "evict" };
}

export type SignalName = keyof typeof signalTable;
export const signalNames = Object.keys(signalTable) as SignalName[];

/** For the policy's documentation. */
export const signalAbout: Readonly<Record<SignalName, string>> = {
  job_run_delay:
    "waiting of the job's tasks for a core, of the time that they ran or waited (schedstat); suspects: guests that run on a core of the job or beside it (hyperthreads)",
  job_cpu_pressure: "PSI of the job's cgroup, CPU, some (cgroup v2); suspects: as for job_run_delay",
  job_throttled:
    "time that the job was throttled by a quota of its own cgroup (cgroup v2); off, since its guests are rarely the cause",
  job_memory_pressure: "PSI of the job's cgroup, memory, some (cgroup v2); suspects: all guests",
  job_refaults: "pages of the job that were dropped and had to be read again; suspects: all guests",
  job_cpi:
    "cycles per instruction of the job, percent above what it had while no guest ran, beyond its own noise; off: it takes hardware counters that a profiler in a job may want, and was not yet tried on a machine that has them. Needs cgroup v2, CAP_PERFMON; suspects: all guests that run",
  job_cache_misses:
    "misses of the last-level cache per instruction of the job, compared in the same way; off for the same reason; suspects: all guests that run",
  job_bandwidth:
    "memory bandwidth of the job, percent below what it had while no guest ran (resctrl, where nobody else has groups in it); off, not yet tried on a machine that has it; suspects: all guests that run",
  node_memory_pressure: "PSI of the node, memory, some; suspects: all guests",
  node_memory_headroom:
    "available memory of the node; bad below, so leave is above enter; suspects: all guests",
  node_bandwidth:
    "memory bandwidth of the node, MiB per second (resctrl, where it is mounted); off, since its threshold is the machine's own; suspects: all guests that run",
};
