/**
 * The agent on this machine's real cgroups, with directories of its own (sublet_test_<pid>, slurm_test_<pid>), and the
 * fake starter, whose guests are `sleep`s inside them. Needs root; nothing stays.
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import {
  createGuest,
  type GuestTree,
  guestMemoryBytes,
  guestPids,
  killGuest,
  limitGuest,
  listGuests,
  prepareRoot,
  removeGuest,
  removeRoot,
  sealGuest,
} from "../../agent/cgroup/guests.ts";
import { cgroupDirs } from "../../agent/cgroup/layout.ts";
import { type CpuPriority, settleRoot } from "../../agent/cgroup/priority.ts";
import { freezeGuest, guestFrost, guestQuotaCores, holdQuota } from "../../agent/cgroup/throttle.ts";
import { clearGuest } from "../../agent/reclaim/clear.ts";
import { slowness } from "../../deploy/testbed/shell.ts";
import { eventually, fakeStarter } from "../unit/agent/fake-starter.ts";
import { leaseOf, localClient } from "../unit/agent/local-client.ts";
import { end, last, layout, lease, mib, rootName, skip, world } from "./world.ts";

const limits = { cores: [last], mems: "0", cpuQuotaCores: 1, memoryBytes: 64 * mib, pidsMax: 20 };

/** priority: without, the root counts like anybody else: these tests run on busy machines. */
function tree(t: TestContext, priority?: CpuPriority): GuestTree {
  assert.ok(layout !== undefined);
  const guests: GuestTree = {
    layout,
    root: rootName("sublet"),
    holds: new Map(),
    ...(priority === undefined ? {} : { priority: { wanted: priority, dying: new Map() } }),
  };
  t.after(async () => {
    for (const id of listGuests(guests)) await clearGuest(guests, id, { stuckAfterMs: 5000 });
    assert.ok(removeRoot(guests), "the root of the guests stays");
  });
  return guests;
}

function read(guests: GuestTree, id: string, controller: "cpuset" | "memory" | "pids", file: string): string {
  return readFileSync(
    join(guests.layout.mounts.get(controller) ?? "", guests.root, `lease_${id}`, file),
    "utf8",
  ).trim();
}

/** Runs a shell inside a guest. */
async function runIn(guests: GuestTree, id: string, script: string): Promise<ChildProcess> {
  const dirs = cgroupDirs(guests.layout, guests.root, `lease_${id}`);
  const enter = dirs.map((dir) => `echo $$ > ${dir}/cgroup.procs`).join(" && ");
  const child = spawn("sh", ["-c", `${enter} && ${script}`], { stdio: "ignore" });
  await once(child, "spawn");
  const ended = (): boolean => child.exitCode !== null || child.signalCode !== null;
  await eventually("in the guest", () => ended() || guestPids(guests, id).includes(child.pid ?? -1));
  return child;
}

test("limits are in force when createGuest returns; removal leaves nothing", { skip }, (t) => {
  const guests = tree(t);
  assert.deepEqual(prepareRoot(guests, [...Array(last + 1).keys()], "0"), []);
  createGuest(guests, "a", limits);
  const cpus = guests.layout.version === 1 ? "cpuset.cpus" : "cpuset.cpus.effective";
  assert.equal(read(guests, "a", "cpuset", cpus), `${last}`);
  const memory = guests.layout.version === 1 ? "memory.limit_in_bytes" : "memory.max";
  assert.equal(read(guests, "a", "memory", memory), `${64 * mib}`);
  assert.equal(read(guests, "a", "pids", "pids.max"), "20");
  assert.deepEqual(limitGuest(guests, "a", { ...limits, cores: [0] }), []);
  assert.equal(read(guests, "a", "cpuset", cpus), "0");
  assert.throws(() => createGuest(guests, "a", limits));
  assert.equal(removeGuest(guests, "a"), true);
  assert.deepEqual(listGuests(guests), []);
  assert.equal(removeGuest(guests, "a"), true);
});

test("a limit that does not take is an error, and nothing stays", { skip }, (t) => {
  const guests = tree(t);
  prepareRoot(guests, [last], "0");
  assert.throws(() => createGuest(guests, "a", { ...limits, cores: [last, 4000] }), {
    code: "INTERNAL",
    message: /cpuset\.cpus/,
  });
  assert.deepEqual(listGuests(guests), []);
});

test("a guest that forks without end is gone in bounded time", { skip }, async (t) => {
  const guests = tree(t);
  prepareRoot(guests, [last], "0");
  createGuest(guests, "bomb", limits);
  const child = await runIn(
    guests,
    "bomb",
    "f() { while :; do (sleep 100) & sleep 0.001 & done; }; f & f & f",
  );
  await eventually("at its limit", () => guestPids(guests, "bomb").length >= 15);
  assert.equal(removeGuest(guests, "bomb"), false);
  const { tookMs } = await clearGuest(guests, "bomb", { stuckAfterMs: 1000 });
  assert.ok(tookMs < 1000, `${tookMs} ms`);
  assert.deepEqual(listGuests(guests), []);
  if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
});

