/**
 * In the machine of slurm.sh: Slurm's cgroup/v2 plugin under systemd. Where jobs are and that the agent finds them there; that
 * one job takes back one lease, its cgroup being empty and gone before the job's first instruction; and again when agent and
 * slurmd have come anew.
 */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { type GuestTree, guestDirs } from "../../agent/cgroup/guests.ts";
import { discoverCgroups } from "../../agent/cgroup/layout.ts";
import { type Cluster, startCluster } from "../../deploy/testbed/cluster.ts";
import { metricValues } from "../../deploy/testbed/main-job/figures.ts";
import { page } from "../../deploy/testbed/main-job/sampler.ts";
import { run, until } from "../../deploy/testbed/shell.ts";
import { alice, allLend, hold, root, sublet } from "../cluster/users.ts";

const guests: GuestTree = { layout: discoverCgroups(), root: "sublet_n1" };
const scope = "/sys/fs/cgroup/system.slice/n1_slurmstepd.scope";

let cluster: Cluster;
before(async () => {
  const progress = (message: string): void => console.log(message);
  cluster = await startCluster({ nodes: 2, progress, agentSettings: { pool_max: 0 } });
  await allLend(cluster);
});
after(async () => {
  await cluster?.stop();
  assert.ok(!existsSync(scope), "systemd keeps the scope");
});

const figure = async (name: string, labels = ""): Promise<number> =>
  metricValues(await page(`${cluster.metricsUrl("agent-n1")}/metrics`), name).get(labels) ?? 0;
const allCores = (): string => String(cluster.node("n1").cpus.length);

/** A job on all cores of n1, while alice has a lease there; it says what it sees of guests at its first instruction. */
async function takesBack(): Promise<void> {
  const revoked = 'outcome="revoked",reason="batch_job"';
  const before = await figure("sublet_leases_ended_total", revoked);
  const { lease, letGo } = await hold(cluster, alice, "n1", "n1");
  const [dir = ""] = guestDirs(guests, lease.id);
  assert.notEqual(readFileSync(join(dir, "cgroup.procs"), "utf8"), "");
  const look = `cat ${join(dir, "..", "*", "cgroup.procs")} 2>/dev/null | wc -l; ls -d ${dir} 2>&1`;
  const { stdout, stderr, exitCode } = await cluster.attempt([
    ...["srun", "--nodelist=n1", "-n1", `-c${allCores()}`],
    ...["sh", "-c", `${look}; cat /proc/self/cgroup`],
  ]);
  await letGo();
  assert.match(stdout, /^0\nls: cannot access .*\n0::\/system.slice\/n1_slurmstepd.scope\/job_/, stderr);
  assert.equal(exitCode, 0);
  assert.equal(await figure("sublet_leases_ended_total", revoked), before + 1);
}

test("Slurm uses cgroup/v2, in a scope that it has of systemd", async () => {
  assert.equal(guests.layout.version, 2);
  assert.match(await cluster.scontrol(["show", "config"]), /^CgroupPlugin *= *cgroup\/v2$/m);
  const shown = await run(["systemctl", "show", "n1_slurmstepd.scope", "--property=ActiveState,Delegate"]);
  assert.match(shown, /^ActiveState=active$/m);
  assert.match(shown, /^Delegate=yes$/m);
});

test("a job is found where Slurm puts it, with the cores it has", async () => {
  const job = await cluster.sbatch({ args: ["--nodelist=n1", "-n1", "-c1"], script: "sleep 600" });
  await cluster.waitState(job, ["RUNNING"]);
  await until("the agent counts its core", 20_000, async () =>
    (await figure("sublet_cores", 'state="jobs"')) === 1 ? true : undefined,
  );
  const cores = readFileSync(join(scope, `job_${job}`, "cpuset.cpus.effective"), "utf8").trim();
  assert.match(cores, /^\d+$/);
  const { offer, findings } = (await sublet(cluster, "n1", root, ["status", "--json"])).json();
  assert.equal(findings["slurm.jobs_found"], "yes");
  const spare = offer.spare.flatMap((each: { cores: number[] }) => each.cores);
  assert.ok(spare.length > 0 && !spare.includes(Number(cores)), `${spare} spare beside a job on ${cores}`);
  await cluster.run(["scancel", String(job)]);
  await cluster.waitJob(job);
  await until("its core is nobody's", 20_000, async () =>
    (await figure("sublet_cores", 'state="jobs"')) === 0 ? true : undefined,
  );
});

test("one job takes back one lease: its cgroup is empty and gone before the first instruction", takesBack);

test("the same with an agent and a slurmd that have started anew", async () => {
  await cluster.killDaemon("agent-n1");
  await cluster.killDaemon("slurmd-n1", "SIGTERM");
  await cluster.startDaemon("slurmd-n1");
  await cluster.startDaemon("agent-n1", 30_000);
  await cluster.waitIdle();
  await takesBack();
});
