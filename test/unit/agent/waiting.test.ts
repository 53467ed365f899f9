/** How long jobs wait, on files as the kernel has them: by pressure, by tasks, bounded, and never by a guess. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { type TestContext, test } from "node:test";
import { someTasks } from "../../../agent/guard/tasks.ts";
import { jobRoots } from "../../../agent/jobs/roots.ts";
import { JobWaiting } from "../../../agent/jobs/waiting.ts";

function node(t: TestContext, version: 1 | 2, { cores = 2, schedstat = "1 0 1\n" } = {}) {
  const dir = mkdtempSync(join(tmpdir(), "sublet-waiting-"));
  t.after(() => rmSync(dir, { recursive: true }));
  const write = (path: string, text: string): void => {
    mkdirSync(dirname(join(dir, path)), { recursive: true });
    writeFileSync(join(dir, path), text);
  };
  write("proc/self/schedstat", schedstat);
  // The whole node waits all the time: that is the guests, and nobody's business here.
  for (const what of ["cpu", "memory", "io"])
    write(`proc/pressure/${what}`, "some avg10=99.00 total=999999999\n");
  const mount = join(dir, "cg");
  mkdirSync(join(mount, "slurm"), { recursive: true });
  const mounts = new Map((["cpuset", "memory", "freezer"] as const).map((name) => [name, mount]));
  const clock = { nowMs: 1000 };
  const waiting = new JobWaiting({
    roots: jobRoots({ version, mounts, missing: [] }, { slurm: "slurm", node: "n1" }),
    nowMs: () => clock.nowMs,
    cores: () => cores,
    proc: join(dir, "proc"),
  });
  const job = (jobId: number): string =>
    version === 1 ? `cg/slurm/uid_5/job_${jobId}` : `cg/slurm/job_${jobId}`;
  return {
    waiting,
    clock,
    write,
    job,
    dir,
    pressure(jobId: number, cpuUs: number, memoryUs: number): void {
      const some = (us: number): string =>
        `some avg10=0.00 avg60=0.00 avg300=0.00 total=${us}\nfull total=0\n`;
      write(`${job(jobId)}/cpu.pressure`, some(cpuUs));
      write(`${job(jobId)}/memory.pressure`, some(memoryUs));
      write(`${job(jobId)}/io.pressure`, some(3));
    },
    tasks(jobId: number, ids: readonly number[]): void {
      write(`${job(jobId)}/step_0/tasks`, ids.map((id) => `${id}\n`).join(""));
    },
    task(id: number, runMs: number, waitMs: number): void {
      write(`proc/${id}/schedstat`, `${runMs * 1e6} ${waitMs * 1e6} 3\n`);
    },
    end: (jobId: number): void => rmSync(join(dir, job(jobId)), { recursive: true }),
    tick(jobIds: readonly number[], stepMs = 5000): void {
      clock.nowMs += stepMs;
      waiting.tick(jobIds);
    },
  };
}

test("v2: the pressure of the job's own cgroup, by its cores; its end takes nothing back", (t) => {
  const here = node(t, 2);
  here.pressure(7, 5_000_000, 1_000_000);
  here.tick([7]);
  assert.deepEqual(here.waiting.sums.cpu, { coreMs: 0, waitedMs: 0 }, "what was before is not ours");
  here.pressure(7, 5_500_000, 1_050_000);
  here.tick([7]);
  const { sums } = here.waiting;
  assert.deepEqual(sums.cpu, { coreMs: 10_000, waitedMs: 1000 });
  assert.deepEqual(sums.memory, { coreMs: 10_000, waitedMs: 100 });
  assert.equal(sums.watchedMs, 5000);
  assert.deepEqual(here.waiting.look(7), {
    of: "job",
    watchedMs: 5000,
    cpuUs: 500_000,
    memoryUs: 50_000,
    ioUs: 0,
  });
  here.end(7);
  here.tick([7]);
  here.tick([]);
  assert.deepEqual(here.waiting.sums, sums, "time without a cgroup was not watched");
  here.pressure(7, 20, 0);
  here.tick([7]);
  here.pressure(7, 1_000_020, 0);
  here.tick([7]);
  assert.deepEqual(here.waiting.sums.cpu, { coreMs: 20_000, waitedMs: 3000 }, "its next life");
});

test("two jobs at once: core-time of both, the time of one", (t) => {
  const here = node(t, 2);
  for (const jobId of [7, 8]) here.pressure(jobId, 0, 0);
  here.tick([7, 8]);
  here.pressure(8, 2_500_000, 0);
  here.tick([7, 8]);
  assert.deepEqual(here.waiting.sums.cpu, { coreMs: 20_000, waitedMs: 5000 });
  assert.equal(here.waiting.sums.watchedMs, 5000);
});

test("v1: what the job's tasks waited for its cores, at most all of the time; of memory nothing is known", (t) => {
  const here = node(t, 1);
  here.tasks(7, [10, 11]);
  for (const id of [10, 11]) here.task(id, 100, 100);
  here.tick([7]);
  here.task(10, 2000, 1100);
  here.tick([7]);
  assert.deepEqual(here.waiting.sums.cpu, { coreMs: 10_000, waitedMs: 1000 });
  assert.deepEqual(here.waiting.sums.memory, { coreMs: 0, waitedMs: 0 });
  const { of, cpuUs } = here.waiting.look(7) ?? {};
  assert.deepEqual([of, cpuUs], ["tasks", 500_000]);
  here.task(10, 2000, 91_100);
  here.tick([7]);
  assert.deepEqual(here.waiting.sums.cpu, { coreMs: 20_000, waitedMs: 11_000 });
  assert.equal(here.waiting.look(7)?.cpuUs, 5_500_000);
});

test("where neither is told, nothing is known: the node's pressure stands for no job", (t) => {
  const v1 = node(t, 1, { schedstat: "0 0 0\n" });
  v1.tasks(7, [10]);
  v1.task(10, 0, 0);
  const v2 = node(t, 2, { schedstat: "0 0 0\n" });
  v2.write(`${v2.job(7)}/cgroup.threads`, "10\n");
  for (const here of [v1, v2]) {
    here.tick([7]);
    here.tick([7]);
    assert.equal(here.waiting.look(7), undefined);
    assert.equal(here.waiting.sums.watchedMs, 0);
  }
});

test("tasks that were not there before tell nothing, so that no time was watched by them", (t) => {
  const here = node(t, 1);
  for (const id of [10, 11, 12]) here.task(id, 5, 5000);
  here.tasks(7, [10]);
  here.tick([7]);
  here.tasks(7, [11]);
  here.tick([7]);
  assert.equal(here.waiting.sums.cpu.coreMs, 0);
  here.tasks(7, [11, 12]);
  here.task(11, 5, 5500);
  here.tick([7]);
  // One of two was compared, and speaks for both.
  assert.deepEqual(here.waiting.sums.cpu, { coreMs: 10_000, waitedMs: 1000 });
});

test("of thousands of tasks a part speaks for all, the same one while it lives", (t) => {
  const here = node(t, 1, { cores: 100 });
  const ids = Array.from({ length: 3000 }, (_, i) => 10_000 + i);
  here.tasks(7, ids);
  const first = someTasks(join(here.dir, here.job(7)));
  assert.deepEqual([first.tasks.length, first.all], [64, 3000]);
  const ranks = first.tasks.map((id) => Math.floor((id - 10_000) / 300));
  assert.equal(new Set(ranks).size, 10, "from all over the job");
  here.tasks(7, [...ids, ...Array.from({ length: 300 }, (_, i) => 50_000 + i)]);
  const then = new Set(someTasks(join(here.dir, here.job(7))).tasks);
  assert.ok(first.tasks.filter((id) => then.has(id)).length > 50);
  here.tasks(7, ids);
  for (const id of first.tasks) here.task(id, 1, 0);
  here.tick([7]);
  for (const id of first.tasks) here.task(id, 1, 10);
  here.tick([7]);
  const { coreMs, waitedMs } = here.waiting.sums.cpu;
  assert.deepEqual([coreMs, Math.round(waitedMs)], [500_000, 30_000]);
});

test("many jobs take turns; none is left out, and looks between ticks cost nothing more", (t) => {
  const here = node(t, 1);
  const jobIds = Array.from({ length: 40 }, (_, i) => 1 + i);
  for (const jobId of jobIds) {
    here.tasks(jobId, [1000 + jobId]);
    here.task(1000 + jobId, 1, 0);
  }
  const looked = (): number => jobIds.filter((jobId) => here.waiting.look(jobId) !== undefined).length;
  for (const known of [16, 32, 40]) {
    here.tick(jobIds);
    assert.equal(looked(), known);
  }
  for (let i = 0; i < 6; i++) here.tick(jobIds);
  for (const jobId of jobIds) assert.ok((here.waiting.look(jobId)?.watchedMs ?? 0) >= 10_000, `job ${jobId}`);
});