test("a guest's memory is returned when it is called gone, also what another process still maps; or that is told", {
  skip,
}, async (t) => {
  const guests = tree(t);
  prepareRoot(guests, [last], "0");
  const file = `/dev/shm/sublet-test-${process.pid}`;
  t.after(() => rmSync(file, { force: true }));
  // A guest writes 32 MiB of shared memory, which outlive its process as a mapped region does.
  const written = 32 * mib;
  for (const [id, holdMs] of [
    ["soon", 200],
    ["never", undefined],
  ] as const) {
    createGuest(guests, id, limits);
    await runIn(guests, id, `dd if=/dev/zero of=${file} bs=1M count=32 2>/dev/null; sleep 100`);
    // The file: what dd itself takes is memory, too.
    await eventually(
      "the memory is there",
      () => (statSync(file, { throwIfNoEntry: false })?.size ?? 0) >= written,
    );
    const letGo = holdMs === undefined ? undefined : setTimeout(() => rmSync(file), holdMs);
    const cleared = await clearGuest(guests, id, { stuckAfterMs: 5000 });
    assert.deepEqual(listGuests(guests), []); // of no hierarchy: processes and cpuset are gone, too
    if (letGo === undefined) {
      assert.ok(cleared.heldBytes >= written, `${cleared.heldBytes} bytes held`);
      assert.ok(cleared.tookMs >= 500 && cleared.tookMs < 5000, `${cleared.tookMs} ms`);
    } else {
      assert.ok(cleared.heldBytes < 2 * mib, `${cleared.heldBytes} bytes held`);
      assert.ok(cleared.tookMs >= 150 && !existsSync(file), `${cleared.tookMs} ms`);
    }
  }
});

test("page cache of a guest is given back, and is not waited for", { skip }, async (t) => {
  const guests = tree(t);
  prepareRoot(guests, [last], "0");
  createGuest(guests, "reader", limits);
  const dir = mkdtempSync(join(tmpdir(), "sublet-cache-"));
  t.after(() => rmSync(dir, { recursive: true }));
  await runIn(
    guests,
    "reader",
    `dd if=/dev/zero of=${dir}/file bs=1M count=32 conv=fsync 2>/dev/null; sleep 100`,
  );
  await eventually("it is in the cache", () => (guestMemoryBytes(guests, "reader") ?? 0) >= 32 * mib);
  const cleared = await clearGuest(guests, "reader", { stuckAfterMs: 5000 });
  assert.ok(cleared.heldBytes < 16 * mib, `${cleared.heldBytes} bytes held`);
});

test("a guest is ended by its parent; one whose parent is silent or wrong, from here", {
  skip,
}, async (t) => {
  const guests = tree(t);
  prepareRoot(guests, [last], "0");
  for (const [id, stop] of [
    ["parent", undefined],
    ["silent", () => new Promise<void>(() => undefined)],
    ["wrong", () => Promise.reject(new Error("no such guest"))],
  ] as const) {
    createGuest(guests, id, limits);
    const child = await runIn(guests, id, "trap '' TERM; sleep 100 & wait");
    const exited = once(child, "exit");
    // What the guest forked outlives its parent's end here (there is no pid namespace): found by its cgroup.
    const byParent = async (): Promise<void> => {
      child.kill("SIGKILL");
      await exited;
    };
    await clearGuest(guests, id, { stuckAfterMs: 1000, cores: [last], stop: stop ?? byParent });
    await exited;
    assert.deepEqual(listGuests(guests), []);
  }
});

test("a guest beyond its memory dies alone", { skip }, async (t) => {
  const guests = tree(t);
  prepareRoot(guests, [last], "0");
  createGuest(guests, "fat", limits);
  createGuest(guests, "thin", limits);
  const thin = await runIn(guests, "thin", "exec sleep 100");
  const fat = await runIn(guests, "fat", "exec dd if=/dev/zero of=/dev/null bs=300M count=1");
  if (fat.exitCode === null && fat.signalCode === null) await once(fat, "exit");
  assert.equal(fat.signalCode, "SIGKILL");
  assert.equal(thin.exitCode, null);
  killGuest(guests, "thin");
  await once(thin, "exit");
});

