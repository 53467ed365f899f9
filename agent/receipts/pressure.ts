/** Pressure stall totals: of a job's cgroup where the kernel counts there (v2), else of the whole node. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { JobRoots } from "../jobs/roots.ts";
import { jobDirs } from "../jobs/scan.ts";
import type { PressureTotals } from "./book.ts";

/** `some` line of a pressure file, µs; undefined when the kernel has no such file. */
function someUs(path: string): number | undefined {
  try {
    const match = /^some .*\btotal=(\d{1,18})$/m.exec(readFileSync(path, "utf8"));
    return match === null ? undefined : Number(match[1]);
  } catch {
    return undefined; // No PSI in this kernel, or the job has ended.
  }
}

function totals(of: PressureTotals["of"], path: (what: string) => string): PressureTotals | undefined {
  const cpuUs = someUs(path("cpu"));
  const memoryUs = someUs(path("memory"));
  const ioUs = someUs(path("io"));
  return cpuUs === undefined || memoryUs === undefined ? undefined : { of, cpuUs, memoryUs, ioUs: ioUs ?? 0 };
}

export function pressureReader(
  roots: JobRoots,
  proc = "/proc",
): (jobId: number) => PressureTotals | undefined {
  return (jobId) => {
    const dir = roots.version === 2 ? jobDirs(roots, roots.memory).jobs.get(jobId)?.[0] : undefined;
    const own = dir === undefined ? undefined : totals("job", (what) => join(dir, `${what}.pressure`));
    return own ?? nodePressure(proc);
  };
}

/** Of the whole node; undefined when this kernel does not measure it. */
export function nodePressure(proc = "/proc"): PressureTotals | undefined {
  return totals("node", (what) => join(proc, "pressure", what));
}
