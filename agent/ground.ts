/**
 * What an agent finds and makes before it has a state: the facts of its node, the guard's policy for them, and the root of
 * all guests' cgroups with its limits.
 */
import { lookup } from "node:dns/promises";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { formatCpuList } from "../src/common/cpulist.ts";
import { SubletError } from "../src/common/errors.ts";
import { formatBytes } from "../src/common/units.ts";
import type { AgentConfig } from "../src/config/config.ts";
import type { FileReader } from "../src/config/sources.ts";
import { type GuestTree, prepareRoot, rootDirs } from "./cgroup/guests.ts";
import { discoverCgroups } from "./cgroup/layout.ts";
import { type FabricFound, probeFabric } from "./executor/fabric.ts";
import { type GuardPolicy, loadPolicy } from "./guard/policy.ts";
import { type Inventory, readInventory } from "./inventory/inventory.ts";
import type { AgentLog } from "./log.ts";
import { writeRoots } from "./run-dir.ts";

/** The guard's policy for this node, as this configuration says. @throws SubletError: that, or what it reserves, is wrong. */
export type PolicyReader = (config: AgentConfig, read?: FileReader) => GuardPolicy;

export interface Ground {
  readonly fabricAddress: string;
  readonly inventory: Inventory;
  readonly fabric: FabricFound;
  readonly readPolicy: PolicyReader;
  readonly policy: GuardPolicy;
  readonly tree: GuestTree;
  /** Limits of the root that did not take. */
  readonly alarms: readonly string[];
}

/** @throws SubletError INVALID_ARGUMENT: more is reserved than the node has. */
export function checkReserves(
  { reserveCores, reserveMemoryBytes }: Pick<AgentConfig, "reserveCores" | "reserveMemoryBytes">,
  { cores, memoryBytes }: Pick<Inventory, "cores" | "memoryBytes">,
): void {
  const strange = reserveCores.filter((core) => !cores.includes(core));
  if (strange.length > 0)
    throw new SubletError(
      "INVALID_ARGUMENT",
      `reserve_cores: this node has no core ${formatCpuList(strange)}; its cores are ${formatCpuList(cores)}`,
    );
  if (reserveMemoryBytes > memoryBytes)
    throw new SubletError(
      "INVALID_ARGUMENT",
      `reserve_memory_mib: ${formatBytes(reserveMemoryBytes)} is more than this node's ${formatBytes(memoryBytes)}`,
    );
}

/** @throws SubletError where the node has no cgroups for guests, or the policy is wrong. */
export async function prepareGround(config: AgentConfig, log: AgentLog): Promise<Ground> {
  const layout = discoverCgroups();
  const fabricAddress = (await lookup(config.fabricAddress, { family: 4 })).address;
  const inventory = readInventory({
    cores: config.cores.length === 0 ? undefined : config.cores,
    memoryBytes: config.memoryBytes,
    fabricAddress,
  });
  const fabric = await probeFabric({
    provider: config.fabricProvider,
    program: join(config.nativeDir, "bin", "sublet-fabric-probe"),
    uid: config.guestUidFirst,
  });
  const readPolicy: PolicyReader = (wanted, read) => {
    checkReserves(wanted, inventory);
    const node = { cores: inventory.cores.length, memoryBytes: inventory.memoryBytes };
    return loadPolicy(wanted.guardPolicyFile, node, read);
  };
  const policy = readPolicy(config);
  const tree: GuestTree = {
    layout,
    root: config.cgroupName,
    names: new Map(),
    holds: new Map(),
    priority: { wanted: policy.cpuPriority, quotaCores: policy.guestQuotaCores, dying: new Map() },
  };
  mkdirSync(join(config.runDir, "x"), { recursive: true, mode: 0o755 });
  const alarms = prepareRoot(tree, inventory.cores, inventory.mems);
  for (const alarm of alarms) log.error({ alarm }, "limit of the guest root did not take");
  writeRoots(config.runDir, rootDirs(tree), log);
  return { fabricAddress, inventory, fabric, readPolicy, policy, tree, alarms };
}
