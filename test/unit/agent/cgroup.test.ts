import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { type GuestTree, guestDirs, limitGuest, listGuests } from "../../../agent/cgroup/guests.ts";
import { discoverCgroups } from "../../../agent/cgroup/layout.ts";
import { applySettings, guestSettings } from "../../../agent/cgroup/limits.ts";
import { readAvailableBytes, readInventory } from "../../../agent/inventory/inventory.ts";

const v1 = `25 20 0:22 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct
26 20 0:23 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset
27 20 0:24 / /sys/fs/cgroup/mem\\040ory rw - cgroup cgroup rw,memory
28 20 0:25 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
29 20 0:26 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
`;
const v2 = "30 20 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n";

function folder(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), "sublet-cgroup-"));
  t.after(() => rmSync(dir, { recursive: true }));
  return dir;
}

test("v1: each controller at its mount, joint mounts once, escapes read, missing ones named", () => {
  const layout = discoverCgroups(v1);
  assert.equal(layout.version, 1);
  assert.equal(layout.mounts.get("cpu"), "/sys/fs/cgroup/cpu,cpuacct");
  assert.equal(layout.mounts.get("memory"), "/sys/fs/cgroup/mem ory");
  assert.deepEqual(layout.missing, ["pids", "freezer"]);
  assert.deepEqual(guestDirs({ layout, root: "sublet_n1" }, "x"), [
    "/sys/fs/cgroup/cpu,cpuacct/sublet_n1/lease_x",
    "/sys/fs/cgroup/cpuset/sublet_n1/lease_x",
    "/sys/fs/cgroup/mem ory/sublet_n1/lease_x",
  ]);
});

test("v2: one tree with what it offers; without cpuset or memory nothing can be lent", () => {
  const layout = discoverCgroups(v2, () => "cpuset cpu io memory pids\n");
  assert.equal(layout.version, 2);
  assert.deepEqual(guestDirs({ layout, root: "r" }, "x"), ["/sys/fs/cgroup/r/lease_x"]);
  assert.throws(() => discoverCgroups(v2, () => "cpu memory"), {
    code: "FAILED_PRECONDITION",
    message: /cpuset/,
  });
  assert.throws(() => discoverCgroups(""), { code: "FAILED_PRECONDITION" });
});

const limits = { cores: [1, 2, 3], mems: "0", cpuQuotaCores: 3, memoryBytes: 100 * 65536, pidsMax: 112 };

test("limits of both versions: cores, lowest weight, quota, memory, no swap, processes", () => {
  const texts = (version: 1 | 2): string[] =>
    guestSettings(version, limits).map((each) => `${each.file}=${each.value}`);
  assert.deepEqual(texts(1), [
    "cpuset.mems=0",
    "cpuset.cpus=1-3",
    "cpu.shares=2",
    "cpu.cfs_quota_us=300000",
    "memory.limit_in_bytes=6553600",
    "memory.memsw.limit_in_bytes=6553600",
    "memory.swappiness=0",
    "memory.soft_limit_in_bytes=0",
    "pids.max=112",
  ]);
  assert.deepEqual(texts(2), [
    "cpuset.mems=0",
    "cpuset.cpus=1-3",
    "cpu.weight=1",
    "cpu.max=300000 100000",
    "memory.high=5734400",
    "memory.max=6553600",
    "memory.swap.max=0",
    "memory.oom.group=1",
    "pids.max=112",
  ]);
});

test("limits are written, read back, and alarmed when the file is missing or says something else", (t) => {
  const dir = folder(t);
  const layout = { version: 1 as const, mounts: new Map([["memory" as const, dir]]), missing: [] };
  mkdirSync(join(dir, "g"));
  const [wanted] = guestSettings(1, limits).filter((each) => each.controller === "memory");
  assert.ok(wanted !== undefined);
  const path = join(dir, "g", "memory.limit_in_bytes");
  assert.deepEqual(applySettings(layout, ["g"], [wanted]), [`${path} does not exist`]);
  assert.deepEqual(applySettings(layout, ["g"], [{ ...wanted, optional: true }]), []);
  writeFileSync(path, "1\n");
  assert.deepEqual(applySettings(layout, ["g"], [wanted]), []);
  assert.equal(readFileSync(path, "utf8"), wanted.value);
  // A file that is a folder can be neither read nor written.
  rmSync(path);
  mkdirSync(path);
  assert.equal(applySettings(layout, ["g"], [wanted]).length, 1);
});

