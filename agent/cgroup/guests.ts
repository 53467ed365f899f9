/**
 * The cgroups of guests: `<mount>/<root>/lease_<id>` in each hierarchy, beside Slurm's tree and never in it.
 *
 * A guest is gone when all its directories are removed: rmdir fails while a process is inside, and a starter that
 * comes late fails at the missing directory. So removal is the proof that nothing runs and nothing will.
 * All calls are synchronous: a cgroup file costs some ten microseconds, less than a trip through the thread pool.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { formatCpuList } from "../../src/common/cpulist.ts";
import { SubletError, toSubletError } from "../../src/common/errors.ts";
import { type CgroupLayout, type Controller, cgroupDirs } from "./layout.ts";
import { applySettings, type GuestLimits, guestSettings, rootSettings } from "./limits.ts";
import { liftRoot, lowerRoot, type RootPriority, settleRoot } from "./priority.ts";

const prefix = "lease_";

export interface GuestTree {
  readonly layout: CgroupLayout;
  /** Name of the root, as configured ("sublet_n1"). */
  readonly root: string;
  /** By lease: names of cgroups that were made before their lease (executor/pool.ts). All others have the lease's. */
  readonly names?: Map<string, string>;
  /** By lease: the cores' worth of CPU time that the guard holds it to (throttle.ts). */
  readonly holds?: Map<string, number>;
  /** undefined: the root counts like anybody else. */
  readonly priority?: RootPriority;
  /** There are no cgroups to prove an end by (agent/pilot): the word of the guest's parent is the proof. */
  readonly byParent?: true;
}

function errno(thrown: unknown): string {
  return thrown instanceof Error && "code" in thrown ? String(thrown.code) : "";
}

/** Runs an access that may find the cgroup (ENOENT, ENODEV) or process (ESRCH) gone; then gives `otherwise`. */
function unlessGone<T>(otherwise: T, access: () => T): T {
  try {
    return access();
  } catch (thrown) {
    if (["ENOENT", "ENODEV", "ESRCH"].includes(errno(thrown))) return otherwise;
    throw thrown;
  }
}

/** Name of a guest's directories. */
export function guestName(tree: GuestTree, leaseId: string): string {
  return prefix + (tree.names?.get(leaseId) ?? leaseId);
}

/** Directories of one guest. */
export function guestDirs(tree: GuestTree, leaseId: string): string[] {
  return cgroupDirs(tree.layout, tree.root, guestName(tree, leaseId));
}

/** Directories of the root, one per hierarchy: what must be emptied to have no guest on this node. */
export function rootDirs(tree: GuestTree): string[] {
  return cgroupDirs(tree.layout, tree.root);
}

/** Makes the root. Returns alarms: limits that did not take. */
export function prepareRoot(tree: GuestTree, cores: readonly number[], mems: string): string[] {
  for (const dir of rootDirs(tree)) mkdirSync(dir, { recursive: true });
  const alarms: string[] = [];
  if (tree.layout.version === 2) {
    const wanted = [...tree.layout.mounts.keys()]
      .filter((name) => name !== "freezer")
      .map((name) => `+${name}`);
    const mount = tree.layout.mounts.get("cpuset") ?? "";
    for (const dir of [mount, join(mount, tree.root)])
      try {
        writeFileSync(join(dir, "cgroup.subtree_control"), wanted.join(" "));
      } catch (thrown) {
        alarms.push(`${dir}/cgroup.subtree_control: ${toSubletError(thrown).message}`);
      }
  }
  alarms.push(...applySettings(tree.layout, [tree.root], rootSettings(cores, mems)));
  return [...alarms, ...settleRoot(tree)];
}

/** Removes the root of all guests, where it is empty. */
export function removeRoot(tree: GuestTree): boolean {
  return removeDirs(rootDirs(tree));
}

