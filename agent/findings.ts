/** What the agent found out about its node, as `sublet status` and the doctor show it. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { formatCpuList } from "../src/common/cpulist.ts";
import { type GuestTree, rootDirs } from "./cgroup/guests.ts";
import type { FabricFound } from "./executor/fabric.ts";
import type { GuardPolicy } from "./guard/policy.ts";
import { foundSignals, type Signals } from "./guard/signals.ts";
import type { Inventory } from "./inventory/inventory.ts";
import type { AgentState } from "./reactor/state.ts";

/** What does not change while the agent runs. */
export function lastingFindings(of: {
  readonly tree: GuestTree;
  readonly alarms: readonly string[];
  readonly inventory: Inventory;
  readonly fabricAddress: string;
  readonly fabric: FabricFound;
  readonly signals: Signals;
  readonly policy: GuardPolicy;
}): Record<string, string> {
  const { tree, inventory, fabric, policy } = of;
  const { layout } = tree;
  return {
    "cgroup.version": `${layout.version}`,
    "cgroup.controllers": [...layout.mounts.keys()].join(","),
    "cgroup.missing": layout.missing.join(","),
    "cgroup.alarms": of.alarms.join("; "),
    "cgroup.root": rootDirs(tree)[0] ?? "",
    cores: formatCpuList(inventory.cores),
    "numa.nodes": `${inventory.numa.length}`,
    "cores.threads_per_core": `${Math.max(...inventory.siblings.map((group) => group.length))}`,
    "fabric.address": of.fabricAddress,
    "fabric.provider": fabric.why === undefined ? fabric.provider : `none: ${fabric.why}`,
    "fabric.interface": inventory.fabricInterface ?? "none has the fabric address",
    "kernel.psi": existsSync("/proc/pressure/cpu") ? "yes" : "no",
    "guard.priority": existsSync(join(layout.mounts.get("cpu") ?? "", tree.root, "cpu.idle"))
      ? policy.cpuPriority
      : `no cpu.idle here; wanted ${policy.cpuPriority}`,
    "guard.signals": foundSignals(of.signals),
    node_version: process.version,
  };
}

/** What this node keeps, for who compares it with what Slurm keeps; a reload may change it. */
export function keptFindings(
  { reserveCores, reserveMemoryBytes }: Pick<AgentState["setup"], "reserveCores" | "reserveMemoryBytes">,
  stateDir: string,
): Record<string, string> {
  return {
    "reserve.cores": formatCpuList(reserveCores),
    "reserve.memory_mib": `${Math.floor(reserveMemoryBytes / (1024 * 1024))}`,
    "state.dir": stateDir,
  };
}

/** Longest value that GetHealth sends. */
const maxText = 256;

/** Findings as one answer of many: long values are cut. */
export function bounded(findings: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(findings).map(([key, value]) => [key, value.slice(0, maxText)]));
}

/** What is wrong with this agent, as far as it knows itself. Equal troubles have equal words, whatever the node. */
export function knownProblems(
  state: Pick<AgentState, "starterUp" | "drain">,
  findings: Readonly<Record<string, string>>,
  controllerConnected: boolean,
): string[] {
  const alarms = findings["cgroup.alarms"] ?? "";
  return [
    ...(state.starterUp ? [] : ["the starter is not connected"]),
    ...(controllerConnected ? [] : ["no controller is connected"]),
    ...(state.drain === undefined
      ? []
      : [`drained: ${state.drain.why || "no reason given"}`.slice(0, maxText)]),
    ...(findings["guard.policy_refused"] === "yes"
      ? ["the guard's new policy was refused: the old one is in force"]
      : []),
    ...(alarms === "" ? [] : [`limits of the guests did not take: ${alarms}`.slice(0, maxText)]),
  ];
}
