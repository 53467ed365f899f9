/** Drain, resume and reclaim on a real cluster: by each selector, by administrators only; a budget as a C client sees it. */
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, afterEach, before, test } from "node:test";
import { type GuestTree, guestDirs } from "../../agent/cgroup/guests.ts";
import { discoverCgroups } from "../../agent/cgroup/layout.ts";
import { type Cluster, startCluster } from "../../deploy/testbed/cluster.ts";
import { page } from "../../deploy/testbed/main-job/sampler.ts";
import { stage } from "../../deploy/testbed/main-job/stage.ts";
import { enter } from "../../deploy/testbed/namespaces.ts";
import { baseEnv, slowness, until } from "../../deploy/testbed/shell.ts";
import type { NodeOutcome } from "../../src/rpc/messages.ts";
import {
  alice,
  bob,
  carol,
  controller,
  hold,
  operators,
  root,
  type Said,
  sublet,
  type User,
} from "./users.ts";

let cluster: Cluster;
let watcher = "";
before(async () => {
  cluster = await startCluster({
    waitForLockMs: 60_000,
    agentSettings: { admin_gid: operators, reclaim: { prolog: "close" } },
    controllerSettings: { admin_gid: operators, poll_interval_ms: 2000 },
  });
  const base = await stage(join(cluster.stateDir, "opt"));
  watcher = join(base, "bin/watch_lease");
  mkdirSync(join(base, "bin"), { recursive: true });
  const flags = ["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-Ifunctions/include"];
  const link = [`-L${join(base, "lib")}`, "-lsublet", "-Wl,-rpath,$ORIGIN/../lib"];
  execFileSync("cc", [...flags, "-o", watcher, "test/cluster/native/watch_lease.c", ...link]);
});
afterEach(() => cluster?.mend());
after(async () => {
  await cluster?.stop();
});

const admin = (user: User, ...args: string[]): Promise<Said> =>
  sublet(cluster, "n1", user, ["--controller", controller, ...args]);
const outcomesOf = (said: Said): NodeOutcome[] => (said.json() as { outcomes: NodeOutcome[] }).outcomes;
const codes = (said: Said): string =>
  outcomesOf(said)
    .map(({ node, code }) => `${node} ${code}`)
    .join();

async function lending(node: string): Promise<string> {
  const { nodes } = (await admin(root, "--json", "nodes")).json();
  return nodes.find((each: { node: string }) => each.node === node)?.offer?.lending;
}

interface Seen {
  readonly id: string;
  readonly state: number;
  readonly remaining_ms: number;
  readonly reason: string;
  readonly at_ms: number;
}
const [active, revoked, draining, released] = [0, 3, 4, 1];

interface Watched {
  readonly id: string;
  /** What the client said when it was in this state. */
  state(wanted: number): Promise<Seen>;
  readonly ended: Promise<unknown>;
}

/** The C client, as alice on node `from`, with a lease on node `on`. */
async function watch(from: string, on: string, keepMs: number): Promise<Watched> {
  const as = [`--reuid=${alice.uid}`, `--regid=${alice.gid}`, "--clear-groups", "--"];
  const words = [on, String(keepMs), String(10_000 * slowness)];
  const [file = "", ...args] = enter(cluster.stateDir, from, ["setpriv", ...as, watcher, ...words]);
  const child = spawn(file, args, { stdio: ["ignore", "pipe", "inherit"], env: baseEnv });
  const ended = once(child, "close");
  const seen: Seen[] = [];
  createInterface({ input: child.stdout }).on("line", (line) => seen.push(JSON.parse(line)));
  const state = (wanted: number): Promise<Seen> =>
    until(`state ${wanted}, seen: ${JSON.stringify(seen)}`, 20_000, () =>
      seen.find((each) => each.state === wanted),
    );
  const first = await until(
    `a lease on ${on}`,
    20_000,
    () => seen.find((each) => each.state === active) ?? child.exitCode ?? undefined,
  );
  assert.ok(typeof first !== "number", `the client ended with ${first}, without a lease on ${on}`);
  return { id: first.id, state, ended };
}

test("only root and the admin group may, through the controller and on the node", async () => {
  for (const words of [
    ["drain", "n2"],
    ["resume", "n2"],
    ["reclaim", "n2"],
    ["drain", "--all"],
  ]) {
    const said = await admin(bob, "--json", ...words);
    assert.equal(said.status, 1, words.join(" "));
    assert.equal(said.json().error.code, "PERMISSION_DENIED");
  }
  for (const words of [["drain"], ["resume"], ["reclaim"]])
    assert.equal(
      (await sublet(cluster, "n2", bob, ["--json", ...words])).json().error.code,
      "PERMISSION_DENIED",
    );
  assert.equal(await lending("n2"), "LENDING_ON");
  assert.equal((await admin(carol, "drain", "n2")).status, 0);
  assert.equal((await admin(carol, "resume", "n2")).status, 0);
});

