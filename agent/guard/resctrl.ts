/**
 * Memory bandwidth by resctrl (Intel RDT, AMD QoS, Arm MPAM), where it is mounted with monitoring: of the whole node, and of one
 * job, whose tasks are put into a monitoring group of ours. What a job may use (its control group) stays as it is: a group of ours
 * is only made where nobody else uses resctrl, neither with control groups nor with monitoring groups, since a
 * task is in one group at a time.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

function text(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined; // Gone, or a kernel without it.
  }
}

function folders(dir: string): string[] {
  try {
    return readdirSync(dir, { withFileTypes: true }).flatMap((entry) =>
      entry.isDirectory() ? [entry.name] : [],
    );
  } catch {
    return []; // Not mounted, or no monitoring.
  }
}

/** Bytes that a group's tasks moved to and from memory on all sockets, since the group was made; undefined: not counted here. */
export function bandwidthBytes(group: string): number | undefined {
  const domains = join(group, "mon_data");
  if (!existsSync(domains)) return undefined;
  const counts = folders(domains).map((name) => text(join(domains, name, "mbm_total_bytes")));
  // "Unavailable" or "Error" now and then, as the counters are handed round.
  const numbers = counts.filter((count) => /^\d+\s*$/.test(count ?? "")).map(Number);
  return numbers.length === 0 || numbers.length < counts.length
    ? undefined
    : numbers.reduce((a, b) => a + b, 0);
}

const ownFolders = new Set(["info", "mon_data", "mon_groups"]);

export class JobBandwidth {
  readonly #resctrl: string;
  readonly #prefix: string;
  readonly #groups = new Map<number, { readonly dir: string; readonly tasks: Set<number> }>();

  /** prefix: of the names of our groups; those that an earlier life left are removed. */
  constructor(resctrl: string, prefix: string) {
    this.#resctrl = resctrl;
    this.#prefix = `${prefix}.`;
    for (const name of folders(join(resctrl, "mon_groups")))
      if (name.startsWith(this.#prefix)) remove(join(resctrl, "mon_groups", name));
  }

  /** Why a job's bandwidth cannot be read here; undefined: it can. */
  why(): string | undefined {
    if (bandwidthBytes(this.#resctrl) === undefined)
      return "resctrl is not mounted, or does not count bandwidth";
    const foreign = [
      ...folders(this.#resctrl).filter((name) => !ownFolders.has(name)),
      ...folders(join(this.#resctrl, "mon_groups")).filter((name) => !name.startsWith(this.#prefix)),
    ];
    return foreign.length === 0 ? undefined : `resctrl is in use: ${foreign.slice(0, 3).join(", ")}`;
  }

  /** Bytes of a job's tasks since it is watched. Tasks that are forked later are in the group by themselves. */
  read(jobId: number, tasks: readonly number[]): number | undefined {
    const group = this.#groups.get(jobId) ?? this.#make(jobId);
    if (group === undefined) return undefined;
    for (const task of tasks) {
      if (group.tasks.has(task)) continue;
      try {
        writeFileSync(join(group.dir, "tasks"), `${task}\n`);
      } catch {
        // Gone, or not ours to move: what it does is not counted.
      }
    }
    group.tasks.clear();
    for (const task of tasks) group.tasks.add(task);
    return bandwidthBytes(group.dir);
  }

  #make(jobId: number): { dir: string; tasks: Set<number> } | undefined {
    if (this.why() !== undefined) return undefined;
    const dir = join(this.#resctrl, "mon_groups", `${this.#prefix}${jobId}`);
    try {
      mkdirSync(dir);
    } catch {
      return undefined; // No monitoring id is left.
    }
    const group = { dir, tasks: new Set<number>() };
    this.#groups.set(jobId, group);
    return group;
  }

  /** Others than these are over. */
  keep(jobIds: ReadonlySet<number>): void {
    for (const [jobId, { dir }] of this.#groups)
      if (!jobIds.has(jobId)) {
        this.#groups.delete(jobId);
        remove(dir);
      }
  }
}

/** Its tasks fall back to the group above. */
function remove(dir: string): void {
  try {
    rmdirSync(dir);
  } catch {
    // Gone already; what is left of it the next life removes.
  }
}
