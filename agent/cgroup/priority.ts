/**
 * What guests count for against batch jobs, by the kernel's own means: the CPU priority of the root of all guests. Weights
 * compare siblings, so it is the root's weight that decides between a job and a guest; those of single guests only decide
 * between guests.
 *
 * A dying guest gives back its memory by its own work, and a job waits for it: while one dies, for a second at most,
 * the root counts like anybody else. What was written is read back, before each new guest too: the hook lifts the root
 * when it has to kill guests by itself.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { GuestTree } from "./guests.ts";
import { applySettings, quotaSetting, type Setting, setting } from "./limits.ts";

/**
 * idle: runs when nobody else wants the core (SCHED_IDLE for groups, from kernel 5.15); on older kernels as `lowest`.
 * lowest: the least weight, 2 of 1024. fair: like anybody else.
 */
export type CpuPriority = "idle" | "lowest" | "fair";

/** How long a guest that does not end keeps the root lifted. */
const liftMaxMs = 1000;

/** Priority of a root, and the guests that die now with the times since when. */
export interface RootPriority {
  wanted: CpuPriority;
  /** CPU time of all guests together, in cores; undefined: as much as their leases say. */
  quotaCores?: number | undefined;
  readonly dying: Map<string, number>;
}

/** cpu.idle pins the weight: with it, no weight can be written. */
export function prioritySettings(version: 1 | 2, priority: CpuPriority, hasIdle: boolean): Setting[] {
  if (priority === "idle" && hasIdle) return [setting("cpu", "cpu.idle", "1", "text")];
  const notIdle = hasIdle ? [setting("cpu", "cpu.idle", "0", "text")] : [];
  const fair = priority === "fair";
  return version === 1
    ? [...notIdle, setting("cpu", "cpu.shares", fair ? "1024" : "2", "text")]
    : [...notIdle, setting("cpu", "cpu.weight", fair ? "100" : "1", "text")];
}

function write(tree: GuestTree, priority: CpuPriority, quotaCores: number | undefined): string[] {
  const mount = tree.layout.mounts.get("cpu");
  if (mount === undefined || !existsSync(join(mount, tree.root))) return [];
  const hasIdle = existsSync(join(mount, tree.root, "cpu.idle"));
  const { version } = tree.layout;
  const settings = [...prioritySettings(version, priority, hasIdle), quotaSetting(version, quotaCores)];
  return applySettings(tree.layout, [tree.root], settings);
}

/** Puts the root where it belongs. Returns alarms. */
export function settleRoot(tree: GuestTree): string[] {
  if (tree.priority === undefined || tree.priority.dying.size > 0) return [];
  return write(tree, tree.priority.wanted, tree.priority.quotaCores);
}

/** A guest begins to die. */
export function liftRoot(tree: GuestTree, leaseId: string): void {
  if (tree.priority === undefined || tree.priority.dying.has(leaseId)) return;
  tree.priority.dying.set(leaseId, performance.now());
  if (tree.priority.dying.size === 1) write(tree, "fair", undefined);
}

/** A guest was looked at on its way to death. */
export function lowerRoot(tree: GuestTree, leaseId: string, gone: boolean): void {
  const sinceMs = tree.priority?.dying.get(leaseId);
  if (sinceMs === undefined || (!gone && performance.now() - sinceMs < liftMaxMs)) return;
  tree.priority?.dying.delete(leaseId);
  settleRoot(tree);
}