test("of limits that are known to be in force only what changes is written, and CPU time is looked at anew", (t) => {
  const dir = folder(t);
  const mounts = new Map((["cpu", "memory", "pids"] as const).map((name) => [name, dir]));
  const tree: GuestTree = { layout: { version: 1, mounts, missing: [] }, root: "r" };
  mkdirSync(join(dir, "r", "lease_x"), { recursive: true });
  const file = (name: string) => join(dir, "r", "lease_x", name);
  for (const { file: name, controller } of guestSettings(1, limits))
    if (mounts.has(controller as "cpu")) writeFileSync(file(name), "1\n");
  assert.deepEqual(limitGuest(tree, "x", { ...limits, memoryBytes: 6553600 * 2 }, limits), []);
  const written = (name: string) => readFileSync(file(name), "utf8").trim();
  assert.deepEqual(
    ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "pids.max", "cpu.cfs_quota_us"].map(written),
    ["13107200", "13107200", "1", "300000"],
  );
  assert.deepEqual(limitGuest(tree, "x", { ...limits, memoryBytes: 6553600 * 2 }), []);
  assert.equal(written("pids.max"), "112");
});

test("guests are listed from every hierarchy, foreign directories are not ours", (t) => {
  const dir = folder(t);
  for (const name of ["a/r/lease_x", "a/r/other", "b/r/lease_y", "b/r/lease_x"])
    mkdirSync(join(dir, name), { recursive: true });
  const mounts = new Map([
    ["cpuset" as const, join(dir, "a")],
    ["memory" as const, join(dir, "b")],
    ["cpu" as const, join(dir, "gone")],
  ]);
  assert.deepEqual(listGuests({ layout: { version: 1, mounts, missing: [] }, root: "r" }), ["x", "y"]);
});

test("inventory from files: cores that exist, siblings, NUMA, memory", (t) => {
  const dir = folder(t);
  const write = (path: string, text: string): void => {
    mkdirSync(join(dir, path, ".."), { recursive: true });
    writeFileSync(join(dir, path), text);
  };
  write("sys/devices/system/cpu/online", "0-7\n");
  write("sys/devices/system/node/has_memory", "0-1\n");
  write("sys/devices/system/node/node0/cpulist", "0-3\n");
  write("sys/devices/system/node/node1/cpulist", "4-7\n");
  for (let core = 0; core < 8; core++)
    write(
      `sys/devices/system/cpu/cpu${core}/topology/thread_siblings_list`,
      `${core % 4},${(core % 4) + 4}\n`,
    );
  write("proc/meminfo", "MemTotal:       1000 kB\nMemAvailable:    600 kB\n");
  const roots = { sys: join(dir, "sys"), proc: join(dir, "proc") };
  const all = readInventory({ cores: undefined, memoryBytes: undefined, fabricAddress: "127.0.0.1" }, roots);
  assert.deepEqual(all.cores, [0, 1, 2, 3, 4, 5, 6, 7]);
  assert.equal(all.siblings.length, 4);
  assert.deepEqual(all.numa[1], { id: 1, cores: [4, 5, 6, 7] });
  assert.equal(all.mems, "0-1");
  assert.equal(all.memoryBytes, 1_024_000);
  assert.equal(all.fabricInterface, "lo");
  const part = readInventory({ cores: [5, 1], memoryBytes: 5000, fabricAddress: "192.0.2.1" }, roots);
  assert.deepEqual([part.cores, part.memoryBytes, part.fabricInterface], [[1, 5], 5000, undefined]);
  assert.deepEqual(part.siblings, [[1, 5]]);
  assert.throws(() => readInventory({ cores: [8], memoryBytes: undefined, fabricAddress: "" }, roots), {
    code: "FAILED_PRECONDITION",
  });
  assert.equal(readAvailableBytes(roots), 614_400);
  assert.throws(() => readAvailableBytes({ ...roots, proc: "/nonexistent" }), {
    code: "FAILED_PRECONDITION",
  });
});
