/** The command `sublet` against a real agent and controller: every verb, each with --json, its errors, its exit status. */
import assert from "node:assert/strict";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { type Cluster, startCluster } from "../../deploy/testbed/cluster.ts";
import { stage } from "../../deploy/testbed/main-job/stage.ts";
import { until } from "../../deploy/testbed/shell.ts";
import { alice, allLend, controller, hold, root, type Said, sublet, type User } from "./users.ts";

let cluster: Cluster;
let base = "";
before(async () => {
  cluster = await startCluster({ waitForLockMs: 60_000, controllerSettings: { poll_interval_ms: 2000 } });
  base = await stage(join(cluster.stateDir, "opt"));
  await allLend(cluster);
});
after(async () => {
  await cluster?.stop();
});

const on = (user: User, ...args: string[]): Promise<Said> => sublet(cluster, "n1", user, args);
const asked = (user: User, ...args: string[]): Promise<Said> => on(user, "--controller", controller, ...args);
const echo = (): string => join(base, "functions/libecho.so");

/** A failed command: its status, and one line for people or one object for programs. */
function failed(said: Said, status: number, text: RegExp): void {
  assert.equal(said.status, status, said.out + said.error);
  assert.match(said.error, text);
  assert.match(said.error, /^sublet: /);
}
function failedJson(said: Said, status: number, code: string): void {
  assert.equal(said.status, status, said.out + said.error);
  assert.equal(said.json().error.code, code);
  assert.equal(said.error, "");
}

test("nodes: what Slurm gave away and what is spare", async () => {
  const { nodes } = (await asked(alice, "nodes", "--json")).json();
  assert.deepEqual(nodes.map((each: { node: string }) => each.node).sort(), ["n1", "n2", "n3"]);
  for (const each of nodes) {
    const { cpus, memoryMib } = cluster.node(each.node);
    assert.equal(each.slurmState, "idle");
    assert.equal(each.slurmMemoryBytes, memoryMib * 2 ** 20);
    assert.equal(each.offer.coresTotal, cpus.length);
    assert.equal(each.offer.spare[0].cores.length, cpus.length);
  }
  const table = await asked(alice, "nodes");
  assert.equal(table.status, 0);
  assert.match(table.out, /^NODE +STATE .*SPARE CORES/);
  assert.match(table.out, /\nn2 +idle /);
  failed(await on(alice, "nodes"), 3, /no controller is named.*--controller/);
  failedJson(await on(alice, "--json", "nodes"), 3, "UNAVAILABLE");
  failed(
    await on(alice, "--timeout", "2", "--controller", "10.77.0.1:9", "nodes"),
    3,
    /does not answer|10\.77\.0\.1:9/,
  );
});

test("status: this node's agent, what it offers and found", async () => {
  const report = (await on(alice, "status", "--json")).json();
  assert.equal(report.offer.node, "n1");
  assert.equal(report.controllerConnected, true);
  assert.match(report.findings["cgroup.version"], /^[12]$/);
  const text = await on(alice, "status");
  assert.equal(text.status, 0);
  assert.match(text.out, /^node +n1\n/);
  assert.match(text.out, /controller +connected/);
  failed(
    await on(alice, "--agent-socket", "/run/nobody.sock", "status"),
    3,
    /no agent listens there; start sublet-agent/,
  );
  failedJson(await on(alice, "--agent-socket", "/run/nobody.sock", "--json", "status"), 3, "UNAVAILABLE");
});

test("leases and release, by the agent and by the controller", async () => {
  assert.equal((await on(alice, "leases")).out, "No leases.");
  assert.deepEqual((await asked(alice, "leases", "--json")).json(), { leases: [] });
  const held = await hold(cluster, alice, "n1", "n2");
  const { id } = held.lease;
  for (const ask of [on, asked]) {
    const { leases } = (await ask(alice, "--json", "leases")).json();
    assert.deepEqual(
      leases.map((lease: { id: string; node: string; owner: { uid: number } }) => [
        lease.id,
        lease.node,
        lease.owner.uid,
      ]),
      [[id, "n2", alice.uid]],
    );
    const table = await ask(alice, "leases");
    assert.match(table.out, /^LEASE +NODE/);
    assert.match(table.out, new RegExp(`\n${id} +n2 +function +active `));
  }
  failed(await on(alice, "release", "no-such-lease"), 1, /not among your leases/);
  failedJson(await asked(alice, "--json", "release", "no-such-lease"), 1, "NOT_FOUND");
  failedJson(await asked(alice, "--json", "release", "no-such-lease", "--node", "n2"), 1, "NOT_FOUND");
  const released = await on(alice, "release", id);
  assert.deepEqual([released.status, released.out], [0, `Lease ${id} on n2 has ended.`]);
  const again = await hold(cluster, alice, "n1", "n2");
  const ended = await asked(alice, "--json", "release", again.lease.id);
  assert.equal(ended.json().lease.state, "LEASE_STATE_RELEASED");
  assert.deepEqual((await on(alice, "--json", "leases")).json(), { leases: [] });
  await Promise.all([held.letGo(), again.letGo()]);
});

