/**
 * Leases that were granted ahead, on a real cluster: handed out at the door without the agent, taken back for a job before
 * its first instruction, kept by the next agent, and never left behind, whoever is killed. What needs jobs comes last: by them
 * the horizon learns that idle spells are short here, and a node whose spell has just begun asks a controller.
 */
import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, afterEach, before, test } from "node:test";
import { discoverCgroups } from "../../agent/cgroup/layout.ts";
import { type Cluster, startCluster } from "../../deploy/testbed/cluster.ts";
import { metricValues } from "../../deploy/testbed/main-job/figures.ts";
import { page } from "../../deploy/testbed/main-job/sampler.ts";
import { until } from "../../deploy/testbed/shell.ts";
import { alice, allLend, bob, calls, type Regular, regular, root, sublet } from "./users.ts";

let cluster: Cluster;
before(async () => {
  cluster = await startCluster({ waitForLockMs: 60_000 });
  await allLend(cluster);
});
afterEach(() => cluster?.mend());
after(async () => {
  await cluster?.stop();
});

async function figure(node: string, name: string, labels: string): Promise<number> {
  const text = await page(`${cluster.metricsUrl(`agent-${node}`)}/metrics`);
  return metricValues(text, name).get(labels) ?? 0;
}
const redeemed = (node = "n1"): Promise<number> =>
  figure(node, "sublet_pool_takes_total", 'outcome="redeemed"');

/** Cgroups of guests of a node in which there are processes, prepared ones included. */
function populated(node = "n1"): string[] {
  const mount = discoverCgroups().mounts.get("cpuset") ?? "";
  const has = (name: string): boolean =>
    readFileSync(`${mount}/sublet_${node}/${name}/cgroup.procs`, "utf8") !== "";
  return readdirSync(`${mount}/sublet_${node}`).filter((name) => name.startsWith("lease_") && has(name));
}

/** Leases and gives back until one was handed out at the door, and keeps that. */
async function redeem(client: Regular, node = "n1") {
  return until("a lease that was granted ahead", 30_000, async () => {
    const had = await redeemed(node);
    const lease = await client.say("lease");
    assert.equal(lease.error, undefined);
    await new Promise((resolve) => setTimeout(resolve, 50)); // the agent hears of it after its client
    if ((await redeemed(node)) > had) return lease;
    await client.say("release");
    await new Promise((resolve) => setTimeout(resolve, 300));
    return undefined;
  });
}

async function listed(): Promise<{ id: string; owner: { uid: number }; state: string }[]> {
  const said = await sublet(cluster, "n1", root, ["--json", "leases"]);
  assert.equal(said.status, 0, said.error);
  return said.json().leases;
}

test("the second equal lease of a user is handed out at the door, and is a lease like any other", async () => {
  const client = regular(cluster, alice, "n1");
  const lease = await redeem(client);
  assert.equal(lease.state, "LEASE_STATE_ACTIVE");
  assert.ok(lease.remainingMs > 0 && lease.cores.length === 1);
  const [own] = (await listed()).filter(({ id }) => id === lease.id);
  assert.deepEqual([own?.owner.uid, own?.state], [alice.uid, "LEASE_STATE_ACTIVE"]);
  const renewed = await client.say("renew");
  assert.deepEqual([renewed.id, renewed.error], [lease.id, undefined]);
  // What was granted ahead for one user is not another's.
  const other = regular(cluster, bob, "n1");
  const had = await redeemed();
  const his = await other.say("lease");
  assert.equal(his.error, undefined);
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(await redeemed(), had);
  await other.letGo();
  assert.equal((await client.say("release")).error, undefined);
  await client.letGo();
  await until("no lease is left", 10_000, async () => ((await listed()).length === 0 ? true : undefined));
});

test("the agent is killed: the lease goes on under the next one, with nothing else left", async () => {
  const client = regular(cluster, alice, "n1");
  const lease = await redeem(client);
  await cluster.killDaemon("agent-n1");
  await cluster.startDaemon("agent-n1");
  const [own] = (await listed()).filter(({ id }) => id === lease.id);
  assert.equal(own?.owner.uid, alice.uid);
  assert.equal(populated().filter((name) => name.startsWith("lease_pool-")).length, 1, "its executor alone");
  await client.letGo();
  await sublet(cluster, "n1", root, ["reclaim", "--mode", "immediate"]);
  await until("no lease is left", 10_000, async () => ((await listed()).length === 0 ? true : undefined));
});

test("a client that is killed with its request on the way leaves no lease", async () => {
  const client = regular(cluster, alice, "n1");
  await redeem(client);
  await client.say("release");
  for (let i = 0; i < 5; i++) {
    const hasty = regular(cluster, alice, "n1");
    await hasty.say("lease");
    await hasty.say("release");
    await new Promise((resolve) => setTimeout(resolve, 200));
    void hasty.say("lease").catch(() => undefined);
    await new Promise((resolve) => setTimeout(resolve, i));
    await hasty.kill();
  }
  await client.letGo();
  await until("no lease is left", 10_000, async () => ((await listed()).length === 0 ? true : undefined));
});

