/**
 * What else sites do with Slurm, and what Sublet makes of it: a site's job_submit.lua and cli_filter.lua, scontrol
 * reconfigure, a slurmd that restarts under a running job, reservations, power saving, jobs that share a core, suspended
 * ones, no limits, epilogs that kill. Each with the real thing; what cannot be had on one machine is in docs/neighbours.md.
 */
import assert from "node:assert/strict";
import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { type GuestTree, guestDirs } from "../../agent/cgroup/guests.ts";
import { discoverCgroups } from "../../agent/cgroup/layout.ts";
import { type Cluster, startCluster } from "../../deploy/testbed/cluster.ts";
import { jobUser } from "../../deploy/testbed/layout.ts";
import { metricValues } from "../../deploy/testbed/main-job/figures.ts";
import { page } from "../../deploy/testbed/main-job/sampler.ts";
import { pause, until } from "../../deploy/testbed/shell.ts";
import { slurmConfPath } from "../../deploy/testbed/slurm-conf.ts";
import { treeRoot } from "../../deploy/testbed/sublet-conf.ts";
import { alice, controller, type Held, hold, root, sublet } from "./users.ts";

/** Restarts slurmctld on a slurm.conf with more lines; of a setting given twice it takes the last. */
async function reconfigured(cluster: Cluster, lines: readonly string[]): Promise<void> {
  appendFileSync(slurmConfPath(cluster.stateDir), `${lines.join("\n")}\n`);
  await cluster.killDaemon("slurmctld", "SIGTERM");
  await cluster.startDaemon("slurmctld");
  await cluster.waitIdle();
}

interface Spare {
  readonly cores: number[];
  readonly memoryBytes: number;
}

/** What a node offers now, by class. */
async function spare(cluster: Cluster, node: string): Promise<readonly Spare[]> {
  const { out } = await sublet(cluster, node, root, ["status", "--json"]);
  return (JSON.parse(out) as { offer: { spare: Spare[] } | null }).offer?.spare ?? [];
}

const offered = async (cluster: Cluster, node: string): Promise<number> =>
  (await spare(cluster, node)).reduce((sum, each) => sum + each.cores.length, 0);
const offeredBytes = async (cluster: Cluster, node: string): Promise<number> =>
  (await spare(cluster, node)).reduce((sum, each) => sum + each.memoryBytes, 0);

/** The word of the controller for what Slurm says of a node. */
async function slurmState(cluster: Cluster, node: string, wanted: string): Promise<void> {
  await until(`the controller sees that ${node} is ${wanted}`, 30_000, async () => {
    const said = await sublet(cluster, "n1", root, ["--controller", controller, "nodes", "--json"]);
    const nodes = said.json().nodes as { node: string; slurmState: string }[];
    return nodes.find((each) => each.node === node)?.slurmState === wanted ? true : undefined;
  });
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

test("reconfigure, a slurmd that restarts under a job, reservations, power saving", async () => {
  const cluster = await startCluster({
    waitForLockMs: 60_000,
    agentSettings: { pool_max: 0 },
    slurmConf: [
      "SuspendProgram=/bin/true",
      "ResumeProgram=/bin/true",
      "SuspendTime=100000",
      "SuspendTimeout=5",
    ],
  });
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
    await slurmState(cluster, "n3", "reserved");
    await assert.rejects(hold(cluster, alice, "n1", "n3"));
    await cluster.scontrol(["delete", "reservationname=window"]);
    await slurmState(cluster, "n3", "idle");
    await (await hold(cluster, alice, "n1", "n3")).letGo();

    // Slurm switches it off (or believes so: its agent still offers): nothing is placed there.
    await cluster.scontrol(["update", "nodename=n3", "state=POWER_DOWN_FORCE"]);
    await slurmState(cluster, "n3", "powering");
    await assert.rejects(hold(cluster, alice, "n1", "n3"));
  } finally {
    await held?.letGo();
    await cluster.stop();
  }
});

/** For longer than the agent's slow tick, in which it looks at all jobs anew. */
async function lendsNothing(cluster: Cluster, node: string): Promise<void> {
  const endMs = performance.now() + 6_000;
  while (performance.now() < endMs) {
    assert.equal(await offered(cluster, node), 0);
    await pause(250);
  }
}

