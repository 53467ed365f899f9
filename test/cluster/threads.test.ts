/**
 * Threads of a core go together, where Slurm takes them for CPUs of their own. This machine's first two cores are said to be
 * one to the agent of n1 (sysfs in its mount namespace), and Slurm gives them to different jobs. That a lease on another core
 * stays when a job comes is in reclaim.test.ts.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { startCluster } from "../../deploy/testbed/cluster.ts";
import { pause, until } from "../../deploy/testbed/shell.ts";
import { formatCpuList, parseCpuList } from "../../src/common/cpulist.ts";
import { alice, type Held, hold, root, sublet } from "./users.ts";

test("a core is lent only while no job has a thread of it, and one that gets a thread takes all of it back", async () => {
  const scratch = mkdtempSync(join(tmpdir(), "sublet-threads-"));
  const cluster = await startCluster({
    nodes: 2,
    waitForLockMs: 60_000,
    agentSettings: { pool_max: 0, reclaim: { prolog: "close" } },
  });
  let held: Held | undefined;
  const status = async () => (await sublet(cluster, "n1", root, ["status", "--json"])).json();
  const spare = async (): Promise<number[]> =>
    ((await status()).offer.spare as { cores: number[] }[]).flatMap((each) => each.cores);
  const lends = (what: string, cores: readonly number[]): Promise<true> =>
    until(what, 20_000, async () =>
      formatCpuList(await spare()) === formatCpuList(cores) ? true : undefined,
    );
  try {
    const { cpus } = cluster.node("n1");
    const mine = cluster.layout.cores.filter((core) => core.cpus.every((cpu) => cpus.includes(cpu)));
    const two = mine.slice(0, 2).flatMap((core) => core.cpus);
    assert.ok(mine.length >= 2, "one core per node cannot show it");
    const rest = cpus.filter((cpu) => !two.includes(cpu));
    writeFileSync(join(scratch, "siblings"), `${formatCpuList(two)}\n`);
    for (const cpu of two) {
      const file = `/sys/devices/system/cpu/cpu${cpu}/topology/thread_siblings_list`;
      const mounted = await cluster.runOnNode("n1", ["mount", "--bind", join(scratch, "siblings"), file]);
      assert.equal(mounted.exitCode, 0, mounted.stderr);
    }
    await cluster.killDaemon("agent-n1");
    await cluster.startDaemon("agent-n1");
    assert.equal((await status()).findings["cores.threads_per_core"], String(two.length));
    await lends("n1 lends all", cpus);

    const cores = String(mine[0]?.cpus.length);
    const args = ["--nodelist=n1", "-n1", `-c${cores}`, "--mem=64"];
    const show = "grep Cpus_allowed_list /proc/self/status";
    const job = await cluster.sbatch({ args, script: `${show}; sleep 600` });
    const took = await until(
      "the job says its CPUs",
      30_000,
      async () => /list:\s*(\S+)/.exec(await cluster.outputOf(job))?.[1],
    );
    assert.equal(parseCpuList(took).length * 2, two.length, `Slurm gave it ${took} of ${two}`);
    await lends("no thread of its core is lent", rest);
    const endMs = performance.now() + 6_000; // longer than the agent's slow tick
    while (performance.now() < endMs) {
      assert.deepEqual(await spare(), rest);
      await pause(250);
    }
    await cluster.run(["scancel", String(job)]);
    await cluster.waitJob(job);
    await lends("n1 lends all again", cpus);

    // The other way round: a guest on one thread, a job that gets another. With more cores there are others to lie on.
    if (rest.length > 0) return;
    held = await hold(cluster, alice, "n2", "n1");
    const lease = held.lease.cores;
    const said = await cluster.attempt([
      "srun",
      ...args,
      "sh",
      "-c",
      `${show}; ls -d /sys/fs/cgroup/sublet_n1/* /sys/fs/cgroup/*/sublet_n1/* 2>&1`,
    ]);
    const [, allowed = ""] = /list:\s*(\S+)/.exec(said.stdout) ?? [];
    assert.ok(
      !parseCpuList(allowed).some((cpu) => lease.includes(cpu)),
      `job on ${allowed}, guest on ${lease}`,
    );
    const { leases } = (await sublet(cluster, "n1", root, ["leases", "--json"])).json();
    assert.deepEqual(leases, [], said.stdout + said.stderr);
    assert.ok(!said.stdout.includes(held.lease.id), "its cgroup was there at the job's first instruction");
  } finally {
    await held?.letGo();
    await cluster.stop();
    rmSync(scratch, { recursive: true });
  }
});
