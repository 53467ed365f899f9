/** Points of equal distance out of what was recorded. Pure. */
import type { History, Shares } from "./api.ts";
import { addPoint, noSum, type Recorder, type Sum } from "./history.ts";
import type { Amounts } from "./shares.ts";

const shareNames = ["total", "used", "heldUnused", "lent", "spare", "closed"] as const;
export const maxPoints = 2_000;
const hourMs = 3_600_000;

type Columns = Record<keyof Shares, (number | null)[]>;

function columns(): Columns {
  return { total: [], used: [], heldUnused: [], lent: [], spare: [], closed: [] };
}

function push(to: Columns, amounts: Amounts, coveredMs: number): void {
  for (const name of shareNames)
    to[name].push(coveredMs <= 0 ? null : Math.round((amounts[name] / coveredMs) * 100) / 100);
}

export function historyOf(
  recorder: Recorder,
  span: { readonly fromMs: number; readonly toMs: number; readonly points: number },
  nowMs: number,
): History {
  const series = recorder.seriesFrom(span.fromMs, nowMs);
  const tierMs = series.tier.stepMs;
  const wanted = Math.min(maxPoints, Math.max(1, Math.floor(span.points)));
  const stepMs = Math.max(1, Math.ceil((span.toMs - span.fromMs) / wanted / tierMs)) * tierMs;
  const fromMs = Math.floor(span.fromMs / stepMs) * stepMs;
  const count = Math.min(maxPoints, Math.max(0, Math.ceil((span.toMs - fromMs) / stepMs)));
  const sums: Sum[] = Array.from({ length: count }, noSum);
  for (const point of series.points) {
    const sum = sums[Math.floor((point.atMs - fromMs) / stepMs)];
    if (sum !== undefined) addPoint(sum, point, tierMs, point.atMs, point.atMs + tierMs);
  }
  const rate = (value: number, coveredMs: number, perMs: number): number | null =>
    coveredMs <= 0 ? null : Math.round(((value * perMs) / coveredMs) * 1000) / 1000;
  const history: History = {
    fromMs,
    toMs: fromMs + count * stepMs,
    stepMs,
    atMs: sums.map((_, index) => fromMs + index * stepMs),
    cores: columns(),
    memoryBytes: columns(),
    invocationsPerSecond: sums.map(({ counted, coveredMs }) => rate(counted.invocations, coveredMs, 1000)),
    reclaimsPerHour: sums.map(({ counted, coveredMs }) => rate(counted.reclaims, coveredMs, hourMs)),
    guardActionsPerHour: sums.map(({ counted, coveredMs }) => rate(counted.guardActions, coveredMs, hourMs)),
  };
  for (const { cores, memoryBytes, coveredMs } of sums) {
    push(history.cores, cores, coveredMs);
    push(history.memoryBytes, memoryBytes, coveredMs);
  }
  return history;
}
