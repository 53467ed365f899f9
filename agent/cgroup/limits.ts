/**
 * The limits of cgroups as files and texts. Each is written only where it differs and read back; what did not take
 * is returned, so that the caller can refuse to use the cgroup.
 */
import { closeSync, openSync, readSync, writeSync } from "node:fs";
import { join } from "node:path";
import { formatCpuList, parseCpuList } from "../../src/common/cpulist.ts";
import { toSubletError } from "../../src/common/errors.ts";
import type { CgroupLayout, Controller } from "./layout.ts";

export interface GuestLimits {
  /** Where the guest may run; never empty. */
  readonly cores: readonly number[];
  /** NUMA nodes, as a list ("0"). */
  readonly mems: string;
  /** CPU time per wall time, in cores. */
  readonly cpuQuotaCores: number;
  readonly memoryBytes: number;
  readonly pidsMax: number;
}

export interface Setting {
  readonly controller: Controller;
  readonly file: string;
  readonly value: string;
  /** cpus: a CPU list; bytes: rounded to pages by the kernel; text: as written. */
  readonly form: "cpus" | "bytes" | "text";
  /** Not every kernel has it; its absence is no alarm. */
  readonly optional: boolean;
}

/** Period of CPU quotas. */
export const periodUs = 100_000;
/** The least quota that every kernel takes. */
const quotaMinUs = 1000;
const pageBytes = 65536; // The largest page size in use: the kernel may round by less than this.

export function setting(controller: Controller, file: string, value: string, form: Setting["form"]): Setting {
  return { controller, file, value, form, optional: false };
}

/** CPU time per wall time; undefined: no limit. Optional: a kernel without CFS bandwidth control has none. */
export function quotaSetting(version: 1 | 2, quotaCores: number | undefined): Setting {
  const quotaUs =
    quotaCores === undefined ? undefined : Math.max(quotaMinUs, Math.round(quotaCores * periodUs));
  const [file, value] =
    version === 1 ? ["cpu.cfs_quota_us", `${quotaUs ?? -1}`] : ["cpu.max", `${quotaUs ?? "max"} ${periodUs}`];
  return { ...setting("cpu", file, value, "text"), optional: true };
}

/**
 * From here on a guest is slowed down and loses page cache, before it meets its limit and dies: within what the executor
 * itself needs beyond the lease.
 */
function memoryHighBytes({ memoryBytes }: GuestLimits): number {
  return memoryBytes - Math.min(8 * 1024 * 1024, Math.floor(memoryBytes / 8));
}

/**
 * The lowest CPU weight among guests (beside jobs the root's counts: priority.ts), hard limits on cores, memory and
 * processes, no swap; v2: slowed down before the memory limit, and killed as a whole. v1 has neither, but gives up the
 * guests' page cache first when the node is short (a soft limit of 0).
 */
export function guestSettings(version: 1 | 2, limits: GuestLimits): Setting[] {
  const cpus = formatCpuList(limits.cores);
  const bytes = `${limits.memoryBytes}`;
  if (version === 1)
    return [
      setting("cpuset", "cpuset.mems", limits.mems, "cpus"),
      setting("cpuset", "cpuset.cpus", cpus, "cpus"),
      setting("cpu", "cpu.shares", "2", "text"),
      quotaSetting(1, limits.cpuQuotaCores),
      setting("memory", "memory.limit_in_bytes", bytes, "bytes"),
      { ...setting("memory", "memory.memsw.limit_in_bytes", bytes, "bytes"), optional: true },
      { ...setting("memory", "memory.swappiness", "0", "text"), optional: true },
      { ...setting("memory", "memory.soft_limit_in_bytes", "0", "bytes"), optional: true },
      setting("pids", "pids.max", `${limits.pidsMax}`, "text"),
    ];
  return [
    setting("cpuset", "cpuset.mems", limits.mems, "cpus"),
    setting("cpuset", "cpuset.cpus", cpus, "cpus"),
    setting("cpu", "cpu.weight", "1", "text"),
    quotaSetting(2, limits.cpuQuotaCores),
    { ...setting("memory", "memory.high", `${memoryHighBytes(limits)}`, "bytes"), optional: true },
    setting("memory", "memory.max", bytes, "bytes"),
    { ...setting("memory", "memory.swap.max", "0", "bytes"), optional: true },
    { ...setting("memory", "memory.oom.group", "1", "text"), optional: true },
    setting("pids", "pids.max", `${limits.pidsMax}`, "text"),
  ];
}

/** The root of all guests: this node's cores, whatever the machine has beyond them. */
export function rootSettings(cores: readonly number[], mems: string): Setting[] {
  return [
    setting("cpuset", "cpuset.mems", mems, "cpus"),
    setting("cpuset", "cpuset.cpus", formatCpuList(cores), "cpus"),
  ];
}

function took(wanted: Setting, found: string): boolean {
  if (wanted.form === "cpus") return formatCpuList(parseCpuList(found)) === wanted.value;
  if (wanted.form === "text") return found.trim() === wanted.value;
  const bytes = Number(found.trim());
  return bytes <= Number(wanted.value) && Number(wanted.value) - bytes < pageBytes;
}

/** More than any of these files holds. */
const scratch = Buffer.allocUnsafe(4096);

function read(fd: number): string {
  return scratch.toString("latin1", 0, readSync(fd, scratch, 0, scratch.length, 0));
}

/** By one descriptor: a lease waits for this, and opening costs more than reading. Returns an alarm. */
function apply(path: string, wanted: Setting): string | undefined {
  let fd: number | undefined;
  try {
    fd = openSync(path, "r+"); // makes no file
    if (took(wanted, read(fd))) return undefined;
    writeSync(fd, wanted.value, 0);
    const found = read(fd);
    return took(wanted, found) ? undefined : `${path} is ${found.trim()}, not ${wanted.value}`;
  } catch (thrown) {
    if (fd !== undefined || !isMissing(thrown)) return `${path}: ${toSubletError(thrown).message}`;
    return wanted.optional ? undefined : `${path} does not exist`;
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

function isMissing(thrown: unknown): boolean {
  return thrown instanceof Error && "code" in thrown && thrown.code === "ENOENT";
}

/** Writes what differs, reads it back. Returns one sentence per limit that did not take. */
export function applySettings(
  layout: CgroupLayout,
  names: readonly string[],
  settings: readonly Setting[],
): string[] {
  const alarms: string[] = [];
  for (const wanted of settings) {
    const mount = layout.mounts.get(wanted.controller);
    if (mount === undefined) continue;
    const alarm = apply(join(mount, ...names, wanted.file), wanted);
    if (alarm !== undefined) alarms.push(alarm);
  }
  return alarms;
}
