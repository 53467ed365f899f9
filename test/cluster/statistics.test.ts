/** What executors count reaches Prometheus: the calls of a real job, on the nodes that answered them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { finished, metric, nothingLeft, startWitness, useCluster, working } from "../faults/harness.ts";

useCluster();

test("the agents have counted every call of a job, by outcome, and the time it took", async () => {
  const job = await startWitness("n3");
  await working(job, 2);
  const nodes = ["agent-n1", "agent-n2"];
  const sum = async (name: string, labels?: string): Promise<number> =>
    (await Promise.all(nodes.map((node) => metric(node, name, labels)))).reduce((all, one) => all + one, 0);
  const early = await sum("sublet_invocations_total", 'outcome="ok"');
  assert.ok(early > 0, "counted while the leases live");
  const run = await finished(job);
  const remote = run.rounds.reduce((all, round) => all + round.remote, 0);
  await nothingLeft();
  // The leases have ended: what they counted stays.
  assert.equal(await sum("sublet_invocations_total", 'outcome="ok"'), remote);
  assert.equal(await sum("sublet_invocations_total"), remote);
  assert.ok((await sum("sublet_invocation_bytes_total", 'direction="in"')) > remote);
  const busy = await sum("sublet_worker_busy_seconds_total");
  assert.ok(busy > 0, "functions took time");
  const timed = await sum("sublet_invocation_seconds_count");
  assert.ok(Math.abs(timed - remote) <= 128 * 4 * nodes.length, `${timed} of ${remote} calls have a time`);
  assert.equal(await metric("agent-n3", "sublet_invocations_total"), 0, "n3 lent nothing");
});
