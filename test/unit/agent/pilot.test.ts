/** What a pilot holds, whom it serves, and what it leaves: agent/pilot without Slurm and without a starter. */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, utimesSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { Starter, StartOrder } from "../../../agent/executor/starter.ts";
import { type PilotSystem, pilotAvailableBytes, pilotInventory } from "../../../agent/pilot/inventory.ts";
import { onlyOwn, ownStarter } from "../../../agent/pilot/pilot.ts";
import { makeRunDir, removeLeftovers } from "../../../agent/pilot/run-dir.ts";
import { clearGuest } from "../../../agent/reclaim/clear.ts";
import type { LocalHandlers } from "../../../agent/socket/server.ts";
import { SubletError } from "../../../src/common/errors.ts";
import { pilotDir } from "../../../src/common/pilot.ts";

const mib = 1024 * 1024;
const uid = process.getuid?.() ?? 0;

function system(files: Record<string, string>, environment: Record<string, string> = {}): PilotSystem {
  return { read: (path) => files[path], environment };
}

const proc = {
  "/proc/self/status": "Name:\tnode\nCpus_allowed:\t6\nCpus_allowed_list:\t1-2,6\n",
  "/proc/meminfo": "MemTotal:       16777216 kB\nMemFree: 1 kB\nMemAvailable:    8388608 kB\n",
};

const v1 = {
  ...proc,
  "/proc/self/mountinfo":
    "30 25 0:27 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n31 25 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
  "/proc/self/cgroup":
    "5:memory:/slurm/uid_1000/job_7/step_0/task_0\n3:cpuset:/slurm/uid_1000/job_7/step_0\n",
  "/sys/fs/cgroup/memory/slurm/uid_1000/job_7/step_0/task_0/memory.limit_in_bytes": "9223372036854771712\n",
  "/sys/fs/cgroup/memory/slurm/uid_1000/job_7/memory.limit_in_bytes": `${2048 * mib}\n`,
  "/sys/fs/cgroup/memory/slurm/uid_1000/job_7/memory.usage_in_bytes": `${700 * mib}\n`,
  "/sys/fs/cgroup/memory/slurm/uid_1000/job_7/memory.stat": `cache 5\ntotal_inactive_file ${100 * mib}\n`,
};

const v2 = {
  ...proc,
  "/proc/self/mountinfo": "31 25 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
  "/proc/self/cgroup": "0::/system.slice/slurmstepd.scope/job_7/step_0/user/task_0\n",
  "/sys/fs/cgroup/system.slice/slurmstepd.scope/job_7/step_0/memory.max": "max\n",
  "/sys/fs/cgroup/system.slice/slurmstepd.scope/job_7/memory.max": `${1024 * mib}\n`,
  "/sys/fs/cgroup/system.slice/slurmstepd.scope/job_7/memory.current": `${24 * mib}\n`,
};

test("a pilot holds the cores and the memory of its job, by both versions of cgroups", () => {
  const one = pilotInventory(system(v1));
  assert.deepEqual([one.cores, one.memoryBytes], [[1, 2, 6], 2048 * mib]);
  assert.equal(pilotAvailableBytes(one, system(v1)), 1448 * mib);
  const two = pilotInventory(system(v2));
  assert.deepEqual([two.cores, two.memoryBytes], [[1, 2, 6], 1024 * mib]);
  assert.equal(pilotAvailableBytes(two, system(v2)), 1000 * mib);
});

test("where Slurm does not constrain memory its environment says how much; nothing at all is refused", () => {
  assert.equal(pilotInventory(system(proc, { SLURM_MEM_PER_NODE: "512" })).memoryBytes, 512 * mib);
  assert.equal(pilotInventory(system(proc, { SLURM_MEM_PER_CPU: "100" })).memoryBytes, 300 * mib);
  assert.equal(pilotInventory(system(v1, { SLURM_MEM_PER_NODE: "512" })).memoryBytes, 512 * mib);
  assert.throws(() => pilotInventory(system(proc)), /--mem/);
  assert.throws(() => pilotInventory(system({ "/proc/meminfo": proc["/proc/meminfo"] })), /cores/);
});

