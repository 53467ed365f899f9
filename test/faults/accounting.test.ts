/**
 * kill -9 of controller, agent and data base while leases come and go: what clients held is what the accounting says, to
 * within a slice where an agent died and exactly elsewhere, and nothing is there twice. On a real MariaDB.
 */
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, test } from "node:test";
import { type Cluster, startCluster } from "../../deploy/testbed/cluster.ts";
import { page } from "../../deploy/testbed/main-job/sampler.ts";
import { makeDatabase, mariadb, mariadbPort, mariadbUrl } from "../../deploy/testbed/mariadb.ts";
import { pause, until } from "../../deploy/testbed/shell.ts";
import { mungeSocket } from "../../deploy/testbed/slurm-conf.ts";
import { toSubletError } from "../../src/common/errors.ts";
import { type ControllerClient, connectController } from "../../src/rpc/client.ts";
import { mungeIdentity } from "../../src/rpc/munge.ts";
import {
  controller as address,
  alice,
  allLend,
  bob,
  hold,
  root,
  sublet,
  type User,
} from "../cluster/users.ts";

const sliceMs = 2_000;
/** An agent says every 5 s that it lives. */
const aliveMs = 5_000;
const quotaCoreSeconds = 8;
const faketime = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

let cluster: Cluster;
let client: ControllerClient;
const scratch = mkdtempSync(join(tmpdir(), "sublet-accounting-"));
const passwordFile = join(scratch, "password");

before(async () => {
  writeFileSync(passwordFile, `${new URL(mariadbUrl("sublet")).password}\n`, { mode: 0o600 });
  cluster = await startCluster({
    waitForLockMs: 60_000,
    database: "mariadb",
    agentSettings: { lease_term_ms: 20_000, accounting: { slice_ms: sliceMs } },
    controllerSettings: {
      poll_interval_ms: 1000,
      accounting: {
        url: `mariadb://sublet@127.0.0.1:${mariadbPort}/sublet`,
        password_file: passwordFile,
        quota: { physics: quotaCoreSeconds },
      },
    },
  });
  client = connectController(address, {
    identity: mungeIdentity({ socket: mungeSocket(cluster.stateDir) }),
    timeoutMs: 5_000,
  });
});
afterEach(() => cluster?.mend());
after(async () => {
  client?.close();
  await cluster?.stop();
  rmSync(scratch, { recursive: true, force: true });
});

/** The rows of a statement, each as its cells. */
async function rows(statement: string): Promise<string[][]> {
  const text = await mariadb(cluster.stateDir, `use sublet; ${statement}`);
  return text
    .trim()
    .split("\n")
    .slice(1)
    .map((line) => line.split("\t"));
}

async function metric(daemon: string, name: string): Promise<number> {
  const text = await page(`${cluster.metricsUrl(daemon)}/metrics`);
  return Number(new RegExp(`^${name} (\\S+)$`, "m").exec(text)?.[1] ?? Number.NaN);
}

const databaseUp = async (): Promise<true | undefined> =>
  (await metric("controller", "sublet_accounting_database_up")) === 1 ? true : undefined;

/** A lease as its client saw it: it was held for as long as the first at least, and no longer than the second. */
interface Held {
  readonly id: string;
  readonly node: string;
  readonly leastMs: number;
  readonly mostMs: number;
}

async function released(leaseId: string, node: string, caller: object): Promise<void> {
  await until(`${leaseId} is released`, 30_000, async () => {
    try {
      await client.releaseLease({ leaseId, node, caller });
      return true;
    } catch (thrown) {
      return toSubletError(thrown).code === "NOT_FOUND" ? true : undefined;
    }
  });
}

const bobs = { uid: bob.uid, gid: bob.gid, jobId: 0, node: "" };

