/**
 * What Slurm 22.05 to 26.05 makes on a node, as trees of the files that we read. Each names the versions that make it
 * and the place in Slurm's source that it follows; `job` of v2 has what cgroup_p_step_create makes: step_S/slurm for
 * slurmstepd, step_S/user/task_T for its tasks.
 */
import type { SeenJob } from "../../../agent/jobs/scan.ts";

export interface Layout {
  readonly name: string;
  readonly slurm: string;
  readonly source: string;
  readonly version: 1 | 2;
  /** Settings of the agent: slurm_cgroup and node. */
  readonly configured?: string;
  readonly node?: string;
  /** Below the mount of v2; with v1 the first part is the controller. A path with "/" at its end is an empty directory. */
  readonly files: Readonly<Record<string, string>>;
  /** Titles of processes, and their cgroups. */
  readonly processes?: Readonly<Record<number, readonly [title: string, cgroup: string]>>;
  readonly roots: readonly string[];
  readonly jobs: readonly SeenJob[];
}

const mib = 1024 * 1024;
const hello = "sEKNKTV3WPV500"; // Slurm's own example, cgroup.conf(5)
const other = "sEKNKTV3WPV501";
const plain = "system.slice/slurmstepd.scope";

type Files = Record<string, string>;

function step(dir: string, stepd: number, tasks: Readonly<Record<string, number>>): Files {
  const files: Files = {
    [`${dir}/cgroup.procs`]: "",
    [`${dir}/slurm/cgroup.procs`]: `${stepd}\n`,
    [`${dir}/user/cgroup.procs`]: "",
  };
  for (const [task, pid] of Object.entries(tasks)) {
    files[`${dir}/user/${task}/cgroup.procs`] = `${pid}\n`;
    files[`${dir}/user/${task}/cgroup.threads`] = `${pid}\n`;
  }
  return files;
}

/** v2: a job with its memory, a step for what is outside of tasks, and one with tasks. */
function job(dir: string, cores: string, stepd: number, stepName = "step_0"): Files {
  return {
    [`${dir}/cpuset.cpus`]: `${cores}\n`,
    [`${dir}/cpuset.cpus.effective`]: `${cores || "0-7"}\n`,
    [`${dir}/memory.max`]: `${512 * mib}\n`,
    [`${dir}/memory.current`]: `${100 * mib}\n`,
    [`${dir}/memory.stat`]: `anon 1\ninactive_file ${40 * mib}\n`,
    [`${dir}/memory.pressure`]: "some avg10=0.00 avg60=0.00 avg300=0.00 total=11\n",
    [`${dir}/cpu.pressure`]: "some avg10=0.00 avg60=0.00 avg300=0.00 total=12\n",
    [`${dir}/cpu.stat`]: "usage_usec 5\nthrottled_usec 0\n",
    [`${dir}/cgroup.procs`]: "",
    ...step(`${dir}/step_extern`, stepd, { task_special: stepd + 1 }),
    ...step(`${dir}/${stepName}`, stepd + 2, { task_0: stepd + 3, task_1: stepd + 4 }),
  };
}

/** The scope by itself: slurmd's waiting area for new slurmstepds. */
function scope(dir: string): Files {
  return { [`${dir}/cgroup.procs`]: "", [`${dir}/system/cgroup.procs`]: "90\n" };
}

function seen(jobId: number, cores: number[] | undefined, directories = 1): SeenJob {
  return {
    jobId,
    cores,
    memoryLimitBytes: directories * 512 * mib,
    memoryUsedBytes: directories * 100 * mib,
  };
}

function v1Job(root: string, uid: number, jobId: number, cores: string, stepName: string): Files {
  const below = `${root}/uid_${uid}/job_${jobId}`;
  const files: Files = {
    [`cpuset/${below}/cpuset.cpus`]: `${cores}\n`,
    [`cpuset/${below}/cpuset.effective_cpus`]: `${cores}\n`,
    [`memory/${below}/memory.limit_in_bytes`]: `${512 * mib}\n`,
    [`memory/${below}/memory.usage_in_bytes`]: `${100 * mib}\n`,
    [`memory/${below}/memory.stat`]: `inactive_file 1\ntotal_inactive_file ${40 * mib}\n`,
  };
  for (const controller of ["cpuset", "memory", "freezer"]) {
    files[`${controller}/${below}/cgroup.procs`] = "";
    files[`${controller}/${below}/${stepName}/cgroup.procs`] = "300\n";
    files[`${controller}/${below}/${stepName}/tasks`] = "300\n";
    files[`${controller}/${below}/${stepName}/task_0/cgroup.procs`] = "301\n";
    files[`${controller}/${below}/${stepName}/task_0/tasks`] = "301\n";
  }
  return files;
}

