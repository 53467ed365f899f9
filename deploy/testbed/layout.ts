/**
 * How a testbed divides this machine: which real cores and how much memory each node has, and every address and path.
 * Pure, so that the division can be tested for machines that we do not have.
 */
import { readFileSync } from "node:fs";
import { totalmem } from "node:os";
import { join } from "node:path";
import { formatCpuList, parseCpuList } from "../../src/common/cpulist.ts";
import { SubletError } from "../../src/common/errors.ts";

export const maxNodes = 200;
export const bridge = "sublet0";
export const controllerAddress = "10.77.0.1";
export const jobUser = { name: "subletuser", uid: 20001, gid: 20001 } as const;
export const defaultStateDir = "/run/sublet-testbed";

/** One physical core with its hardware threads (Linux CPU numbers, ascending). */
export interface Core {
  readonly socket: number;
  readonly cpus: readonly number[];
}

export interface NodeLayout {
  readonly name: string;
  readonly index: number;
  readonly address: string;
  /** The Linux CPUs that jobs and guests of this node may use. */
  readonly cpus: readonly number[];
  /** The CPUs of this machine that are not this node's, in Slurm's own numbering (core after core, threads side by side). */
  readonly foreignSlurmCpus: readonly number[];
  readonly memoryMib: number;
  /** More of its line in slurm.conf: features, generic resources. */
  readonly slurmWords: string;
  /** Host end of its veth pair. */
  readonly veth: string;
  /** Its `/run/sublet`, as seen from outside. */
  readonly runDir: string;
  readonly spoolDir: string;
}

export interface Layout {
  readonly stateDir: string;
  readonly home: string;
  readonly cores: readonly Core[];
  readonly nodes: readonly NodeLayout[];
  /** What cannot be shown honestly on a machine this small; empty on a large one. */
  readonly caveats: readonly string[];
}

/** The cores of this machine from sysfs, in Slurm's order: by socket, then by first CPU. */
export function readCores(root = "/sys/devices/system/cpu"): Core[] {
  const cores = new Map<string, Core>();
  for (const cpu of parseCpuList(readFileSync(join(root, "online"), "utf8"))) {
    const topology = join(root, `cpu${cpu}`, "topology");
    const threads = parseCpuList(readFileSync(join(topology, "thread_siblings_list"), "utf8"));
    const socket = Number(readFileSync(join(topology, "physical_package_id"), "utf8"));
    cores.set(formatCpuList(threads), { socket: Math.max(socket, 0), cpus: threads });
  }
  return [...cores.values()].sort((a, b) => a.socket - b.socket || (a.cpus[0] ?? 0) - (b.cpus[0] ?? 0));
}

/**
 * Divides `cores` cores (indices 0..cores-1) among `nodes` nodes. The first node gets two or more, as jobs and guests must fit
 * beside each other there. With a core too few for that, all but the first node share what is left, or the last core.
 */
export function divideCores(cores: number, nodes: number): number[][] {
  const all = Array.from({ length: cores }, (_, i) => i);
  if (cores > nodes || nodes === 1) {
    const each = Math.floor(cores / nodes);
    const more = cores % nodes;
    let next = 0;
    return Array.from({ length: nodes }, (_, k) => {
      const mine = all.slice(next, next + each + (k < more ? 1 : 0));
      next += mine.length;
      return mine;
    });
  }
  const first = all.slice(0, 2);
  const rest = cores > 2 ? all.slice(2) : all.slice(-1);
  return Array.from({ length: nodes }, (_, k) => (k === 0 ? first : [rest[(k - 1) % rest.length] ?? 0]));
}

export interface LayoutOptions {
  nodes: number;
  stateDir: string;
  /** One figure for all, or one for each. */
  memoryMibPerNode?: number | readonly number[];
  /** For each node, more of its line in slurm.conf. */
  slurmWords?: readonly string[];
  cores?: readonly Core[];
  totalMemoryMib?: number;
}

/** The whole layout. @throws SubletError INVALID_ARGUMENT on sizes that cannot be. */
export function planLayout(options: LayoutOptions): Layout {
  const { nodes: count, stateDir } = options;
  if (!Number.isSafeInteger(count) || count < 1 || count > maxNodes)
    throw new SubletError("INVALID_ARGUMENT", `a testbed has 1 to ${maxNodes} nodes, not ${count}`);
  if (!/^\/[A-Za-z0-9._/-]+$/.test(stateDir) || stateDir.length > 60)
    throw new SubletError(
      "INVALID_ARGUMENT",
      `state directory ${stateDir}: use a short absolute path without blanks`,
    );
  const cores = options.cores ?? readCores();
  const totalMib = options.totalMemoryMib ?? Math.floor(totalmem() / 1048576);
  const shareMib = Math.floor((totalMib * 0.8) / count);
  const even = shareMib > 1024 ? shareMib - (shareMib % 256) : shareMib;
  const { memoryMibPerNode: wanted = even } = options;
  const division = divideCores(cores.length, count);
  const nodes = division.map((mine, k): NodeLayout => {
    const name = `n${k + 1}`;
    const owned = new Set(mine);
    return {
      name,
      index: k + 1,
      address: `10.77.0.${11 + k}`,
      cpus: mine.flatMap((core) => cores[core]?.cpus ?? []).sort((a, b) => a - b),
      foreignSlurmCpus: slurmCpus(cores, (core) => !owned.has(core)),
      memoryMib: typeof wanted === "number" ? wanted : (wanted[k] ?? even),
      slurmWords: options.slurmWords?.[k] ?? "",
      veth: `sublet-${name}`,
      runDir: join(stateDir, name, "sublet"),
      spoolDir: join(stateDir, name, "spool"),
    };
  });
  return { stateDir, home: join(stateDir, "home"), cores, nodes, caveats: caveatsOf(nodes) };
}

/** Slurm's own CPU numbers of the cores that `wanted` picks. */
function slurmCpus(cores: readonly Core[], wanted: (core: number) => boolean): number[] {
  const numbers: number[] = [];
  let next = 0;
  cores.forEach((core, i) => {
    for (let thread = 0; thread < core.cpus.length; thread++, next++) if (wanted(i)) numbers.push(next);
  });
  return numbers;
}

function caveatsOf(nodes: readonly NodeLayout[]): string[] {
  const users = new Map<number, string[]>();
  for (const node of nodes)
    for (const cpu of node.cpus) users.set(cpu, [...(users.get(cpu) ?? []), node.name]);
  return [...users]
    .filter(([, names]) => names.length > 1)
    .map(
      ([cpu, names]) =>
        `core ${cpu} is shared by ${names.join(", ")}: what they do at the same time disturbs each other, so figures of one of them with the others busy say little`,
    );
}