test("two jobs on one core, a suspended one, and a Slurm that does not constrain cores or memory: in doubt nothing is lent", async () => {
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
    // As gang scheduling leaves it while the other has its turn.
    await cluster.scontrol(["suspend", String(first)]);
    await cluster.waitState(first, ["SUSPENDED"]);
    await cluster.run(["scancel", String(second)]);
    await cluster.waitJob(second);
    await lendsNothing(cluster, "n2");
    await cluster.scontrol(["resume", String(first)]);
    const third = await submit();
    await cluster.waitState(third, ["RUNNING"]);
    await cluster.run(["scancel", String(first)]);
    await cluster.waitJob(first);
    assert.equal(await offered(cluster, "n2"), 0);
    await cluster.run(["scancel", String(third)]);
    await cluster.waitJob(third);
    await until("n2 lends again", 20_000, idleCores);

    const file = join(cluster.stateDir, "cgroup.conf");
    const text = readFileSync(file, "utf8");
    const without = async (limit: string): Promise<void> => {
      assert.match(text, new RegExp(`${limit}=yes`));
      writeFileSync(file, text.replace(`${limit}=yes`, `${limit}=no`));
      await cluster.killDaemon("slurmd-n1", "SIGTERM");
      await cluster.startDaemon("slurmd-n1");
      await cluster.waitIdle();
    };
    await without("ConstrainRAMSpace");
    await until("n1 lends memory", 20_000, async () =>
      (await offeredBytes(cluster, "n1")) > 0 ? true : undefined,
    );
    const greedy = await cluster.sbatch({
      args: ["--nodelist=n1", "-n1", "-c1", "--mem=64"],
      script: "sleep 600",
    });
    await cluster.waitState(greedy, ["RUNNING"]);
    await until("no memory is lent beside it", 20_000, async () =>
      (await offeredBytes(cluster, "n1")) === 0 ? true : undefined,
    );
    await assert.rejects(hold(cluster, alice, "n1", "n1"));
    await cluster.run(["scancel", String(greedy)]);
    await cluster.waitJob(greedy);
    await until("memory is lent again", 20_000, async () =>
      (await offeredBytes(cluster, "n1")) > 0 ? true : undefined,
    );
    await without("ConstrainCores");
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

/** The hook, and after a job what sites' epilogs and NHC do: kill -9 of the node's processes, of the job's user or of all users. */
const killing = (scratch: string): string => `#!/bin/sh
PATH=/usr/bin:/bin
${join(treeRoot, "build/native/bin/sublet-hook")}
[ "$SLURM_SCRIPT_CONTEXT" = epilog_slurmd ] && whom=$(cat ${scratch}/whom) || exit 0
here=$(readlink /proc/self/ns/net)
for process in /proc/[0-9]*; do
  [ "$(readlink $process/ns/net)" = "$here" ] || continue # of another node
  uid=$(stat -c %u $process) || continue
  case $whom in
    user) [ $uid = $SLURM_JOB_UID ] || continue ;;
    all) [ $uid -gt 999 ] || continue ;;
  esac
  kill -9 \${process#/proc/} 2>/dev/null
done
echo "$SLURM_JOB_ID" >> ${scratch}/done
exit 0
`;

test("an epilog that kills what its job's user has on the node spares his guests; one that kills all users ends a lease, and no job", async () => {
  const scratch = mkdtempSync(join(tmpdir(), "sublet-epilog-"));
  const hook = join(scratch, "hook");
  writeFileSync(hook, killing(scratch), { mode: 0o755 });
  chmodSync(scratch, 0o755);
  const cluster = await startCluster({
    waitForLockMs: 60_000,
    hook,
    agentSettings: { pool_max: 0, reclaim: { prolog: "close" } },
  });
  const guests: GuestTree = { layout: discoverCgroups(), root: "sublet_n1" };
  let held: Held | undefined;
  /** A job of the same user beside the lease, and what its epilog does. */
  const jobWith = async (whom: "user" | "all"): Promise<void> => {
    writeFileSync(join(scratch, "whom"), whom);
    rmSync(join(scratch, "done"), { force: true });
    const id = await cluster.sbatch({ args: ["--nodelist=n1", "-n1", "-c1", "--mem=64"], script: "sleep 1" });
    assert.equal((await cluster.waitJob(id)).state, "COMPLETED");
    await until("the epilog has killed", 20_000, () =>
      existsSync(join(scratch, "done")) ? true : undefined,
    );
  };
  const lost = async (): Promise<number> => {
    const ended = metricValues(
      await page(`${cluster.metricsUrl("agent-n1")}/metrics`),
      "sublet_leases_ended_total",
    );
    return [...ended].reduce((sum, [labels, count]) => sum + (/executor_lost/.test(labels) ? count : 0), 0);
  };
  try {
    assert.equal(alice.uid, jobUser.uid);
    held = await hold(cluster, alice, "n3", "n1");
    const [dir = ""] = guestDirs(guests, held.lease.id);
    const processes = (): string => readFileSync(join(dir, "cgroup.procs"), "utf8");
    const before = processes();
    assert.notEqual(before, "");
    await jobWith("user");
    assert.equal(processes(), before);
    const { leases } = (await sublet(cluster, "n1", root, ["leases", "--json"])).json();
    assert.deepEqual(
      leases.map((lease: { id: string; state: string }) => [lease.id, lease.state]),
      [[held.lease.id, "LEASE_STATE_ACTIVE"]],
    );
    assert.equal(await lost(), 0);
    await jobWith("all");
    await until("the lease is lost", 20_000, async () => ((await lost()) === 1 ? true : undefined));
    await until("the node lends again", 20_000, async () =>
      (await offered(cluster, "n1")) > 0 ? true : undefined,
    );
    assert.match(await cluster.scontrol(["show", "node", "n1"]), /State=IDLE /);
  } finally {
    await held?.letGo();
    await cluster.stop();
    rmSync(scratch, { recursive: true });
  }
});
