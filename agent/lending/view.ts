/** What a node that lends nothing shows: its mode, how imagined leases went, and how long tasks waited on it. */
import { readFileSync } from "node:fs";
import { type AgentMetrics, lendingModes } from "../../src/metrics/agent.ts";
import { pressureUs } from "../guard/signals.ts";
import type { Shell } from "../shell.ts";
import { newScore, nextScore } from "./score.ts";

export interface LendingView {
  /** The offer has changed. */
  look(): void;
  /** Prometheus asks. */
  show(): void;
}

const usualTermMs = 300_000;

/** Waiting of the whole node since boot; nothing where the kernel does not count it. */
function showPressure(metrics: AgentMetrics): void {
  metrics.nodePressure.reset();
  for (const resource of ["cpu", "memory", "io"] as const)
    try {
      const totalUs = pressureUs(readFileSync(`/proc/pressure/${resource}`, "utf8"));
      if (totalUs !== undefined) metrics.nodePressure.inc({ resource }, totalUs / 1e6);
    } catch {
      return; // A kernel without PSI: see the finding kernel.psi.
    }
}

export function lendingView(
  shell: Pick<Shell, "state" | "nowMs">,
  metrics: AgentMetrics,
  termMs = (): number => usualTermMs,
): LendingView {
  let score = newScore(shell.nowMs());
  let shown = score;
  const look = (): void => {
    score = nextScore(score, shell.state.shadowSpare, termMs(), shell.nowMs());
  };
  return {
    look,
    show() {
      look();
      const mode = shell.state.drain === undefined ? shell.state.lending : "drained";
      for (const each of lendingModes) metrics.lendingMode.set({ mode: each }, each === mode ? 1 : 0);
      metrics.shadowLeases.inc({ outcome: "finished" }, score.finished - shown.finished);
      metrics.shadowLeases.inc({ outcome: "cut" }, score.cut - shown.cut);
      metrics.shadowCoreSeconds.inc((score.coreMs - shown.coreMs) / 1000);
      metrics.shadowByteSeconds.inc((score.byteMs - shown.byteMs) / 1000);
      shown = score;
      showPressure(metrics);
    },
  };
}