const v2Source = "src/plugins/cgroup/v2/cgroup_v2.c: _set_int_cg_ns, cgroup_p_step_create";
const v1Source = "src/plugins/cgroup/v1/xcgroup.c: xcgroup_create_slurm_cg, xcgroup_create_hierarchy";
const titleSource = "src/slurmd/slurmstepd/slurmstepd.c: _set_job_log_prefix";
const namesSource = "src/common/log.c: log_build_step_id_str";

export const layouts: readonly Layout[] = [
  {
    name: "v1",
    slurm: "22.05 to 26.05",
    source: v1Source,
    version: 1,
    files: v1Job("slurm", 1000, 42, "2-3", "step_batch"),
    roots: ["cpuset/slurm", "memory/slurm", "freezer/slurm"],
    jobs: [seen(42, [2, 3])],
  },
  {
    name: "v1, several slurmds on a machine",
    slurm: "22.05 to 26.05, configured with --enable-multiple-slurmd (Debian)",
    source: `src/interfaces/cgroup.c: cgroup_prepend "/slurm_%n"; ${v1Source}`,
    version: 1,
    node: "n7",
    files: {
      ...v1Job("slurm_n7", 1000, 42, "2", "step_0"),
      ...v1Job("slurm_n8", 1000, 43, "3", "step_0"),
      "cpuset/slurm_n7/system/cgroup.procs": "9\n",
    },
    roots: ["cpuset/slurm_n7", "memory/slurm_n7", "freezer/slurm_n7"],
    jobs: [seen(42, [2])],
  },
  {
    name: "v2",
    slurm: "22.05 to 25.11; from 26.05.2 on with CgroupJobIdPaths=yes",
    source: v2Source,
    version: 2,
    files: { ...scope(plain), ...job(`${plain}/job_42`, "2-3", 100) },
    roots: [plain],
    jobs: [seen(42, [2, 3])],
  },
  {
    name: "v2, several slurmds on a machine",
    slurm: "22.05 to 25.11, configured with --enable-multiple-slurmd (Debian)",
    source: v2Source,
    version: 2,
    node: "n7",
    files: {
      ...scope("system.slice/n7_slurmstepd.scope"),
      ...job("system.slice/n7_slurmstepd.scope/job_42", "2-3", 100),
      ...job("system.slice/n8_slurmstepd.scope/job_43", "1", 120),
    },
    roots: ["system.slice/n7_slurmstepd.scope"],
    jobs: [seen(42, [2, 3])],
  },
  {
    name: "v2, several slurmds, told as for v1",
    slurm: "22.05 to 25.11, configured with --enable-multiple-slurmd (Debian)",
    source: v2Source,
    version: 2,
    configured: "slurm_n7",
    node: "host",
    files: job("system.slice/n7_slurmstepd.scope/job_42", "2-3", 100),
    roots: ["system.slice/n7_slurmstepd.scope"],
    jobs: [seen(42, [2, 3])],
  },
  {
    name: "v2, CgroupSlice=",
    slurm: "25.11",
    source: `${v2Source}; cgroup.conf(5)`,
    version: 2,
    files: {
      "system.slice/sshd.service/cgroup.procs": "9\n",
      "user.slice/cgroup.procs": "",
      ...scope("hpc.slice/slurmstepd.scope"),
      ...job("hpc.slice/slurmstepd.scope/job_42", "2-3", 100),
    },
    roots: ["hpc.slice/slurmstepd.scope"],
    jobs: [seen(42, [2, 3])],
  },
  {
    name: "v2, SLUID",
    slurm: "26.05",
    source: `${v2Source}; src/common/sluid.c: print_sluid; ${titleSource}`,
    version: 2,
    files: {
      ...scope(plain),
      ...job(`${plain}/${hello}`, "2-3", 100),
      ...job(`${plain}/${other}`, "4", 200, "step_interactive"),
    },
    processes: {
      100: ["slurmstepd: [42.extern]", `/${plain}/${hello}/step_extern/slurm`],
      202: ["slurmstepd: [43.interactive stepmgr]", `/${plain}/${other}/step_interactive/slurm`],
    },
    roots: [plain],
    jobs: [seen(42, [2, 3]), seen(43, [4])],
  },
  {
    name: "v2, SLUID in another slice, several slurmds",
    slurm: "26.05, configured with --enable-multiple-slurmd",
    source: v2Source,
    version: 2,
    node: "n7",
    files: job(`hpc.slice/n7_slurmstepd.scope/${hello}`, "2-3", 100),
    processes: { 102: ["slurmstepd: [42.0]", `/hpc.slice/n7_slurmstepd.scope/${hello}/step_0/slurm`] },
    roots: ["hpc.slice/n7_slurmstepd.scope"],
    jobs: [seen(42, [2, 3])],
  },
  {
    name: "v2, CgroupJobIdPaths changed between two steps of a job",
    slurm: "26.05.2",
    source: v2Source,
    version: 2,
    files: { ...job(`${plain}/${hello}`, "2-3", 100), ...job(`${plain}/job_42`, "2-4", 200, "step_1") },
    processes: { 100: ["slurmstepd: [42.extern]", `/${plain}/${hello}/step_extern/slurm`] },
    roots: [plain],
    jobs: [seen(42, [2, 3, 4], 2)],
  },
  {
    name: "v2, CgroupSlice= changed while an old scope is left",
    slurm: "25.11",
    source: v2Source,
    version: 2,
    files: { ...job(`${plain}/job_42`, "1", 100), ...job("hpc.slice/slurmstepd.scope/job_43", "2", 200) },
    roots: [plain, "hpc.slice/slurmstepd.scope"],
    jobs: [seen(42, [1]), seen(43, [2])],
  },
  {
    name: "v2, two components of a heterogeneous job",
    slurm: "22.05 to 25.11; from 26.05 on without +N in the step's name",
    source: namesSource,
    version: 2,
    files: {
      ...job(`${plain}/job_42`, "2", 100, "step_0+0"),
      ...job(`${plain}/job_43`, "3", 200, "step_0+1"),
    },
    roots: [plain],
    jobs: [seen(42, [2]), seen(43, [3])],
  },
  {
    name: "v2, cores not constrained",
    slurm: "22.05 to 26.05, ConstrainCores=no",
    source: "src/plugins/task/cgroup/task_cgroup.c: task_p_pre_setuid",
    version: 2,
    files: job(`${plain}/job_42`, "", 100),
    roots: [plain],
    jobs: [seen(42, undefined)],
  },
  {
    name: "v2, no job",
    slurm: "22.05 to 26.05",
    source: "src/plugins/cgroup/v2/cgroup_v2.c: _init_new_scope_dbus",
    version: 2,
    files: scope(plain),
    roots: [plain],
    jobs: [],
  },
  {
    name: "v2, slurmd not started yet",
    slurm: "all",
    source: v2Source,
    version: 2,
    files: { "system.slice/cgroup.procs": "" },
    roots: [plain],
    jobs: [],
  },
  {
    name: "v2, in a container without a cgroup namespace",
    slurm: "24.11 to 25.11",
    source: "src/plugins/cgroup/v2/cgroup_v2.c: _get_init_cg_path",
    version: 2,
    files: {
      "docker.slice/docker-5f.scope/init.scope/cgroup.procs": "1\n",
      ...job(`docker.slice/docker-5f.scope/${plain}/job_42`, "2-3", 100),
    },
    processes: { 1: ["/sbin/init", "/docker.slice/docker-5f.scope/init.scope"] },
    roots: [`docker.slice/docker-5f.scope/${plain}`],
    jobs: [seen(42, [2, 3])],
  },
  {
    name: "v2, in a cgroup namespace that leaves its first process outside",
    slurm: "all",
    source: "src/plugins/cgroup/v2/cgroup_v2.c: _get_root_mount_mountinfo",
    version: 2,
    files: { ...job(`${plain}/job_42`, "2-3", 100), ...job(`../${plain}/job_7`, "1", 110) },
    processes: { 1: ["/sbin/init", "/../init.scope"] },
    roots: [plain],
    jobs: [seen(42, [2, 3])],
  },
  {
    name: "v2, a Slurm in a job of a Slurm (a container with a slurmd)",
    slurm: "24.11 to 26.05",
    source: "src/plugins/cgroup/v2/cgroup_v2.c: _get_init_cg_path",
    version: 2,
    files: {
      ...job(`${plain}/job_42`, "2-3", 100),
      ...job(`${plain}/job_42/step_0/user/task_0/${plain}/job_9`, "2", 200),
    },
    roots: [plain],
    jobs: [seen(42, [2, 3])],
  },
  {
    name: "v2, foreign directories and names that are nearly right",
    slurm: "all",
    source: "not Slurm's",
    version: 2,
    files: {
      ...job(`${plain}/job_42`, "2-3", 100),
      ...job(`${plain}/job_42x`, "1", 110),
      ...job(`${plain}/job_`, "1", 110),
      ...job(`${plain}/job_-1`, "1", 110),
      ...job(`${plain}/job_12345678901`, "1", 110),
      ...job(`${plain}/job_4 2`, "1", 110),
      ...job(`${plain}/job_42\n`, "1", 110),
      ...job(`${plain}/${hello.toLowerCase()}`, "1", 110),
      ...job(`${plain}/${hello}0`, "1", 110),
      ...job(`${plain}/sEKNKTV3WPV50U`, "1", 110),
      ...job(`${plain}/s..%2fjob_7`, "1", 110),
      ...job("system.slice/slurmstepd.service/job_7", "1", 110),
      ...job("user.slice/user-7.slice/slurmstepd.scope/job_7", "1", 110),
    },
    roots: [plain],
    jobs: [seen(42, [2, 3])],
  },
];