/** A lease of bob on n2, and when it was asked for and known. */
async function granted(): Promise<{ id: string; askedMs: number; grantedMs: number }> {
  const request = { kind: "LEASE_KIND_FUNCTION", cores: 1, memoryBytes: 2 ** 24, node: "n2" } as const;
  return await until("n2 lends", 30_000, async () => {
    const askedMs = performance.now();
    const { lease } = await client.requestLease({ request, owner: bobs });
    return { id: lease?.id ?? "", askedMs, grantedMs: performance.now() };
  });
}

/** Leases one core on a node for a while, again and again, until it is over. What fails is tried again. */
async function leasing(user: User, node: string, over: () => boolean, held: Held[]): Promise<void> {
  const owner = { uid: user.uid, gid: user.gid, jobId: 0, node: "" };
  while (!over()) {
    const askedMs = performance.now();
    let id: string;
    try {
      const request = { kind: "LEASE_KIND_FUNCTION", cores: 1, memoryBytes: 2 ** 24, node } as const;
      id = (await client.requestLease({ request, owner })).lease?.id ?? "";
    } catch {
      await pause(200);
      continue;
    }
    const grantedMs = performance.now();
    await pause(500 + Math.random() * 4_000);
    const releasingMs = performance.now();
    await released(id, node, owner);
    held.push({ id, node, leastMs: releasingMs - grantedMs, mostMs: performance.now() - askedMs });
  }
}

/** Waits until no lease is live and every record is at the controller. One whose grant nobody heard of ends with its term. */
async function allTold(): Promise<void> {
  await until("all is told", 120_000, async () => {
    for (const { name } of cluster.layout.nodes)
      for (const figure of ['sublet_leases\\{kind="function"\\}', "sublet_usage_unacked_records"])
        if ((await metric(`agent-${name}`, figure)) !== 0) return undefined;
    return true;
  });
}

test("leases are granted while there is no data base; what was held meanwhile is told when there is one", async () => {
  await allLend(cluster);
  assert.equal(await metric("controller", "sublet_accounting_database_up"), 0);
  const held: Held[] = [];
  const giveUpMs = performance.now() + 30_000;
  await leasing(alice, "n1", () => held.length > 0 || performance.now() > giveUpMs, held);
  assert.ok(held.length > 0, "no lease was held");
  await assert.rejects(client.getUsage({}), {
    code: "UNAVAILABLE",
    message: /data base is away.*leases go on/,
  });
  await makeDatabase(cluster.stateDir, "sublet");
  await until("the controller finds it", 60_000, databaseUp);
  await allTold();
  await until("the lease is told", 30_000, async () => {
    const [row] = await rows(`select count(*) from usage_record where lease_id = '${held[0]?.id}'`);
    return Number(row?.[0]) >= 1 ? true : undefined;
  });
});

