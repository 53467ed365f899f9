/**
 * Where this machine keeps its cgroup controllers: v1 hierarchies (one mount per controller, or several controllers in
 * one mount), or the one tree of v2. On hybrid machines v1 wins when it has the cpuset controller: a controller lives
 * in one version only, and Slurm uses the one that has cpuset too.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { SubletError } from "../../src/common/errors.ts";

export const controllers = ["cpuset", "cpu", "memory", "pids", "freezer"] as const;

export type Controller = (typeof controllers)[number];

/** cpuset and memory are the promise to the batch job; without them nothing is lent. */
const required: readonly Controller[] = ["cpuset", "memory"];

export interface CgroupLayout {
  readonly version: 1 | 2;
  /** Mount of each controller that was found; with v2 all are the same path. */
  readonly mounts: ReadonlyMap<Controller, string>;
  readonly missing: readonly Controller[];
}

interface Mount {
  readonly path: string;
  readonly type: string;
  readonly options: readonly string[];
}

/** mountinfo escapes blanks and backslashes in octal. */
function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

function cgroupMounts(mountinfo: string): Mount[] {
  const mounts: Mount[] = [];
  for (const line of mountinfo.split("\n")) {
    const [left, right] = line.split(" - ");
    const path = left?.split(" ")[4];
    const [type, , options] = right?.split(" ") ?? [];
    if (path !== undefined && (type === "cgroup" || type === "cgroup2"))
      mounts.push({ path: unescapeOctal(path), type, options: (options ?? "").split(",") });
  }
  return mounts;
}

/** Mount of the v1 hierarchy that has this controller, whether we use it or not. */
export function v1Mount(
  name: string,
  mountinfo: string = readFileSync("/proc/self/mountinfo", "utf8"),
): string | undefined {
  return cgroupMounts(mountinfo).find((each) => each.type === "cgroup" && each.options.includes(name))?.path;
}

function withMissing(version: 1 | 2, mounts: Map<Controller, string>): CgroupLayout {
  return { version, mounts, missing: controllers.filter((name) => !mounts.has(name)) };
}

/**
 * Finds the controllers in the text of /proc/self/mountinfo. v2's freezer is part of its core.
 * @throws SubletError FAILED_PRECONDITION when cpuset or memory is nowhere.
 */
export function discoverCgroups(
  mountinfo: string = readFileSync("/proc/self/mountinfo", "utf8"),
  readText: (path: string) => string = (path) => readFileSync(path, "utf8"),
): CgroupLayout {
  const mounts = cgroupMounts(mountinfo);
  const v1 = new Map<Controller, string>();
  for (const mount of mounts.filter((each) => each.type === "cgroup"))
    for (const name of controllers)
      if (mount.options.includes(name) && !v1.has(name)) v1.set(name, mount.path);
  let layout: CgroupLayout | undefined;
  if (v1.has("cpuset")) layout = withMissing(1, v1);
  else {
    const unified = mounts.find((each) => each.type === "cgroup2");
    if (unified !== undefined) {
      const offered = readText(join(unified.path, "cgroup.controllers")).trim().split(/\s+/);
      const v2 = new Map<Controller, string>();
      for (const name of controllers)
        if (name === "freezer" || offered.includes(name)) v2.set(name, unified.path);
      layout = withMissing(2, v2);
    }
  }
  const lacking = required.filter((name) => layout === undefined || layout.missing.includes(name));
  if (layout === undefined || lacking.length > 0)
    throw new SubletError(
      "FAILED_PRECONDITION",
      `cgroup controllers ${lacking.join(", ")} not found: mount them (v1: /sys/fs/cgroup/<name>) ` +
        "or delegate them to this service (systemd: Delegate=yes)",
    );
  return layout;
}

/** The directories of one cgroup: one per mount, in a fixed order (cpuset first). */
export function cgroupDirs(layout: CgroupLayout, ...names: readonly string[]): string[] {
  return [...new Set(layout.mounts.values())].map((mount) => join(mount, ...names));
}
