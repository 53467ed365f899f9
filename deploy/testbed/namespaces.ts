/**
 * The namespaces of a testbed, kept alive by bind mounts in `<state>/ns` (nobody has to live in them): `ctl.uts` for the
 * daemons beside the nodes, `nK.net`, `nK.uts` and `nK.mnt` for a node. They are also the testbed's memory of what belongs to it:
 * a process is ours when its network or UTS namespace is one of these, so stopping never goes by name.
 */
import { mkdirSync, readdirSync, readFileSync, readlinkSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Layout, NodeLayout } from "./layout.ts";
import { run } from "./shell.ts";

export const nsDir = (stateDir: string): string => join(stateDir, "ns");

/** Where this tree is mounted read-only, so that jobs and guests reach it even when it lies in root's home. */
export const treeMount = (stateDir: string): string => join(stateDir, "tree");

/** argv that enters a node ("n1") or the control side ("ctl") before `command`. */
export function enter(stateDir: string, where: string, command: readonly string[]): string[] {
  const file = (kind: string): string => join(nsDir(stateDir), `${where}.${kind}`);
  const flags =
    where === "ctl"
      ? [`--uts=${file("uts")}`]
      : [`--net=${file("net")}`, `--uts=${file("uts")}`, `--mount=${file("mnt")}`];
  return ["nsenter", ...flags, "--", ...command];
}

/** The state directory as a mount of its own: executable whatever /run is mounted with, private, and gone with one umount. */
export async function mountState(stateDir: string, tree: string): Promise<void> {
  mkdirSync(stateDir, { recursive: true, mode: 0o755 });
  await run(["mount", "-t", "tmpfs", "-o", "mode=755,nosuid,nodev,size=50%", "sublet-testbed", stateDir]);
  await run(["mount", "--make-private", stateDir]);
  mkdirSync(treeMount(stateDir), { mode: 0o755 });
  await run(["mount", "--bind", "-o", "ro", tree, treeMount(stateDir)]);
}

/** Control side: only a host name of its own, as Slurm wants to know its controller by name. */
export async function makeControl(layout: Layout): Promise<void> {
  mkdirSync(nsDir(layout.stateDir), { recursive: true, mode: 0o700 });
  const file = join(nsDir(layout.stateDir), "ctl.uts");
  writeFileSync(file, "");
  await run(["unshare", `--uts=${file}`, "hostname", "sublet-ctl"]);
}

/** A node: network, host name, mounts (its own /run/sublet and /dev/shm, a hosts file that knows every node). */
export async function makeNode(layout: Layout, node: NodeLayout): Promise<void> {
  const dir = nsDir(layout.stateDir);
  const flags = ["net", "uts", "mnt"].map((kind) => {
    const file = join(dir, `${node.name}.${kind}`);
    writeFileSync(file, "");
    return `--${kind === "mnt" ? "mount" : kind}=${file}`;
  });
  mkdirSync(node.runDir, { recursive: true, mode: 0o755 });
  mkdirSync(node.spoolDir, { recursive: true, mode: 0o755 });
  mkdirSync("/run/sublet", { recursive: true, mode: 0o755 });
  const script = [
    "set -e",
    'hostname "$1"',
    'mount --bind "$2" /run/sublet',
    'mount --bind "$3" /etc/hosts',
    "mount -t tmpfs -o mode=1777,nosuid,nodev shm /dev/shm",
    "ip link set lo up",
  ].join("\n");
  const args = [node.name, node.runDir, join(layout.stateDir, "hosts")];
  await run(["unshare", ...flags, "--propagation", "slave", "sh", "-c", script, "sh", ...args]);
}

/** Inode numbers of the testbed's namespaces that are mounted now. */
function ownNamespaces(stateDir: string): { uts: Set<number>; net: Set<number> } {
  const own = { uts: new Set<number>(), net: new Set<number>() };
  const names = listDir(nsDir(stateDir));
  const nsfs = statSync("/proc/self/ns/net").dev;
  for (const name of names) {
    const kind = name.endsWith(".uts") ? "uts" : name.endsWith(".net") ? "net" : undefined;
    if (kind === undefined) continue;
    const found = statSync(join(nsDir(stateDir), name));
    // A plain file (its mount is gone) or the namespace that we live in would name processes that are not ours.
    if (found.dev === nsfs && found.ino !== statSync(`/proc/self/ns/${kind}`).ino) own[kind].add(found.ino);
  }
  return own;
}

/** Living processes inside the testbed's namespaces. */
export function processesInside(stateDir: string): number[] {
  const own = ownNamespaces(stateDir);
  if (own.uts.size === 0 && own.net.size === 0) return [];
  const inside: number[] = [];
  for (const entry of readdirSync("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    const ns = (kind: "uts" | "net"): number => {
      const link = readOr(() => readlinkSync(`/proc/${entry}/ns/${kind}`));
      return Number(/\[(\d+)\]/.exec(link)?.[1] ?? 0);
    };
    if (own.uts.has(ns("uts")) || own.net.has(ns("net"))) inside.push(Number(entry));
  }
  return inside;
}

export function listDir(path: string): string[] {
  try {
    return readdirSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}

/** Reads something under /proc that may be gone by now ("" then). */
export function readOr(read: () => string): string {
  try {
    return read();
  } catch {
    return ""; // the process ended between the listing and the look
  }
}

/** Mount points at or under `path`, deepest last, from this mount namespace. */
export function mountsUnder(path: string): string[] {
  return readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .map((line) => (line.split(" ")[4] ?? "").replace(/\\040/g, " "))
    .filter((point) => point === path || point.startsWith(`${path}/`));
}
