/**
 * Hardware counters and resctrl: what is normal for a job, what is said of it beside guests, what where there are none. The values
 * are made up in the proportions that CPI² reports; the tree of resctrl is a fake. The kernel's side is in test/cluster/counters.test.ts.
 */
import assert from "node:assert/strict";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { Baseline } from "../../../../agent/guard/baseline.ts";
import { scaledGrowth, whyNoCounters } from "../../../../agent/guard/counters.ts";
import { parsePolicy } from "../../../../agent/guard/policy.ts";
import { JobBandwidth } from "../../../../agent/guard/resctrl.ts";
import { Signals } from "../../../../agent/guard/signals.ts";
import { jobRoots } from "../../../../agent/jobs/roots.ts";

const node = { cores: 8, memoryBytes: 2 ** 34 };
const policy = parsePolicy("[job_cpi]\nuse = true\n[job_cache_misses]\nuse = true\n", "guard.toml", node);

function folder(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), "sublet-counters-"));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

/** A node of cgroup v2 with job 7 and a guest, whose counters and CPU time the test moves on. */
function machine(t: TestContext) {
  const dir = folder(t);
  const write = (path: string, text: string): void => {
    mkdirSync(join(dir, path, ".."), { recursive: true });
    writeFileSync(join(dir, path), text);
  };
  write("proc/self/schedstat", "1 1 1");
  write("cg/slurm/job_7/cgroup.threads", "70\n");
  write("cg/sublet/lease_l1/cgroup.threads", "90\n");
  write("proc/90/schedstat", "0 0 1\n");
  const mounts = new Map(
    (["cpuset", "cpu", "memory", "pids", "freezer"] as const).map((name) => [name, join(dir, "cg")]),
  );
  const layout = { version: 2 as const, mounts, missing: [] };
  const totals = { cycles: 0, instructions: 0, misses: 0 };
  const opened: (readonly number[])[] = [];
  let open = 0;
  const it = {
    opened,
    isOpen: () => open,
    broken: undefined as string | undefined,
    guestRunMs: 0,
    cpi: 1,
    signals: new Signals({
      tree: { layout, root: "sublet" },
      roots: jobRoots(layout, { slurm: "slurm", node: "n1" }),
      siblings: [
        [0, 2],
        [1, 3],
      ],
      availableBytes: () => 2 ** 33,
      proc: join(dir, "proc"),
      resctrl: join(dir, "resctrl"),
      openCounters: (_, cores) => {
        if (it.broken !== undefined) throw new Error(it.broken);
        opened.push(cores);
        open += 1;
        const close = (): void => {
          open -= 1;
        };
        return { read: () => Object.values(totals), close };
      },
    }),
    nowMs: 0,
    /** Time passes: the job makes a billion instructions a second. */
    run(seconds: number, guestShare: number): void {
      it.nowMs += 1000 * seconds;
      totals.instructions += 1e9 * seconds;
      totals.cycles += 1e9 * seconds * it.cpi;
      totals.misses += 1e6 * seconds * it.cpi;
      it.guestRunMs += 1000 * seconds * guestShare;
      write("proc/90/schedstat", `${it.guestRunMs * 1e6} 0 1\n`);
    },
    look(held = false) {
      const readings = it.signals.sample(policy, {
        nowMs: it.nowMs,
        jobs: [{ jobId: 7, cores: undefined }],
        guests: [{ leaseId: "l1", cores: [3], held }],
      });
      return Object.fromEntries(readings.map(({ signal, value, leaseIds }) => [signal, { value, leaseIds }]));
    },
    alone(): void {
      it.signals.alone(policy, [{ jobId: 7, cores: undefined }], it.nowMs);
    },
  };
  return it;
}

test("counters that were handed round are scaled by the time that they ran", () => {
  const last = { enabled: 100, running: 100, values: [10, 20] };
  assert.deepEqual(scaledGrowth(last, { enabled: 300, running: 200, values: [40, 20] }), [60, 0]);
  assert.deepEqual(scaledGrowth(last, { enabled: 300, running: 100, values: [10, 20] }), [0, 0]);
  assert.deepEqual(scaledGrowth(last, { enabled: 200, running: 200, values: [11, 22] }), [1, 2]);
});

test("what is normal is learnt alone, and worse is what lies beyond its noise", () => {
  const steady = new Baseline();
  for (let i = 0; i < 4; i++) steady.learn(1.2);
  assert.equal(steady.worsePercent(9, "above"), undefined, "too little is known");
  steady.learn(1.2);
  assert.ok(Math.abs((steady.worsePercent(1.5, "above") ?? 0) - 25) < 1e-9);
  assert.equal(steady.worsePercent(1.1, "above"), 0);
  assert.ok(Math.abs((steady.worsePercent(0.9, "below") ?? 0) - 25) < 1e-9);
  const noisy = new Baseline();
  for (let i = 0; i < 40; i++) noisy.learn(i % 2 === 0 ? 1 : 1.4);
  assert.equal(noisy.worsePercent(1.5, "above"), 0, "1.2 and 0.2 of spread");
  assert.ok((noisy.worsePercent(2, "above") ?? 0) > 20);
});

test("a job beside a guest is compared with itself alone; while no guest runs all is well", (t) => {
  const it = machine(t);
  for (let i = 0; i < 8; i++) {
    it.run(5, 0);
    it.alone();
  }
  assert.deepEqual(it.opened, [[0, 2, 1, 3]], "opened once, on all cores that the job may use");
  it.look();
  it.run(1, 0.9);
  assert.equal(it.look().job_cpi?.value, 0, "as fast as ever");
  it.cpi = 1.4;
  it.run(2, 0.9);
  const hurt = it.look();
  assert.ok(Math.abs((hurt.job_cpi?.value ?? 0) - 40) < 1, `${hurt.job_cpi?.value}`);
  assert.deepEqual(hurt.job_cpi?.leaseIds, ["l1"]);
  assert.ok((hurt.job_cache_misses?.value ?? 0) > 35);
  it.run(2, 0);
  assert.deepEqual(it.look(true).job_cpi, { value: 0, leaseIds: ["l1"] }, "frozen: it is not the cause");
});

