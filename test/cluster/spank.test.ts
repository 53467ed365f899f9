/** spank_sublet.so in a real Slurm: what users say reaches jobs, and slurmstepd takes back exactly a job's cores, with no prolog. */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { cgroupDirs, discoverCgroups } from "../../agent/cgroup/layout.ts";
import { type Cluster, startCluster } from "../../deploy/testbed/cluster.ts";
import { page } from "../../deploy/testbed/main-job/sampler.ts";
import { until } from "../../deploy/testbed/shell.ts";
import { alice, type Held, hold } from "./users.ts";

/** Counters of an agent, by their whole name in the page; 0 when not there. */
async function figures(cluster: Cluster, node: string): Promise<(name: string) => number> {
  const text = await page(`${cluster.metricsUrl(`agent-${node}`)}/metrics`);
  const lines = text.split("\n").map((line) => line.split(" ") as [string, string]);
  return (name) => Number(new Map(lines).get(name) ?? 0);
}

const say = 'echo "consent $SUBLET_CONSENT socket $SUBLET_AGENT_SOCKET"';

test("--sublet: srun, sbatch and salloc carry it to their job; a bad word is refused at once", async () => {
  const cluster = await startCluster({ waitForLockMs: 60_000 });
  try {
    const told = (consent: string) => `consent ${consent} socket /run/sublet/agent.sock`;
    const srun = await cluster.attempt(["srun", "--nodelist=n2", "--sublet=share", "sh", "-c", say]);
    assert.equal(srun.stdout, told("share"), srun.stderr);
    const silent = await cluster.attempt(["srun", "--nodelist=n2", "sh", "-c", say]);
    assert.equal(silent.stdout, told(""));
    const salloc = await cluster.attempt(["salloc", "--nodelist=n2", "--sublet=no", "srun", "sh", "-c", say]);
    assert.match(salloc.stdout, new RegExp(told("no")), salloc.stderr);
    // What an sbatch says holds for the steps inside it.
    const id = await cluster.sbatch({
      args: ["--nodelist=n2", "--sublet=share", "--comment=mine"],
      script: `${say}\nsrun sh -c '${say}'`,
    });
    const job = await cluster.waitJob(id);
    assert.equal(job.state, "COMPLETED");
    assert.equal((await cluster.outputOf(id)).trim(), `${told("share")}\n${told("share")}`);
    assert.equal(job.fields.get("Comment"), "mine");
    for (const command of [
      ["srun", "true"],
      ["sbatch", "--wrap=true"],
      ["salloc", "true"],
    ]) {
      const [program = "", rest = ""] = command;
      const refused = await cluster.attempt([program, "--sublet=maybe", rest]);
      assert.notEqual(refused.exitCode, 0);
      assert.match(refused.stderr, /--sublet=maybe is not understood: say share .* or no/);
    }
    const figure = await figures(cluster, "n2");
    assert.equal(figure('sublet_hook_calls_total{event="step"}'), 5); // three sruns, a batch script, its srun
    // An unknown key: who submits is told, no job is lost.
    const plugin = join(cluster.treeDir, "build/native/lib/spank_sublet.so");
    writeFileSync(join(cluster.stateDir, "plugstack.conf"), `optional ${plugin} sokcet=/x\n`);
    const warned = await cluster.attempt(["srun", "--nodelist=n2", "sh", "-c", say]);
    assert.match(
      warned.stderr,
      /plugstack.conf: sokcet is not known here: there are socket=, roots= and timeout_ms=/,
    );
    assert.equal(warned.stdout, told(""));
    assert.equal(warned.exitCode, 0);
  } finally {
    await cluster.stop();
  }
});

/** What a job sees of guests at its first instruction: their processes. */
const [root] = cgroupDirs(discoverCgroups(), "sublet_n1");
const guests = `cat ${root}/*/cgroup.procs 2>/dev/null | wc -l`;

test("without a prolog: the step takes back its job's cores, those only, before its first instruction", async () => {
  const cluster = await startCluster({ waitForLockMs: 60_000, hook: false, agentSettings: { pool_max: 0 } });
  let held: Held | undefined;
  try {
    held = await hold(cluster, alice, "n1", "n1");
    const [core] = held.lease.cores;
    // All cores of the node but one: the lease goes only if Slurm takes its core.
    const all = String(cluster.node("n1").cpus.length);
    const run = await cluster.attempt(["srun", "--nodelist=n1", `-c${all}`, "-n1", "sh", "-c", guests]);
    assert.equal(run.stdout.trim(), "0", `core ${core}: ${run.stderr}`);
    const figure = await figures(cluster, "n1");
    assert.equal(figure('sublet_reclaims_total{messenger="step"}'), 1);
    assert.equal(figure('sublet_reclaims_total{messenger="cgroup"}'), 0);
    assert.equal(figure('sublet_leases_ended_total{outcome="revoked",reason="batch_job"}'), 1);
    await held.letGo();
    await cluster.waitIdle();

    // A job on one core; a lease beside it lives through the job's further steps.
    const id = await cluster.sbatch({
      args: ["--nodelist=n1", "-n1", "-c1"],
      script: "srun sleep 1\nsrun true\nsleep 600",
    });
    await cluster.waitState(id, ["RUNNING"]);
    held = await until("a lease beside the job", 20_000, () => hold(cluster, alice, "n1", "n1"));
    const before = (await figures(cluster, "n1"))('sublet_hook_calls_total{event="step"}');
    const more = await cluster.attempt(["srun", `--jobid=${id}`, "--overlap", "-n1", "true"]);
    assert.equal(more.exitCode, 0, more.stderr);
    const after = await figures(cluster, "n1");
    assert.ok(after('sublet_hook_calls_total{event="step"}') > before);
    assert.equal(after('sublet_leases_ended_total{outcome="revoked",reason="batch_job"}'), 1);
    assert.equal(after('sublet_leases{kind="function"}'), 1);

    // An agent that hangs: the step waits its two seconds, kills the guest by itself, and runs.
    const agent = cluster.daemons().find((daemon) => daemon.name === "agent-n1")?.pid ?? 0;
    process.kill(agent, "SIGSTOP");
    const beganMs = performance.now();
    const helped = await cluster.attempt(["srun", `--jobid=${id}`, "--overlap", "-n1", "sh", "-c", guests]);
    process.kill(agent, "SIGCONT");
    assert.equal(helped.stdout.trim(), "0", helped.stderr);
    assert.ok(performance.now() - beganMs > 1900);
    const log = readFileSync(join(cluster.stateDir, "log", "slurmd-n1.log"), "utf8");
    assert.match(log, /the agent did not answer after \d+ ms: guests killed here, 0 processes left/);
  } finally {
    await held?.letGo();
    await cluster.stop();
  }
});
