/**
 * What else sites do with Slurm, and what Sublet makes of it: a site's job_submit.lua and cli_filter.lua, scontrol
 * reconfigure, a slurmd that restarts under a running job, reservations, cores set aside, gang scheduling. Each with the
 * real thing; what cannot be had on one machine is in docs/neighbours.md.
 */
import assert from "node:assert/strict";
import { appendFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { type Cluster, startCluster } from "../../deploy/testbed/cluster.ts";
import { until } from "../../deploy/testbed/shell.ts";
import { slurmConfPath } from "../../deploy/testbed/slurm-conf.ts";
import { alice, controller, type Held, hold, root, sublet } from "./users.ts";

/** Restarts slurmctld on a slurm.conf with more lines; of a setting given twice it takes the last. */
async function reconfigured(cluster: Cluster, lines: readonly string[]): Promise<void> {
  appendFileSync(slurmConfPath(cluster.stateDir), `${lines.join("\n")}\n`);
  await cluster.killDaemon("slurmctld", "SIGTERM");
  await cluster.startDaemon("slurmctld");
  await cluster.waitIdle();
}

/** The cores that a node offers now, by class. */
async function offered(cluster: Cluster, node: string): Promise<number> {
  const { out } = await sublet(cluster, node, root, ["status", "--json"]);
  const { offer } = JSON.parse(out) as { offer: { spare: { cores: number[] }[] } | null };
  return (offer?.spare ?? []).reduce((sum, each) => sum + each.cores.length, 0);
}

test("a site's own Lua scripts call ours: scontrol tells what was chosen, comments stay", async () => {
  const cluster = await startCluster({ nodes: 2, waitForLockMs: 60_000 });
  try {
    const ours = `dofile(${JSON.stringify(join(cluster.treeDir, "scheduler-plugin/lua/sublet.lua"))})`;
    const example = readFileSync("deploy/slurm/job_submit.example.lua", "utf8");
    const script = example.replace('dofile("/etc/slurm/sublet.lua")', ours);
    assert.notEqual(script, example);
    writeFileSync(join(cluster.stateDir, "job_submit.lua"), script);
    const filter = [
      `local sublet = ${ours}`,
      "function slurm_cli_pre_submit(options, offset)",
      '  slurm.log_info("word %s", tostring(sublet(options, "cli_filter")))',
      "  return slurm.SUCCESS",
      "end",
      "function slurm_cli_setup_defaults(options, early) return slurm.SUCCESS end",
      "function slurm_cli_post_submit(offset, job_id, step_id) return slurm.SUCCESS end",
    ];
    writeFileSync(join(cluster.stateDir, "cli_filter.lua"), `${filter.join("\n")}\n`);
    await reconfigured(cluster, ["JobSubmitPlugins=lua", "CliFilterPlugins=lua"]);
    for (const word of ["share", "no"]) {
      const args = ["--nodelist=n2", `--sublet=${word}`, "--comment=mine"];
      const id = await cluster.sbatch({ args, script: "true" });
      const { fields } = await cluster.waitJob(id);
      assert.equal(fields.get("AdminComment"), `sublet=${word}`);
      assert.equal(fields.get("Comment"), "mine");
    }
    const silent = await cluster.waitJob(await cluster.sbatch({ args: ["--nodelist=n2"], script: "true" }));
    assert.equal(silent.fields.has("AdminComment"), false);
    const srun = await cluster.attempt([
      "srun",
      "--nodelist=n2",
      "--sublet=share",
      "printenv",
      "SLURM_JOB_ID",
    ]);
    assert.equal(
      (await cluster.job(Number(srun.stdout))).fields.get("AdminComment"),
      "sublet=share",
      srun.stderr,
    );
    assert.match(srun.stderr, /word share/);
    const log = readFileSync(join(cluster.stateDir, "log", "slurmctld.log"), "utf8");
    assert.doesNotMatch(log, /lua.*(error|unrecognized|invalid)|error.*lua/i);
  } finally {
    await cluster.stop();
  }
});

test("reconfigure, a slurmd that restarts under a job, reservations", async () => {
  const cluster = await startCluster({ waitForLockMs: 60_000, agentSettings: { pool_max: 0 } });
  let held: Held | undefined;
  try {
    // A job on one core of n1, a lease on the other.
    const id = await cluster.sbatch({ args: ["--nodelist=n1", "-n1", "-c1"], script: "srun sleep 600" });
    await cluster.waitState(id, ["RUNNING"]);
    await until("n1 lends the rest", 20_000, async () =>
      (await offered(cluster, "n1")) > 0 ? true : undefined,
    );
    held = await hold(cluster, alice, "n1", "n1");
    const alive = async (): Promise<void> => {
      const { out } = await sublet(cluster, "n1", alice, ["leases", "--json"]);
      assert.ok(out.includes(held?.lease.id ?? "-"), out);
      assert.equal((await cluster.job(id)).state, "RUNNING");
    };
    await alive();
    await cluster.scontrol(["reconfigure"]);
    await alive();
    await cluster.killDaemon("slurmd-n1", "SIGTERM");
    await cluster.startDaemon("slurmd-n1");
    await alive();
    assert.equal(await offered(cluster, "n1"), 0); // the job's cores are still the job's
    await held.letGo();
    held = undefined;
    await cluster.attempt(["scancel", String(id)]);
    await cluster.waitIdle();

    // A reservation for maintenance: Slurm says so, the controller's view has it, nothing is placed there.
    const args = ["starttime=now", "duration=60", "nodes=n3", "users=root", "flags=maint,ignore_jobs"];
    await cluster.scontrol(["create", "reservation", ...args, "reservationname=window"]);
    await until("the controller sees it", 30_000, async () => {
      const { out } = await sublet(cluster, "n1", root, ["--controller", controller, "nodes", "--json"]);
      return /"slurmState": ?"reserved"/.test(out) ? true : undefined;
    });
    await assert.rejects(hold(cluster, alice, "n1", "n3"));
    await cluster.scontrol(["delete", "reservationname=window"]);
  } finally {
    await held?.letGo();
    await cluster.stop();
  }
});

test("two jobs on one core, and a Slurm that does not constrain cores: in doubt nothing is lent", async () => {
  const cluster = await startCluster({ waitForLockMs: 60_000, agentSettings: { pool_max: 0 } });
  let held: Held | undefined;
  try {
    // OverSubscribe=FORCE: the core is lent again when the second of its jobs has gone.
    await reconfigured(cluster, ["PartitionName=force Nodes=n2 OverSubscribe=FORCE:2 State=UP"]);
    const cores = cluster.node("n2").cpus.length;
    const args = ["-pforce", "-n1", `-c${cores}`, "--mem=64"];
    const submit = () => cluster.sbatch({ args, script: "sleep 600" });
    const [first, second] = [await submit(), await submit()];
    for (const id of [first, second]) await cluster.waitState(id, ["RUNNING"]);
    const idleCores = async (): Promise<true | undefined> =>
      (await offered(cluster, "n2")) === cores ? true : undefined;
    assert.equal(await offered(cluster, "n2"), 0);
    await cluster.run(["scancel", String(first)]);
    await cluster.waitJob(first);
    assert.equal(await offered(cluster, "n2"), 0);
    await cluster.run(["scancel", String(second)]);
    await cluster.waitJob(second);
    await until("n2 lends again", 20_000, idleCores);

    const file = join(cluster.stateDir, "cgroup.conf");
    const text = readFileSync(file, "utf8");
    assert.match(text, /ConstrainCores=yes/);
    writeFileSync(file, text.replace("ConstrainCores=yes", "ConstrainCores=no"));
    await cluster.killDaemon("slurmd-n1", "SIGTERM");
    await cluster.startDaemon("slurmd-n1");
    await cluster.waitIdle();
    held = await hold(cluster, alice, "n1", "n1");
    const loose = await cluster.sbatch({ args: ["--nodelist=n1", "-n1", "-c1"], script: "sleep 600" });
    await cluster.waitState(loose, ["RUNNING"]);
    await until("the lease has ended", 20_000, async () => {
      const { out } = await sublet(cluster, "n1", alice, ["leases", "--json"]);
      return out.includes(held?.lease.id ?? "-") ? undefined : true;
    });
    assert.equal(await offered(cluster, "n1"), 0); // it may run on any core
    await cluster.run(["scancel", String(loose)]);
  } finally {
    await held?.letGo();
    await cluster.stop();
  }
});
