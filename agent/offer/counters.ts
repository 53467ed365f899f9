/**
 * What the dashboard shows of this node beside its offer: reclaims as they happen, and sums since the agent began. Read
 * when a report goes out, kept in memory, bounded; a reclaim that no report could carry is lost, and a picture with it.
 */
import type { NodeCountersMessage, ReclaimRecordMessage } from "../../src/rpc/messages.ts";
import { type ActionName, actionNames } from "../guard/table.ts";
import type { WaitingSums } from "../jobs/waiting.ts";
import type { Shell } from "../shell.ts";

const maxKept = 256;

export interface NodeCounters {
  counters(): NodeCountersMessage;
  /** Gives the reclaims since it was last called; one for each controller. */
  reader(): () => ReclaimRecordMessage[];
  guardActed(action: string): void;
}

/** answered: calls by status number. */
export function nodeCounters(
  shell: Pick<Shell, "listen">,
  answered: () => readonly number[],
  waiting: () => WaitingSums,
): NodeCounters {
  const acted: Record<ActionName, number> = { throttle: 0, freeze: 0, shrink: 0, evict: 0 };
  let kept: ReclaimRecordMessage[] = [];
  /** How many there were in all. */
  let count = 0;

  function add(cause: string, leases: number, durationUs: number): void {
    count++;
    kept.push({ atUnixMs: Date.now(), durationUs: Math.round(durationUs), leases, cause });
    if (kept.length > 2 * maxKept) kept = kept.slice(-maxKept);
  }

  shell.listen({
    onEffect(effect) {
      if (effect.type === "missed") add("cgroup", effect.leases, 0);
      else if (effect.type === "unshared") add("use", effect.leases, 0);
      else if (effect.type === "answer") {
        const { answer } = effect;
        if (answer.kind === "hook" && answer.leasesEnded > 0)
          add(answer.event, answer.leasesEnded, answer.tookUs);
        else if (answer.kind === "reclaimed" && answer.ended > 0) add("admin", answer.ended, 0);
      }
    },
  });

  return {
    counters() {
      const outcomes = [...answered()];
      const { watchedMs, cpu, memory } = waiting();
      return {
        invocations: outcomes.reduce((sum, count) => sum + count, 0),
        ...acted,
        outcomes,
        jobWatchedMs: Math.round(watchedMs),
        jobCoreMs: Math.round(cpu.coreMs),
        jobWaitedMs: Math.round(cpu.waitedMs),
        jobMemoryCoreMs: Math.round(memory.coreMs),
        jobMemoryWaitedMs: Math.round(memory.waitedMs),
      };
    },
    reader() {
      let seen = count;
      return () => {
        const fresh = Math.min(count - seen, maxKept);
        seen = count;
        return fresh === 0 ? [] : kept.slice(-fresh);
      };
    },
    guardActed(action) {
      const known = actionNames.find((each) => each === action);
      if (known !== undefined) acted[known]++;
    },
  };
}
