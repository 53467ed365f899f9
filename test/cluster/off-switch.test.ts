/**
 * The off switch on a real cluster: `sublet drain --all` ends every guest, holds when the controller and the agents are killed,
 * reaches an agent that was down meanwhile, and is over with `resume --all`.
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { listGuests } from "../../agent/cgroup/guests.ts";
import { discoverCgroups } from "../../agent/cgroup/layout.ts";
import { type Cluster, startCluster } from "../../deploy/testbed/cluster.ts";
import { until } from "../../deploy/testbed/shell.ts";
import { alice, allLend, controller, type Held, hold, root, type Said, sublet } from "./users.ts";

let cluster: Cluster;
const held: Held[] = [];
before(async () => {
  cluster = await startCluster({ waitForLockMs: 60_000, agentSettings: { pool_max: 0 } }); // cgroups have the leases' names;
});
after(async () => {
  await Promise.all(held.map((each) => each.letGo()));
  await cluster.stop();
});

const admin = (...words: string[]): Promise<Said> =>
  sublet(cluster, "n1", root, ["--controller", controller, ...words]);

/** Of these leases those that still have a cgroup. */
function guestsOf(leases: readonly Held[]): string[] {
  const layout = discoverCgroups();
  return leases
    .filter(({ lease }) => listGuests({ layout, root: `sublet_${lease.node}` }).includes(lease.id))
    .map(({ lease }) => lease.node);
}

async function lending(): Promise<Record<string, string>> {
  const said = await admin("nodes", "--json");
  if (said.status !== 0) return {};
  const nodes: { node: string; offer: { lending: string } | null }[] = said.json().nodes;
  return Object.fromEntries(nodes.map(({ node, offer }) => [node, offer?.lending ?? "none"]));
}

const off = { n1: "LENDING_DRAINED", n2: "LENDING_DRAINED", n3: "LENDING_DRAINED" };

test("drain --all empties the nodes that answer, and says what becomes of the one that does not", async () => {
  await allLend(cluster);
  for (const node of ["n1", "n2", "n3"]) held.push(await hold(cluster, alice, "n1", node));
  for (const each of held) assert.ok(guestsOf([each]).length > 0, `no guest on ${each.lease.node}`);
  // Its guest goes on without it.
  await cluster.killDaemon("agent-n3");

  const said = await admin("drain", "--all", "--mode", "immediate", "--reason", "heat");
  assert.equal(said.status, 4, said.error);
  assert.equal(
    said.out,
    "2 nodes drained: n[1-2]; 2 leases ended\n" +
      "n3 not reached (no agent reports): it will be drained when it returns",
  );
  assert.deepEqual(guestsOf(held.slice(0, 2)), []);
  assert.ok(guestsOf(held.slice(2)).length > 0);
});

test("it holds when the controller and the agents are killed, and reaches the agent that was away", async () => {
  for (const daemon of ["controller", "agent-n1", "agent-n2"]) await cluster.killDaemon(daemon);
  for (const daemon of ["controller", "agent-n1", "agent-n2"]) await cluster.startDaemon(daemon);
  await until("n1 and n2 report that they are off", 30_000, async () => {
    const { n1, n2 } = await lending();
    assert.ok(
      [n1, n2].every((mode) => mode !== "LENDING_ON"),
      `n1 ${n1}, n2 ${n2}: one lends`,
    );
    return n1 === off.n1 && n2 === off.n2 ? true : undefined;
  });
  await cluster.startDaemon("agent-n3");
  await until("n3 is off and empty", 30_000, async () =>
    (await lending()).n3 === off.n3 && guestsOf(held).length === 0 ? true : undefined,
  );
  await assert.rejects(hold(cluster, alice, "n1", "n2"), /got no lease/);
});

test("resume --all ends it everywhere", async () => {
  const said = await admin("resume", "--all");
  assert.equal(said.status, 0, said.out);
  assert.equal(said.out, "3 nodes lending again: n[1-3]");
  await allLend(cluster);
  held.push(await hold(cluster, alice, "n1", "n3"));
  assert.ok(guestsOf(held.slice(-1)).length > 0);
});