test("kill -9 of controller, agent and data base: the accounting is what clients held", async (t) => {
  const held: Held[] = [];
  let ending = false;
  const over = (): boolean => ending;
  const clients = [
    leasing(alice, "n1", over, held),
    leasing(bob, "n2", over, held),
    leasing(bob, "n1", over, held),
  ];
  const killed = async (name: string, awayMs: number): Promise<void> => {
    await pause(4_000 + Math.random() * 2_000);
    await cluster.killDaemon(name);
    await pause(awayMs);
    await cluster.startDaemon(name, 60_000);
  };
  try {
    for (const name of ["controller", "mariadb", "agent-n2", "controller", "mariadb", "agent-n2"])
      await killed(name, name === "mariadb" ? 3_000 : 200);
    await until("there were some leases", 120_000, () => (held.length > 20 ? true : undefined));
  } finally {
    ending = true;
  }
  await Promise.all(clients);
  await until("the data base is there", 60_000, databaseUp);
  await allTold();

  const slices = await rows(
    "select lease_id, slice, begin_unix_ms, end_unix_ms, core_seconds, state from usage_record order by lease_id, begin_unix_ms",
  );
  const byLease = new Map<string, string[][]>();
  for (const row of slices) byLease.set(row[0] ?? "", [...(byLease.get(row[0] ?? "") ?? []), row]);
  for (const [id, list] of byLease) {
    for (const [index, row] of list.entries()) {
      assert.equal(Number(row[1]), index, `${id}: slices ${list.map((each) => each[1])}`);
      if (index > 0)
        assert.equal(row[2], list[index - 1]?.[3], `${id}: slices do not overlap, and leave no gap`);
    }
    assert.notEqual(list.at(-1)?.[5], "ACTIVE", `${id} has ended`);
  }
  let least = 0;
  let told = 0;
  for (const { id, node, leastMs, mostMs } of held) {
    const seconds = (byLease.get(id) ?? []).reduce((sum, row) => sum + Number(row[4]), 0);
    // n2's agent died twice: what it had not said yet by then may be missing.
    const slackMs = node === "n2" ? sliceMs + aliveMs : 100;
    assert.ok(
      seconds * 1000 >= leastMs - slackMs,
      `${id} on ${node}: ${seconds} s told, held for ${leastMs} ms`,
    );
    assert.ok(seconds * 1000 <= mostMs + 100, `${id} on ${node}: ${seconds} s told, held for ${mostMs} ms`);
    least += leastMs / 1000;
    told += seconds;
  }
  const [sums] = await rows(
    "select (select sum(core_seconds) from usage_record), (select sum(core_seconds) from usage_day), (select sum(leases) from usage_day), (select count(distinct lease_id) from usage_record)",
  );
  const [recordSeconds, daySeconds, leases, ids] = (sums ?? []).map(Number);
  assert.ok(Math.abs((recordSeconds ?? 0) - (daySeconds ?? 1)) < 1e-6, `${sums}`);
  assert.equal(leases, ids);
  const sent = await metric("controller", 'sublet_usage_records_total\\{outcome="duplicate"\\}');
  t.diagnostic(
    `${held.length} leases: ${told.toFixed(1)} core-seconds told, ${least.toFixed(1)} held at least; ${slices.length} records, ${sent} duplicates dropped since the controller's last start`,
  );
});

test("a guest that a job ends while no agent is there counts up to the agent's last sign of life", async () => {
  const { id, askedMs, grantedMs } = await granted();
  await pause(8_000);
  const killingMs = performance.now();
  await cluster.killDaemon("agent-n2");
  const [leastMs, mostMs] = [killingMs - grantedMs, performance.now() - askedMs];
  const job = await cluster.sbatch({ args: ["--nodelist=n2", "--exclusive"], script: "true" });
  assert.equal((await cluster.waitJob(job, 60_000)).state, "COMPLETED");
  await cluster.startDaemon("agent-n2", 60_000);
  await allTold();
  const told = await rows(
    `select core_seconds, state, reason from usage_record where lease_id = '${id}' order by slice`,
  );
  assert.deepEqual(told.at(-1)?.slice(1), ["REVOKED", "agent_restart"]);
  const toldMs = told.reduce((sum, row) => sum + Number(row[0]), 0) * 1000;
  assert.ok(
    toldMs <= mostMs + 100 && toldMs >= leastMs - aliveMs - sliceMs,
    `${toldMs} ms told, ${leastMs} to ${mostMs} ms held until the agent died`,
  );
});

test("a wall clock that is set while the agent is away makes no lease longer or shorter", async (t) => {
  if (!existsSync(faketime)) return t.skip(`${faketime} is not installed (package faketime)`);
  const { id, askedMs, grantedMs } = await granted();
  for (const offset of ["+3600", "-3600", "+0"]) {
    await pause(1_000);
    await cluster.killDaemon("agent-n2");
    const clock = { LD_PRELOAD: faketime, FAKETIME: offset, FAKETIME_DONT_FAKE_MONOTONIC: "1" };
    await cluster.startDaemon("agent-n2", 60_000, offset === "+0" ? {} : clock);
  }
  const releasingMs = performance.now();
  await released(id, "n2", bobs);
  const mostMs = performance.now() - askedMs;
  await allTold();
  const told = await rows(`select core_seconds from usage_record where lease_id = '${id}'`);
  const toldMs = told.reduce((sum, [seconds]) => sum + Number(seconds), 0) * 1000;
  t.diagnostic(
    `${told.length} records, ${toldMs} ms told, held for ${releasingMs - grantedMs} to ${mostMs} ms`,
  );
  assert.ok(toldMs >= releasingMs - grantedMs - 100 && toldMs <= mostMs + 100);
});

