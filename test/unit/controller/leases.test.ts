/** Leases through a whole controller: who may, which node, what an agent that refuses or keeps silent leads to. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { SubletError } from "../../../src/common/errors.ts";
import { mib } from "./samples.ts";
import { agentWith, clientOf, controllerWith, oneCore, slurm, stranger, until, user } from "./whole.ts";

test("lease, list, renew, release: on behalf of the owner that a trusted daemon names", async () => {
  const controller = await controllerWith({ runner: slurm({ n1: "IDLE", n2: "IDLE+DRAIN" }) });
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

test("where only shared memory is spare, a region that is to outlive it is refused before any agent is asked", async () => {
  const controller = await controllerWith();
  const agent = await agentWith({ node: "n1", cores: 4, class: "shared" });
  await agent.join(controller.address);
  const client = clientOf(controller);
  const region = { kind: "LEASE_KIND_REGION", cores: 0, memoryBytes: mib } as const;
  await assert.rejects(
    client.requestLease({ request: { ...region, durability: "DURABILITY_EVACUATED" }, owner: user }),
    (error: SubletError) => {
      assert.equal(error.details.reason, "no_memory");
      assert.match(
        error.message,
        /1 × only memory of class shared, which takes no evacuated or mirrored region/,
      );
      return true;
    },
  );
  assert.equal(agent.seen.grants, 0);
  const { lease } = await client.requestLease({ request: region, owner: user });
  assert.equal(lease?.class, "CAPACITY_CLASS_SHARED");
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

test("one that is granted ahead counts when its node says that it is a lease, and its owner's agent hears when it is taken", async () => {
  const controller = await controllerWith();
  const [home, lender] = [
    await agentWith({ node: "n1", cores: 0 }),
    await agentWith({ node: "n2", cores: 4 }),
  ];
  for (const agent of [home, lender]) await agent.join(controller.address);
  const client = clientOf(controller);
  const { lease, ahead } = await client.requestLease({ request: oneCore, owner: user, ahead: true });
  const id = lease?.id ?? "";
  assert.deepEqual([ahead, lender.seen.grants, lender.owners], [true, 1, [user]]);
  const listed = async () => (await client.listLeases({ caller: user })).leases.map((each) => each.id);
  assert.deepEqual(await listed(), []);
  lender.revoke(id);
  await until("told", () => home.told.length > 0);
  assert.deepEqual(
    home.told.map((each) => [each.id, each.state]),
    [[id, "LEASE_STATE_REVOKED"]],
  );
  await assert.rejects(
    client.requestLease({ request: { ...oneCore, cores: 64 }, owner: user, ahead: true }),
    { code: "RESOURCE_EXHAUSTED" },
  );
  const page = await (await fetch(`http://${controller.metricsAddress}/metrics`)).text();
  assert.match(page, /sublet_lease_requests_total\{outcome="granted"\} 0/);
  assert.match(page, /sublet_lease_requests_total\{outcome="refused"\} 0/);
});

test("nobody is asked a second time for one that is granted ahead; an older agent's lease is said to be one", async () => {
  const controller = await controllerWith();
  let refuse = true;
  const agents = await Promise.all(
    ["n1", "n2"].map((node) =>
      agentWith({
        node,
        older: true,
        async onGrant() {
          if (refuse) throw new SubletError("RESOURCE_EXHAUSTED", "not now");
        },
      }),
    ),
  );
  for (const agent of agents) await agent.join(controller.address);
  const client = clientOf(controller);
  const asked = (): number => agents.reduce((sum, { seen }) => sum + seen.grants, 0);
  await assert.rejects(client.requestLease({ request: oneCore, owner: user, ahead: true }), {
    code: "RESOURCE_EXHAUSTED",
  });
  assert.equal(asked(), 1);
  refuse = false;
  const { lease, ahead } = await client.requestLease({ request: oneCore, owner: user, ahead: true });
  assert.equal(ahead, false);
  assert.deepEqual(
    (await client.listLeases({ caller: user })).leases.map(({ id }) => id),
    [lease?.id],
  );
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

test("a node that does not answer within grant_timeout_ms leads to the next one", async () => {
  const controller = await controllerWith({ toml: "grant_timeout_ms = 100" });
  const gate = Promise.withResolvers<void>();
  const stuck = await agentWith({ node: "n1", cores: 1, onGrant: () => gate.promise });
  const good = await agentWith({ node: "n2", cores: 2 });
  for (const agent of [stuck, good]) await agent.join(controller.address);
  const client = clientOf(controller);
  // By default it would be waited for longer than this.
  const { lease, refusals } = await client.requestLease(
    { request: oneCore, owner: user },
    { timeoutMs: 4_000 },
  );
  gate.resolve();
  assert.deepEqual([lease?.node, refusals, stuck.seen.grants], ["n2", 1, 1]);
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
