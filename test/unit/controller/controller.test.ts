/** The whole controller over real gRPC; the agents are fakes (fake-agent.ts), Slurm's commands are texts. */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, test } from "node:test";
import { pino } from "pino";
import { SubletError } from "../../../src/common/errors.ts";
import type { AccountingConfig } from "../../../src/config/accounting.ts";
import { type Controller, startController } from "../../../src/controller/controller.ts";
import { type ControllerClient, connectController } from "../../../src/rpc/client.ts";
import type { Init, LeaseRequestMessage } from "../../../src/rpc/messages.ts";
import type { CommandRunner, PollerClock } from "../../../src/slurm/poller.ts";
import { systemClock } from "../../../src/slurm/runner.ts";
import { type FakeAgent, type FakeAgentOptions, fakeAgent, plainIdentity } from "./fake-agent.ts";
import { mib, reportMessage } from "./samples.ts";

const user = { uid: 20001, gid: 20001, jobId: 7, node: "n1" };
const stranger = { uid: 30001, gid: 30001, jobId: 8, node: "n1" };

const folder = mkdtempSync(join(tmpdir(), "sublet-controller-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const closers: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

/** Slurm with these nodes, all of them in the state given. */
function slurm(nodes: Record<string, string>): CommandRunner {
  const line = (name: string, state: string): string =>
    `NodeName=${name} CPUAlloc=1 CPUTot=4 RealMemory=4000 AllocMem=100 State=${state} Partitions=p\n`;
  const text = Object.entries(nodes).map(([name, state]) => line(name, state));
  return async ({ question }) => ({ stdout: question === "nodes" ? text.join("") : "", stderr: "" });
}

const noSlurm: CommandRunner = async () => {
  throw new SubletError("UNAVAILABLE", "squeue: Unable to contact slurm controller (connect failure)");
};

async function controllerWith(
  runner: CommandRunner = noSlurm,
  listen = "127.0.0.1:0",
  clock: PollerClock = systemClock,
  accounting: Partial<AccountingConfig> = {},
  log = pino({ level: "silent" }),
  stateDir = mkdtempSync(join(folder, "state-")),
): Promise<Controller> {
  const controller = await startController({
    config: {
      listen,
      metricsListen: "127.0.0.1:0",
      pollIntervalMs: 60_000,
      horizonConfidence: 0.8,
      slurmConf: undefined,
      trustedUids: [0],
      adminGid: 40000,
      mungeSocket: undefined,
      stateDir,
      tls: undefined,
      log: { level: "info", to: "stderr" },
      receipts: { adminComment: false, adminCommentsPerMinute: 60 },
      dashboard: {
        listen: "127.0.0.1:0",
        cluster: "",
        pagesDir: undefined,
        tls: undefined,
        hstsSeconds: 0,
        proxies: [],
        price: undefined,
      },
      accounting: {
        enabled: true,
        mariadb: undefined,
        timeZone: "UTC",
        retentionDays: 400,
        totalsRetentionDays: 3650,
        quota: {},
        ...accounting,
      },
    },
    log,
    identity: plainIdentity(0),
    runner,
    clock,
  });
  let open = true;
  const close = controller.close;
  const once = async (): Promise<void> => {
    if (!open) return;
    open = false;
    await close();
  };
  closers.push(once);
  return { ...controller, close: once };
}

function clientOf(controller: Controller, uid = 0): ControllerClient {
  const client = connectController(controller.address, { identity: plainIdentity(uid), timeoutMs: 8000 });
  closers.push(() => client.close());
  return client;
}

async function agentWith(options: Partial<FakeAgentOptions> & { node: string }): Promise<FakeAgent> {
  const agent = await fakeAgent({ cores: 2, memoryBytes: 1024 * mib, ...options });
  closers.push(() => agent.close());
  return agent;
}

const oneCore: Init<LeaseRequestMessage> = { kind: "LEASE_KIND_FUNCTION", cores: 1, memoryBytes: 16 * mib };

async function until(what: string, holds: () => Promise<boolean> | boolean): Promise<void> {
  const endMs = performance.now() + 5000;
  while (!(await holds())) {
    assert.ok(performance.now() < endMs, `in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

test("lease, list, renew, release: on behalf of the owner that a trusted daemon names", async () => {
  const controller = await controllerWith(slurm({ n1: "IDLE", n2: "IDLE+DRAIN" }));
  const agent = await agentWith({ node: "n1" });
  const draining = await agentWith({ node: "n2", cores: 64 });
  await agent.join(controller.address);
  await draining.join(controller.address);
  const client = clientOf(controller);
  await until("a snapshot", async () => (await client.listNodes({})).snapshotValid);

  const { lease, endpoint, refusals } = await client.requestLease({ request: oneCore, owner: user });
  assert.equal(lease?.node, "n1");
  assert.match(lease?.id ?? "", /^[A-Za-z0-9_-]{16,32}$/);
  assert.equal(endpoint?.token.length, 32);
  assert.equal(refusals, 0);
  assert.deepEqual(agent.owners, [user]);

  const leases = async (caller: typeof user) =>
    (await client.listLeases({ caller })).leases.map(({ id }) => id);
  assert.deepEqual(await leases(user), [lease?.id]);
  assert.deepEqual(await leases(stranger), []);
  assert.deepEqual(await leases({ ...stranger, gid: 40000 }), [lease?.id], "the admin group sees all");
  const [n1, n2] = (await client.listNodes({})).nodes;
  assert.deepEqual([n1?.leases, n1?.slurmState, n1?.slurmAllocCores], [1, "idle", 1]);
  assert.deepEqual([n2?.leases, n2?.slurmState], [0, "draining"]);

  const named = { leaseId: lease?.id ?? "", node: "" };
  const { lease: renewed } = await client.renewLease({ ...named, caller: user });
  assert.ok((renewed?.remainingMs ?? 0) > 59_000);
  await assert.rejects(client.releaseLease({ ...named, caller: stranger }), { code: "NOT_FOUND" });
  assert.deepEqual(await leases(user), [lease?.id], "a stranger's word does not end it");
  const { lease: released } = await client.releaseLease({ ...named, caller: user });
  assert.equal(released?.state, "LEASE_STATE_RELEASED");
  assert.deepEqual(await leases(user), []);
  await assert.rejects(client.renewLease({ ...named, caller: user }), { code: "NOT_FOUND" });

  const page = await (await fetch(`http://${controller.metricsAddress}/metrics`)).text();
  assert.match(page, /sublet_lease_requests_total\{outcome="granted"\} 1/);
  assert.match(page, /sublet_slurm_rpcs_total 4/);
});

test("why a lease ended is told to the agent of its owner's node, and to no other", async () => {
  const controller = await controllerWith();
  const [home, lender, other] = await Promise.all(
    ["n1", "n2", "n3"].map((node) => agentWith({ node, cores: node === "n2" ? 4 : 0 })),
  );
  assert.ok(home !== undefined && lender !== undefined && other !== undefined);
  for (const agent of [home, lender, other]) await agent.join(controller.address);
  const client = clientOf(controller);
  const lease = async (owner: typeof user): Promise<string> =>
    (await client.requestLease({ request: oneCore, owner })).lease?.id ?? "";
  const taken = await lease(user);
  const atHome = await lease({ ...user, node: "n2" });
  const adrift = await lease({ ...user, node: "n9" });
  for (const id of [atHome, adrift, taken]) lender.revoke(id);
  await until("told", () => home.told.length > 0);
  assert.deepEqual(
    home.told.map(({ id, node, state, reason }) => [id, node, state, reason]),
    [[taken, "n2", "LEASE_STATE_REVOKED", "REASON_BATCH_JOB"]],
  );
  assert.deepEqual([lender.told, other.told], [[], []]);
});

test("that a lease is wanted back is told to the agent of its owner's node, with the budget", async () => {
  const controller = await controllerWith();
  const [home, lender] = [
    await agentWith({ node: "n1", cores: 0 }),
    await agentWith({ node: "n2", cores: 4 }),
  ];
  for (const agent of [home, lender]) await agent.join(controller.address);
  const { lease } = await clientOf(controller).requestLease({ request: oneCore, owner: user });
  lender.drain(lease?.id ?? "", 30_000);
  await until("told", () => home.told.length > 0);
  const [told] = home.told;
  assert.deepEqual(
    [told?.id, told?.state, told?.reason],
    [lease?.id, "LEASE_STATE_DRAINING", "REASON_ADMIN"],
  );
  assert.ok((told?.remainingMs ?? 0) > 25_000 && (told?.remainingMs ?? 0) <= 30_000);
  assert.deepEqual(lender.told, []);
});

test("administrators: carried to what is selected, each node answers, one that cannot is listed, others may not", async () => {
  const controller = await controllerWith(slurm({ n1: "IDLE", n2: "IDLE", n3: "IDLE" }));
  const failing = async (): Promise<void> => {
    throw new SubletError("UNAVAILABLE", "broken");
  };
  const [n1, n2, n3] = [
    await agentWith({ node: "n1", cores: 4 }),
    await agentWith({ node: "n2" }),
    await agentWith({ node: "n3", onAdmin: failing }),
  ];
  for (const agent of [n1, n2, n3]) await agent.join(controller.address);
  const client = clientOf(controller);
  const codes = (outcomes: readonly { node: string; code: number }[]) =>
    outcomes.map(({ node, code }) => `${node} ${code}`).join();
  const drained = await client.drain({
    selection: { nodes: ["n[1-2]", "n1,n9"], all: false },
    reason: "disk",
    caller: { uid: 0 },
  });
  assert.equal(codes(drained.outcomes), "n1 0,n2 0,n9 14");
  assert.deepEqual([n1.admin, n2.admin, n3.admin], [["drain by 0: disk"], ["drain by 0: disk"], []]);
  await until("Slurm's answer", async () => (await client.listNodes({})).snapshotValid);
  assert.equal(
    codes((await client.resume({ selection: { partitions: ["p"], nodes: ["n1"] } })).outcomes),
    "n1 0,n2 0,n3 14",
  );
  await assert.rejects(client.resume({ selection: { partitions: ["q"] } }), {
    message: /no partition q; Slurm has p/,
  });
  const resumed = await client.resume({ selection: { all: true } });
  assert.equal(codes(resumed.outcomes), "n1 0,n2 0,n3 14");
  const [a, b] = [
    (await client.requestLease({ request: { ...oneCore, node: "n1" }, owner: user })).lease?.id ?? "",
    (await client.requestLease({ request: { ...oneCore, node: "n1" }, owner: user })).lease?.id ?? "",
  ];
  const taken = await client.reclaim({
    selection: { leaseIds: [a, b, "nobody"] },
    mode: "RECLAIM_MODE_IMMEDIATE",
  });
  assert.equal(codes(taken.outcomes), "n1 0, 5");
  assert.equal(n1.admin.at(-1), `reclaim ${[a, b].sort().join(" ")}`);
  const nothing = { code: "INVALID_ARGUMENT" };
  await assert.rejects(client.drain({ selection: { leaseIds: [a] } }), nothing);
  await assert.rejects(client.reclaim({ selection: { leaseIds: [a], all: true } }), nothing);
  await assert.rejects(client.resume({}), nothing);
  await assert.rejects(client.resume({ selection: { nodes: ["n["] } }), nothing);
  const ordinary = clientOf(controller, 20_001);
  for (const call of [ordinary.drain, ordinary.resume, ordinary.reclaim])
    await assert.rejects(call({ selection: { all: true }, caller: { uid: 0 } }), {
      code: "PERMISSION_DENIED",
    });
  await assert.rejects(client.drain({ selection: { all: true }, caller: { uid: 20_001, gid: 1 } }), {
    code: "PERMISSION_DENIED",
  });
});

test("callers who are not trusted act for themselves and cannot report", async () => {
  const controller = await controllerWith();
  const agent = await agentWith({ node: "n1" });
  await agent.join(controller.address);
  const client = clientOf(controller, 30001);
  await client.requestLease({ request: oneCore, owner: { ...user, uid: 0 } });
  assert.equal(agent.owners[0]?.uid, 30001);
  assert.equal((await client.listLeases({ caller: { ...user, uid: 0 } })).leases.length, 1);
  await clientOf(controller).requestLease({ request: oneCore, owner: user });
  assert.equal((await client.listLeases({ caller: { ...user, uid: 0 } })).leases.length, 1);
  const stream = await client.report();
  stream.send({ leases: [], full: true });
  await assert.rejects(
    async () => {
      for await (const _ of stream.responses);
    },
    { code: "PERMISSION_DENIED" },
  );
});

test("an agent that reports but cannot be reached leads to the next node, and is counted", async () => {
  const controller = await controllerWith();
  const broken = await agentWith({ node: "n1", cores: 1 });
  const failing = await agentWith({
    node: "n2",
    cores: 2,
    onGrant: async () => {
      throw new SubletError("RESOURCE_EXHAUSTED", "executor did not start", {
        details: { reason: "start_failed", node: "n2" },
      });
    },
  });
  const good = await agentWith({ node: "n3", cores: 3 });
  for (const agent of [broken, failing, good]) await agent.join(controller.address);
  await broken.stopService();
  const { lease, refusals } = await clientOf(controller).requestLease({ request: oneCore, owner: user });
  assert.deepEqual([lease?.node, refusals], ["n3", 2]);
  assert.equal(failing.seen.grants, 1);
  const page = await (await fetch(`http://${controller.metricsAddress}/metrics`)).text();
  assert.match(page, /sublet_grants_failed_total\{reason="UNAVAILABLE"\} 1/);
  assert.match(page, /sublet_grants_failed_total\{reason="start_failed"\} 1/);
});

test("a refusal and a silent agent lead to the next node; nobody left is a refusal with a reason", async () => {
  const controller = await controllerWith();
  const boaster = await agentWith({ node: "n1", cores: 0, boastCores: 8, memoryBytes: 1 << 30 });
  const quiet = await agentWith({ node: "n2", cores: 16 });
  const good = await agentWith({ node: "n3", cores: 1 });
  for (const agent of [boaster, quiet, good]) await agent.join(controller.address);
  const client = clientOf(controller);
  const { lease, refusals } = await client
    .requestLease({
      request: { ...oneCore, excludeNodes: ["n2", "n3"], node: "" },
      owner: user,
    })
    .catch((error: SubletError) => {
      assert.equal(error.code, "RESOURCE_EXHAUSTED");
      assert.equal(error.details.reason, "no_cores");
      return { lease: null, refusals: -1 };
    });
  assert.deepEqual([lease, refusals, boaster.seen.grants], [null, -1, 1]);

  const first = await client.requestLease({ request: { ...oneCore, node: "n3" }, owner: user });
  assert.equal(first.lease?.node, "n3");
  await assert.rejects(
    client.requestLease({ request: { ...oneCore, node: "n3" }, owner: user }),
    (e: SubletError) => {
      assert.equal(e.code, "RESOURCE_EXHAUSTED");
      assert.match(e.message, /n3/);
      assert.ok(Number(e.details.retryAfterMs) > 0);
      return true;
    },
  );
  const second = await client.requestLease({ request: { ...oneCore, excludeNodes: ["n3"] }, owner: user });
  assert.equal(second.lease?.node, "n2");
  quiet.leave();
  await until("n2 is silent", async () =>
    (await client.listNodes({})).nodes.every(({ node, offer }) => node !== "n2" || offer === null),
  );
  await assert.rejects(client.requestLease({ request: { ...oneCore, cores: 2 }, owner: user }), {
    code: "RESOURCE_EXHAUSTED",
  });
});

test("no agent at all is UNAVAILABLE: the caller's agent then lends from its own node", async () => {
  const client = clientOf(await controllerWith());
  await assert.rejects(client.requestLease({ request: oneCore, owner: user }), { code: "UNAVAILABLE" });
});

test("best effort takes what the fullest node has; a region goes by memory", async () => {
  const controller = await controllerWith();
  for (const [node, cores] of [
    ["n1", 1],
    ["n2", 3],
  ] as const)
    await (await agentWith({ node, cores })).join(controller.address);
  const client = clientOf(controller);
  const request = { ...oneCore, cores: 8, minCores: 1 };
  const { lease } = await client.requestLease({ request, owner: user });
  assert.deepEqual([lease?.node, lease?.cores.length], ["n2", 3]);
  const region = { kind: "LEASE_KIND_REGION" as const, memoryBytes: 1010 * mib };
  assert.equal((await client.requestLease({ request: region, owner: user })).lease?.node, "n1");
  for (const bad of [
    { ...oneCore, cores: 0 },
    { ...oneCore, minCores: 2 },
    { ...region, cores: 1 },
    { kind: "LEASE_KIND_UNSPECIFIED" as const, cores: 1 },
  ])
    await assert.rejects(client.requestLease({ request: bad, owner: user }), { code: "INVALID_ARGUMENT" });
});

test("two hundred requests at once: what is there is granted once, the rest refused, agents are not flooded", async () => {
  const controller = await controllerWith();
  const agents = await Promise.all(
    Array.from({ length: 5 }, (_, i) => agentWith({ node: `n${i}`, cores: 24, memoryBytes: 2 ** 40 })),
  );
  for (const agent of agents) await agent.join(controller.address);
  const client = clientOf(controller);
  const answers = await Promise.allSettled(
    Array.from({ length: 200 }, () => client.requestLease({ request: oneCore, owner: user })),
  );
  const granted = answers.flatMap((answer) =>
    answer.status === "fulfilled" ? [answer.value.lease?.id] : [],
  );
  const codes = answers.flatMap((answer) => (answer.status === "rejected" ? [answer.reason.code] : []));
  assert.equal(granted.length, 120);
  assert.equal(new Set(granted).size, 120);
  assert.deepEqual([...new Set(codes)], ["RESOURCE_EXHAUSTED"]);
  for (const agent of agents) {
    assert.equal(agent.leases().length, 24);
    assert.ok(agent.seen.concurrent <= 8, `${agent.seen.concurrent} grants at once`);
  }
  await until(
    "all are listed",
    async () => (await client.listLeases({ caller: null })).leases.length === 120,
  );
});

test("a grant whose answer comes too late is given back", async () => {
  const controller = await controllerWith();
  let letGo: () => void = () => undefined;
  const gate = new Promise<void>((resolve) => {
    letGo = resolve;
  });
  const slow = await agentWith({ node: "n1", onGrant: () => gate });
  await slow.join(controller.address);
  const client = clientOf(controller);
  await assert.rejects(client.requestLease({ request: oneCore, owner: user }, { timeoutMs: 400 }), {
    code: "DEADLINE_EXCEEDED",
  });
  letGo();
  await until("the late lease is released", () => slow.seen.releases > 0 && slow.leases().length === 0);
});

test("a restarted controller knows every lease again, asking for what it was not told", async () => {
  const first = await controllerWith();
  const agents = [await agentWith({ node: "n1" }), await agentWith({ node: "n2" })];
  for (const agent of agents) await agent.join(first.address);
  const client = clientOf(first);
  for (let i = 0; i < 4; i++) await client.requestLease({ request: oneCore, owner: user });
  const before = (await client.listLeases({ caller: null })).leases.map(({ id }) => id);
  assert.equal(before.length, 4);
  for (const agent of agents) agent.leave();
  await first.close();

  const second = await controllerWith(noSlurm, first.address);
  await agents[0]?.join(second.address);
  await agents[1]?.joinWithoutFull(second.address);
  assert.equal(agents[1]?.seen.resends, 1);
  const again = clientOf(second);
  const { leases } = await again.listLeases({ caller: null });
  assert.deepEqual(leases.map(({ id }) => id).sort(), before.sort());
  const released = await again.releaseLease({ leaseId: before[0] ?? "", node: "", caller: user });
  assert.equal(released.lease?.state, "LEASE_STATE_RELEASED");
});

test("without Slurm it goes on and says that it knows nothing of it", async () => {
  const controller = await controllerWith();
  await (await agentWith({ node: "n1" })).join(controller.address);
  const client = clientOf(controller);
  assert.ok((await client.requestLease({ request: oneCore, owner: user })).lease);
  const { snapshotValid, nodes } = await client.listNodes({});
  assert.equal(snapshotValid, false);
  assert.equal(nodes[0]?.slurmState, "");
  const page = await (await fetch(`http://${controller.metricsAddress}/metrics`)).text();
  assert.match(page, /sublet_snapshot_age_seconds NaN/i);
  assert.match(page, /sublet_slurm_calls_total\{command="scontrol",outcome="failed"\} 1/);
  assert.equal((await fetch(`http://${controller.metricsAddress}/healthz`)).status, 200);
});

test("the fixtures of the testbed are what the poller reads", async () => {
  const folder = new URL("../slurm/fixtures/testbed/", import.meta.url);
  const runner: CommandRunner = async ({ question }) => ({
    stdout: readFileSync(new URL(`busy-${question}.txt`, folder), "utf8"),
    stderr: "",
  });
  const client = clientOf(await controllerWith(runner));
  await until("a snapshot", async () => (await client.listNodes({})).snapshotValid);
  const { nodes } = await client.listNodes({});
  assert.deepEqual(
    nodes.map((n) => [n.node, n.slurmState, n.slurmCores, n.slurmAllocCores]),
    [
      ["n1", "mixed", 2, 1],
      ["n2", "allocated", 1, 1],
      ["n3", "allocated", 1, 1],
    ],
  );
});

test("what the spells of all nodes have taught comes back to their agents, once for each model", async () => {
  let laterMs = 0;
  const clock = { ...systemClock, nowMs: () => performance.now() + laterMs };
  const controller = await controllerWith(noSlurm, "127.0.0.1:0", clock);
  const stream = await clientOf(controller).report();
  closers.push(() => stream.close());
  const answers = stream.responses[Symbol.asyncIterator]();
  const report = async (arrivals: number) => {
    const spell = { class: "CAPACITY_CLASS_IDLE" as const, ageMs: 5000, begunSeen: true, arrivals };
    stream.send(reportMessage("n1", { spell, horizonMs: arrivals > 60 ? 1000 : 0 }));
    return (await answers.next()).value?.horizon;
  };
  for (let arrivals = 0; arrivals < 60; arrivals++) {
    assert.equal(await report(arrivals), null, "nothing is known yet");
    laterMs += 60_000;
  }
  await until("the model is built at the next tick", async () => (await report(60)) !== null);
  assert.equal(await report(60), null, "told once");
  const page = async (): Promise<string> =>
    await (await fetch(`http://${controller.metricsAddress}/metrics`)).text();
  await report(61); // from here on it states a horizon of a second
  laterMs += 60_000;
  await report(62);
  assert.match(await page(), /sublet_horizon_predictions_total\{outcome="kept"\} 1/);
  assert.match(await page(), /sublet_horizon_confidence 0.8/);
});

test("an agent is asked for the term that its capacity is likely to last; its own default is its own", async () => {
  const controller = await controllerWith();
  const agent = await agentWith({ node: "n1", cores: 4, horizonMs: 40_000 });
  const unknown = await agentWith({ node: "n2", cores: 4 });
  for (const each of [agent, unknown]) await each.join(controller.address);
  const client = clientOf(controller);
  const termOf = async (node: string, termMs: number): Promise<number> => {
    const { lease } = await client.requestLease({ request: { ...oneCore, node, termMs }, owner: user });
    return lease?.termMs ?? 0;
  };
  const short = await termOf("n1", 50_000);
  assert.ok(short > 30_000 && short <= 40_000, `${short}`);
  assert.equal(await termOf("n1", 20_000), 20_000);
  assert.ok((await termOf("n1", 0)) <= 40_000, "the usual term is longer");
  assert.equal(await termOf("n2", 50_000), 50_000);
  assert.equal(await termOf("n2", 0), 60_000, "the agent's own default");
});

test("a thousand requests, granted and refused, leave no line at info or above", async () => {
  const lines: { level: number; msg: string }[] = [];
  const log = pino({ level: "debug" }, { write: (line) => void lines.push(JSON.parse(line)) });
  const controller = await controllerWith(
    slurm({ n1: "IDLE" }),
    "127.0.0.1:0",
    systemClock,
    { enabled: false },
    log,
  );
  const agent = await agentWith({ node: "n1", cores: 4 });
  await agent.join(controller.address);
  const client = clientOf(controller);
  await until("a snapshot", async () => (await client.listNodes({})).snapshotValid);
  await until("the agent", async () => (await client.listNodes({})).nodes.length > 0);
  lines.splice(0);
  for (let round = 0; round < 500; round++) {
    const { lease } = await client.requestLease({ request: oneCore, owner: user });
    assert.ok(lease);
    await client.releaseLease({ leaseId: lease.id, node: "n1", caller: user });
    await assert.rejects(client.requestLease({ request: { ...oneCore, cores: 64 }, owner: user }));
  }
  assert.deepEqual(
    lines.filter(({ level }) => level >= 30).map(({ msg }) => msg),
    [],
  );
  assert.ok(lines.length >= 1000, `${lines.length} lines at debug`);
});

test("a drain of all nodes holds for agents that were away, and outlives the controller, until all are resumed", async () => {
  const stateDir = mkdtempSync(join(folder, "drain-"));
  const quiet = pino({ level: "silent" });
  const start = () => controllerWith(noSlurm, "127.0.0.1:0", systemClock, {}, quiet, stateDir);
  const first = await start();
  const [n1, n2, n3] = [
    await agentWith({ node: "n1" }),
    await agentWith({ node: "n2" }),
    await agentWith({ node: "n3" }),
  ];
  await n1.join(first.address);
  const { outcomes } = await clientOf(first).drain({ selection: { all: true }, reason: "heat" });
  assert.deepEqual(
    outcomes.map(({ node, code }) => [node, code]),
    [["n1", 0]],
  );
  await n2.join(first.address);
  await until("n2 is told", () => n2.admin.length > 0);
  assert.deepEqual(n2.admin, ["drain by 0: heat"]);
  await first.close();

  const second = await start();
  await n3.join(second.address);
  await until("n3 is told", () => n3.admin.length > 0);
  const client = clientOf(second);
  await client.resume({ selection: { nodes: ["n3"] } });
  n3.leave();
  await n3.join(second.address);
  await client.resume({ selection: { all: true } });
  await second.close();
  assert.ok(!existsSync(join(stateDir, "drain.json")));

  const third = await start();
  const n4 = await agentWith({ node: "n4" });
  await n4.join(third.address);
  await new Promise((resolve) => setTimeout(resolve, 1_500)); // more than a tick
  assert.deepEqual(n4.admin, []);
  assert.deepEqual(
    n3.admin.filter((each) => each.startsWith("drain")),
    ["drain by 0: heat"],
  );
});

test("a drain of all nodes is told again to an agent that reports and did not answer", async () => {
  const controller = await controllerWith();
  let tries = 0;
  const n1 = await agentWith({
    node: "n1",
    onAdmin: async () => {
      if (tries++ === 0) throw new SubletError("UNAVAILABLE", "busy");
    },
  });
  await n1.join(controller.address);
  const { outcomes } = await clientOf(controller).drain({ selection: { all: true }, reason: "heat" });
  assert.deepEqual(
    outcomes.map(({ code }) => code),
    [14],
  );
  await until("n1 is told again", () => tries > 1);
  assert.deepEqual(n1.admin, ["drain by 0: heat", "drain by 0: heat"]);
});

test("a drain of all nodes that cannot be read is one, and one that cannot be written down is told", async () => {
  const stateDir = mkdtempSync(join(folder, "drain-"));
  writeFileSync(join(stateDir, "drain.json"), "{");
  const controller = await controllerWith(
    noSlurm,
    "127.0.0.1:0",
    systemClock,
    {},
    pino({ level: "silent" }),
    stateDir,
  );
  const n1 = await agentWith({ node: "n1" });
  await n1.join(controller.address);
  await until("n1 is told", () => n1.admin.length > 0);
  assert.match(n1.admin[0] ?? "", /cannot be read/);
  mkdirSync(join(stateDir, "drain.json.new"));
  const { outcomes } = await clientOf(controller).drain({ selection: { all: true } });
  assert.deepEqual(
    outcomes.map(({ node, code }) => [node, code]),
    [
      ["n1", 0],
      ["", 13],
    ],
  );
});
