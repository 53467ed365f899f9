/**
 * An agent on this machine's real cgroups, with directories of its own (sublet_test_<pid>_<n>, slurm_test_<pid>_<n>), and the
 * fake starter, whose guests are `sleep`s inside them. Needs root; nothing stays.
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { type GuestTree, listGuests, removeRoot } from "../../agent/cgroup/guests.ts";
import { type CgroupLayout, cgroupDirs, discoverCgroups } from "../../agent/cgroup/layout.ts";
import { freezeGuest } from "../../agent/cgroup/throttle.ts";
import { clearGuest } from "../../agent/reclaim/clear.ts";
import { slowness } from "../../deploy/testbed/shell.ts";
import type { DurabilityName } from "../../src/rpc/messages.ts";
import { eventually, type FakeStarter, fakeStarter } from "../unit/agent/fake-starter.ts";
import { type LocalClient, leaseOf } from "../unit/agent/local-client.ts";

export const mib = 1024 * 1024;

function layoutHere(): CgroupLayout | undefined {
  if (process.getuid?.() !== 0) return undefined;
  try {
    return discoverCgroups();
  } catch {
    return undefined; // The skip below says so.
  }
}

export const layout = layoutHere();
export const skip = layout === undefined ? "needs root and the cpuset and memory controllers" : false;
export const last = availableParallelism() - 1;

const door = fileURLToPath(new URL("../../build/native/bin/sublet-door", import.meta.url));
const fairPolicy = 'cpu_priority = "fair"\n';
let made = 0;

/** A name for a cgroup of this process' own. */
export function rootName(kind: "sublet" | "slurm"): string {
  made += 1;
  return `${kind}_test_${process.pid}_${made}`;
}

export interface World {
  readonly dir: string;
  readonly guests: GuestTree;
  readonly slurm: string;
  readonly fake: FakeStarter;
  readonly socket: string;
  /** Ends with the test, before its cgroups are removed. */
  readonly children: ChildProcess[];
  /** What all agents have logged. */
  log(): string;
  /** Runs an agent until the test ends or it is killed. */
  agent(): Promise<ChildProcess>;
}

/** `policy`: of the guard; guests count like anybody else by default, since these tests run on busy machines. */
export async function world(t: TestContext, policy = fairPolicy): Promise<World> {
  assert.ok(layout !== undefined);
  const dir = mkdtempSync(join(tmpdir(), "sublet-agent-"));
  const guests: GuestTree = { layout, root: rootName("sublet") };
  const slurm = rootName("slurm");
  const nativeDir = join(dir, "native"); // the door, and no starter: that is a fake here
  mkdirSync(join(nativeDir, "bin"), { recursive: true });
  symlinkSync(door, join(nativeDir, "bin", "sublet-door"));
  const fake = await fakeStarter(join(dir, "starter.sock"), { processes: true });
  writeFileSync(
    join(dir, "agent.toml"),
    `node = "n1"
run_dir = "${dir}"
listen = "127.0.0.1:0"
metrics_listen = "127.0.0.1:0"
fabric_address = "127.0.0.1"
cgroup_name = "${guests.root}"
slurm_cgroup = "${slurm}"
native_dir = "${nativeDir}"
memory_mib = 4096
[guard]
policy_file = "${dir}/guard.toml"
`,
  );
  writeFileSync(join(dir, "guard.toml"), policy);
  const agents: ChildProcess[] = [];
  const children: ChildProcess[] = [];
  let all = "";
  const socket = join(dir, "agent.sock");
  t.after(async () => {
    for (const id of listGuests(guests)) freezeGuest(guests, id, false); // v1: no signal reaches the frozen
    for (const child of children) await end(child, "SIGKILL");
    for (const agent of agents) await end(agent, "SIGTERM");
    await fake.close();
    for (const id of listGuests(guests)) await clearGuest(guests, id, { stuckAfterMs: 5000 });
    assert.ok(removeRoot(guests), "the root of the guests stays");
    for (const root of cgroupDirs(guests.layout, slurm)) if (existsSync(root)) removeTree(root);
    rmSync(dir, { recursive: true });
  });
  return {
    dir,
    guests,
    slurm,
    fake,
    socket,
    children,
    log: () => all,
    async agent() {
      const child = spawn(process.execPath, ["agent/main.ts", "--config", join(dir, "agent.toml")], {
        stdio: ["ignore", "ignore", "pipe"],
      });
      agents.push(child);
      let text = "";
      child.stderr?.on("data", (chunk: Buffer) => {
        text += chunk.toString();
        all += chunk.toString();
      });
      await eventually(
        "agent is ready",
        () => {
          if (child.exitCode !== null) throw new Error(`agent ended: ${text}`);
          return text.includes("agent is ready");
        },
        20_000 * slowness,
      );
      return child;
    },
  };
}

export async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, "exit");
  child.kill(signal);
  await exit;
}

/** A process inside cgroups, on a core, until the test is over; it spins, unless told what else to do. */
export async function busyIn(
  here: World,
  dirs: readonly string[],
  core: number,
  what = "sh -c 'while :; do :; done'",
): Promise<ChildProcess> {
  const enter = dirs.map((dir) => `echo $$ > ${dir}/cgroup.procs && `).join("");
  const child = spawn("sh", ["-c", `${enter}exec taskset -c ${core} ${what}`], { stdio: "ignore" });
  await once(child, "spawn");
  here.children.push(child);
  return child;
}

/** The cgroups of a job that has all cores, as Slurm makes them. */
export function makeJob(here: World, jobId: number): string[] {
  const { layout } = here.guests;
  const names = layout.version === 1 ? ["uid_1", `job_${jobId}`] : [`job_${jobId}`];
  const made: string[] = [];
  for (const root of cgroupDirs(layout, here.slurm)) {
    let dir = root;
    for (const name of ["", ...names]) {
      dir = join(dir, name);
      mkdirSync(dir, { recursive: true });
      if (dir.startsWith(layout.mounts.get("cpuset") ?? "?") && layout.version === 1) {
        writeFileSync(join(dir, "cpuset.mems"), "0");
        writeFileSync(join(dir, "cpuset.cpus"), `0-${last}`);
      } else if (layout.version === 2 && name !== names.at(-1))
        writeFileSync(join(dir, "cgroup.subtree_control"), "+cpuset +cpu +memory");
    }
    if (layout.version === 2) writeFileSync(join(dir, "cpuset.cpus"), `0-${last}`);
    const limit = join(dir, layout.version === 1 ? "memory.limit_in_bytes" : "memory.max");
    if (existsSync(limit)) writeFileSync(limit, `${256 * mib}`);
    made.push(dir);
  }
  return made;
}

/** Removes empty cgroups, deepest first. */
function removeTree(dir: string): void {
  for (const entry of readdirSync(dir, { withFileTypes: true }))
    if (entry.isDirectory()) removeTree(join(dir, entry.name));
  rmdirSync(dir);
}

export async function lease(
  client: LocalClient,
  cores: number,
  durability: DurabilityName = "DURABILITY_UNSPECIFIED",
): Promise<ReturnType<typeof leaseOf>> {
  const request = {
    kind: cores === 0 ? "LEASE_KIND_REGION" : "LEASE_KIND_FUNCTION",
    cores,
    memoryBytes: 16 * mib,
    durability,
  } as const;
  return leaseOf(await client.call({ body: "lease", lease: { request } }));
}