/** The root's priority as the kernel has it. */
function priorityOf(guests: GuestTree): string {
  const dir = join(guests.layout.mounts.get("cpu") ?? "", guests.root);
  const text = (file: string): string =>
    existsSync(join(dir, file)) ? readFileSync(join(dir, file), "utf8").trim() : "none";
  if (text("cpu.idle") === "1") return "idle";
  return guests.layout.version === 1 ? text("cpu.shares") : text("cpu.weight");
}

test("beside jobs guests are last, whatever the priority was; while one dies they are not", { skip }, (t) => {
  const guests = tree(t, "idle");
  assert.ok(guests.priority !== undefined);
  const v1 = guests.layout.version === 1;
  assert.deepEqual(prepareRoot(guests, [last], "0"), []);
  const lowest = priorityOf(guests); // idle, or the lowest weight where the kernel has no cpu.idle
  assert.ok(["idle", v1 ? "2" : "1"].includes(lowest), lowest);
  for (const [wanted, found] of [
    ["fair", v1 ? "1024" : "100"],
    ["lowest", v1 ? "2" : "1"],
    ["idle", lowest],
    ["idle", lowest],
    ["lowest", v1 ? "2" : "1"],
    ["idle", lowest],
  ] as [CpuPriority, string][]) {
    guests.priority.wanted = wanted;
    assert.deepEqual(settleRoot(guests), []);
    assert.equal(priorityOf(guests), found, wanted);
  }
  createGuest(guests, "a", limits);
  createGuest(guests, "b", limits);
  sealGuest(guests, "a");
  sealGuest(guests, "b");
  assert.equal(priorityOf(guests), v1 ? "1024" : "100");
  removeGuest(guests, "a");
  assert.equal(priorityOf(guests), v1 ? "1024" : "100", "one still dies");
  removeGuest(guests, "b");
  assert.equal(priorityOf(guests), lowest);
});

