/**
 * What a job that allows sharing holds and does not use: pure, from samples of its use.
 *
 * A core is lent when the job used less than `quietFraction` of it in every sample for `quietMs`, and is not lent any
 * more after one sample with `wakeFraction` or more; between the two it stays what it is. Memory follows the most that the
 * job touched within the last `quietMs` at least: a job that breathes does not get its own breath lent away.
 *
 *   memory = limit - (current - inactive_file) - margin
 */

export interface SharingRules {
  /** How long a core must be unused before it is lent. */
  readonly quietMs: number;
  /** Never lent of a job's memory, beyond what it touches: what it may take before the next sample. */
  readonly marginBytes: number;
}

/** Of the time of one core. */
export const quietFraction = 0.01;
export const wakeFraction = 0.05;

/** Time that a core spent for a job, or that it may have spent for it. Counts up from any start. */
export interface UseSample {
  readonly atMs: number;
  /** By core; undefined: nobody can tell on this node. */
  readonly usedNs: ReadonlyMap<number, number> | undefined;
  /** On all cores together; where it is known, no core has more. */
  readonly totalNs: number | undefined;
  readonly memoryLimitBytes: number | undefined;
  readonly memoryCurrentBytes: number;
  readonly memoryInactiveFileBytes: number;
}

/** How a job used what it holds, as far as it was watched. */
export interface JobUse {
  readonly last: UseSample;
  /** Since when each of its cores has been unused; a core in use is missing. */
  readonly quietSinceMs: ReadonlyMap<number, number>;
  /** Cores that may be lent now. */
  readonly cores: readonly number[];
  /** What it touched at most, with the time: this window and the one before. */
  readonly touched: { readonly sinceMs: number; readonly bytes: number; readonly beforeBytes: number };
  /** Memory that may be lent now. */
  readonly memoryBytes: number;
}

/** The fraction of the core that went to the job since the last sample; undefined: not known. */
function usedFraction(before: UseSample, now: UseSample, core: number): number | undefined {
  const from = before.usedNs?.get(core);
  const to = now.usedNs?.get(core);
  const tookNs = (now.atMs - before.atMs) * 1e6;
  if (from === undefined || to === undefined || !(tookNs > 0) || to < from) return undefined;
  const total =
    before.totalNs === undefined || now.totalNs === undefined || now.totalNs < before.totalNs
      ? Number.POSITIVE_INFINITY
      : now.totalNs - before.totalNs;
  return Math.min(to - from, total) / tookNs;
}

function quietCores(
  before: JobUse | undefined,
  now: UseSample,
  cores: readonly number[],
): ReadonlyMap<number, number> {
  const quiet = new Map<number, number>();
  if (before === undefined) return quiet;
  for (const core of cores) {
    const fraction = usedFraction(before.last, now, core);
    const since = before.quietSinceMs.get(core);
    if (fraction === undefined || fraction >= wakeFraction) continue;
    // One that is lent stays lent up to the higher mark; one that is not has to be below the lower.
    if (fraction < quietFraction) quiet.set(core, since ?? before.last.atMs);
    else if (since !== undefined && before.cores.includes(core)) quiet.set(core, since);
  }
  return quiet;
}

function touchedBy(before: JobUse | undefined, now: UseSample, quietMs: number): JobUse["touched"] {
  const bytes = Math.max(0, now.memoryCurrentBytes - now.memoryInactiveFileBytes);
  if (before === undefined) return { sinceMs: now.atMs, bytes, beforeBytes: bytes };
  const { touched } = before;
  if (now.atMs - touched.sinceMs < quietMs) return { ...touched, bytes: Math.max(touched.bytes, bytes) };
  return { sinceMs: now.atMs, bytes, beforeBytes: touched.bytes };
}

/** `cores`: the job's. A sample that is no later than the last one changes nothing. */
export function followUse(
  before: JobUse | undefined,
  now: UseSample,
  cores: readonly number[],
  rules: SharingRules,
): JobUse {
  if (before !== undefined && now.atMs <= before.last.atMs) return before;
  const quietSinceMs = quietCores(before, now, cores);
  const touched = touchedBy(before, now, rules.quietMs);
  const most = Math.max(touched.bytes, touched.beforeBytes);
  return {
    last: now,
    quietSinceMs,
    cores: cores.filter((core) => now.atMs - (quietSinceMs.get(core) ?? now.atMs) >= rules.quietMs),
    touched,
    // A first sample says nothing about how it breathes.
    memoryBytes:
      before === undefined || now.memoryLimitBytes === undefined
        ? 0
        : Math.max(0, Math.floor(now.memoryLimitBytes - most - rules.marginBytes)),
  };
}
