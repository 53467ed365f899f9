/**
 * Holding a guest back without ending it: a smaller CPU quota, or the freezer. A hold lies over the limits of the lease
 * (limitGuest), so that a limit that is written for another reason does not lift it; it is in the kernel's files alone,
 * from where the agent's next life reads it.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { toSubletError } from "../../src/common/errors.ts";
import { type GuestTree, guestName, leastQuota } from "./guests.ts";
import { applySettings, periodUs, quotaSetting } from "./limits.ts";

/** freezing: asked for, and not all of its tasks have stopped yet. */
export type Frost = "thawed" | "freezing" | "frozen";

function pathOf(tree: GuestTree, leaseId: string, controller: "cpu" | "freezer", file: string): string {
  return join(tree.layout.mounts.get(controller) ?? "", tree.root, guestName(tree, leaseId), file);
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    return undefined; // No such guest, or a kernel without it: the caller says what that means.
  }
}

/** undefined: there is no such guest, or no freezer. */
export function guestFrost(tree: GuestTree, leaseId: string): Frost | undefined {
  if (tree.layout.version === 1) {
    const state = read(pathOf(tree, leaseId, "freezer", "freezer.state"));
    if (state === undefined) return undefined;
    return state === "FROZEN" ? "frozen" : state === "FREEZING" ? "freezing" : "thawed";
  }
  const asked = read(pathOf(tree, leaseId, "freezer", "cgroup.freeze"));
  if (asked === undefined) return undefined;
  const events = read(pathOf(tree, leaseId, "freezer", "cgroup.events")) ?? "";
  return /^frozen 1$/m.test(events) ? "frozen" : asked === "1" ? "freezing" : "thawed";
}

/** Freezes or thaws. Returns alarms; a guest that is not there is none. */
export function freezeGuest(tree: GuestTree, leaseId: string, frozen: boolean): string[] {
  const v1 = tree.layout.version === 1;
  const path = pathOf(tree, leaseId, "freezer", v1 ? "freezer.state" : "cgroup.freeze");
  if (!tree.layout.mounts.has("freezer")) return ["this machine has no freezer"];
  if (read(path) === undefined) return [];
  try {
    writeFileSync(path, v1 ? (frozen ? "FROZEN" : "THAWED") : frozen ? "1" : "0", { flag: "r+" });
  } catch (thrown) {
    return [`${path}: ${toSubletError(thrown).message}`];
  }
  const found = guestFrost(tree, leaseId);
  const took = found === undefined || (found !== "thawed") === frozen;
  return took ? [] : [`${path} is ${found}`];
}

/** Quota in force, in cores; undefined: none, or no such guest. */
export function guestQuotaCores(tree: GuestTree, leaseId: string): number | undefined {
  const file = tree.layout.version === 1 ? "cpu.cfs_quota_us" : "cpu.max";
  const quotaUs = Number.parseInt(read(pathOf(tree, leaseId, "cpu", file)) ?? "", 10);
  return quotaUs > 0 ? quotaUs / periodUs : undefined;
}

/** Holds a guest to a part of its cores, or lets it have them all again (held: undefined). Returns alarms. */
export function holdQuota(
  tree: GuestTree,
  leaseId: string,
  leaseCores: number,
  heldCores: number | undefined,
): string[] {
  if (heldCores === undefined) tree.holds?.delete(leaseId);
  else tree.holds?.set(leaseId, heldCores);
  if (read(pathOf(tree, leaseId, "cpu", "cgroup.procs")) === undefined) return [];
  const wanted = quotaSetting(
    tree.layout.version,
    leastQuota(leaseCores, heldCores, tree.priority?.quotaCores),
  );
  return applySettings(tree.layout, [tree.root, guestName(tree, leaseId)], [wanted]);
}
