/**
 * Capacity of class shared on a real Slurm: a job that allows sharing sleeps on its cores, a lease uses one, the job wakes
 * and has its core back; then its receipt says who was there and for how long. A job that refuses has no neighbours.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { closeSync, constants, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { type Cluster, startCluster } from "../../deploy/testbed/cluster.ts";
import { jobUser } from "../../deploy/testbed/layout.ts";
import { slowness, until } from "../../deploy/testbed/shell.ts";
import { bob, controller, hold, root, sublet } from "./users.ts";

const wakeMs = 500;
let cluster: Cluster;
let scratch = "";
before(async () => {
  scratch = mkdtempSync(join(tmpdir(), "sublet-shared-"));
  execFileSync("chmod", ["755", scratch]);
  cluster = await startCluster({
    waitForLockMs: 60_000,
    slurmConf: [
      "JobAcctGatherType=jobacct_gather/cgroup",
      "PartitionName=shut Nodes=ALL",
      "PartitionName=silent Nodes=ALL",
    ],
    agentSettings: {
      consent: {
        partition: { main: "share", shut: "no" },
        quiet_ms: 1000,
        wake_ms: wakeMs,
        memory_margin_mib: 64,
      },
    },
    controllerSettings: { poll_interval_ms: 500 },
  });
});
after(async () => {
  await cluster?.stop();
  rmSync(scratch, { recursive: true, force: true });
});

/** Waits at a pipe until it is told to work, says when it does, and keeps each of its cores busy for some seconds. */
const sleeper = (name: string, cpus: readonly number[]): string => `#!/bin/bash
read -r _ < ${scratch}/${name}
date +%s%3N
for cpu in ${cpus.join(" ")}; do
  taskset -c $cpu bash -c 'while [ $SECONDS -lt 5 ]; do :; done' &
done
wait
`;

async function spare(node: string): Promise<Record<string, number[]>> {
  const { offer } = (await sublet(cluster, node, root, ["status", "--json"])).json();
  return Object.fromEntries(
    offer.spare.map((each: { class: string; cores: number[] }) => [
      each.class.slice("CAPACITY_CLASS_".length).toLowerCase(),
      each.cores,
    ]),
  );
}

const submit = (node: string, partition: string, args: readonly string[], script: string): Promise<number> =>
  cluster.sbatch({ args: [`--nodelist=${node}`, `--partition=${partition}`, "--mem=1024", ...args], script });

type Receipt = {
  node: string;
  ended: boolean;
  uid: number;
  consent: string;
  pressureOf: string;
  guests: { leaseId: string; uid: number; class: string; coreSeconds: number; byteSeconds: number }[];
  alone: { durationMs: number };
  beside: { durationMs: number };
};

const liveLeases = async (): Promise<number> =>
  (await sublet(cluster, "n1", root, ["leases", "--json"])).json().leases.length;

