/** The readers on files as the kernel has them, with a clock of the test's own. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import type { Reading } from "../../../../agent/guard/decide.ts";
import { parsePolicy } from "../../../../agent/guard/policy.ts";
import { type SampledGuest, Signals } from "../../../../agent/guard/signals.ts";
import { Window } from "../../../../agent/guard/window.ts";
import { jobRoots } from "../../../../agent/jobs/roots.ts";

const policy = parsePolicy("[job_throttled]\nuse = true\n[node_bandwidth]\nuse = true\n", "guard.toml", {
  cores: 8,
  memoryBytes: 2 ** 34,
});
const mib = 1024 * 1024;

function node(t: TestContext, version: 1 | 2) {
  const dir = mkdtempSync(join(tmpdir(), "sublet-signals-"));
  t.after(() => rmSync(dir, { recursive: true }));
  const write = (path: string, text: string): void => {
    mkdirSync(join(dir, path, ".."), { recursive: true });
    writeFileSync(join(dir, path), text);
  };
  write("proc/self/schedstat", "1 1 1");
  write("proc/pressure/memory", "some avg10=0.00 avg60=0.00 avg300=0.00 total=1000\nfull total=9\n");
  const total = version === 1 ? "total_" : "";
  const refaults = (count: number): string =>
    `workingset_refault_anon 1\n${total}workingset_refault_anon ${count}\n${total}workingset_refault_file ${count}\n`;
  write("cg/sublet/memory.stat", refaults(0));
  if (version === 2)
    for (const id of ["00", "01"]) write(`resctrl/mon_data/mon_L3_${id}/mbm_total_bytes`, "1\n");
  if (version === 2) write("cg/sublet/memory.pressure", "some total=0");
  const mount = join(dir, "cg");
  const controllers = ["cpuset", "cpu", "memory", "pids", "freezer"] as const;
  const mounts = new Map(controllers.map((name) => [name, mount]));
  const layout = { version, mounts, missing: [] };
  mkdirSync(join(mount, "slurm"));
  const job = version === 1 ? "cg/slurm/uid_5/job_7" : "cg/slurm/job_7";
  const list = version === 1 ? "tasks" : "cgroup.threads";
  let availableBytes = 1000 * mib;
  const signals = new Signals({
    tree: { layout, root: "sublet" },
    roots: jobRoots(layout, { slurm: "slurm", node: "n1" }),
    siblings: [
      [0, 4],
      [1, 5],
    ],
    availableBytes: () => availableBytes,
    proc: join(dir, "proc"),
    resctrl: join(dir, "resctrl"),
  });
  let nowMs = 0;
  return {
    signals,
    write,
    refaults,
    job,
    list,
    available: (bytes: number): void => {
      availableBytes = bytes;
    },
    /** A task of the job, or of a guest, has run and waited for so many ms. */
    task(id: number, runMs: number, waitMs: number): void {
      write(`proc/${id}/schedstat`, `${runMs * 1e6} ${waitMs * 1e6} 3\n`);
    },
    look(guests: readonly SampledGuest[], stepMs = 1000): Map<string, Reading> {
      nowMs += stepMs;
      const readings = signals.sample(policy, { nowMs, jobs: [{ jobId: 7, cores: [0] }], guests });
      return new Map(readings.map((reading) => [reading.signal, reading]));
    },
  };
}

const guest = (leaseId: string, cores: number[], held = false): SampledGuest => ({ leaseId, cores, held });

