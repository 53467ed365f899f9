/**
 * How long tasks ran and how long they waited for a core, from /proc/TID/schedstat: two numbers of the scheduler that
 * every kernel counts. Sums over the tasks of a cgroup and those below it; a task counts from the second look on.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** Bounds, not expectations: of a job with more, a part speaks for all. */
const tasksMax = 64;
const listedMax = 65_536;
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

function list(dir: string, most: number): number[] {
  const found: number[] = [];
  let groups = 0;
  const visit = (path: string, depth: number): void => {
    groups += 1;
    if (groups > groupsMax || found.length >= most) return;
    const ids = text(join(path, "tasks")) || text(join(path, "cgroup.threads"));
    for (const line of ids.split("\n")) if (Number(line) > 0) found.push(Number(line));
    if (depth >= depthMax) return;
    try {
      for (const entry of readdirSync(path, { withFileTypes: true }))
        if (entry.isDirectory()) visit(join(path, entry.name), depth + 1);
    } catch {
      // Gone: it has no tasks.
    }
  };
  visit(dir, 0);
  return found.slice(0, most);
}

/** Task ids in a cgroup and below, at most tasksMax. */
export function tasksBelow(dir: string): number[] {
  return list(dir, tasksMax);
}

/** Neighbours in number come far apart, and no two at one place. */
const mixed = (task: number): number => Math.imul(task, 0x9e3779b1) >>> 0;

/** At most tasksMax of the tasks in a cgroup and below, from all over it and the same ones while they live; and how many there are. */
export function someTasks(dir: string): { readonly tasks: readonly number[]; readonly all: number } {
  const all = list(dir, listedMax);
  if (all.length <= tasksMax) return { tasks: all, all: all.length };
  const most = Uint32Array.from(all, mixed).sort()[tasksMax - 1] ?? 0;
  return { tasks: all.filter((task) => mixed(task) <= most), all: all.length };
}

export class TaskMeter {
  readonly #proc: string;
  #last = new Map<number, TaskTimes>();
  #total: TaskTimes = { runNs: 0, waitNs: 0 };
  #compared = 0;

  constructor(proc = "/proc") {
    this.#proc = proc;
  }

  get total(): TaskTimes {
    return this.#total;
  }

  /** Tasks that were there at the last two looks. */
  get compared(): number {
    return this.#compared;
  }

  /**
   * Totals of this meter: what tasks did between two looks at which they were there. all: how many there are, for whom these
   * speak; else each speaks for itself.
   */
  measure(tasks: readonly number[], all?: number): TaskTimes {
    const next = new Map<number, TaskTimes>();
    let runNs = 0;
    let waitNs = 0;
    let compared = 0;
    for (const task of tasks) {
      const [run, wait] = text(join(this.#proc, `${task}`, "schedstat"))
        .split(" ")
        .map(Number);
      if (run === undefined || wait === undefined) continue;
      next.set(task, { runNs: run, waitNs: wait });
      const last = this.#last.get(task);
      if (last === undefined) continue;
      compared++;
      runNs += Math.max(0, run - last.runNs);
      waitNs += Math.max(0, wait - last.waitNs);
    }
    const weight = all === undefined || compared === 0 ? 1 : all / compared;
    this.#last = next;
    this.#compared = compared;
    this.#total = { runNs: this.#total.runNs + weight * runNs, waitNs: this.#total.waitNs + weight * waitNs };
    return this.#total;
  }
}