test("cores that a sharing job leaves unused are lent, and its again when it wakes", async (t) => {
  const { cpus } = cluster.node("n1");
  execFileSync("mkfifo", ["--mode=644", join(scratch, "one")]);
  const jobId = await submit("n1", "main", ["--ntasks=2"], sleeper("one", cpus));
  const offered = await until("class shared is offered", 30_000, async () => {
    const cores = (await spare("n1")).shared ?? [];
    return cores.length > 0 ? cores : undefined;
  });
  assert.deepEqual(offered, cpus);
  const beforeMs = Date.now();
  const held = await hold(cluster, bob, "n1", "n1");
  let wokenMs = 0;
  let overMs = 0;
  try {
    assert.equal(held.lease.class, "CAPACITY_CLASS_SHARED");
    await new Promise((resolve) => setTimeout(resolve, 3000));
    assert.equal(await liveLeases(), 1, "the lease was taken back from a job that sleeps");
    const pipe = openSync(join(scratch, "one"), constants.O_WRONLY | constants.O_NONBLOCK);
    writeSync(pipe, "\n");
    closeSync(pipe);
    wokenMs = Date.now();
    await until("the lease is over", 10_000, async () => ((await liveLeases()) === 0 ? true : undefined));
    overMs = Date.now();
  } finally {
    await held.letGo();
  }
  assert.equal((await cluster.waitJob(jobId, 60_000)).state, "COMPLETED");
  const found = async (user: typeof bob, ...more: string[]) =>
    sublet(cluster, "n1", user, [...more, "--json", "jobs", String(jobId)]);
  const receipts = async (user: typeof bob, ...more: string[]): Promise<Receipt[]> =>
    (await found(user, ...more)).json().receipts;
  const jobOwner = { uid: jobUser.uid, gid: jobUser.gid };
  await until("the receipt is final", 20_000, async () =>
    (await receipts(root))[0]?.ended === true ? true : undefined,
  );

  await t.test("its receipt is right to the core second, at the agent and at the controller", async () => {
    const own = await receipts(jobOwner);
    const atController = await until("the controller has it", 10_000, async () => {
      const there = await found(jobOwner, "--controller", controller);
      return there.status === 0 ? (there.json().receipts as Receipt[]) : undefined;
    });
    assert.deepEqual(atController, own);
    assert.equal(own.length, 1);
    const [receipt] = own;
    assert.ok(receipt !== undefined);
    assert.equal(receipt.node, "n1");
    assert.equal(receipt.uid, jobOwner.uid);
    assert.equal(receipt.consent, "CONSENT_SHARE");
    assert.match(receipt.pressureOf, /^(job|tasks)$/);
    const [guest] = receipt.guests;
    assert.equal(receipt.guests.length, 1);
    assert.equal(guest?.leaseId, held.lease.id);
    assert.equal(guest.uid, bob.uid);
    assert.equal(guest.class, "CAPACITY_CLASS_SHARED");
    // From the grant to the end of its cgroup, by the agent's clock: between what was seen from outside.
    const grantedMs = held.lease.grantedUnixMs;
    assert.ok(grantedMs >= beforeMs - 100 && grantedMs <= wokenMs);
    assert.ok(guest.coreSeconds * 1000 >= wokenMs - grantedMs, `${guest.coreSeconds} core seconds`);
    assert.ok(guest.coreSeconds * 1000 <= overMs - grantedMs + 100, `${guest.coreSeconds} core seconds`);
    assert.ok(Math.abs(guest.byteSeconds / guest.coreSeconds / held.lease.memoryBytes - 1) < 1e-9);
    assert.ok(Math.abs(receipt.beside.durationMs / 1000 - guest.coreSeconds) < 0.1 * slowness);
    assert.ok(receipt.alone.durationMs > 4000);
    // The promise is wake_ms and the time to end a guest.
    const goneMs = grantedMs + guest.coreSeconds * 1000 - Number((await cluster.outputOf(jobId)).trim());
    t.diagnostic(`the core was the job's alone ${Math.round(goneMs)} ms after it woke`);
    assert.ok(goneMs < 10 * wakeMs * slowness, `${goneMs} ms`);
  });

  await t.test("it is shown to the job's owner and to admins only, as a table too", async () => {
    for (const more of [[], ["--controller", controller]]) {
      const stranger = await found(bob, ...more);
      assert.equal(stranger.status, 1);
      assert.equal(stranger.json().error.code, "NOT_FOUND");
      assert.equal((await receipts(root, ...more)).length, 1);
    }
    const table = await sublet(cluster, "n1", jobOwner, ["jobs", String(jobId)]);
    assert.match(table.out, /^Job \d+ on n1: .*shares what it does not use/);
    assert.match(table.out, new RegExp(`${held.lease.id} +${bob.uid} +function +shared +\\d+\\.\\d`));
  });
});

const sleeps = "#!/bin/bash\nsleep 120\n";
/** For a job's cores to count as unused: a tick, the quiet time, a tick. */
const watchedMs = 12_000;

/** What is offered beside a job on one core, long after it began. */
async function spareBeside(
  node: string,
  partition: string,
  args: readonly string[],
  settled: (classes: string) => boolean,
): Promise<string> {
  const offered = async (): Promise<string> => Object.keys(await spare(node)).join("+");
  const jobId = await submit(node, partition, ["--ntasks=1", ...args], sleeps);
  try {
    await cluster.waitState(jobId, ["RUNNING"]);
    await until("the offer", 40_000, async () => (settled(await offered()) ? true : undefined));
    await new Promise((resolve) => setTimeout(resolve, watchedMs));
    return await offered();
  } finally {
    await cluster.run(["scancel", String(jobId)]);
    await cluster.waitJob(jobId, 60_000);
  }
}

const nothing = (classes: string): boolean => classes === "";
const shared = (classes: string): boolean => classes.includes("shared");

test("without consent: nothing beside who said no or holds his node alone, else what Slurm left over", async () => {
  const [rest, no, shut] = await Promise.all([
    spareBeside("n1", "silent", [], (classes) => classes === "unallocated"),
    spareBeside("n2", "main", ["--sublet=no"], nothing),
    spareBeside("n3", "shut", [], nothing),
  ]);
  assert.deepEqual([rest, no, shut], ["unallocated", "", ""]);
});

test("the job's own word comes before its partition's, also where it holds its node alone", async () => {
  const [all, exclusive, alone] = await Promise.all([
    spareBeside("n1", "shut", ["--sublet=share"], shared),
    spareBeside("n2", "silent", ["--exclusive", "--sublet=share"], shared),
    spareBeside("n3", "silent", ["--exclusive"], nothing),
  ]);
  assert.equal(all, "unallocated+shared");
  assert.match(exclusive, /shared/);
  assert.equal(alone, "");
});