test("another phase of the job is its normal after some looks without guests", (t) => {
  const it = machine(t);
  for (let i = 0; i < 20; i++) {
    it.run(5, 0);
    it.alone();
  }
  it.cpi = 2;
  it.look();
  it.run(2, 0.9);
  assert.ok((it.look().job_cpi?.value ?? 0) > 90);
  for (let i = 0; i < 30; i++) {
    it.run(1, 0);
    it.look(true);
  }
  it.run(2, 0.9);
  assert.ok((it.look().job_cpi?.value ?? 100) < 15, "below what the policy enters at");
});

test("without a normal of its own, and for a job that waits, nothing is said", (t) => {
  const it = machine(t);
  it.look();
  for (let i = 0; i < 10; i++) {
    it.run(1, 0.9);
    assert.equal(it.look().job_cpi, undefined);
  }
});

test("readers go with their job, and with the guard", (t) => {
  const it = machine(t);
  it.run(1, 0);
  it.alone();
  assert.equal(it.isOpen(), 1);
  it.signals.alone(policy, [], it.nowMs);
  assert.equal(it.isOpen(), 0);
  it.alone();
  it.signals.close();
  assert.equal(it.isOpen(), 0);
});

test("a machine that does not count after all: said once, other signals go on", (t) => {
  const it = machine(t);
  it.broken = "perf_event_open: errno 2";
  assert.equal(it.signals.lacking(policy), undefined);
  it.run(1, 0);
  it.alone();
  assert.equal(it.signals.found.job_cpi, false);
  assert.match(it.signals.lacking(policy) ?? "", /^job_cpi: perf_event_open: errno 2; job_cache_misses:/);
  assert.equal(it.signals.lacking(policy), undefined);
  assert.match(it.signals.counters, /errno 2/);
  it.run(1, 0.5);
  assert.ok("node_memory_headroom" in it.look());
});

test("by default no counter is opened", (t) => {
  const it = machine(t);
  it.run(1, 0);
  it.signals.alone(parsePolicy("", "built-in", node), [{ jobId: 7, cores: [0] }], it.nowMs);
  assert.deepEqual(it.opened, []);
});

test("it is known without asking the kernel why there are no counters", (t) => {
  const dir = folder(t);
  for (const name of ["software", "breakpoint", "msr"]) mkdirSync(join(dir, name));
  assert.match(whyNoCounters(2, dir) ?? "", /no counting unit/);
  assert.match(whyNoCounters(2, join(dir, "none")) ?? "", /no perf events/);
  mkdirSync(join(dir, "cpu"));
  assert.match(whyNoCounters(1, dir) ?? "", /cgroup v1/);
});

/** A fake of /sys/fs/resctrl, as with Intel's monitoring on two sockets. */
function resctrl(t: TestContext) {
  const dir = folder(t);
  const count = (group: string, bytes: number | string): void => {
    for (const id of ["00", "01"]) {
      mkdirSync(join(dir, group, "mon_data", `mon_L3_${id}`), { recursive: true });
      writeFileSync(join(dir, group, "mon_data", `mon_L3_${id}`, "mbm_total_bytes"), `${bytes}\n`);
    }
  };
  mkdirSync(join(dir, "info"));
  mkdirSync(join(dir, "mon_groups"));
  count(".", 5);
  return { dir, count };
}

test("fake resctrl: a job's tasks are in a group of ours, which goes with it", (t) => {
  const { dir, count } = resctrl(t);
  mkdirSync(join(dir, "mon_groups/sublet.3"));
  const bandwidth = new JobBandwidth(dir, "sublet");
  assert.deepEqual(readdirSync(join(dir, "mon_groups")), [], "of an earlier life");
  assert.equal(bandwidth.why(), undefined);
  assert.equal(bandwidth.read(7, [70, 71]), undefined, "the fake has no counters in a new group");
  assert.equal(readFileSync(join(dir, "mon_groups/sublet.7/tasks"), "utf8"), "71\n");
  count("mon_groups/sublet.7", 100);
  rmSync(join(dir, "mon_groups/sublet.7/tasks"));
  assert.equal(bandwidth.read(7, [70, 71]), 200);
  assert.ok(!existsSync(join(dir, "mon_groups/sublet.7/tasks")), "told once");
  count("mon_groups/sublet.7", "Unavailable");
  assert.equal(bandwidth.read(7, [70]), undefined);
  rmSync(join(dir, "mon_groups/sublet.7/mon_data"), { recursive: true });
  bandwidth.keep(new Set());
  assert.deepEqual(readdirSync(join(dir, "mon_groups")), []);
});

test("fake resctrl: where others have groups none of ours is made", (t) => {
  for (const foreign of ["mon_groups/theirs", "batch"]) {
    const { dir } = resctrl(t);
    mkdirSync(join(dir, foreign));
    const bandwidth = new JobBandwidth(dir, "sublet");
    assert.match(bandwidth.why() ?? "", /in use/);
    assert.equal(bandwidth.read(7, [70]), undefined);
    assert.ok(!readdirSync(join(dir, "mon_groups")).some((name) => name.startsWith("sublet")));
  }
  assert.match(new JobBandwidth("/nowhere", "sublet").why() ?? "", /not mounted/);
});
