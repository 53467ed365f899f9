/**
 * The guard on this machine's real cgroups and scheduler: a job is a busy process in a tree as Slurm builds it, a guest a
 * busy process on the same core. Needs root; nothing stays.
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { guestDirs, guestPids, listGuests } from "../../agent/cgroup/guests.ts";
import { cgroupDirs } from "../../agent/cgroup/layout.ts";
import { guestFrost, guestQuotaCores } from "../../agent/cgroup/throttle.ts";
import { watchPressure } from "../../agent/guard/trigger.ts";
import { page } from "../../deploy/testbed/main-job/sampler.ts";
import { slowness } from "../../deploy/testbed/shell.ts";
import type { DurabilityName } from "../../src/rpc/messages.ts";
import { eventually } from "../unit/agent/fake-starter.ts";
import { type LocalClient, localClient } from "../unit/agent/local-client.ts";
import { busyIn, end, last, lease, makeJob, skip, type World, world } from "./world.ts";

const patienceMs = 30_000 * slowness;

/** Fast steps; only the run-queue delay counts, so that the rest of the machine does not matter. */
const policy = (more = "", strongest = "evict"): string => `cpu_priority = "fair"
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
strongest = "${strongest}"
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

/**
 * A job that has all cores, so that a region has none to itself. Its two tasks spin on one core: they wait for it, whether a
 * guest runs or not, so that what the guard does depends on no other load.
 */
async function job(here: World, jobId: number, core: number): Promise<ChildProcess[]> {
  const made = makeJob(here, jobId);
  return [await busyIn(here, made, core), await busyIn(here, made, core)];
}

interface Duel {
  readonly here: World;
  readonly client: LocalClient;
  readonly leaseId: string;
  readonly agent: ChildProcess;
  /** The job runs, or sleeps: then it waits for no core. */
  jobRuns(yes: boolean): void;
  /** Begins the harm. */
  hurt(): Promise<ChildProcess>;
}

/** A region's guest on all cores, and a job on one of them. */
async function duel(t: TestContext, text: string, durability?: DurabilityName): Promise<Duel> {
  const here = await world(t, text);
  const agent = await here.agent();
  const client = await localClient(here.socket);
  t.after(() => client.close());
  const tasks = await job(here, 77, last);
  const held = await lease(client, 0, durability);
  return {
    here,
    client,
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
  await eventually("told", () => /"state":"REVOKED","reason":"guard"/.test(here.log()), patienceMs);
});

test("a region that is to outlive it is throttled, then told to move and let go; it ends with its budget", {
  skip,
}, async (t) => {
  const { here, leaseId, client, hurt } = await duel(t, policy(), "DURABILITY_EVACUATED");
  await hurt();
  await eventually("told", () => client.notices.some(({ body }) => body === "draining"), patienceMs);
  const quotaCores = guestQuotaCores(here.guests, leaseId);
  assert.ok(quotaCores === 1 || !listGuests(here.guests).includes(leaseId), `${quotaCores} cores`);
  await eventually("ended", () => !listGuests(here.guests).includes(leaseId), patienceMs);
  assert.deepEqual(words(here.log()), ["throttle", "throttle", "shrink"]);
  const notices = client.notices.map((notice) =>
    notice.body === "draining" ? notice.draining : notice.body === "revoked" ? notice.revoked : undefined,
  );
  assert.deepEqual(
    notices.map((notice) => [notice?.leaseId, notice?.reason]),
    [
      [leaseId, "REASON_GUARD"],
      [leaseId, "REASON_GUARD"],
    ],
  );
});

test("calm again: thawed and let go step by step; off by a reload: at once, and a bad policy changes nothing", {
  skip,
}, async (t) => {
  const { here, leaseId, hurt, agent, jobRuns } = await duel(
    t,
    policy("[freeze]\nmax_ms = 600000", "freeze"),
  );
  const hog = await hurt();
  await eventually("frozen", () => guestFrost(here.guests, leaseId) === "frozen", patienceMs);
  jobRuns(false);
  writeFileSync(join(here.dir, "guard.toml"), `mode = "of"\n${policy()}`);
  agent.kill("SIGHUP");
  await eventually("refused", () => here.log().includes("guard policy refused"), patienceMs);
  assert.match(here.log(), /guard\.toml:1: mode: /);
  // What is logged and what is written to the cgroup come one after the other.
  const free = (): boolean =>
    guestFrost(here.guests, leaseId) === "thawed" && guestQuotaCores(here.guests, leaseId) === 1;
  await eventually(
    "let go, step by step",
    () => words(here.log()).filter((word) => word === "relax").length >= 2 && free(),
    patienceMs,
  );
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
  const { here, leaseId, hurt, agent, jobRuns } = await duel(
    t,
    policy("[freeze]\nmax_ms = 600000", "freeze"),
  );
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

test("the kernel's own alarm for pressure wakes us, and only while it is watched", {
  skip: skip || (existsSync("/proc/pressure/cpu") ? false : "this kernel has no PSI"),
}, async (t) => {
  let alarms = 0;
  const trigger = watchPressure("/proc/pressure/cpu", 10, () => {
    alarms += 1;
  });
  if (trigger === undefined) return t.skip("this kernel takes no triggers from here");
  const children = [0, 1].map(() => spawn("taskset", ["-c", `${last}`, "sh", "-c", "while :; do :; done"]));
  t.after(() => Promise.all(children.map((child) => end(child, "SIGKILL"))));
  await eventually("an alarm", () => alarms > 0, patienceMs);
  trigger.close();
  const before = alarms;
  await new Promise((resolve) => setTimeout(resolve, 2500));
  assert.equal(alarms, before);
  assert.equal(
    watchPressure("/nonexistent", 10, () => undefined),
    undefined,
  );
});

test("what the guard costs: nothing without a job, and its looks stay within their budget", {
  skip,
}, async (t) => {
  const here = await world(t, 'cpu_priority = "fair"\n');
  await here.agent();
  const client = await localClient(here.socket);
  t.after(() => client.close());
  await lease(client, 0);
  const address = /"metrics":"([^"]+)"/.exec(here.log())?.[1] ?? "";
  const figures = async (): Promise<{ cpu: number; all: number; looks: number; series: number }> => {
    const lines = (await page(`http://${address}/metrics`)).split("\n");
    const value = (name: string): number =>
      Number(lines.find((line) => line.startsWith(`${name} `))?.split(" ")[1] ?? 0);
    return {
      cpu: value("sublet_guard_cpu_seconds_total"),
      all: value("process_cpu_seconds_total"),
      looks: value("sublet_guard_samples_total"),
      series: lines.filter((line) => line !== "" && !line.startsWith("#")).length,
    };
  };
  assert.equal((await figures()).looks, 0, "a guest alone is not looked at");
  await job(here, 77, last);
  // A job of many tasks: all of them are looked at.
  const { layout } = here.guests;
  const dir = layout.version === 1 ? join("uid_1", "job_77") : "job_77";
  const dirs = cgroupDirs(layout, here.slurm, dir);
  for (let i = 0; i < 40; i++) {
    const child = spawn("sleep", ["600"], { stdio: "ignore" });
    await once(child, "spawn");
    for (const each of dirs) writeFileSync(join(each, "cgroup.procs"), `${child.pid}`);
    here.children.push(child);
  }
  await new Promise((resolve) => setTimeout(resolve, 2000));
  const from = await figures();
  const fromMs = performance.now();
  await new Promise((resolve) => setTimeout(resolve, 8000));
  const to = await figures();
  const seconds = (performance.now() - fromMs) / 1000;
  const percent = (100 * (to.cpu - from.cpu)) / seconds;
  t.diagnostic(
    `${to.looks - from.looks} looks at 42 tasks in ${seconds.toFixed(1)} s: ${percent.toFixed(3)} % of a core, ` +
      `${((1e3 * (to.cpu - from.cpu)) / (to.looks - from.looks)).toFixed(2)} ms each; the whole agent ` +
      `${((100 * (to.all - from.all)) / seconds).toFixed(3)} %; ${to.series} series on its page`,
  );
  assert.ok(to.looks > from.looks);
  assert.ok(percent < 5, `${percent} %`); // ten times the budget of 0.5
});
