/**
 * Where Slurm keeps the cgroups of its jobs on this node:
 *
 *   v1  <controller>/slurm, slurm_<node> with several slurmds on a machine; below it uid_U/job_J
 *   v2  <slice>/slurmstepd.scope, <slice>/<node>_slurmstepd.scope with several; below it job_J, or s<SLUID> from 26.05 on.
 *       The slice is system.slice, or one at the top of the tree that CgroupSlice= names (25.11). In a container without
 *       a cgroup namespace the top is where its first process is (24.11).
 *
 * All that exist are Slurm's: after a change of its configuration there may be jobs in two of them. They may come later
 * than the agent, or elsewhere after a restart of slurmd, so each rescan looks for them; between two nothing is read.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { CgroupLayout } from "../cgroup/layout.ts";
import { SluidNames } from "./sluid.ts";

export interface SlurmNames {
  /** slurm_cgroup of agent.toml: "slurm" is whatever Slurm calls it by itself. */
  readonly slurm: string;
  /** This node as Slurm calls it. */
  readonly node: string;
}

/** Directories of Slurm's own root, by purpose. Where none exists, the one that is expected. */
export interface JobRoots {
  readonly version: 1 | 2;
  readonly cpuset: readonly string[];
  readonly memory: readonly string[];
  /** Where a job's tasks are whatever Slurm constrains: the freezer's. */
  readonly tasks: readonly string[];
  /** All in which a job's directory tells that the job is here, without repeats. */
  readonly all: readonly string[];
  /** Those in another hierarchy of v1. */
  under(mount: string): readonly string[];
  /** Looks for them again. */
  look(): void;
  readonly sluids: SluidNames;
}

export const byDefault = "slurm";

/** Slices at the top of the tree that are looked into: a bound. */
const slicesMax = 64;

function rootNames({ version }: CgroupLayout, { slurm, node }: SlurmNames): readonly string[] {
  if (version === 1) return slurm === byDefault ? [slurm, `slurm_${node}`] : [slurm];
  if (slurm === byDefault) return ["slurmstepd.scope", `${node}_slurmstepd.scope`, slurm];
  const several = /^slurm_(.+)$/.exec(slurm)?.[1];
  return several === undefined ? [slurm] : [slurm, `${several}_slurmstepd.scope`];
}

/** Of a unified tree: its own, and that of the container in which this is. */
function tops(mount: string, proc: string): string[] {
  let init = "/";
  try {
    init = /^0::(\/.*)$/m.exec(readFileSync(join(proc, "1", "cgroup"), "utf8"))?.[1] ?? "/";
  } catch {
    // Not to be seen: then there is no container that we could know of.
  }
  // A path out of our namespace is none of this tree.
  return init.startsWith("/..") ? [mount] : [...new Set([mount, join(mount, dirname(init))])];
}

/** system.slice first, and the top itself. */
function slices(top: string): string[] {
  let found: string[] = [];
  try {
    found = readdirSync(top).filter((name) => name.endsWith(".slice") && name !== "system.slice");
  } catch {
    // No such tree (any more): nothing is there.
  }
  return ["system.slice", "", ...found.slice(0, slicesMax)].map((name) => join(top, name));
}

export function jobRoots(
  layout: CgroupLayout,
  slurm: SlurmNames,
  { exists = existsSync, proc = "/proc" }: { exists?: (path: string) => boolean; proc?: string } = {},
): JobRoots {
  const names = rootNames(layout, slurm);
  const under = (mount: string | undefined): string[] => {
    if (mount === undefined) return [];
    const parents = layout.version === 1 ? [mount] : tops(mount, proc).flatMap(slices);
    const places = [...new Set(parents.flatMap((parent) => names.map((name) => join(parent, name))))];
    const there = places.filter(exists);
    return there.length > 0 ? there : places.slice(0, 1);
  };
  let cpuset: readonly string[] = [];
  let memory: readonly string[] = [];
  let tasks: readonly string[] = [];
  let all: readonly string[] = [];
  const look = (): void => {
    cpuset = under(layout.mounts.get("cpuset"));
    memory = layout.version === 2 ? cpuset : under(layout.mounts.get("memory"));
    const freezer = layout.version === 2 ? cpuset : under(layout.mounts.get("freezer"));
    tasks = freezer.length > 0 ? freezer : memory;
    all = [...new Set([...cpuset, ...memory, ...tasks])];
  };
  look();
  return {
    version: layout.version,
    get cpuset() {
      return cpuset;
    },
    get memory() {
      return memory;
    },
    get tasks() {
      return tasks;
    },
    get all() {
      return all;
    },
    under,
    look,
    sluids: new SluidNames(proc),
  };
}