for (const version of [1, 2] as const)
  test(`v${version}: delays of the job's tasks, and who may be their cause`, (t) => {
    const here = node(t, version);
    here.write(`${here.job}/${here.list}`, "");
    here.write(`${here.job}/step_0/${here.list}`, "10\n11\n");
    for (const [name, task] of Object.entries({ same: 20, sibling: 21, other: 22, lazy: 23, held: 24 }))
      here.write(`cg/sublet/lease_${name}/${here.list}`, `${task}\n`);
    const guests = [
      guest("same", [0]),
      guest("sibling", [4]),
      guest("other", [1]),
      guest("lazy", [0]),
      guest("held", [0], true),
    ];
    for (const id of [10, 11, 20, 21, 22, 23, 24]) here.task(id, 1000, 1000);
    assert.equal(here.look(guests).get("job_run_delay"), undefined, "a rate wants two looks");
    here.task(10, 1600, 1200);
    here.task(11, 1000, 1000);
    for (const id of [20, 21, 22]) here.task(id, 1100, 1000);
    here.task(23, 1001, 1900);
    const { value, leaseIds, jobId } = here.look(guests).get("job_run_delay") as Reading;
    assert.deepEqual([value, jobId], [25, 7]);
    assert.deepEqual([...leaseIds].sort(), ["held", "same", "sibling"]);
    assert.equal(here.look(guests).get("job_run_delay")?.value, 0, "a job that sleeps waits for nothing");
  });

test("waiting that is booked in lumps is spread over the window", (t) => {
  const here = node(t, 1);
  here.write(`${here.job}/tasks`, "10\n");
  const values: (number | undefined)[] = [];
  for (let i = 0; i <= 20; i++) {
    here.task(10, 100 * i, i % 2 === 0 ? 100 * i : 100 * (i - 1));
    values.push(here.look([], 200).get("job_run_delay")?.value);
  }
  assert.ok(
    values.slice(6).every((value) => value !== undefined && value > 30),
    values.join(),
  );
  const window = new Window();
  assert.deepEqual(
    [0, 100, 200, 5000].map((atMs) => window.add(atMs, 150, [atMs])?.spanMs),
    [undefined, 100, 200, 4800],
  );
});

test("v2: pressure, throttling and refaults of the job; memory of the node; all guests are suspects", (t) => {
  const here = node(t, 2);
  const write = (us: number, count: number): void => {
    for (const file of ["cpu.pressure", "memory.pressure"])
      here.write(`${here.job}/${file}`, `some avg10=1.00 avg60=0.00 avg300=0.00 total=${us}\nfull total=1\n`);
    here.write(`${here.job}/cpu.stat`, `usage_usec 5\nnr_throttled 1\nthrottled_usec ${us}\n`);
    here.write(`${here.job}/memory.stat`, here.refaults(count));
  };
  write(1000, 10);
  const idle = [guest("idle", [3])];
  here.look(idle);
  write(201_000, 510);
  here.write("resctrl/mon_data/mon_L3_01/mbm_total_bytes", `${300 * mib + 1}\n`);
  here.write("proc/pressure/memory", "some avg10=0.00 avg60=0.00 avg300=0.00 total=51000\n");
  here.available(100 * mib);
  const found = here.look(idle);
  assert.equal(found.get("job_cpu_pressure")?.value, 20);
  assert.deepEqual(found.get("job_cpu_pressure")?.leaseIds, []);
  assert.equal(found.get("job_throttled")?.value, 20);
  assert.equal(found.get("job_memory_pressure")?.value, 20);
  assert.deepEqual(found.get("job_memory_pressure")?.leaseIds, ["idle"]);
  assert.equal(found.get("job_refaults")?.value, 1000);
  assert.equal(found.get("node_memory_pressure")?.value, 5);
  assert.equal(found.get("node_bandwidth")?.value, 300);
  here.write("resctrl/mon_data/mon_L3_00/mbm_total_bytes", "Unavailable\n");
  assert.deepEqual(found.get("node_memory_headroom"), {
    signal: "node_memory_headroom",
    jobId: undefined,
    value: 100,
    leaseIds: ["idle"],
  });
  assert.equal(here.look(idle).has("node_bandwidth"), false, "a part is not the whole");
});

test("v1 has no pressure of a cgroup: said, and no reading", (t) => {
  const here = node(t, 1);
  assert.equal(here.signals.found.job_cpu_pressure, false);
  assert.equal(here.signals.found.job_refaults, true);
  assert.equal(here.signals.found.node_bandwidth, false);
  here.look([]);
  assert.deepEqual([...here.look([]).keys()], ["node_memory_pressure", "node_memory_headroom"]);
});
