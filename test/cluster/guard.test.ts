/**
 * The guard on this machine's real cgroups and scheduler: a job is a busy process in a tree as Slurm builds it, a guest a
 * busy process on the same core. Needs root; nothing stays.
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { guestDirs, guestPids, listGuests } from "../../agent/cgroup/guests.ts";
import { cgroupDirs } from "../../agent/cgroup/layout.ts";
import { guestFrost, guestQuotaCores } from "../../agent/cgroup/throttle.ts";
import { eventually } from "../unit/agent/fake-starter.ts";
import { localClient } from "../unit/agent/local-client.ts";
import { end, last, lease, mib, skip, slowness, type World, world } from "./world.ts";

const patienceMs = 30_000 * slowness;

/** Fast steps; only the run-queue delay counts, so that the rest of the machine does not matter. */
const policy = (more = ""): string => `cpu_priority = "fair"
interval_ms = 100
interval_fast_ms = 50
cost_max_percent = 10
escalate_ms = 500
relax_ms = 1000
relapse_ms = 10
${more}
[job_run_delay]
enter_percent = 15
leave_percent = 12
[job_cpu_pressure]
use = false
[job_memory_pressure]
use = false
[job_refaults]
use = false
[node_memory_pressure]
use = false
[node_memory_headroom]
use = false
`;

/** A process that spins inside cgroups, until the test is over. */
async function busyIn(here: World, dirs: readonly string[], core: number): Promise<ChildProcess> {
  const enter = dirs.map((dir) => `echo $$ > ${dir}/cgroup.procs`).join(" && ");
  const child = spawn("sh", ["-c", `${enter} && exec taskset -c ${core} sh -c 'while :; do :; done'`], {
    stdio: "ignore",
  });
  await once(child, "spawn");
  here.children.push(child);
  return child;
}

/**
 * A job that has all cores, so that a region has none to itself, as Slurm's cgroups show it. Its two tasks spin on one
 * core: they wait for it, whether a guest runs or not, so that what the guard does depends on no other load.
 */
async function job(here: World, jobId: number, core: number): Promise<ChildProcess[]> {
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
  return [await busyIn(here, made, core), await busyIn(here, made, core)];
}

interface Duel {
  readonly here: World;
  readonly leaseId: string;
  readonly agent: ChildProcess;
  /** The job runs, or sleeps: then it waits for no core. */
  jobRuns(yes: boolean): void;
  /** Begins the harm. */
  hurt(): Promise<ChildProcess>;
}

/** A region's guest on all cores, and a job on one of them. */
async function duel(t: TestContext, text: string): Promise<Duel> {
  const here = await world(t, text);
  const agent = await here.agent();
  const client = await localClient(here.socket);
  t.after(() => client.close());
  const tasks = await job(here, 77, last);
  const held = await lease(client, 0);
  return {
    here,
    leaseId: held.id,
    agent,
    jobRuns(yes) {
      for (const task of tasks) task.kill(yes ? "SIGCONT" : "SIGSTOP");
    },
    hurt: () => busyIn(here, guestDirs(here.guests, held.id), last),
  };
}

const words = (text: string): string[] =>
  [...text.matchAll(/"msg":"guard: ((?:would )?[a-z]+)"/g)].map((m) => m[1] ?? "");

test("a guest that hurts is throttled, frozen, and ended; each with its cause", { skip }, async (t) => {
  const { here, leaseId, hurt } = await duel(t, policy());
  await new Promise((resolve) => setTimeout(resolve, 1500));
  assert.deepEqual(words(here.log()), [], "a guest that does not run is no suspect");
  await hurt();
  await eventually("ended", () => !listGuests(here.guests).includes(leaseId), patienceMs);
  assert.deepEqual(words(here.log()), ["throttle", "throttle", "freeze", "shrink"]);
  const line = here
    .log()
    .split("\n")
    .find((each) => each.includes('"guard: freeze"'));
  const { signal, value, threshold, jobs } = JSON.parse(line ?? "{}") as Record<string, unknown>;
  assert.deepEqual([signal, threshold, jobs], ["job_run_delay", 15, [77]]);
  assert.ok(Number(value) >= 15);
  assert.match(here.log(), /"state":"REVOKED","reason":"guard"/);
});

test("calm again: thawed and let go step by step; off by a reload: at once, and a bad policy changes nothing", {
  skip,
}, async (t) => {
  const { here, leaseId, hurt, agent, jobRuns } = await duel(t, policy("[freeze]\nmax_ms = 600000"));
  const hog = await hurt();
  await eventually("frozen", () => guestFrost(here.guests, leaseId) === "frozen", patienceMs);
  jobRuns(false);
  writeFileSync(join(here.dir, "guard.toml"), `mode = "of"\n${policy()}`);
  agent.kill("SIGHUP");
  await eventually("refused", () => here.log().includes("guard policy refused"), patienceMs);
  assert.match(here.log(), /guard\.toml:1: mode: /);
  await eventually(
    "let go",
    () => words(here.log()).filter((word) => word === "relax").length === 2,
    patienceMs,
  );
  assert.equal(guestFrost(here.guests, leaseId), "thawed");
  assert.equal(guestQuotaCores(here.guests, leaseId), 1);
  jobRuns(true);
  await eventually("frozen again", () => guestFrost(here.guests, leaseId) === "frozen", patienceMs);
  writeFileSync(join(here.dir, "guard.toml"), `mode = "off"\n${policy()}`);
  agent.kill("SIGHUP");
  await eventually("lifted", () => guestFrost(here.guests, leaseId) === "thawed", patienceMs);
  await eventually("quota too", () => guestQuotaCores(here.guests, leaseId) === 1, patienceMs);
  assert.ok(guestPids(here.guests, leaseId).includes(hog.pid ?? 0));
});

test("kill -9 while a guest is frozen: the next agent knows it, and it does not stay frozen", {
  skip,
}, async (t) => {
  const { here, leaseId, hurt, agent, jobRuns } = await duel(t, policy("[freeze]\nmax_ms = 600000"));
  const hog = await hurt();
  await eventually("frozen", () => guestFrost(here.guests, leaseId) === "frozen", patienceMs);
  await end(agent, "SIGKILL");
  assert.equal(guestFrost(here.guests, leaseId), "frozen");
  jobRuns(false);
  await here.agent();
  assert.match(here.log(), /an earlier life of the agent held this guest back/);
  await eventually("thawed", () => guestFrost(here.guests, leaseId) === "thawed", patienceMs);
  await eventually("at full speed", () => guestQuotaCores(here.guests, leaseId) === 1, patienceMs);
  assert.ok(guestPids(here.guests, leaseId).includes(hog.pid ?? 0));
});

test("watch: what would be done is logged, and nothing is touched", { skip }, async (t) => {
  const { here, leaseId, hurt } = await duel(t, `mode = "watch"\n${policy()}`);
  const hog = await hurt();
  await eventually("would freeze", () => words(here.log()).includes("would freeze"), patienceMs);
  assert.equal(guestFrost(here.guests, leaseId), "thawed");
  assert.equal(guestQuotaCores(here.guests, leaseId), 1);
  assert.ok(guestPids(here.guests, leaseId).includes(hog.pid ?? 0));
});