/** Makes and limits the cgroup of one guest. @throws SubletError INTERNAL when a limit did not take; nothing stays. */
export function createGuest(tree: GuestTree, leaseId: string, limits: GuestLimits): string[] {
  const dirs = guestDirs(tree, leaseId);
  const made: string[] = [];
  try {
    for (const dir of dirs) {
      mkdirSync(dir);
      made.push(dir);
    }
    const alarms = [...settleRoot(tree), ...limitGuest(tree, leaseId, limits)];
    if (alarms.length > 0)
      throw new SubletError("INTERNAL", `cgroup limits did not take: ${alarms.join("; ")}`);
    return dirs;
  } catch (thrown) {
    removeDirs(made);
    throw toSubletError(thrown);
  }
}

/** v1 refuses a guest more than its root has. */
export function leastQuota(cores: number, ...others: readonly (number | undefined)[]): number {
  return Math.min(cores, ...others.map((other) => other ?? cores));
}

/**
 * Writes limits that differ from those in force. `known`: limits that this cgroup was made with, and that took: of them
 * only what is to change is looked at, and those on CPU time, which a policy may have changed since. Returns alarms.
 */
export function limitGuest(
  tree: GuestTree,
  leaseId: string,
  limits: GuestLimits,
  known?: GuestLimits,
): string[] {
  const { version } = tree.layout;
  const cpuQuotaCores = leastQuota(limits.cpuQuotaCores, tree.holds?.get(leaseId), tree.priority?.quotaCores);
  const had = known === undefined ? [] : guestSettings(version, known);
  const settings = guestSettings(version, { ...limits, cpuQuotaCores }).filter(
    ({ controller, file, value }) =>
      controller === "cpu" || !had.some((each) => each.file === file && each.value === value),
  );
  return applySettings(tree.layout, [tree.root, guestName(tree, leaseId)], settings);
}

/** Lease ids (or names, see GuestTree) of all guest cgroups that exist in any hierarchy. */
export function listGuests(tree: GuestTree): string[] {
  const ids = new Set<string>();
  for (const dir of rootDirs(tree))
    for (const name of unlessGone<string[]>([], () => readdirSync(dir)))
      if (name.startsWith(prefix)) ids.add(name.slice(prefix.length));
  return [...ids].sort();
}

function pidsIn(dir: string): number[] {
  const text = unlessGone("", () => readFileSync(join(dir, "cgroup.procs"), "utf8"));
  // 0 is a process outside this pid namespace: never a target.
  return text
    .split("\n")
    .map(Number)
    .filter((pid) => pid > 0);
}

/** Processes of a guest, over all hierarchies. */
export function guestPids(tree: GuestTree, leaseId: string): number[] {
  return [...new Set(guestDirs(tree, leaseId).flatMap(pidsIn))];
}

function isFrozen(tree: GuestTree, leaseId: string): boolean {
  const file = tree.layout.version === 1 ? "freezer.state" : "cgroup.freeze";
  const path = join(tree.layout.mounts.get("freezer") ?? "", tree.root, guestName(tree, leaseId), file);
  return ["FROZEN", "FREEZING", "1"].includes(unlessGone("", () => readFileSync(path, "utf8")).trim());
}

/** What a dying guest gets: see sealGuest. In the order in which it is written. */
function lastSettings(layout: CgroupLayout, cores: readonly number[]): [Controller, string, string][] {
  const cpus: [Controller, string, string][] =
    cores.length > 0 ? [["cpuset", "cpuset.cpus", formatCpuList(cores)]] : [];
  if (layout.version === 1)
    return [
      ["pids", "pids.max", "0"],
      ["freezer", "freezer.state", "THAWED"],
      ...cpus,
      ["cpu", "cpu.cfs_quota_us", "-1"],
      ["cpu", "cpu.shares", "1024"],
    ];
  return [
    ["pids", "pids.max", "0"],
    ["freezer", "cgroup.freeze", "0"],
    ...cpus,
    ["cpu", "cpu.max", "max"],
    ["cpu", "cpu.weight", "100"],
  ];
}

