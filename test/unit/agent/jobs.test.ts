import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { type JobRoots, jobRoots } from "../../../agent/jobs/roots.ts";
import { type SeenJob, scanJobs } from "../../../agent/jobs/scan.ts";
import { watchJobs } from "../../../agent/jobs/watch.ts";
import { eventually } from "./fake-starter.ts";

function tree(t: TestContext): { dir: string; roots: JobRoots; write: (path: string, text: string) => void } {
  const dir = mkdtempSync(join(tmpdir(), "sublet-jobs-"));
  t.after(() => rmSync(dir, { recursive: true }));
  for (const name of ["cpuset", "memory", "freezer"]) mkdirSync(join(dir, name));
  const mounts = new Map(
    (["cpuset", "memory", "freezer"] as const).map((name) => [name, join(dir, name)] as const),
  );
  const roots = jobRoots({ version: 1, mounts, missing: [] }, { slurm: "slurm_n1", node: "n1" });
  const write = (path: string, text: string): void => {
    mkdirSync(join(dir, path, ".."), { recursive: true });
    writeFileSync(join(dir, path), text);
  };
  return { dir, roots, write };
}

const job = "slurm_n1/uid_7/job_42";
const never = (): boolean => false;

test("v2 places: system.slice or the top, whichever exists", () => {
  const mounts = new Map((["cpuset", "memory", "freezer"] as const).map((name) => [name, "/c"] as const));
  const layout = { version: 2 as const, mounts, missing: [] };
  assert.deepEqual(jobRoots(layout, { slurm: "s", node: "n" }, { exists: (path) => path === "/c/s" }).all, [
    "/c/s",
  ]);
  assert.deepEqual(jobRoots(layout, { slurm: "s", node: "n" }, { exists: never }).all, ["/c/system.slice/s"]);
});

test("a job: effective cores, limit and use of memory, from its own directories", (t) => {
  const { roots, write } = tree(t);
  write(`cpuset/${job}/cpuset.cpus`, "0-3\n");
  write(`cpuset/${job}/cpuset.effective_cpus`, "1-2\n");
  write(`memory/${job}/memory.limit_in_bytes`, "1048576\n");
  write(`memory/${job}/memory.usage_in_bytes`, "4096\n");
  write("cpuset/slurm_n1/uid_7/jobs_1/cpuset.cpus", "0\n");
  write("cpuset/slurm_n1/system/x", "");
  assert.deepEqual(scanJobs(roots, never).jobs, [
    { jobId: 42, cores: [1, 2], memoryLimitBytes: 1048576, memoryUsedBytes: 4096 },
  ]);
});

test("not yet configured, unlimited or unreadable is unknown, never empty", (t) => {
  const { roots, write } = tree(t);
  write(`cpuset/${job}/cpuset.cpus`, "\n");
  write(`cpuset/${job}/cpuset.effective_cpus`, "0-3\n");
  write(`memory/${job}/memory.limit_in_bytes`, "9223372036854771712\n");
  write("freezer/slurm_n1/uid_7/job_43/cgroup.procs", "");
  write("cpuset/slurm_n1/uid_7/job_44/cpuset.cpus", "0-99999\n");
  const unknown = { cores: undefined, memoryLimitBytes: undefined, memoryUsedBytes: 0 };
  assert.deepEqual(
    scanJobs(roots, never).jobs,
    [42, 43, 44].map((jobId) => ({ jobId, ...unknown })),
  );
});

test("stale: a directory without processes does not count, one with processes below does", (t) => {
  const { roots, write } = tree(t);
  write(`cpuset/${job}/cgroup.procs`, "");
  write("cpuset/slurm_n1/uid_7/job_43/step_0/task_0/cgroup.procs", "123\n");
  assert.deepEqual(
    scanJobs(roots, () => true).jobs.map((each) => each.jobId),
    [43],
  );
});

test("the watch sees jobs come, get their cores, go, and come again, from nothing", async (t) => {
  const { dir, roots, write } = tree(t);
  const reports: (readonly SeenJob[])[] = [];
  const watcher = watchJobs({
    roots,
    nowMs: () => performance.now(),
    onJobs: (jobs) => reports.push(jobs),
    onProblem: assert.fail,
  });
  t.after(() => watcher.close());
  const last = (): readonly SeenJob[] => reports.at(-1) ?? [];
  assert.deepEqual(last(), []);
  for (let round = 0; round < 3; round++) {
    mkdirSync(join(dir, "cpuset", job), { recursive: true });
    await eventually("job without cores", () => last()[0]?.jobId === 42 && last()[0]?.cores === undefined);
    write(`cpuset/${job}/cpuset.cpus`, "1\n");
    await eventually("cores", () => last()[0]?.cores?.join() === "1");
    write(`memory/${job}/memory.limit_in_bytes`, "4096\n");
    await eventually("memory", () => last()[0]?.memoryLimitBytes === 4096);
    rmSync(join(dir, "cpuset", job), { recursive: true });
    rmSync(join(dir, "memory", job), { recursive: true });
    await eventually("gone", () => last().length === 0);
    if (round === 1)
      for (const name of ["cpuset", "memory"]) rmSync(join(dir, name, "slurm_n1"), { recursive: true });
  }
});

test("after its epilog, what is left of a job without processes does not count; its next life does", async (t) => {
  const { roots, write } = tree(t);
  write(`cpuset/${job}/cpuset.cpus`, "1\n");
  const reports: (readonly SeenJob[])[] = [];
  const watcher = watchJobs({
    roots,
    nowMs: () => performance.now(),
    onJobs: (jobs) => reports.push(jobs),
    onProblem: assert.fail,
  });
  t.after(() => watcher.close());
  assert.equal(reports.at(-1)?.length, 1);
  watcher.ended(42);
  assert.equal(reports.at(-1)?.length, 0);
  watcher.begun(42);
  watcher.rescan();
  assert.equal(reports.at(-1)?.length, 1);
});
