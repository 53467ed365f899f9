/** `sublet doctor --cluster` on a real cluster: all is well, an agent is killed, a node is drained. */
import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { type Cluster, startCluster } from "../../deploy/testbed/cluster.ts";
import { until } from "../../deploy/testbed/shell.ts";
import { alice, controller, root, type Said, sublet } from "./users.ts";

let cluster: Cluster;
before(async () => {
  cluster = await startCluster({ waitForLockMs: 60_000 });
});
afterEach(() => cluster?.mend());
after(async () => {
  await cluster?.stop();
});

const doctor = (...more: string[]): Promise<Said> =>
  sublet(cluster, "n1", alice, ["--controller", controller, ...more, "doctor", "--cluster"]);
/** The first answer with that status: agents and controller find each other by and by. */
const once = (status: number, says: RegExp): Promise<Said> =>
  until(`doctor ends with ${status} and says ${says}`, 30_000, async () => {
    const said = await doctor();
    return said.status === status && says.test(said.out) ? said : undefined;
  });

test("an ordinary user sees that all agents are well", async () => {
  const { out } = await once(0, /3 nodes ok: n\[1-3\]/);
  assert.equal(out.trimEnd(), "3 nodes ok: n[1-3]");
  const { healthy, groups } = (await doctor("--json")).json();
  assert.equal(healthy, true);
  assert.deepEqual(groups, [{ result: "ok", says: [], nodes: ["n1", "n2", "n3"], hosts: "n[1-3]" }]);
});

test("a drained node is told with its reason, and forgotten with resume", async () => {
  const admin = (...words: string[]) => sublet(cluster, "n1", root, ["--controller", controller, ...words]);
  assert.equal((await admin("drain", "n2", "--reason", "disk")).status, 0);
  const said = await doctor();
  assert.equal(said.status, 4);
  assert.equal(said.out.trimEnd(), "2 nodes ok: n[1,3]\nn2: drained: disk");
  assert.equal((await admin("resume", "n2")).status, 0);
  assert.equal((await doctor()).status, 0);
});

test("an agent that was killed is named, and well when it is back", async () => {
  await cluster.killDaemon("agent-n3");
  const said = await doctor();
  assert.equal(said.status, 4);
  assert.match(said.out, /^2 nodes ok: n\[1-2\]\nn3: (the agent does not answer|no agent)\s*$/);
  await cluster.startDaemon("agent-n3");
  await once(0, /3 nodes ok/);
});
