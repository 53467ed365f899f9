/**
 * A trace of counts: how many nodes were idle, sample by sample, as a monitoring system keeps it. Which node it was is
 * not known, so the trace is read twice: the node that has been idle longest goes first, or the one that became idle last.
 * The truth is between them or more restless than both, since nodes that came and went between two samples do not show.
 */
import { SubletError } from "../common/errors.ts";
import type { Timeline } from "./timeline.ts";

export interface CountSample {
  readonly atMs: number;
  readonly idle: number;
  readonly allocated: number;
  /** Of the memory of idle and allocated nodes, 0 to 1; undefined: not in the trace. */
  readonly idleMemory: number | undefined;
  /** Free memory of allocated nodes, as a share of the same. */
  readonly heldFreeMemory: number | undefined;
}

/** Times without a zone are this machine's local ones (set TZ). @throws SubletError INVALID_ARGUMENT: line and reason. */
export function parseCounts(text: string): CountSample[] {
  const lines = text.split(/\r?\n/);
  const names = (lines[0] ?? "").split(",").map((name) => name.trim());
  const column = (name: string): number => names.indexOf(name);
  const [at, idle, allocated] = ["timestamp", "idle_nodes", "allocated_nodes"].map((name) => {
    if (column(name) === -1)
      throw new SubletError(
        "INVALID_ARGUMENT",
        `line 1: no column ${name}; a trace of counts has timestamp, idle_nodes, allocated_nodes and, if known, free_mem and partially_free_mem`,
      );
    return column(name);
  }) as [number, number, number];
  const idleMemory = column("free_mem");
  const heldFree = column("partially_free_mem");
  const samples: CountSample[] = [];
  for (let i = 1; i < lines.length; i++) {
    const line = lines[i] ?? "";
    if (line.trim() === "") continue;
    const cells = line.split(",");
    const bad = (why: string): SubletError => new SubletError("INVALID_ARGUMENT", `line ${i + 1}: ${why}`);
    const atMs = timeOf(cells[at]);
    if (Number.isNaN(atMs)) throw bad(`${JSON.stringify(cells[at] ?? "")} is no time`);
    if (atMs <= (samples.at(-1)?.atMs ?? Number.NEGATIVE_INFINITY)) continue;
    const count = (index: number): number => {
      const value = Number(cells[index]);
      if (cells[index]?.trim() === "" || !Number.isInteger(value) || value < 0 || value > 1e6)
        throw bad(`${names[index]} is ${JSON.stringify(cells[index] ?? "")}, not a count of nodes`);
      return value;
    };
    const share = (index: number): number | undefined => {
      if (index === -1) return undefined;
      const value = Number(cells[index]);
      if (!(value >= 0 && value <= 1)) throw bad(`${names[index]} is not between 0 and 1`);
      return value;
    };
    samples.push({
      atMs,
      idle: count(idle),
      allocated: count(allocated),
      idleMemory: share(idleMemory),
      heldFreeMemory: share(heldFree),
    });
  }
  if (samples.length < 2) throw new SubletError("INVALID_ARGUMENT", "the trace has fewer than two samples");
  return samples;
}

function timeOf(text: string | undefined): number {
  if (text === undefined) return Number.NaN;
  return /^\d{9,}$/.test(text.trim()) ? Number(text) * 1000 : Date.parse(text.trim());
}

/** A sample holds until the next one, but not longer than this: ten times the usual distance. */
export function longestHoldMs(samples: readonly CountSample[]): number {
  const steps = samples.slice(1).map(({ atMs }, i) => atMs - (samples[i]?.atMs ?? 0));
  steps.sort((a, b) => a - b);
  return 10 * (steps[Math.floor(steps.length / 2)] ?? 0);
}

export type Reading = "oldest first" | "newest first";

/** One timeline per node that was ever idle or allocated; all are of one size. */
export function timelinesOf(
  samples: readonly CountSample[],
  size: { readonly cores: number; readonly memoryMib: number },
  reading: Reading,
): Timeline[] {
  const total = samples.reduce((most, { idle, allocated }) => Math.max(most, idle + allocated), 0);
  const fromMs = samples[0]?.atMs ?? 0;
  const holdMs = longestHoldMs(samples);
  const at: number[][] = Array.from({ length: total }, () => [0]);
  const free: boolean[][] = Array.from({ length: total }, () => [false]);
  const busy = Array.from({ length: total }, (_, node) => node);
  let busyHead = 0;
  // Both ends are used; a head index is cheaper than shift().
  const idle: number[] = [];
  let idleHead = 0;
  const turn = (node: number, atS: number, isFree: boolean): void => {
    const times = at[node] as number[];
    const states = free[node] as boolean[];
    if (times.at(-1) === atS) states[states.length - 1] = isFree;
    else {
      times.push(atS);
      states.push(isFree);
    }
  };
  const follow = (wanted: number, atS: number): void => {
    while (idle.length - idleHead < wanted) {
      const node = busy[busyHead++] as number;
      idle.push(node);
      turn(node, atS, true);
    }
    while (idle.length - idleHead > wanted) {
      const node = (reading === "newest first" ? idle.pop() : idle[idleHead++]) as number;
      busy.push(node);
      turn(node, atS, false);
    }
  };
  samples.forEach((sample, i) => {
    const atS = Math.floor((sample.atMs - fromMs) / 1000);
    follow(sample.idle, atS);
    const nextMs = samples[i + 1]?.atMs;
    // Nobody watched: nothing is claimed.
    if (nextMs !== undefined && nextMs - sample.atMs > holdMs) follow(0, atS + Math.floor(holdMs / 1000));
  });
  return at.map((times, node) => ({
    node: `node${node}`,
    ...size,
    atS: Uint32Array.from(times),
    freeCores: Int32Array.from(free[node] as boolean[], (isFree) => (isFree ? size.cores : 0)),
    freeMib: Int32Array.from(free[node] as boolean[], (isFree) => (isFree ? size.memoryMib : 0)),
  }));
}