/** Rounds of a client on n3 that leases on n1: all of them went well. */
async function across(rounds: number): Promise<void> {
  const said = await calls(cluster, alice, "n3", "n1", rounds);
  assert.deepEqual([said.status, said.error], [0, ""]);
  assert.equal(said.out.trim().split("\n").length, rounds);
}

test("across nodes: the client's own node hands it out, the other one has it ready, and it is a lease like any other", async () => {
  const had = await redeemed("n1");
  const ended = await figure("n1", "sublet_leases_ended_total", 'outcome="released",reason="released"');
  await across(12);
  const ahead = (await redeemed("n1")) - had;
  assert.ok(ahead >= 5, `${ahead} of 12 were granted ahead`);
  await until("no lease is left", 10_000, async () => ((await listed()).length === 0 ? true : undefined));
  assert.equal(
    await figure("n1", "sublet_leases_ended_total", 'outcome="released",reason="released"'),
    ended + 12,
    "each of them was a lease, and was given back",
  );
  const mine = await sublet(cluster, "n3", alice, ["--json", "leases"]);
  assert.deepEqual(mine.json().leases, []);
});

test("across nodes: either agent is killed between, and the client does not notice", async () => {
  for (const agent of ["agent-n1", "agent-n3"]) {
    await across(4); // the next one is kept
    await cluster.killDaemon(agent);
    await cluster.startDaemon(agent);
    await cluster.waitKnown();
    await across(4);
  }
  await until("no lease is left", 10_000, async () => ((await listed()).length === 0 ? true : undefined));
});

test("without a pool: one that is started when it is asked for, taken back and adopted like the others", async () => {
  const file = join(cluster.stateDir, "etc/agent-n1.toml");
  const whole = readFileSync(file, "utf8");
  const restart = async (text: string): Promise<void> => {
    await cluster.killDaemon("agent-n1");
    writeFileSync(file, text);
    await cluster.startDaemon("agent-n1");
    await cluster.waitKnown();
  };
  await restart(`pool_max = 0\n${whole}`);
  try {
    const client = regular(cluster, alice, "n1");
    const first = await redeem(client);
    await restart(`pool_max = 0\n${whole}`);
    assert.deepEqual(populated(), [`lease_${first.id}`]);
    assert.ok((await listed()).some(({ id }) => id === first.id));
    await client.letGo();
    const again = regular(cluster, alice, "n1");
    const second = await redeem(again);
    assert.equal((await again.say("renew")).id, second.id);
    const cores = cluster.layout.nodes.find(({ name }) => name === "n1")?.cpus.length ?? 1;
    await cluster.sbatch({ args: ["--nodelist=n1", `--ntasks=${cores}`], script: "sleep 600\n" });
    await until("it was taken", 30_000, async () => (populated().length === 0 ? true : undefined));
    assert.ok(!(await listed()).some(({ id }) => id === second.id));
    await again.letGo();
  } finally {
    await restart(whole);
  }
});

test("across nodes: a job comes, and nothing of what was granted ahead is beside it, or handed out", async () => {
  await across(4);
  const cores = cluster.layout.nodes.find(({ name }) => name === "n1")?.cpus.length ?? 1;
  const job = await cluster.sbatch({ args: ["--nodelist=n1", `--ntasks=${cores}`], script: "sleep 600\n" });
  await until("the job runs", 30_000, async () =>
    (await cluster.squeue()).some((line) => line.startsWith(`${job} RUNNING`)) ? true : undefined,
  );
  const had = await redeemed("n1");
  await until("nothing is prepared beside the job", 10_000, async () =>
    populated("n1").length === 0 ? true : undefined,
  );
  const said = await calls(cluster, alice, "n3", "n1", 1);
  assert.notEqual(said.status, 0);
  assert.equal(said.out, "");
  assert.equal(await redeemed("n1"), had);
});

test("a job's first instruction finds neither such a lease nor one that could be handed out", async () => {
  const client = regular(cluster, alice, "n2");
  const lease = await redeem(client, "n2");
  await until("another one is ready", 10_000, async () => (populated("n2").length >= 2 ? true : undefined));
  const cores = cluster.layout.nodes.find(({ name }) => name === "n2")?.cpus.length ?? 1;
  const before = await figure("n2", "sublet_leases_ended_total", 'outcome="revoked",reason="batch_job"');
  const job = await cluster.sbatch({
    args: ["--nodelist=n2", `--ntasks=${cores}`, "--mem=256"],
    script: "sleep 600\n",
  });
  await until("the job runs", 30_000, async () =>
    (await cluster.squeue()).some((line) => line.startsWith(`${job} RUNNING`)) ? true : undefined,
  );
  assert.ok(!(await listed()).some(({ id }) => id === lease.id));
  assert.equal(
    await figure("n2", "sublet_leases_ended_total", 'outcome="revoked",reason="batch_job"'),
    before + 1,
  );
  await until("nothing is prepared beside the job", 10_000, async () =>
    populated("n2").length === 0 ? true : undefined,
  );
  const had = await redeemed("n2");
  assert.notEqual((await client.say("lease")).error, undefined);
  assert.equal(await redeemed("n2"), had);
  await client.letGo();
});
