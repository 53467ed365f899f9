/** kill -9 of each daemon while job B works on leases. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { pidDir } from "../../deploy/testbed/daemons.ts";
import { readOr } from "../../deploy/testbed/namespaces.ts";
import { pause, until } from "../../deploy/testbed/shell.ts";
import { call, ok, stepOf } from "./callers.ts";
import {
  finished,
  killGuests,
  metric,
  nothingLeft,
  runOf,
  sameAnswer,
  servingPids,
  startWitness,
  theBed,
  useCluster,
  working,
} from "./harness.ts";

useCluster();

test("kill -9 of the controller: calls go on, and it knows every lease again after its return", async (t) => {
  const { cluster } = theBed();
  const job = await startWitness("n3");
  await working(job, 2);
  const known = (await metric("agent-n1", "sublet_leases")) + (await metric("agent-n2", "sublet_leases"));
  assert.ok(known >= 2);
  await cluster.killDaemon("controller");
  const rounds = (await runOf(job)).rounds.length;
  await until("B goes on without a controller", 20_000, async () => {
    const run = await runOf(job);
    const last = run.rounds.at(-1);
    return run.rounds.length >= rounds + 3 && (last?.remote ?? 0) > 0 ? true : undefined;
  });
  await cluster.startDaemon("controller");
  // Agents try at least every 2 s.
  const fromMs = performance.now();
  await until("the controller knows every lease again", 30_000, async () =>
    (await metric("controller", "sublet_cluster_leases")) >= known ? true : undefined,
  );
  t.diagnostic(`${known} leases known again after ${Math.round(performance.now() - fromMs)} ms`);
  await sameAnswer(job);
  await nothingLeft();
});

test("kill -9 of the agent: its guests go on, the next agent adopts them", async () => {
  const { cluster } = theBed();
  const job = await startWitness("n3");
  await working(job, 2);
  const guests = servingPids("n2").sort();
  assert.ok(guests.length > 0);
  await cluster.killDaemon("agent-n2");
  assert.deepEqual(servingPids("n2").sort(), guests, "guests outlive the agent");
  await cluster.startDaemon("agent-n2");
  assert.equal(await metric("agent-n2", "sublet_leases", 'kind="function"'), 1, "adopted");
  assert.deepEqual(servingPids("n2").sort(), guests, "the agent that adopts them leaves them alone");
  await sameAnswer(job);
  await nothingLeft();
});

test("kill -9 of the client's own agent: the job goes on", async () => {
  const { cluster } = theBed();
  const job = await startWitness("n3");
  await working(job, 2);
  await cluster.killDaemon("agent-n3");
  await cluster.startDaemon("agent-n3");
  await sameAnswer(job);
  await nothingLeft();
});

/** The door of an agent: what stands between its users and it. */
function doorOf(agent: string): number {
  const [pid = ""] = readFileSync(join(pidDir(theBed().cluster.stateDir), agent), "utf8").split(" ");
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ").filter(Boolean);
  const isDoor = (child: string): boolean =>
    readOr(() => readFileSync(`/proc/${child}/comm`, "utf8")) === "sublet-door\n";
  return Number(children.find(isDoor) ?? 0);
}

test("kill -9 of the door of the client's node: the agent starts another, the job goes on", async () => {
  const job = await startWitness("n3");
  await working(job, 2);
  const door = doorOf("agent-n3");
  assert.ok(door > 0);
  process.kill(door, "SIGKILL");
  await until("another door", 10_000, async () => {
    const next = doorOf("agent-n3");
    return next > 0 && next !== door ? true : undefined;
  });
  await working(job, 1);
  await sameAnswer(job);
  await nothingLeft();
});

test("kill -9 of an executor: calls run elsewhere, the lease ends as executor_lost", async () => {
  const job = await startWitness("n3");
  await working(job, 2);
  const before = await metric("agent-n2", "sublet_leases_ended_total");
  killGuests("n2");
  await until("the agent has noticed", 10_000, async () =>
    (await metric("agent-n2", "sublet_leases_ended_total")) > before ? true : undefined,
  );
  await sameAnswer(job);
  await nothingLeft();
});