test("invoke: on a leased core, here, and all that can go wrong", async () => {
  const there = await on(alice, "invoke", echo(), "echo", "--data", "hello", "--node", "n2", "--no-local");
  assert.deepEqual([there.status, there.out], [0, "hello"]);
  assert.match(there.error, /^ran on n2: lease .*, call .*, 5 bytes\n?$/);
  const json = (await on(alice, "--json", "invoke", echo(), "echo", "--data", "hello", "--no-local")).json();
  assert.equal(Buffer.from(json.outBase64, "base64").toString(), "hello");
  assert.match(json.node, /^n[123]$/);
  const here = (await on(alice, "--json", "invoke", echo(), "echo", "--data", "x", "--cores", "0")).json();
  assert.equal(here.node, null);
  const file = join(cluster.layout.home, "in");
  writeFileSync(file, "from a file", { mode: 0o644 });
  const out = join(cluster.layout.home, "out");
  assert.equal((await on(alice, "invoke", echo(), "echo", "--in", file, "--out", out)).status, 0);
  assert.equal((await cluster.runOnNode("n1", ["cat", out])).stdout, "from a file");

  const faults = join(base, "functions/libfaults.so");
  failed(await on(alice, "invoke", faults, "crash", "--no-local"), 1, /crash ended its worker/);
  failedJson(await on(alice, "--json", "invoke", faults, "fail", "--no-local"), 1, "ABORTED");
  failedJson(
    await on(alice, "--json", "--timeout", "1", "invoke", faults, "hang", "--no-local"),
    3,
    "DEADLINE_EXCEEDED",
  );
  failed(await on(alice, "invoke", echo(), "no_such"), 1, /no_such/);
  failed(await on(alice, "invoke", "/no/such.so", "echo"), 1, /no\/such\.so/);
  failedJson(
    await on(alice, "--json", "invoke", echo(), "echo", "--node", "n9", "--no-local"),
    3,
    "RESOURCE_EXHAUSTED",
  );
  failedJson(await on(alice, "--json", "invoke", echo(), "echo", "--in", "/no/such"), 1, "INVALID_ARGUMENT");
  const tooMany = await on(alice, "--json", "invoke", echo(), "echo", "--data", "x", "--cores", "64");
  assert.match(tooMany.json().note, /64 cores/);
  assert.equal(tooMany.json().node, null);
});

test("trace: where the time of a call goes, on this node and to another", async () => {
  const traced = async (node: string, ...args: string[]) =>
    (await on(alice, "--json", "trace", echo(), "echo", "--node", node, ...args)).json();
  const time = (said: { times: { name: string; medianNs: number }[] }, name: string): number =>
    said.times.find((each) => each.name === name)?.medianNs ?? Number.NaN;
  const here = await traced("n1", "--count", "200", "--payload-bytes", "64");
  assert.deepEqual([here.node, here.path, here.count, here.workerTold], ["n1", "memory", 200, 200]);
  const there = await traced("n2", "--count", "200", "--data", "hello");
  assert.deepEqual([there.node, there.path, there.workerTold], ["n2", "connection", 200]);
  assert.ok(time(there, "wire") > 0 && Math.abs(time(there, "wire") - time(there, "back")) <= 2);
  assert.ok(time(there, "total") > time(there, "run"));
  const slow = await traced("n1", "--count", "5", "--pause-ms", "300");
  assert.ok(slow.workerSlept >= 4 && time(slow, "wake") > 0, JSON.stringify(slow));
  const text = await on(alice, "trace", echo(), "echo", "--node", "n1", "--count", "1");
  assert.match(text.out, /^1 call of echo with 0 B on n1, by shared memory\n.*part .*\n/);
  failedJson(await on(alice, "--json", "trace", echo(), "echo", "--node", "n9"), 3, "RESOURCE_EXHAUSTED");
});

test("wrong usage ends with 2 and says what is right", async () => {
  for (const [args, text] of [
    [["frobnicate"], /unknown command/],
    [["leases", "--wide"], /unknown option/],
    [["--timeout", "0", "leases"], /whole number from 1/],
    [["invoke", "x.so", "f", "--cores", "65"], /whole number from 0 to 64/],
    [["invoke", "x.so"], /missing required argument/],
    [["invoke", "x.so", "f", "--data", "x", "--in", "y"], /cannot be used with/],
    [["doctor", "--cluster", "--require", "controller"], /cannot be used with/],
    [["--config", "/no/such.toml", "leases"], /no\/such\.toml/],
    [["--controller", "nowhere", "nodes"], /host:port/],
  ] as const) {
    const said = await on(alice, ...args);
    assert.equal(said.status, 2, `${args.join(" ")}: ${said.out}${said.error}`);
    assert.match(said.error, text);
  }
  assert.equal((await on(alice, "--help")).status, 0);
  assert.match((await on(alice, "--help")).out, /Exit status:[\s\S]*sublet doctor/);
  assert.match((await on(alice, "--version")).out, /^\d+\.\d+\.\d+\n?$/);
});