test("only the pilot's own user is served, not even root", async () => {
  const served: number[] = [];
  const handlers: LocalHandlers = {
    async request({ peer }) {
      served.push(peer.uid);
      return { body: "status", status: {} };
    },
    closed: () => undefined,
  };
  const own = onlyOwn(handlers, 1000);
  const asked = (peer: number) =>
    own.request(
      { id: 1, peer: { uid: peer, gid: 1, pid: 1 }, send: () => undefined },
      { id: 1, body: "status", status: {} } as never,
      Buffer.alloc(0),
    );
  await asked(1000);
  for (const other of [0, 1001]) await assert.rejects(asked(other), /pilot of uid 1000/);
  assert.deepEqual(served, [1000]);
});

test("guests are started as the pilot's user, without cgroups, whatever the books say", async () => {
  const orders: StartOrder[] = [];
  const fake = {
    start: async (order: StartOrder) => {
      orders.push(order);
      return { pid: 1, port: 1 };
    },
  } as unknown as Starter;
  const own = ownStarter(fake, 1000, 100);
  await own.start({ uid: 7, gid: 7, cgroups: ["/a"], leaseId: "x" } as unknown as StartOrder, 1);
  assert.deepEqual(
    orders.map(({ uid: u, gid, cgroups }) => [u, gid, cgroups]),
    [[1000, 100, []]],
  );
  await assert.rejects(own.prepare({} as StartOrder, 1), /prepares no executors/);
});

test("without cgroups a guest is gone when its parent has reaped it, and not before", async () => {
  const tree = {
    layout: { version: 1 as const, mounts: new Map(), missing: [] },
    root: "pilot",
    byParent: true as const,
  };
  let asked = 0;
  const stop = async (): Promise<void> => {
    asked += 1;
    if (asked < 3) throw new SubletError("INTERNAL", "starter: killed, but not gone yet");
  };
  await clearGuest(tree, "x", { stop, stuckAfterMs: 60_000 });
  assert.equal(asked, 3);
  const never = clearGuest(tree, "x", {
    stop: () => Promise.reject(new SubletError("DEADLINE_EXCEEDED", "no answer")),
    signal: AbortSignal.abort(),
    stuckAfterMs: 60_000,
  });
  await assert.rejects(never, /not reaped/);
});

test("the directory is private; leftovers go, what lives or is another's stays", async () => {
  const base = mkdtempSync(join(tmpdir(), "sp-"));
  try {
    const dir = pilotDir({ TMPDIR: base }, uid, "7", "node-with-a-long-name");
    assert.equal(dir, join(base, `sublet-pilot-${uid}-7-node-with-a-`));
    assert.match(pilotDir({ TMPDIR: `/${"x".repeat(80)}` }, uid, "7", "n1"), /^\/tmp\/sublet-pilot-/);
    symlinkSync("/etc", dir);
    await assert.rejects(makeRunDir(dir, uid), /already/);
    rmSync(dir);
    const old = join(base, `sublet-pilot-${uid}-6-n1`);
    const live = join(base, `sublet-pilot-${uid}-5-n1`);
    const young = join(base, `sublet-pilot-${uid}-4-n1`);
    const foreign = join(base, `sublet-pilot-${uid + 1}-6-n1`);
    for (const each of [old, live, young, foreign]) mkdirSync(each);
    const server = createServer().listen(join(live, "agent.sock"));
    await new Promise((resolve) => server.once("listening", resolve));
    for (const each of [old, live, foreign]) utimesSync(each, 1, 1);
    await makeRunDir(dir, uid);
    assert.deepEqual(
      [old, live, young, foreign, join(dir, "x")].map((each) => existsSync(each)),
      [false, true, true, true, true],
    );
    assert.deepEqual(await removeLeftovers(base, uid), []);
    await new Promise((resolve) => server.close(resolve));
  } finally {
    rmSync(base, { recursive: true });
  }
});