test("kill -9 of the client's rank: its leases end on every node", async () => {
  const { cluster } = theBed();
  const job = await startWitness("n3", { rounds: 2000 });
  await working(job, 2);
  const pids = (await cluster.runOnNode("n3", ["pgrep", "-x", "options-job"])).stdout
    .split("\n")
    .filter(Boolean);
  assert.ok(pids.length > 0);
  for (const pid of pids.map(Number)) {
    assert.match(readFileSync(`/proc/${pid}/comm`, "utf8"), /options-job/);
    process.kill(pid, "SIGKILL");
  }
  await cluster.waitJob(job, 30_000);
  await nothingLeft();
});

test("kill -9 of slurmctld and of a slurmd: guests and jobs go on, the snapshot says how old it is", async () => {
  const { cluster } = theBed();
  const job = await startWitness("n3", { rounds: 150 });
  await working(job, 2);
  await cluster.waitSaved(job); // a job that slurmctld has not saved yet is lost to it, with or without us
  await cluster.killDaemon("slurmctld");
  await cluster.killDaemon("slurmd-n2");
  await until("the snapshot ages", 30_000, async () =>
    (await metric("controller", "sublet_snapshot_age_seconds")) > 4 ? true : undefined,
  );
  await cluster.startDaemon("slurmctld");
  await cluster.startDaemon("slurmd-n2");
  const run = await finished(job);
  assert.ok(run.checksum !== undefined && run.remote > 0);
  await nothingLeft(60_000);
  await until("the snapshot is fresh again", 90_000, async () =>
    (await metric("controller", "sublet_snapshot_age_seconds")) < 4 ? true : undefined,
  );
});

test("slurmctld stands still for 15 s: the snapshot says how old it is, leases are granted and go on, jobs too", async () => {
  const { cluster } = theBed();
  const age = (): Promise<number> => metric("controller", "sublet_snapshot_age_seconds");
  // It outlasts the standstill: a batch job whose end slurmctld does not take drains its node, with or without us.
  const job = await startWitness("n3", { rounds: 300 });
  await working(job);
  const before = await metric("controller", "sublet_slurm_rpcs_total");
  const status = cluster.daemons().find((daemon) => daemon.name === "slurmctld");
  assert.ok(status?.alive === true);
  const fromMs = performance.now();
  process.kill(status.pid, "SIGSTOP");
  try {
    await pause(4000);
    const steps = await call("n3", ["lease:n1:1:64:2000", "pin:libecho.so:echo:7:5000"]);
    assert.deepEqual(
      [stepOf(steps, "lease").node, stepOf(steps, "pin").code],
      ["n1", ok],
      JSON.stringify(steps),
    );
    await pause(15_000 - (performance.now() - fromMs));
    const told = await age();
    assert.ok(told > 11, `the snapshot is said to be ${told} s old`);
    const asked = (await metric("controller", "sublet_slurm_rpcs_total")) - before;
    assert.ok(asked <= 20, `${asked} requests to a slurmctld that does not answer`);
  } finally {
    process.kill(status.pid, "SIGCONT");
  }
  await until("the snapshot is fresh again", 90_000, async () => ((await age()) < 4 ? true : undefined));
  const run = await finished(job);
  assert.ok(run.checksum !== undefined && run.remote > 0);
  await nothingLeft(60_000);
});

test("network of a node cut and restored: the job goes on with what is left", async () => {
  const { cluster } = theBed();
  const job = await startWitness("n3");
  await working(job, 2);
  await cluster.cutNetwork("n2");
  try {
    await sameAnswer(job);
  } finally {
    await cluster.restoreNetwork("n2");
  }
  await nothingLeft(60_000);
});