test("drain: the client on another node is told its budget, gives back, and the node lends nothing, agents or no agents", async () => {
  const client = await watch("n3", "n2", 300);
  const said = await admin(root, "--json", "drain", "n2", "--budget", "60", "--reason", "disk", "--no-wait");
  assert.equal(said.status, 0, said.error);
  assert.deepEqual(outcomesOf(said)[0]?.drainingLeaseIds, [client.id]);
  const told = await client.state(draining);
  assert.ok(told.remaining_ms > 50_000 && told.remaining_ms <= 60_000, `${told.remaining_ms} ms`);
  assert.equal(told.reason, "ended by an administrator or its owner");
  const back = await client.state(released);
  assert.ok(back.at_ms - told.at_ms < 30_000);
  await client.ended;
  await until(
    "the view of all",
    10_000,
    async () => (await lending("n2")) === "LENDING_DRAINED" || undefined,
  );
  assert.match((await admin(root, "nodes")).out, /\nn2 .* drained /);
  await assert.rejects(hold(cluster, alice, "n3", "n2"));
  await cluster.killDaemon("agent-n2");
  await cluster.startDaemon("agent-n2");
  const status = (await sublet(cluster, "n2", alice, ["--json", "status"])).json();
  assert.match(status.findings.drained, /^by uid 0 since .*: disk$/);
  assert.deepEqual(status.offer.spare, []);
  const local = await sublet(cluster, "n2", root, ["--json", "resume"]); // by the agent's own socket
  assert.equal(codes(local), "n2 0");
  await until("n2 lends", 10_000, async () => (await lending("n2")) === "LENDING_ON" || undefined);
});

test("reclaim: a lease by its id, with a budget that its client lets pass; another does not notice", async () => {
  const [client, other] = [await watch("n3", "n2", -1), await hold(cluster, bob, "n1", "n1")];
  const fromMs = performance.now();
  const said = await admin(root, "reclaim", "--lease", client.id, "--budget", "2");
  const tookMs = performance.now() - fromMs;
  assert.equal(said.status, 0, said.out + said.error);
  assert.match(said.out, /^n2 reclaimed; 1 lease ended$/m);
  const [told, over] = [await client.state(draining), await client.state(revoked)];
  assert.ok(told.remaining_ms <= 2_000);
  assert.ok(over.at_ms > told.at_ms && tookMs > 2_000, `ended after ${tookMs} ms`);
  assert.equal(over.reason, "ended by an administrator or its owner");
  const { leases } = (await admin(root, "--json", "leases")).json();
  assert.deepEqual(
    leases.map((lease: { id: string; state: string }) => [lease.id, lease.state]),
    [[other.lease.id, "LEASE_STATE_ACTIVE"]],
  );
  const node = await admin(root, "--json", "reclaim", "n1", "--mode", "immediate");
  assert.deepEqual(
    outcomesOf(node).map((each) => [each.node, each.leasesEnded, each.lending]),
    [["n1", 1, "LENDING_ON"]],
  );
  const guests: GuestTree = { layout: discoverCgroups(), root: "sublet_n1" };
  assert.ok(!guestDirs(guests, other.lease.id).some((dir) => existsSync(dir)));
  await other.letGo();
  const gone = await admin(root, "--json", "reclaim", "--lease", client.id);
  assert.deepEqual([gone.status, outcomesOf(gone)[0]?.code], [1, 5]);
});

test("by partition and all; a node that cannot be reached is listed and fails the command, the others do it", async () => {
  const main = await admin(root, "--json", "drain", "--partition", "main", "--mode", "keep");
  assert.equal(codes(main), "n1 0,n2 0,n3 0");
  assert.match(
    (await admin(root, "drain", "--partition", "nope")).error,
    /no partition nope; Slurm has main/,
  );
  assert.equal(codes(await admin(root, "--json", "resume", "--all")), "n1 0,n2 0,n3 0");
  await cluster.killDaemon("agent-n3");
  await until("n3 is missed", 20_000, async () => ((await lending("n3")) === undefined ? true : undefined));
  const part = await admin(root, "--json", "drain", "n[1-3],n9", "--mode", "immediate");
  assert.equal(part.status, 4);
  assert.equal(codes(part), "n1 0,n2 0,n3 14,n9 5");
  await cluster.startDaemon("agent-n3");
  await until("n3 is back", 20_000, async () => (await lending("n3")) === "LENDING_ON" || undefined);
  assert.equal((await admin(root, "resume", "n[1-3]")).status, 0);
  await until("n1 lends", 20_000, async () => (await lending("n1")) === "LENDING_ON" || undefined);
  assert.equal((await sublet(cluster, "n2", root, ["drain", "n1"])).status, 1); // not this node
});

test("a job on other cores: the lease beside it does not notice; a job that needs its core takes it", async () => {
  const held = await hold(cluster, alice, "n3", "n1");
  try {
    const total = cluster.node("n1").cpus.length;
    assert.ok(total > 1, "one core per node cannot show it");
    const run = (cores: number) =>
      cluster.attempt(["srun", "--nodelist=n1", "-n1", `-c${cores}`, "--mem=64", "true"]);
    for (let job = 0; job < 3; job++) {
      const { exitCode, stderr } = await run(1);
      assert.equal(exitCode, 0, stderr);
    }
    const live = async (): Promise<string[]> =>
      (await admin(root, "--json", "leases")).json().leases.map((lease: { id: string }) => lease.id);
    const taken = (await page(`${cluster.metricsUrl("agent-n1")}/metrics`)).match(
      /^sublet_reclaims_total.*$/gm,
    );
    assert.deepEqual(await live(), [held.lease.id], taken?.join("\n"));
    assert.equal((await run(total)).exitCode, 0);
    await until("it is gone", 10_000, async () => ((await live()).length === 0 ? true : undefined));
  } finally {
    await held.letGo();
  }
});
