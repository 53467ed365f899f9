/** A whole controller over its life: a restart, no Slurm, what it reads of Slurm, what it learns, what it logs. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { pino } from "pino";
import type { CommandRunner } from "../../../src/slurm/poller.ts";
import { systemClock } from "../../../src/slurm/runner.ts";
import { reportMessage } from "./samples.ts";
import { agentWith, atEnd, clientOf, controllerWith, oneCore, slurm, until, user } from "./whole.ts";

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

  const second = await controllerWith({ listen: first.address });
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
  const client = clientOf(await controllerWith({ runner }));
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
  const controller = await controllerWith({ clock });
  const stream = await clientOf(controller).report();
  atEnd(() => stream.close());
  const answers = stream.responses[Symbol.asyncIterator]();
  const report = async (arrivals: number) => {
    const spell = { class: "CAPACITY_CLASS_IDLE" as const, ageMs: 5000, begunSeen: true, arrivals };
    stream.send(reportMessage("n1", { spell, horizonMs: arrivals > 60 ? 1000 : 0 }));
    return (await answers.next()).value?.horizon;
  };
  assert.equal(await report(0), null, "nothing is known yet");
  for (let arrivals = 1; arrivals < 60; arrivals++) {
    laterMs += 60_000;
    await report(arrivals);
  }
  laterMs += 600_000; // a slow machine may have had a tick in between
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

test("a thousand requests, granted and refused, leave no line at info or above", async () => {
  const lines: { level: number; msg: string }[] = [];
  const log = pino({ level: "debug" }, { write: (line) => void lines.push(JSON.parse(line)) });
  const controller = await controllerWith({
    runner: slurm({ n1: "IDLE" }),
    log,
    toml: "[accounting]\nenabled = false\n",
  });
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