test("sublet usage shows the same: to a user his own, to root all", async () => {
  const shown = async (user: User): Promise<{ user: string; coreSeconds: number }[]> => {
    const args = ["--controller", address, "--json", "usage", "--from", "2d", "--by", "user"];
    const said = await sublet(cluster, "n1", user, args, { env: { HOME: "/" } });
    assert.equal(said.status, 0, said.out + said.error);
    return said.json().rows;
  };
  const all = await shown(root);
  const stored = await rows("select uid, sum(core_seconds) from usage_record group by uid order by uid");
  assert.deepEqual(
    all.map(({ coreSeconds }) => coreSeconds.toFixed(3)),
    stored.map(([, seconds]) => Number(seconds).toFixed(3)),
  );
  const own = await shown(bob);
  assert.equal(own.length, 1);
  assert.equal(own[0]?.coreSeconds, all.find(({ user }) => user === own[0]?.user)?.coreSeconds);
});

test("an account that has used its core-seconds of the day is refused, and told why", async () => {
  const job = await cluster.sbatch({
    args: ["--nodelist=n1", "--ntasks=1", "--mem=64M", "--account=physics"],
    script: "sleep 300",
  });
  const owner = { uid: alice.uid, gid: alice.gid, jobId: job, node: "n1" };
  const request = { kind: "LEASE_KIND_FUNCTION", cores: 1, memoryBytes: 2 ** 24, node: "n2" } as const;
  const lease = async () => (await client.requestLease({ request, owner })).lease;
  // Not at once: Slurm is asked every second, and the node has just had another job.
  const long = await until("a lease on the job's account", 30_000, async () => {
    const granted = await lease().catch(() => null);
    if (granted?.account === "physics") return granted;
    if (granted !== null) await released(granted.id, "n2", owner);
    return undefined;
  });
  await until("it is used up", 60_000, async () =>
    (await metric("controller", "sublet_quota_exhausted_accounts")) === 1 ? true : undefined,
  );
  await assert.rejects(lease(), (error: { code: string; message: string; details: object }) => {
    assert.equal(error.code, "RESOURCE_EXHAUSTED");
    assert.match(
      error.message,
      new RegExp(
        `account physics has used \\d+ of ${quotaCoreSeconds} core-seconds today.*again at midnight`,
      ),
    );
    assert.partialDeepStrictEqual(error.details, { reason: "quota" });
    return true;
  });
  assert.ok((await client.renewLease({ leaseId: long.id, node: "n2", caller: owner })).lease !== null);
  await released(long.id, "n2", owner);

  // The agent of the job's node is told with the answer to a report of it, before that report's records are acknowledged.
  const near = await hold(cluster, bob, "n1", "n1");
  await near.letGo();
  await until("the record of its end is stored", 30_000, async () => {
    const where = `lease_id = '${near.lease.id}' and state <> 'ACTIVE'`;
    const [row] = await rows(`select count(*) from usage_record where ${where}`);
    return Number(row?.[0]) === 1 ? true : undefined;
  });
  await allTold();
  // It holds to it when it is alone; whose account has something left is served.
  await cluster.killDaemon("controller");
  await assert.rejects(hold(cluster, alice, "n1", "n1"), /got no lease/);
  const other = await hold(cluster, bob, "n1", "n1");
  assert.equal(other.lease.account, "");
  await other.letGo();
  await cluster.startDaemon("controller", 60_000);
  await cluster.cancelAll();
});
