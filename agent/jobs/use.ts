/**
 * How much of its cores and memory a batch job uses, read when asked and never by a clock of its own. A job's processor
 * time per core is known exactly where Slurm accounts it by cgroup (v1, cpuacct). Elsewhere it is bounded from above: what
 * a core spent on anything but our guests (/proc/stat, in ticks), and with v2 the time of the whole job. The bound errs to
 * the job's side: a core on which somebody else works is not lent. Where a guest's own time cannot be read, the use of its
 * cores is unknown, and unknown is not lent.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { UseSample } from "../../src/capacity/shared.ts";
import { type GuestTree, guestDirs } from "../cgroup/guests.ts";
import type { JobRoots } from "./roots.ts";
import { jobDirs } from "./scan.ts";

export interface UseSources {
  readonly roots: JobRoots;
  readonly tree: GuestTree;
  /** Mount of the v1 hierarchy of cpuacct; undefined: there is none. */
  readonly cpuacct: string | undefined;
  /** /proc */
  readonly proc: string;
}

export interface WatchedJob {
  readonly jobId: number;
  readonly cores: readonly number[];
  readonly memoryLimitBytes: number | undefined;
}

export interface WatchedGuest {
  readonly id: string;
  readonly cores: readonly number[];
}

/** From where it is known how a job uses its cores. */
export type UseSource = "cpuacct" | "stat" | "none";

/** The unit of /proc/stat, USER_HZ of all Linux that we run on. */
const tickNs = 10_000_000;

function read(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined; // The job ended between, or this kernel has no such file.
  }
}

/** Time that each core was not idle, ns, by the text of /proc/stat. */
export function busyByCore(stat: string): Map<number, number> {
  const busy = new Map<number, number>();
  for (const match of stat.matchAll(/^cpu(\d{1,5}) ([\d ]+)$/gm)) {
    const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = (match[2] ?? "")
      .trim()
      .split(/\s+/)
      .map(Number);
    busy.set(Number(match[1]), (user + nice + system + irq + softirq + steal) * tickNs);
  }
  return busy;
}

/** A line `key value` of a cgroup's file. */
function keyedValue(text: string | undefined, key: string): number | undefined {
  const match = new RegExp(`^${key} (\\d{1,18})$`, "m").exec(text ?? "");
  return match === null ? undefined : Number(match[1]);
}

/** Adds up what each core spent on others than our guests. */
class OthersTime {
  readonly ns = new Map<number, number>();
  #busy: ReadonlyMap<number, number> | undefined;
  #guests = new Map<string, number | undefined>();

  /** guestNs: the time of a guest so far; undefined: cannot be read. */
  add(
    busy: ReadonlyMap<number, number>,
    guests: readonly WatchedGuest[],
    guestNs: (id: string) => number | undefined,
  ): void {
    const before = this.#busy;
    const known = this.#guests;
    this.#busy = busy;
    this.#guests = new Map(guests.map(({ id }) => [id, guestNs(id)]));
    if (before === undefined) return;
    const spent = new Map([...busy].map(([core, ns]) => [core, Math.max(0, ns - (before.get(core) ?? ns))]));
    const others = new Map(spent);
    for (const { id, cores } of guests) {
      const now = this.#guests.get(id);
      const own = now === undefined ? undefined : Math.max(0, now - (known.get(id) ?? 0));
      const all = cores.reduce((sum, core) => sum + (spent.get(core) ?? 0), 0);
      // Ticks are coarse: one per core is not held against the job.
      const rest = own === undefined ? undefined : Math.max(0, all - own - tickNs * cores.length);
      for (const core of cores)
        if (rest === undefined) others.delete(core);
        else others.set(core, Math.min(spent.get(core) ?? 0, rest));
    }
    for (const core of busy.keys()) {
      const ns = others.get(core);
      if (ns === undefined) this.ns.delete(core);
      else this.ns.set(core, (this.ns.get(core) ?? 0) + ns);
    }
  }
}

