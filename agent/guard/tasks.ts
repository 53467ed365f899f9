/**
 * How long tasks ran and how long they waited for a core, from /proc/TID/schedstat: two numbers of the scheduler that
 * every kernel counts. Sums over the tasks of a cgroup and those below it; a task counts from the second look on.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** Bounds, not expectations: of a job with more, a part speaks for all. */
const tasksMax = 64;
const depthMax = 6;
const groupsMax = 64;

export interface TaskTimes {
  readonly runNs: number;
  readonly waitNs: number;
}

function text(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return ""; // Gone since it was listed, or never there.
  }
}

/** Task ids in a cgroup and below, at most tasksMax. */
export function tasksBelow(dir: string): number[] {
  const found: number[] = [];
  let groups = 0;
  const visit = (path: string, depth: number): void => {
    groups += 1;
    if (groups > groupsMax || found.length >= tasksMax) return;
    const list = text(join(path, "tasks")) || text(join(path, "cgroup.threads"));
    for (const line of list.split("\n")) if (Number(line) > 0) found.push(Number(line));
    if (depth >= depthMax) return;
    try {
      for (const entry of readdirSync(path, { withFileTypes: true }))
        if (entry.isDirectory()) visit(join(path, entry.name), depth + 1);
    } catch {
      // Gone: it has no tasks.
    }
  };
  visit(dir, 0);
  return found.slice(0, tasksMax);
}

export class TaskMeter {
  readonly #proc: string;
  #last = new Map<number, TaskTimes>();
  #total: TaskTimes = { runNs: 0, waitNs: 0 };

  constructor(proc = "/proc") {
    this.#proc = proc;
  }

  /** Totals of this meter: what tasks did between two looks at which they were there. */
  measure(tasks: readonly number[]): TaskTimes {
    const next = new Map<number, TaskTimes>();
    let { runNs, waitNs } = this.#total;
    for (const task of tasks) {
      const [run, wait] = text(join(this.#proc, `${task}`, "schedstat"))
        .split(" ")
        .map(Number);
      if (run === undefined || wait === undefined) continue;
      next.set(task, { runNs: run, waitNs: wait });
      const last = this.#last.get(task);
      if (last === undefined) continue;
      runNs += Math.max(0, run - last.runNs);
      waitNs += Math.max(0, wait - last.waitNs);
    }
    this.#last = next;
    this.#total = { runNs, waitNs };
    return this.#total;
  }
}
