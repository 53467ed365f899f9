/**
 * What a pilot holds: the cores that its process may run on (the cpuset of its step, by the kernel's word) and the memory
 * that its job may use (the tightest limit of the cgroups that it is in, else what Slurm said in the environment).
 * Hierarchies of both versions; a container's or a namespace's view of them is enough, since limits of outer groups that
 * cannot be seen are looked for in the environment too.
 */
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseCpuList } from "../../src/common/cpulist.ts";
import { SubletError } from "../../src/common/errors.ts";
import { meminfoBytes } from "../inventory/inventory.ts";

export interface PilotInventory {
  readonly cores: readonly number[];
  readonly memoryBytes: number;
  /** Memory cgroups of the job that have a limit, the innermost first. */
  readonly limits: readonly MemoryGroup[];
}

export interface MemoryGroup {
  readonly dir: string;
  readonly version: 1 | 2;
}

export interface PilotSystem {
  readonly read: (path: string) => string | undefined;
  readonly environment: Readonly<Record<string, string | undefined>>;
}

const mib = 1024 * 1024;

export const pilotSystem: PilotSystem = {
  environment: process.env,
  read(path) {
    try {
      return readFileSync(path, "utf8");
    } catch {
      return undefined; // Not there, or not for us: an answer, too.
    }
  },
};

/** Mount point and root of the memory hierarchy. */
function memoryMount(mountinfo: string): { path: string; root: string; version: 1 | 2 } | undefined {
  let unified: { path: string; root: string; version: 2 } | undefined;
  for (const line of mountinfo.split("\n")) {
    const [left, right] = line.split(" - ");
    const [, , , root, path] = left?.split(" ") ?? [];
    const [type, , options] = right?.split(" ") ?? [];
    if (root === undefined || path === undefined) continue;
    if (type === "cgroup" && options?.split(",").includes("memory") === true)
      return { path, root, version: 1 };
    if (type === "cgroup2") unified = { path, root, version: 2 };
  }
  return unified;
}

function membership(cgroup: string, version: 1 | 2): string | undefined {
  for (const line of cgroup.split("\n")) {
    const [id, controllers, ...path] = line.split(":");
    if (version === 1 ? controllers?.split(",").includes("memory") === true : id === "0")
      return path.join(":");
  }
  return undefined;
}

function limitOf({ dir, version }: MemoryGroup, { read }: PilotSystem): number {
  const text = read(join(dir, version === 1 ? "memory.limit_in_bytes" : "memory.max"))?.trim() ?? "max";
  return /^\d+$/.test(text) ? Number(text) : Number.POSITIVE_INFINITY;
}

/** The groups from the process' own up to the mount. */
function memoryGroups(system: PilotSystem): MemoryGroup[] {
  const mount = memoryMount(system.read("/proc/self/mountinfo") ?? "");
  const own =
    mount === undefined ? undefined : membership(system.read("/proc/self/cgroup") ?? "", mount.version);
  if (mount === undefined || own === undefined) return [];
  const below = mount.root !== "/" && own.startsWith(mount.root) ? own.slice(mount.root.length) : own;
  const groups: MemoryGroup[] = [];
  for (let path = join("/", below); path !== "/"; path = dirname(path))
    groups.push({ dir: join(mount.path, path), version: mount.version });
  return groups;
}

function slurmMemoryBytes({ environment }: PilotSystem, cores: number): number {
  const node = Number(environment.SLURM_MEM_PER_NODE);
  const cpu = Number(environment.SLURM_MEM_PER_CPU);
  if (node > 0) return node * mib;
  return cpu > 0 ? cpu * cores * mib : Number.POSITIVE_INFINITY;
}

/** @throws SubletError FAILED_PRECONDITION when nothing bounds the job's memory. */
export function pilotInventory(system: PilotSystem = pilotSystem): PilotInventory {
  const status = system.read("/proc/self/status") ?? "";
  const cores = parseCpuList(/^Cpus_allowed_list:\s*(\S+)$/m.exec(status)?.[1] ?? "");
  if (cores.length === 0)
    throw new SubletError("FAILED_PRECONDITION", "/proc/self/status does not say which cores are this job's");
  const totalBytes = meminfoBytes(system.read("/proc/meminfo") ?? "", "MemTotal") ?? 0;
  const limits = memoryGroups(system).filter((group) => limitOf(group, system) < totalBytes);
  const memoryBytes = Math.min(
    slurmMemoryBytes(system, cores.length),
    ...limits.map((group) => limitOf(group, system)),
  );
  if (!Number.isFinite(memoryBytes))
    throw new SubletError(
      "FAILED_PRECONDITION",
      "nothing says how much memory this job has: submit it with --mem",
    );
  return { cores, memoryBytes: Math.min(memoryBytes, totalBytes), limits };
}

/** What the job's processes may still take: by each of its limits, and by what the node has. */
export function pilotAvailableBytes(inventory: PilotInventory, system: PilotSystem = pilotSystem): number {
  const node = meminfoBytes(system.read("/proc/meminfo") ?? "", "MemAvailable") ?? 0;
  const left = inventory.limits.map((group) => {
    const file = group.version === 1 ? "memory.usage_in_bytes" : "memory.current";
    const used = Number(system.read(join(group.dir, file))?.trim() ?? 0);
    const key = group.version === 1 ? "total_inactive_file" : "inactive_file";
    const stat = system.read(join(group.dir, "memory.stat")) ?? "";
    const cache = Number(new RegExp(`^${key} (\\d+)$`, "m").exec(stat)?.[1] ?? 0);
    return Math.max(0, limitOf(group, system) - used + cache);
  });
  return Math.min(node, inventory.memoryBytes, ...left);
}