export class UseReader {
  /** Of the last job that was read. */
  source: UseSource = "none";
  readonly #sources: UseSources;
  readonly #others = new OthersTime();

  constructor(sources: UseSources) {
    this.#sources = sources;
  }

  read(jobs: readonly WatchedJob[], guests: readonly WatchedGuest[], nowMs: number): Map<number, UseSample> {
    const { roots, cpuacct } = this.#sources;
    const memory = jobDirs(roots, roots.memory).jobs;
    const accounted = cpuacct === undefined ? undefined : jobDirs(roots, roots.under(cpuacct)).jobs;
    const samples = new Map<number, UseSample>();
    let looked = false;
    for (const job of jobs) {
      const exact = this.#exact(accounted?.get(job.jobId)?.[0], job.cores);
      if (exact === undefined && !looked) {
        looked = true;
        this.#lookAtCores(guests);
      }
      const dir = memory.get(job.jobId)?.[0];
      samples.set(job.jobId, {
        atMs: nowMs,
        usedNs: exact ?? this.#bounded(job.cores),
        totalNs: exact === undefined ? this.#total(dir) : undefined,
        memoryLimitBytes: dir === undefined ? undefined : job.memoryLimitBytes,
        ...this.#memory(dir),
      });
    }
    return samples;
  }

  #exact(dir: string | undefined, cores: readonly number[]): Map<number, number> | undefined {
    const text = dir === undefined ? undefined : read(join(dir, "cpuacct.usage_percpu"));
    if (text === undefined) return undefined;
    const byCore = text.trim().split(/\s+/).map(Number);
    this.source = "cpuacct";
    return new Map(cores.map((core) => [core, byCore[core] ?? Number.NaN]));
  }

  #lookAtCores(guests: readonly WatchedGuest[]): void {
    const stat = read(join(this.#sources.proc, "stat"));
    if (stat === undefined) return;
    const { tree } = this.#sources;
    const pinned = guests.filter((guest) => guest.cores.length > 0);
    this.#others.add(busyByCore(stat), pinned, (id) => {
      for (const dir of guestDirs(tree, id)) {
        const usec =
          tree.layout.version === 2 ? keyedValue(read(join(dir, "cpu.stat")), "usage_usec") : undefined;
        if (usec !== undefined) return usec * 1000;
        const text = tree.layout.version === 1 ? read(join(dir, "cpuacct.usage")) : undefined;
        if (text !== undefined) return Number(text.trim());
      }
      return undefined;
    });
  }

  #bounded(cores: readonly number[]): Map<number, number> | undefined {
    const used = new Map<number, number>();
    for (const core of cores) {
      const ns = this.#others.ns.get(core);
      if (ns !== undefined) used.set(core, ns);
    }
    this.source = used.size === 0 ? "none" : "stat";
    return used;
  }

  #total(dir: string | undefined): number | undefined {
    if (dir === undefined || this.#sources.roots.version !== 2) return undefined;
    const usec = keyedValue(read(join(dir, "cpu.stat")), "usage_usec");
    return usec === undefined ? undefined : usec * 1000;
  }

  #memory(dir: string | undefined): Pick<UseSample, "memoryCurrentBytes" | "memoryInactiveFileBytes"> {
    if (dir === undefined) return { memoryCurrentBytes: 0, memoryInactiveFileBytes: 0 };
    const v1 = this.#sources.roots.version === 1;
    const current = read(join(dir, v1 ? "memory.usage_in_bytes" : "memory.current"));
    const stat = read(join(dir, "memory.stat"));
    return {
      // Unreadable counts as all that there is.
      memoryCurrentBytes: current === undefined ? Number.MAX_SAFE_INTEGER : Number(current.trim()),
      memoryInactiveFileBytes: keyedValue(stat, v1 ? "total_inactive_file" : "inactive_file") ?? 0,
    };
  }
}