/** User time of a process, in ticks. */
const userTicks = (pid: number | undefined): number =>
  Number(readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ")[11]);

test("a frozen guest does not run, and is gone as fast as another; a thawed one runs", {
  skip,
}, async (t) => {
  const guests = tree(t);
  prepareRoot(guests, [last], "0");
  createGuest(guests, "a", limits);
  const child = await runIn(guests, "a", "while :; do :; done");
  assert.deepEqual(freezeGuest(guests, "a", true), []);
  await eventually("frozen", () => guestFrost(guests, "a") === "frozen");
  const before = userTicks(child.pid);
  await new Promise((resolve) => setTimeout(resolve, 300));
  assert.equal(userTicks(child.pid), before);
  assert.deepEqual(freezeGuest(guests, "a", false), []);
  await eventually("runs", () => userTicks(child.pid) > before);
  freezeGuest(guests, "a", true);
  const { tookMs } = await clearGuest(guests, "a", { stuckAfterMs: 1000 });
  t.diagnostic(`a frozen guest was gone after ${tookMs.toFixed(1)} ms`);
  assert.ok(tookMs < 1000 * slowness, `${tookMs} ms`);
  assert.equal(guestFrost(guests, "a"), undefined);
  assert.deepEqual(freezeGuest(guests, "a", true), [], "a guest that is gone is no alarm");
});

test("a quota that holds a guest back outlives other limits, until it is lifted", { skip }, (t) => {
  const guests = tree(t);
  prepareRoot(guests, [last], "0");
  createGuest(guests, "a", limits);
  if (guestQuotaCores(guests, "a") === undefined) return t.skip("the kernel has no CPU quota");
  assert.deepEqual(holdQuota(guests, "a", 1, 0.25), []);
  assert.equal(guestQuotaCores(guests, "a"), 0.25);
  assert.deepEqual(limitGuest(guests, "a", limits), []);
  assert.equal(guestQuotaCores(guests, "a"), 0.25);
  assert.deepEqual(holdQuota(guests, "a", 1, undefined), []);
  assert.equal(guestQuotaCores(guests, "a"), 1);
});

test("prolog: guests are dead and their cgroups gone when the hook is answered", { skip }, async (t) => {
  const here = await world(t);
  await here.agent();
  const client = await localClient(here.socket);
  t.after(() => client.close());
  const held = [await lease(client, 1), await lease(client, 0)];
  assert.ok(listGuests(here.guests).length >= 2); // and what is prepared for leases to come
  const pids = held.flatMap((each) => guestPids(here.guests, each.id));
  assert.equal(pids.length, 2);
  const done = await client.call({ body: "hook", hook: { event: "HOOK_EVENT_PROLOG", jobId: 11 } });
  assert.ok(done.body === "hookDone" && done.hookDone.leasesEnded === 2, done.message);
  assert.deepEqual(listGuests(here.guests), []);
  for (const pid of pids)
    assert.ok(!existsSync(`/proc/${pid}`) || /State:\tZ/.test(readFileSync(`/proc/${pid}/status`, "utf8")));
  assert.equal(client.notices.length, 2);
  const roots = readFileSync(join(here.dir, "cgroups"), "utf8").trim().split("\n");
  assert.deepEqual(roots, cgroupDirs(here.guests.layout, here.guests.root));
});

test("witness: a job's cpuset on lent cores takes them back without any hook", { skip }, async (t) => {
  const here = await world(t);
  if (here.guests.layout.version !== 1) return t.skip("builds a tree as Slurm does on v1");
  await here.agent();
  const client = await localClient(here.socket);
  t.after(() => client.close());
  const { id } = await lease(client, 1);
  const cpuset = join(here.guests.layout.mounts.get("cpuset") ?? "", here.slurm);
  let job = cpuset;
  for (const name of ["", "uid_1", "job_77"]) {
    job = join(job, name);
    mkdirSync(job);
    writeFileSync(join(job, "cpuset.mems"), "0");
    writeFileSync(join(job, "cpuset.cpus"), `${last}`);
  }
  const beginMs = performance.now();
  await eventually("revoked", () => client.notices.length === 1 && !listGuests(here.guests).includes(id));
  const tookMs = performance.now() - beginMs;
  t.diagnostic(`taken back ${tookMs.toFixed(1)} ms after the job's cpuset was set`);
  assert.ok(tookMs < 1000, `${tookMs} ms`);
  const status = await client.call({ body: "status", status: {} });
  assert.ok(status.body === "status" && status.status.offer?.coresUsedByJobs === 1);
  assert.ok(!status.status.offer.spare.some((spare) => spare.cores.includes(last)));
});

test("kill -9: the next agent adopts the guest, its client renews it; leftovers are ended", {
  skip,
}, async (t) => {
  const here = await world(t);
  const first = await here.agent();
  const client = await localClient(here.socket);
  const held = await lease(client, 1);
  const [pid] = guestPids(here.guests, held.id);
  await end(first, "SIGKILL");
  await client.close();
  assert.deepEqual(guestPids(here.guests, held.id), [pid]);
  createGuest(here.guests, "leftover", { ...limits, cores: [last] });
  const stray = await runIn(here.guests, "leftover", "exec sleep 100");
  await here.agent();
  assert.deepEqual(listGuests(here.guests), [held.id]);
  if (stray.exitCode === null && stray.signalCode === null) await once(stray, "exit");
  const again = await localClient(here.socket);
  t.after(() => again.close());
  const renewed = leaseOf(await again.call({ body: "renew", renew: { leaseId: held.id } }));
  assert.deepEqual([renewed.id, renewed.cores], [held.id, held.cores]);
  assert.deepEqual(guestPids(here.guests, held.id), [pid]);
  await again.close();
  await eventually("released with its connection", () => listGuests(here.guests).length === 0);
});

test("the end of an executor ends its lease and its cgroup; the end of the starter ends all", {
  skip,
}, async (t) => {
  const here = await world(t);
  const agent = await here.agent();
  const client = await localClient(here.socket);
  t.after(() => client.close());
  const held = await lease(client, 1);
  for (const pid of guestPids(here.guests, held.id)) process.kill(pid, "SIGKILL");
  await eventually("notice", () => client.notices.length === 1);
  await eventually("gone", () => listGuests(here.guests).length === 0);
  await lease(client, 0);
  await here.fake.close();
  const again = await fakeStarter(here.fake.path, { processes: true });
  t.after(() => again.close());
  await eventually(
    "gone with the starter",
    () => client.notices.length === 2 && listGuests(here.guests).length === 0,
  );
  await eventually("connected to the next one", () => again.seen.some((each) => each.verb === "LIST"));
  await lease(client, 0);
  assert.equal(agent.exitCode, null);
});

test("the budget: memory within 100 MiB, nothing to do means next to no wake-ups", { skip }, async (t) => {
  const here = await world(t);
  const { pid } = await here.agent();
  const status = (): { rssBytes: number; switches: number } => {
    const text = readFileSync(`/proc/${pid}/status`, "utf8");
    const number = (key: string): number => Number(new RegExp(`^${key}:\\s+(\\d+)`, "m").exec(text)?.[1]);
    return { rssBytes: number("VmRSS") * 1024, switches: number("voluntary_ctxt_switches") };
  };
  await new Promise((resolve) => setTimeout(resolve, 1000));
  const before = status();
  await new Promise((resolve) => setTimeout(resolve, 6000));
  const after = status();
  t.diagnostic(
    `${(after.rssBytes / mib).toFixed(1)} MiB, ${after.switches - before.switches} wake-ups in 6 s`,
  );
  assert.ok(after.rssBytes < 100 * mib, `${after.rssBytes / mib} MiB`);
  assert.ok(after.switches - before.switches < 60);
});