/**
 * No process may be born in the guest any more, none stays frozen, out of a signal's reach, and none dies at the lowest
 * weight or with others on one core: giving back memory is work that the guest does itself, and a job waits for it.
 * What was frozen is thawed with its death on the way, so that it does not run again.
 * `cores`: where it may do so; none: where it is.
 */
export function sealGuest(tree: GuestTree, leaseId: string, cores: readonly number[] = []): void {
  liftRoot(tree, leaseId);
  if (isFrozen(tree, leaseId)) killGuest(tree, leaseId);
  for (const [controller, file, value] of lastSettings(tree.layout, cores)) {
    const mount = tree.layout.mounts.get(controller);
    if (mount === undefined) continue;
    // r+ makes no file: a kernel that has none says ENOENT.
    unlessGone(undefined, () =>
      writeFileSync(join(mount, tree.root, guestName(tree, leaseId), file), value, { flag: "r+" }),
    );
  }
}

/** Sends SIGKILL to every process of a guest; returns how many there were. They may need a moment to end. */
export function killGuest(tree: GuestTree, leaseId: string): number {
  if (tree.layout.version === 2) {
    const path = join(guestDirs(tree, leaseId)[0] ?? "", "cgroup.kill");
    if (existsSync(path)) unlessGone(undefined, () => writeFileSync(path, "1"));
  }
  const pids = guestPids(tree, leaseId);
  for (const pid of pids) unlessGone(true, () => process.kill(pid, "SIGKILL"));
  return pids.length;
}

function removeDirs(dirs: readonly string[]): boolean {
  let gone = true;
  for (const dir of dirs)
    try {
      rmdirSync(dir);
    } catch (thrown) {
      if (errno(thrown) === "EBUSY" || errno(thrown) === "ENOTEMPTY") gone = false;
      else if (errno(thrown) !== "ENOENT") throw toSubletError(thrown);
    }
  return gone;
}

/** Removes a guest's cgroup. False while a process is still in it: kill and try again. */
export function removeGuest(tree: GuestTree, leaseId: string): boolean {
  const gone = removeDirs(guestDirs(tree, leaseId));
  lowerRoot(tree, leaseId, gone);
  if (gone) tree.holds?.delete(leaseId);
  return gone;
}

/**
 * Gives back what the kernel can take by itself of a guest without processes: page cache. (memory.stat tells the two apart
 * too late: its counters lag by seconds.) What a kernel does not offer is not done.
 */
export function dropGuestCache(tree: GuestTree, leaseId: string): void {
  const dir = join(tree.layout.mounts.get("memory") ?? "", tree.root, guestName(tree, leaseId));
  const bytes = guestMemoryBytes(tree, leaseId) ?? 0;
  const [file, value] =
    tree.layout.version === 1 ? ["memory.force_empty", "0"] : ["memory.reclaim", String(bytes)];
  try {
    // r+ makes no file.
    writeFileSync(join(dir, file), value, { flag: "r+" });
  } catch (thrown) {
    // EAGAIN: not all of it could be taken; EBUSY: a process came in between; then it is looked at again.
    if (!["ENOENT", "ENODEV", "EAGAIN", "EBUSY", "EINVAL"].includes(errno(thrown))) throw thrown;
  }
}

/** Memory charged to a guest, with page cache; undefined when there is no such guest. */
export function guestMemoryBytes(tree: GuestTree, leaseId: string): number | undefined {
  const file = tree.layout.version === 1 ? "memory.usage_in_bytes" : "memory.current";
  const path = join(tree.layout.mounts.get("memory") ?? "", tree.root, guestName(tree, leaseId), file);
  const text = unlessGone("", () => readFileSync(path, "utf8")).trim();
  return text === "" ? undefined : Number(text);
}
