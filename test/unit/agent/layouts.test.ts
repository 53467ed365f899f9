/** Jobs are found, named, watched and measured in every layout that Slurm makes. */
import assert from "node:assert/strict";
import { chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { type TestContext, test } from "node:test";
import type { CgroupLayout } from "../../../agent/cgroup/layout.ts";
import { tasksBelow } from "../../../agent/guard/tasks.ts";
import { type JobRoots, jobRoots } from "../../../agent/jobs/roots.ts";
import { jobDirs, type SeenJob, scanJobs } from "../../../agent/jobs/scan.ts";
import { isStandIn } from "../../../agent/jobs/sluid.ts";
import { UseReader } from "../../../agent/jobs/use.ts";
import { JobWaiting } from "../../../agent/jobs/waiting.ts";
import { watchJobs } from "../../../agent/jobs/watch.ts";
import { eventually } from "./fake-starter.ts";
import { mib } from "./setup.ts";
import { type Layout, layouts } from "./slurm-layouts.ts";

interface Machine {
  readonly dir: string;
  readonly mount: string;
  readonly layout: CgroupLayout;
  readonly roots: JobRoots;
  write(path: string, text: string): void;
  process(pid: number, title: string, cgroup: string): void;
}

type Settings = Pick<Layout, "version" | "configured" | "node">;

function machine(t: TestContext, { version, configured = "slurm", node = "n1" }: Settings): Machine {
  const dir = mkdtempSync(join(tmpdir(), "sublet-layouts-"));
  t.after(() => rmSync(dir, { recursive: true }));
  const mount = join(dir, "cg");
  const controllers = ["cpuset", "memory", "freezer"] as const;
  const mounts = new Map(controllers.map((name) => [name, version === 2 ? mount : join(mount, name)]));
  for (const path of mounts.values()) mkdirSync(path, { recursive: true });
  const layout = { version, mounts, missing: [] };
  const write = (path: string, text: string): void => {
    mkdirSync(dirname(join(dir, path)), { recursive: true });
    writeFileSync(join(dir, path), text);
  };
  return {
    dir,
    mount,
    layout,
    roots: jobRoots(layout, { slurm: configured, node }, { proc: join(dir, "proc") }),
    write,
    process(pid, title, cgroup) {
      write(`proc/${pid}/cmdline`, `${title}\0\0\0`);
      write(`proc/${pid}/cgroup`, `0::${cgroup}\n`);
    },
  };
}

function build(t: TestContext, fixture: Layout): Machine {
  const made = machine(t, fixture);
  for (const [path, text] of Object.entries(fixture.files)) made.write(`cg/${path}`, text);
  for (const [pid, [title, cgroup]] of Object.entries(fixture.processes ?? {}))
    made.process(Number(pid), title, cgroup);
  made.roots.look();
  return made;
}

const never = (): boolean => false;
const always = (): boolean => true;

for (const fixture of layouts)
  test(`${fixture.name}: jobs, watches and the readers' paths (Slurm ${fixture.slurm})`, (t) => {
    const made = build(t, fixture);
    const { dir, mount, layout, roots } = made;
    assert.deepEqual(
      roots.all,
      fixture.roots.map((root) => join(mount, root)),
    );
    // With and without the doubt that they are leftovers: all have tasks.
    for (const stale of [never, always]) assert.deepEqual(scanJobs(roots, stale).jobs, fixture.jobs);
    const { watch } = scanJobs(roots, never);
    for (const root of roots.all) assert.ok(watch.includes(root));
    const use = new UseReader({ roots, tree: { layout, root: "sublet" }, cpuacct: undefined, proc: dir });
    for (const { jobId, cores, memoryLimitBytes } of fixture.jobs) {
      // The guard: the job's tasks, and its memory by the reader that lends it.
      const [tasks] = jobDirs(roots, roots.tasks).jobs.get(jobId) ?? [];
      assert.ok(tasks !== undefined && tasksBelow(tasks).length >= 2);
      assert.ok(watch.includes(tasks), "the job's directory is watched");
      const sample = use.read([{ jobId, cores: cores ?? [], memoryLimitBytes }], [], 1).get(jobId);
      assert.equal(sample?.memoryCurrentBytes, 100 * mib);
      assert.equal(sample?.memoryInactiveFileBytes, 40 * mib);
      if (fixture.version === 1) made.write("proc/self/schedstat", "1 0 1\n");
      const waiting = new JobWaiting({ roots, nowMs: () => 1, cores: () => 1, proc: join(dir, "proc") });
      assert.equal(waiting.look(jobId)?.of, fixture.version === 2 ? "job" : "tasks");
    }
  });

const scope = "system.slice/slurmstepd.scope";
const name = "sEKNKTV3WPV500";
const jobDir = `cg/${scope}/${name}`;
const stepd = `/${scope}/${name}/step_0/slurm`;

/** A job of 26.05 on core 2, its slurmstepd is process 100. */
function sluidJob(t: TestContext): Machine {
  const made = machine(t, { version: 2 });
  made.write(`${jobDir}/cpuset.cpus`, "2\n");
  made.write(`${jobDir}/step_0/slurm/cgroup.procs`, "100\n");
  made.write(`${jobDir}/step_0/user/task_0/cgroup.procs`, "101\n");
  made.roots.look();
  return made;
}

function only(roots: JobRoots): SeenJob {
  const { jobs } = scanJobs(roots, never);
  assert.equal(jobs.length, 1);
  return jobs[0] as SeenJob;
}

test("a job that cannot be named keeps its cores, and gets its name when it can be", (t) => {
  const { roots, process } = sluidJob(t);
  const nameless = only(roots);
  assert.ok(isStandIn(nameless.jobId) && nameless.jobId < 0xffff_fffe);
  assert.deepEqual(nameless.cores, [2]);
  process(100, "slurmstepd: [42.0]", stepd);
  assert.deepEqual(only(roots), { ...nameless, jobId: 42 });
});

test("nothing is read of a job that has its name; its number goes with its directory", (t) => {
  const { dir, roots, process } = sluidJob(t);
  process(100, "slurmstepd: [42.0]", stepd);
  assert.equal(only(roots).jobId, 42);
  rmSync(join(dir, "proc"), { recursive: true });
  assert.equal(only(roots).jobId, 42);
  rmSync(join(dir, jobDir), { recursive: true });
  assert.deepEqual(scanJobs(roots, never).jobs, []);
  mkdirSync(join(dir, jobDir));
  // As it begins: no core and no process tell of it yet, but its watch does.
  const begins = scanJobs(roots, never);
  assert.deepEqual(begins.jobs, []);
  assert.ok(begins.watch.includes(join(dir, jobDir)));
});

for (const [what, title, cgroup] of [
  [
    "of another job's cgroup: the pid came again",
    "slurmstepd: [42.0]",
    `/${scope}/sEKNKTV3WPV501/step_0/slurm`,
  ],
  ["cut short", "slurmstepd: [4", stepd],
  ["without a number", `slurmstepd: [${name}.0]`, stepd],
  ["beyond Slurm's numbers", "slurmstepd: [4294967294.0]", stepd],
  ["of no slurmstepd", "python slurmstepd: [42.0]", stepd],
  ["of slurmstepd before it knows its job", "/usr/sbin/slurmstepd", stepd],
] as const)
  test(`no name from a title ${what}`, (t) => {
    const { roots, process } = sluidJob(t);
    const { jobId } = only(roots);
    process(100, title, cgroup);
    assert.equal(only(roots).jobId, jobId);
  });

test("no name from a user's process that runs beside slurmstepd, as a task epilog does", (t) => {
  if (process.getuid?.() !== 0) return t.skip("only root can make a file another user's");
  const made = sluidJob(t);
  made.write(`${jobDir}/step_0/slurm/cgroup.procs`, "99\n100\n");
  made.process(99, "slurmstepd: [7.0]", stepd);
  chownSync(join(made.dir, "proc/99"), 1000, 1000);
  assert.ok(isStandIn(only(made.roots).jobId));
  made.process(100, "slurmstepd: [42.0]", stepd);
  assert.equal(only(made.roots).jobId, 42);
});

/** What the watch reports, as it comes. */
function watched(t: TestContext, roots: JobRoots): (readonly SeenJob[])[] {
  const reports: (readonly SeenJob[])[] = [];
  const watcher = watchJobs({
    roots,
    nowMs: () => performance.now(),
    onJobs: (jobs) => reports.push(jobs),
    onProblem: assert.fail,
  });
  t.after(() => watcher.close());
  return reports;
}

test("of a job with two directories nothing is known while one has no cores", (t) => {
  const { roots, process, write } = sluidJob(t);
  process(100, "slurmstepd: [42.0]", stepd);
  write(`cg/${scope}/job_42/cpuset.cpus`, "\n");
  assert.deepEqual(only(roots), {
    jobId: 42,
    cores: undefined,
    memoryLimitBytes: undefined,
    memoryUsedBytes: 0,
  });
});

test("the watch: a job is named as soon as its slurmstepd is in its place, if nothing else happens", async (t) => {
  const made = machine(t, { version: 2 });
  mkdirSync(join(made.mount, scope), { recursive: true });
  const reports = watched(t, made.roots);
  made.process(100, "slurmstepd: [42.0]", stepd);
  const settle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 50));
  for (const dir of ["", "step_0", "step_0/slurm"]) {
    mkdirSync(join(made.dir, jobDir, dir));
    await settle();
  }
  assert.equal(reports.flat().length, 0);
  made.write(`${jobDir}/step_0/slurm/cgroup.procs`, "100\n");
  await eventually("the name", () => reports.at(-1)?.[0]?.jobId === 42);
});

test("the watch: slurmd starts after the agent, in its own slice; a job by SLUID comes, is named, and goes", async (t) => {
  const made = machine(t, { version: 2 });
  const reports = watched(t, made.roots);
  const ids = (): string => (reports.at(-1) ?? []).map((job) => `${job.jobId}:${job.cores}`).join();
  mkdirSync(join(made.mount, "hpc.slice", "slurmstepd.scope"), { recursive: true });
  await eventually("the scope", () => made.roots.all[0] === join(made.mount, "hpc.slice/slurmstepd.scope"));
  const dir = `hpc.slice/slurmstepd.scope/${name}`;
  made.process(100, "slurmstepd: [42.0]", `/${dir}/step_0/slurm`);
  mkdirSync(join(made.mount, dir));
  made.write(`cg/${dir}/step_0/slurm/cgroup.procs`, "100\n");
  await eventually("the job's name", () => ids() === "42:undefined");
  made.write(`cg/${dir}/cpuset.cpus`, "2\n");
  await eventually("its cores", () => ids() === "42:2");
  rmSync(join(made.mount, dir), { recursive: true });
  await eventually("its end", () => reports.length > 2 && ids() === "");
  assert.ok(reports.flat().every((job) => job.jobId === 42));
});
