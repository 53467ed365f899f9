/** What guests do wrong, and what is done to them in the middle of a call: no job is harmed, every caller has an answer. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { call, computing, crashed, ok, stepOf, timedOut } from "./callers.ts";
import { guestPids, nothingLeft, sameAnswer, startWitness, theBed, useCluster, visit } from "./harness.ts";

useCluster();

/** Some seconds of work. */
const slowTurns = 1_500_000_000;
const revoked = 3;

for (const [where, from, to] of [
  ["on the same node", "n1", "n1"],
  ["across nodes", "n3", "n2"],
] as const)
  test(`prolog while an executor is in the middle of a call ${where}: the same answer, the job starts`, async (t) => {
    const expected = stepOf(await call(from, [`call:libslow.so:slow:${slowTurns}:0`]), "call");
    assert.equal(expected.node, "");
    const calling = call(from, [`lease:${to}:1:64:10000`, `call:libslow.so:slow:${slowTurns}:0`, "info"]);
    await computing(to);
    const prolog = await visit(to);
    const steps = await calling;
    t.diagnostic(`prolog ${prolog.tookMs.toFixed(0)} ms; ${JSON.stringify(steps)}`);
    assert.equal(stepOf(steps, "lease").node, to);
    const answer = stepOf(steps, "call");
    assert.deepEqual([answer.code, answer.result], [ok, expected.result]);
    const lease = stepOf(steps, "info");
    assert.equal(lease.state, revoked);
    assert.match(lease.reason ?? "", from === to ? /job/ : /job|executor/);
    await nothingLeft();
  });

test("a guest out of memory dies alone: its caller is told, the lease stays usable, the job beside it goes on", async (t) => {
  const job = await startWitness("n1", { leases: 0 });
  await theBed().cluster.waitState(job, ["RUNNING"]);
  const steps = await call("n1", [
    "lease:n1:1:64:10000",
    "pin:libfaults.so:eat_memory:0:20000",
    "call:libecho.so:echo:7:5000",
    "info",
  ]);
  t.diagnostic(JSON.stringify(steps));
  assert.equal(stepOf(steps, "pin").code, crashed);
  const after = stepOf(steps, "call");
  assert.deepEqual([after.code, after.node, after.result], [ok, "n1", "0000000000000007"]);
  assert.equal(stepOf(steps, "info").state, 0);
  await sameAnswer(job);
  await nothingLeft();
});

test("a guest that forks without end stops at its limit, and its node serves jobs and callers as before", async (t) => {
  const job = await startWitness("n1", { leases: 0 });
  await theBed().cluster.waitState(job, ["RUNNING"]);
  const forking = call("n1", [
    "lease:n1:1:64:10000",
    "pin:libfaults.so:fork_bomb:4294967295:5000",
    "call:libecho.so:echo:7:5000",
    "info",
  ]);
  let most = 0;
  const watch = setInterval(() => {
    most = Math.max(most, guestPids("n1").length);
  }, 5);
  const steps = await forking.finally(() => clearInterval(watch));
  t.diagnostic(`at most ${most} processes; ${JSON.stringify(steps)}`);
  assert.equal(stepOf(steps, "lease").code, ok);
  assert.ok([ok, crashed, timedOut].includes(stepOf(steps, "pin").code));
  const after = stepOf(steps, "call");
  assert.deepEqual([after.code, after.result], [ok, "0000000000000007"]);
  assert.ok(most < 1000);
  await sameAnswer(job);
  await nothingLeft();
  await visit("n1");
});
