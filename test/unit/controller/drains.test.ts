/** Drain, resume and reclaim through a whole controller, and its one order that lasts: the drain of all nodes. */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { SubletError } from "../../../src/common/errors.ts";
import { agentWith, clientOf, controllerWith, oneCore, slurm, stateFolder, until, user } from "./whole.ts";

test("administrators: carried to what is selected, each node answers, one that cannot is listed, others may not", async () => {
  const controller = await controllerWith({
    runner: slurm({ n1: "IDLE", n2: "IDLE", n3: "IDLE", n4: "IDLE" }),
  });
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
  await until("Slurm's answer", async () => (await client.listNodes({})).snapshotValid);
  const drained = await client.drain({
    selection: { nodes: ["n[1-2]", "n1,n4,n9"], all: false },
    reason: "disk",
    caller: { uid: 0 },
  });
  // One that is away, and one that is mistyped.
  assert.equal(codes(drained.outcomes), "n1 0,n2 0,n4 14,n9 5");
  assert.deepEqual([n1.admin, n2.admin, n3.admin], [["drain by 0: disk"], ["drain by 0: disk"], []]);
  assert.equal(
    codes((await client.resume({ selection: { partitions: ["p"], nodes: ["n1"] } })).outcomes),
    "n1 0,n2 0,n3 14,n4 14",
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

test("a drain of all nodes holds for agents that were away, and outlives the controller, until all are resumed", async () => {
  const stateDir = stateFolder();
  const start = () => controllerWith({ stateDir });
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
  const stateDir = stateFolder();
  writeFileSync(join(stateDir, "drain.json"), "{");
  const controller = await controllerWith({ stateDir });
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
