/**
 * The guard's counters on the real kernel: perf_event_open of a cgroup, groups of events on each core, their times. Counted are the kernel's
 * own events (CPU time, page faults), which need no counting unit; the hardware's come the same way. Needs root and a hierarchy
 * that the perf_event controller is in; nothing stays.
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { after, type TestContext, test } from "node:test";
import {
  CgroupCounters,
  hardwareCounters,
  softwareCounters,
  whyNoCounters,
} from "../../agent/guard/counters.ts";

/** A hierarchy that perf_event is in: its own of v1, else v2, wherever that is. */
function hierarchy(): string | undefined {
  const mounts = readFileSync("/proc/mounts", "utf8")
    .split("\n")
    .map((line) => line.split(" "));
  const own = mounts.find(
    ([, , type, options]) => type === "cgroup" && options?.split(",").includes("perf_event"),
  );
  return (own ?? mounts.find(([, , type]) => type === "cgroup2"))?.[1];
}

const root = process.getuid?.() === 0 ? hierarchy() : undefined;
const skip = root === undefined ? "needs root and a hierarchy with perf_event" : false;
const cores = Array.from({ length: availableParallelism() }, (_, core) => core);
const made: string[] = [];
after(() => {
  for (const dir of made.reverse()) rmdirSync(dir);
});

function group(name: string, parent = root ?? ""): string {
  const dir = join(parent, name);
  mkdirSync(dir);
  made.push(dir);
  return dir;
}

async function spin(t: TestContext, dir: string): Promise<ChildProcess> {
  const child = spawn("sh", ["-c", `echo $$ > ${dir}/cgroup.procs && exec sh -c 'while :; do :; done'`], {
    stdio: "ignore",
  });
  await once(child, "spawn");
  t.after(async () => {
    child.kill("SIGKILL");
    if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
  });
  return child;
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** ns on a core, of the process as the scheduler counts it. */
const ranNs = ({ pid }: ChildProcess): number =>
  Number(readFileSync(`/proc/${pid}/schedstat`, "utf8").split(" ")[0]);

test("CPU time of a cgroup and those below it, of nobody else, as the scheduler has it", {
  skip,
}, async (t) => {
  const job = group(`sublet_test_counters_${process.pid}`);
  const step = group("step", job);
  const other = group(`sublet_test_counters_${process.pid}_other`);
  const counters = new CgroupCounters(job, cores, softwareCounters);
  try {
    const [busy] = await Promise.all([spin(t, step), spin(t, other)]);
    await sleep(200);
    const from = { counted: counters.read()[0] ?? 0, ran: ranNs(busy) };
    await sleep(1500);
    busy.kill("SIGSTOP");
    await sleep(100);
    const to = { counted: counters.read()[0] ?? 0, ran: ranNs(busy) };
    const ratio = (to.counted - from.counted) / (to.ran - from.ran);
    t.diagnostic(`${((to.ran - from.ran) / 1e6).toFixed(0)} ms ran, counted ${ratio.toFixed(4)} of it`);
    assert.ok(to.ran > from.ran);
    assert.ok(Math.abs(ratio - 1) < 0.05, `${ratio}`);
    await sleep(300);
    assert.equal(counters.read()[0], to.counted, "it stands still, the other one spins");
  } finally {
    counters.close();
  }
});

test("page faults come with the same read; what is closed leaves no descriptor", { skip }, async (t) => {
  const open = (): number => readdirSync("/proc/self/fd").length;
  const dir = group(`sublet_test_counters_${process.pid}_faults`);
  new CgroupCounters(dir, cores, softwareCounters).close(); // libc is loaded by now
  const before = open();
  const counters = new CgroupCounters(dir, cores, softwareCounters);
  assert.equal(open(), before + softwareCounters.length * cores.length);
  const script = `echo $$ > ${dir}/cgroup.procs && exec dd if=/dev/zero of=/dev/null bs=64M count=1`;
  const child = spawn("sh", ["-c", script], { stdio: "ignore" });
  await once(child, "exit");
  const [, faults = 0] = counters.read();
  t.diagnostic(`${faults} page faults`);
  // dd's buffer of 64 MiB: one fault each 4 KiB, or each 2 MiB where huge pages are given.
  assert.ok(faults > 32 && faults < 100_000, `${faults}`);
  counters.close();
  assert.equal(open(), before);
});

test("the hardware's counters: counted where there are some, refused by name where there are none", {
  skip,
}, async (t) => {
  const dir = group(`sublet_test_counters_${process.pid}_hardware`);
  const why = whyNoCounters(2);
  if (why !== undefined) {
    t.diagnostic(`not shown here: ${why}`);
    const unit = existsSync("/sys/bus/event_source/devices/cpu");
    if (!unit)
      assert.throws(() => new CgroupCounters(dir, cores, hardwareCounters), /perf_event_open: errno \d+/);
    return;
  }
  const counters = new CgroupCounters(dir, cores);
  await spin(t, dir);
  await sleep(500);
  const [cycles = 0, instructions = 0] = counters.read();
  counters.close();
  t.diagnostic(`${(cycles / instructions).toFixed(3)} cycles per instruction`);
  assert.ok(instructions > 1e6 && cycles / instructions > 0.1 && cycles / instructions < 10);
});

test("a cgroup that is gone, a core that is not there", { skip }, () => {
  assert.throws(
    () => new CgroupCounters(join(root ?? "", "no-such-group"), cores, softwareCounters),
    /ENOENT/,
  );
  const dir = group(`sublet_test_counters_${process.pid}_core`);
  const before = readdirSync("/proc/self/fd").length;
  assert.throws(() => new CgroupCounters(dir, [0, 100_000], softwareCounters), /errno/);
  assert.equal(readdirSync("/proc/self/fd").length, before);
});
