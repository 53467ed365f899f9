/**
 * What this node has: cores, their NUMA nodes and siblings, memory, the network interface of the fabric. Read from
 * /sys and /proc once at start (no program is run for it); only the available memory is read again later.
 */
import { readdirSync, readFileSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { parseCpuList } from "../../src/common/cpulist.ts";
import { SubletError } from "../../src/common/errors.ts";

export interface NumaNode {
  readonly id: number;
  readonly cores: readonly number[];
}

export interface Inventory {
  /** The cores that are this node's. */
  readonly cores: readonly number[];
  readonly numa: readonly NumaNode[];
  /** Groups of hardware threads that share a physical core, of this node's cores only. */
  readonly siblings: readonly (readonly number[])[];
  /** NUMA nodes with memory, as a list for cpuset.mems. */
  readonly mems: string;
  readonly memoryBytes: number;
  /** Name of the interface that has the fabric address; undefined when none has it. */
  readonly fabricInterface: string | undefined;
}

export interface InventoryWishes {
  /** The cores of this node where it shares a machine; undefined: all that are online. */
  readonly cores: readonly number[] | undefined;
  readonly memoryBytes: number | undefined;
  readonly fabricAddress: string;
}

export interface SystemRoots {
  readonly sys: string;
  readonly proc: string;
}

export const systemRoots: SystemRoots = { sys: "/sys", proc: "/proc" };

function readOptional(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined; // A missing file is an answer: the kernel has no such thing.
  }
}

/** Bytes of a line of /proc/meminfo. */
export function meminfoBytes(text: string, key: string): number | undefined {
  const match = new RegExp(`^${key}:\\s+(\\d{1,18}) kB$`, "m").exec(text);
  return match === null ? undefined : Number(match[1]) * 1024;
}

/** MemAvailable of the kernel now. @throws SubletError FAILED_PRECONDITION when the kernel does not say. */
export function readAvailableBytes(roots: SystemRoots = systemRoots): number {
  const bytes = meminfoBytes(readOptional(join(roots.proc, "meminfo")) ?? "", "MemAvailable");
  if (bytes === undefined) throw new SubletError("FAILED_PRECONDITION", "/proc/meminfo has no MemAvailable");
  return bytes;
}

function readNuma(sys: string, cores: readonly number[]): NumaNode[] {
  const base = join(sys, "devices/system/node");
  const nodes: NumaNode[] = [];
  let names: string[] = [];
  try {
    names = readdirSync(base);
  } catch {
    names = []; // No NUMA in this kernel: one node with everything, below.
  }
  for (const name of names) {
    const id = /^node(\d{1,4})$/.exec(name)?.[1];
    if (id === undefined) continue;
    const list = parseCpuList(readOptional(join(base, name, "cpulist")) ?? "");
    nodes.push({ id: Number(id), cores: list.filter((core) => cores.includes(core)) });
  }
  return nodes.length === 0 ? [{ id: 0, cores }] : nodes.sort((a, b) => a.id - b.id);
}

function readSiblings(sys: string, cores: readonly number[]): number[][] {
  const groups = new Map<string, number[]>();
  for (const core of cores) {
    const path = join(sys, `devices/system/cpu/cpu${core}/topology/thread_siblings_list`);
    const group = parseCpuList(readOptional(path) ?? `${core}`).filter((each) => cores.includes(each));
    groups.set(group.join(), group);
  }
  return [...groups.values()];
}

/** @throws SubletError FAILED_PRECONDITION when configured cores do not exist. */
export function readInventory(wishes: InventoryWishes, roots: SystemRoots = systemRoots): Inventory {
  const online = parseCpuList(readOptional(join(roots.sys, "devices/system/cpu/online")) ?? "");
  const cores = wishes.cores ?? online;
  const absent = cores.filter((core) => !online.includes(core));
  if (cores.length === 0 || absent.length > 0)
    throw new SubletError(
      "FAILED_PRECONDITION",
      `cores ${absent.join(", ")} are not online here (online: ${online.join(", ")}): correct \`cores\` in the configuration`,
    );
  const total = meminfoBytes(readOptional(join(roots.proc, "meminfo")) ?? "", "MemTotal") ?? 0;
  const fabric = Object.entries(networkInterfaces()).find(([, addresses]) =>
    addresses?.some((each) => each.address === wishes.fabricAddress),
  );
  return {
    cores: [...cores].sort((a, b) => a - b),
    numa: readNuma(roots.sys, cores),
    siblings: readSiblings(roots.sys, cores),
    mems: (readOptional(join(roots.sys, "devices/system/node/has_memory")) ?? "0").trim() || "0",
    memoryBytes: Math.min(wishes.memoryBytes ?? total, total),
    fabricInterface: fabric?.[0],
  };
}
