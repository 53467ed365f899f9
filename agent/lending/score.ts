/**
 * What would have been lent where nothing is, and how it would have gone. Pure; time comes in.
 *
 * One lease is imagined at a time, on all that is spare, for a usual term. It finishes when its term is over, or is cut short
 * when a core of it is not spare any more (a batch job has come). What came free after its start is left for the next.
 */
import type { Spare } from "../../src/common/nouns.ts";

export interface ShadowScore {
  readonly finished: number;
  readonly cut: number;
  /** Of imagined leases, over and running. */
  readonly coreMs: number;
  readonly byteMs: number;
  readonly running: ShadowLease | undefined;
  readonly countedToMs: number;
}

interface ShadowLease {
  readonly cores: readonly number[];
  readonly memoryBytes: number;
  readonly endsAtMs: number;
}

export function newScore(nowMs: number): ShadowScore {
  return { finished: 0, cut: 0, coreMs: 0, byteMs: 0, running: undefined, countedToMs: nowMs };
}

function counted(score: ShadowScore, toMs: number): ShadowScore {
  const { running } = score;
  const ms = Math.max(0, toMs - score.countedToMs);
  if (running === undefined) return { ...score, countedToMs: Math.max(toMs, score.countedToMs) };
  return {
    ...score,
    countedToMs: Math.max(toMs, score.countedToMs),
    coreMs: score.coreMs + ms * running.cores.length,
    byteMs: score.byteMs + ms * running.memoryBytes,
  };
}

/** `spare` is what is spare from now on; what was before held until now. */
export function nextScore(
  before: ShadowScore,
  spare: readonly Spare[],
  termMs: number,
  nowMs: number,
): ShadowScore {
  let score = before;
  // Several terms may have passed since the last look, with the same capacity.
  while (score.running !== undefined && score.running.endsAtMs <= nowMs) {
    const { running } = score;
    score = { ...counted(score, running.endsAtMs), finished: score.finished + 1 };
    score = { ...score, running: { ...running, endsAtMs: running.endsAtMs + termMs } };
  }
  score = counted(score, nowMs);
  const cores = spare.flatMap((each) => each.cores);
  const now = new Set(cores);
  const { running } = score;
  if (running?.cores.some((core) => !now.has(core)))
    score = { ...score, cut: score.cut + 1, running: undefined };
  if (score.running !== undefined || cores.length === 0) return score;
  const memoryBytes = spare.reduce((sum, each) => sum + each.memoryBytes, 0);
  return { ...score, running: { cores, memoryBytes, endsAtMs: nowMs + termMs } };
}
