/** The guard on a real Slurm: a job that has all cores of its node, a region beside it, and a process in the region's guest that spins. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { discoverCgroups } from "../../agent/cgroup/layout.ts";
import { startCluster } from "../../deploy/testbed/cluster.ts";
import { page } from "../../deploy/testbed/main-job/sampler.ts";
import { until } from "../../deploy/testbed/shell.ts";
import { guestCgroups } from "../faults/harness.ts";
import { alice, hold } from "./users.ts";

const policy = `cpu_priority = "fair"
interval_ms = 200
escalate_ms = 500
relax_ms = 1000
cost_max_percent = 5
[freeze]
max_ms = 600000
[job_cpu_pressure]
use = false
[job_refaults]
use = false
[node_memory_pressure]
use = false
[node_memory_headroom]
use = false
`;

test("beside a real job a guest that spins is throttled, frozen and ended; its client is told", async () => {
  const dir = mkdtempSync(join(tmpdir(), "sublet-guard-"));
  const file = join(dir, "guard.toml");
  writeFileSync(file, policy);
  const cluster = await startCluster({
    waitForLockMs: 60_000,
    agentSettings: { guard: { policy_file: file } },
  });
  try {
    const cores = cluster.layout.nodes.find((each) => each.name === "n1")?.cpus ?? [];
    const core = cores[0] ?? 0;
    // Two tasks on one core: they wait for each other, whatever else runs on this machine.
    const spin = `taskset -c ${core} sh -c 'while :; do :; done' &`;
    await cluster.sbatch({
      args: ["--nodelist=n1", `--ntasks=${cores.length}`, "--mem=256"],
      script: `${spin}\n${spin}\nwait\n`,
    });
    await until("the job runs", 30_000, async () =>
      /sublet_cores\{state="jobs"\} [1-9]/.test(await page(`${cluster.metricsUrl("agent-n1")}/metrics`))
        ? true
        : undefined,
    );
    const held = await hold(cluster, alice, "n3", "n1", "region");
    const guests = guestCgroups("n1").filter((name) => !name.startsWith("lease_pool-"));
    assert.equal(guests.length, 1);
    const { mounts } = discoverCgroups();
    const places = (["cpuset", "cpu", "freezer"] as const).flatMap((name) => mounts.get(name) ?? []);
    const enter = [...new Set(places)]
      .map((mount) => `echo $$ > ${mount}/sublet_n1/${guests[0]}/cgroup.procs`)
      .join(" && ");
    const hog = spawn("sh", ["-c", `${enter} && while :; do :; done`], { stdio: "ignore" });
    const ended = once(hog, "exit");
    await until("the guest is ended", 60_000, async () =>
      /sublet_leases_ended_total\{[^}]*reason="guard"[^}]*\} 1/.test(
        await page(`${cluster.metricsUrl("agent-n1")}/metrics`),
      )
        ? true
        : undefined,
    );
    await ended;
    const text = await page(`${cluster.metricsUrl("agent-n1")}/metrics`);
    for (const [action, count] of [
      ["throttle", 2],
      ["freeze", 1],
      ["shrink", 1],
    ])
      assert.match(text, new RegExp(`sublet_guard_actions_total\\{action="${action}"\\} ${count}\\b`));
    assert.match(text, /^sublet_guard_alarms_total 0$/m);
    await held.letGo();
  } finally {
    await cluster.stop();
    rmSync(dir, { recursive: true });
  }
});