interface Finding {
  check: string;
  result: "ok" | "warn" | "fail";
  found: string;
  mend?: string;
}

/** What the doctor finds, by check; all that are well when `well`. */
async function doctor(
  options: Parameters<typeof sublet>[4] = {},
  ...more: readonly string[]
): Promise<Map<string, Finding>> {
  const args = ["--controller", controller, "--json", "doctor", ...more];
  const said = await sublet(cluster, "n1", root, args, options);
  const { healthy, findings } = said.json() as { healthy: boolean; findings: Finding[] };
  assert.equal(
    healthy,
    findings.every(({ result }) => result !== "fail"),
  );
  assert.equal(said.status, healthy ? 0 : 1);
  for (const { check, result, mend } of findings) assert.equal(mend !== undefined, result !== "ok", check);
  return new Map(findings.map((finding) => [finding.check, finding]));
}

/** The checks that are not well: name, verdict, what was found, how to mend it. */
function unwell(findings: Map<string, Finding>): [check: string, result: string, text: string][] {
  return [...findings.values()]
    .filter(({ check, result }) => result !== "ok" && check !== "kernel") // this machine's own business
    .map(({ check, result, found, mend }) => [check, result, `${found} -> ${mend}`]);
}

const clean = (): Promise<true> =>
  until("the doctor finds nothing", 30_000, async () =>
    unwell(await doctor()).length === 0 ? true : undefined,
  );

test("doctor: a healthy node", async (t) => {
  await clean();
  const findings = await doctor();
  for (const { check, result, found } of findings.values()) t.diagnostic(`${check}: ${result}, ${found}`);
  const text = await asked(root, "doctor", "--require", "controller");
  assert.equal(text.status, 0);
  assert.match(text.out, /^ok +cgroups /);
  assert.match(text.out, /\n\d+ ok, \d+ to look at, 0 failed$/);
});

/** Each way to be broken: what is done, which check says so and how it says to mend it. */
const kills: readonly [daemon: string, check: string, result: string, says: RegExp][] = [
  ["munged", "munge", "fail", /munged does not answer.*-> start munged/],
  ["slurmctld", "slurmctld", "fail", /DOWN.*-> start slurmctld/],
  ["agent-n1", "agent", "fail", /agent\.sock: no agent listens there.*-> start sublet-agent/],
  ["controller", "controller", "warn", /connected to none.*-> start sublet-controller/],
];
for (const [daemon, check, result, says] of kills)
  test(`doctor: ${daemon} is gone`, async () => {
    await cluster.killDaemon(daemon);
    try {
      await until("the doctor finds it", 20_000, async () => {
        const found = unwell(await doctor({ env: { SUBLET_TIMEOUT_MS: "4000" } })).find(
          ([name]) => name === check,
        );
        if (found === undefined) return undefined;
        assert.equal(found[1], result);
        assert.match(found[2], says);
        return true;
      });
      // What a roll-out asks for: with a warning alone its canary would pass.
      const strict = await doctor({ env: { SUBLET_TIMEOUT_MS: "4000" } }, "--require", check);
      assert.equal(strict.get(check)?.result, "fail");
    } finally {
      await cluster.startDaemon(daemon);
    }
    await clean();
  });

test("doctor: cgroups that cannot be written, a clock that is off, a starter that is not there", async (t) => {
  const readOnly = 'mount -o remount,bind,ro /sys/fs/cgroup/memory && exec "$@"';
  const before = ["unshare", "--mount", "sh", "-c", readOnly, "sh"];
  if (existsSync("/sys/fs/cgroup/memory/tasks")) {
    const [found] = unwell(await doctor({ before }));
    assert.deepEqual(found?.slice(0, 2), ["cgroups", "fail"]);
    assert.match(found?.[2] ?? "", /memory mounted read-only -> .*writable/);
  } else t.diagnostic("skipped: cgroup v1 has no memory hierarchy here to be mounted read-only");
  const faketime = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
  if (existsSync(faketime)) {
    const env = { LD_PRELOAD: faketime, FAKETIME: "+3600", FAKETIME_DONT_FAKE_MONOTONIC: "1" };
    const clock = (await doctor({ env })).get("clock");
    assert.equal(clock?.result, "fail");
    assert.match(
      `${clock?.found} -> ${clock?.mend}`,
      /(1 h|59 min \d+ s) ahead of .*credentials are refused -> run chrony/,
    );
  } else t.diagnostic(`skipped: ${faketime} is not installed (package faketime)`);
  const starter = (await doctor({ env: { SUBLET_STARTER_SOCKET: "/run/nobody.sock" } })).get("starter");
  assert.equal(starter?.result, "fail");
  assert.match(`${starter?.found} -> ${starter?.mend}`, /nobody\.sock.*-> restart sublet-agent/);
});
