/** Leases on other nodes that are granted ahead: when they are asked for, who holds them, and every way in which they end unused. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import type { KeptAnswer, Starter } from "../../../agent/executor/starter.ts";
import type { Demand } from "../../../agent/executor/vouchers.ts";
import { Ahead } from "../../../agent/socket/ahead.ts";
import { SubletError } from "../../../src/common/errors.ts";
import type {
  EndpointMessage,
  LeaseMessage,
  LeaseRequestMessage,
  RequestLeaseResponse,
} from "../../../src/rpc/messages.ts";

const message = { kind: "LEASE_KIND_FUNCTION" } as LeaseRequestMessage;
const owner = { uid: 1000, gid: 100, jobId: 7, node: "n1" };
const demand: Demand = { request: Buffer.from("0801", "hex"), message, owner };

/** One agent with a clock that a test moves. */
function world(t: TestContext) {
  t.mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
  const here = {
    nowMs: 1000,
    connected: true,
    ahead: true,
    asked: [] as { message: LeaseRequestMessage; jobId: number }[],
    kept: new Map<string, KeptAnswer>(),
    released: [] as string[],
    open: false,
    problems: [] as string[],
    node: "n2",
    refuse: undefined as SubletError | undefined,
    keepFails: undefined as SubletError | undefined,
  };
  const fake: Partial<Starter> = {
    async keep(kept) {
      if (here.keepFails !== undefined) throw here.keepFails;
      here.kept.set(kept.leaseId, kept);
    },
    forget: async (leaseId) => here.kept.delete(leaseId),
  };
  let starter: Starter | undefined = fake as Starter;
  const ahead = new Ahead({
    starter: () => starter,
    async request(asked, { jobId }): Promise<RequestLeaseResponse> {
      here.asked.push({ message: asked, jobId });
      if (here.refuse !== undefined) throw here.refuse;
      const id = `f${here.asked.length}`;
      const lease = { id, node: here.node } as LeaseMessage;
      return { lease, endpoint: { node: here.node } as EndpointMessage, refusals: 0, ahead: here.ahead };
    },
    release: (leaseId, node) => void here.released.push(`${leaseId}@${node}`),
    mayAsk: () => here.connected,
    answer: ({ lease }) => Buffer.from(lease?.id ?? ""),
    open: (open) => {
      here.open = open;
    },
    nowMs: () => here.nowMs,
    onProblem: (text) => void here.problems.push(text),
  });
  t.after(() => ahead.close());
  const settle = async (): Promise<void> => {
    for (let i = 0; i < 20; i++) await Promise.resolve();
  };
  async function pass(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 500) {
      const step = Math.min(left, 500);
      here.nowMs += step;
      t.mock.timers.tick(step);
      await settle();
    }
  }
  /** Two leases of the same: one is kept. */
  async function keep(): Promise<string> {
    ahead.granted(demand);
    ahead.granted(demand);
    await pass(50);
    const [id = ""] = [...here.kept.keys()];
    assert.notEqual(id, "");
    return id;
  }
  const starterIs = (next: Partial<Starter> | undefined): void => {
    starter = next as Starter | undefined;
    ahead.starterChanged();
  };
  return Object.assign(here, { lender: ahead, fake, pass, keep, starterIs });
}

test("who got the same twice on another node finds the next one kept, for himself and that job", async (t) => {
  const { lender, pass, keep, ...here } = world(t);
  lender.granted(demand);
  await pass(1000);
  assert.equal(here.asked.length, 0, "once is no habit");
  const id = await keep();
  assert.deepEqual(here.asked, [{ message, jobId: 7 }]);
  assert.deepEqual(here.kept.get(id), {
    leaseId: id,
    ownerUid: 1000,
    ownerGid: 100,
    jobId: 7,
    request: demand.request,
    answer: Buffer.from(id),
  });
  lender.granted(demand);
  await pass(1000);
  assert.equal(here.asked.length, 1, "one at a time");
});

test("it is handed out: the connection holds it, and another one is asked for", async (t) => {
  const here = world(t);
  const id = await here.keep();
  here.kept.delete(id);
  assert.deepEqual(here.lender.claimed(id), { node: "n2" });
  assert.equal(here.lender.claimed(id), undefined);
  assert.equal(here.lender.claimed("v1"), undefined, "it is one of this node's own");
  await here.pass(50);
  assert.equal(here.asked.length, 2);
  assert.equal(here.kept.size, 1);
  assert.deepEqual(here.released, []);
});

test("nobody asks for it: it is given back well before its node forgets it", async (t) => {
  const here = world(t);
  const id = await here.keep();
  await here.pass(40_000);
  assert.equal(here.kept.size, 1);
  await here.pass(8_000);
  assert.deepEqual([here.kept.size, here.released, here.lender.size], [0, [`${id}@n2`], 0]);
  await here.pass(60_000);
  assert.equal(here.asked.length, 1);
});

test("it was handed out as it was to be forgotten: whoever claims it has it", async (t) => {
  const here = world(t);
  const id = await here.keep();
  here.kept.delete(id); // by the door
  here.lender.ended([{ id, node: "n2" }]);
  await here.pass(500);
  assert.deepEqual(here.lender.claimed(id), { node: "n2" });
  await here.pass(10_000);
  assert.deepEqual(here.released, []);
});

test("it was handed out, and its client never came: it is given back", async (t) => {
  const here = world(t);
  const id = await here.keep();
  here.kept.delete(id);
  here.lender.ended([{ id, node: "n2" }]);
  await here.pass(6_000);
  assert.deepEqual(here.released, [`${id}@n2`]);
});

test("its node has taken it back, or another one says so", async (t) => {
  const here = world(t);
  const id = await here.keep();
  here.lender.ended([{ id, node: "n3" }]);
  await here.pass(500);
  assert.equal(here.kept.size, 1);
  here.lender.ended([{ id, node: "n2" }]);
  await here.pass(500);
  assert.equal(here.kept.size, 0);
});

test("no controller is there any more: it could not be given back by its client either", async (t) => {
  const here = world(t);
  await here.keep();
  here.connected = false;
  await here.pass(2_000);
  assert.equal(here.kept.size, 0);
  here.lender.granted(demand);
  await here.pass(1_000);
  assert.equal(here.asked.length, 1);
});

test("the starter is lost: what it kept may have been handed out", async (t) => {
  const here = world(t);
  const id = await here.keep();
  here.starterIs(undefined);
  assert.equal(here.open, false);
  await here.pass(1_000);
  assert.deepEqual(here.lender.claimed(id), { node: "n2" });
  here.starterIs(here.fake);
  await here.pass(100);
  assert.equal(here.kept.size, 2, "what the old one kept is gone with it, and the new one has the next");
});

test("another demand takes its place, as another job's does", async (t) => {
  for (const next of [
    { ...demand, request: Buffer.from("0802", "hex") },
    { ...demand, owner: { ...owner, jobId: 8 } },
    { ...demand, owner: { ...owner, uid: 1001 } },
  ]) {
    await t.test(`${next.owner.uid} ${next.owner.jobId} ${next.request.toString("hex")}`, async (each) => {
      const here = world(each);
      const id = await here.keep();
      here.lender.granted(next);
      await here.pass(100);
      assert.equal(here.kept.size, 1, "once is no habit");
      here.lender.granted(next);
      await here.pass(100);
      assert.deepEqual(here.released, [`${id}@n2`]);
      assert.deepEqual([...here.kept.values()][0]?.request, next.request);
    });
  }
});

test("an older controller grants a lease in its place: it goes back at once, and is not asked again soon", async (t) => {
  const here = world(t);
  here.ahead = false;
  here.lender.granted(demand);
  here.lender.granted(demand);
  await here.pass(50);
  assert.deepEqual([here.kept.size, here.released], [0, ["f1@n2"]]);
  here.lender.granted(demand);
  await here.pass(60_000);
  assert.equal(here.asked.length, 1);
});

test("an older starter keeps nothing: given back, and not tried again soon", async (t) => {
  const here = world(t);
  here.keepFails = new SubletError("INTERNAL", "starter: unknown verb; there are START");
  here.lender.granted(demand);
  here.lender.granted(demand);
  await here.pass(6_000);
  assert.deepEqual(here.released, ["f1@n2"]);
  here.lender.granted(demand);
  await here.pass(60_000);
  assert.deepEqual([here.asked.length, here.problems], [1, []]);
});

test("nothing is spare elsewhere: no word about it, and the next lease asks again", async (t) => {
  const here = world(t);
  here.refuse = new SubletError("RESOURCE_EXHAUSTED", "no node has 1 core");
  here.lender.granted(demand);
  here.lender.granted(demand);
  await here.pass(1_000);
  here.lender.granted(demand);
  await here.pass(1_000);
  assert.deepEqual([here.asked.length, here.problems], [2, []]);
  here.refuse = new SubletError("INTERNAL", "broken");
  for (let i = 0; i < 5; i++) {
    here.lender.granted(demand);
    await here.pass(1_000);
  }
  assert.equal(here.problems.length, 1, "one line in ten seconds");
});

test("the controller places it on the client's own node: that has its own way", async (t) => {
  const here = world(t);
  here.node = "n1";
  here.lender.granted(demand);
  here.lender.granted(demand);
  await here.pass(1_000);
  assert.deepEqual([here.kept.size, here.released], [0, ["f1@n1"]]);
});

test("a request that the door does not look at is not asked for ahead", async (t) => {
  const here = world(t);
  const long = { ...demand, request: Buffer.alloc(1025, 1) };
  here.lender.granted(long);
  here.lender.granted(long);
  await here.pass(1_000);
  assert.equal(here.asked.length, 0);
});

test("the door asks only while there is something", async (t) => {
  const here = world(t);
  assert.equal(here.open, false);
  const id = await here.keep();
  assert.equal(here.open, true);
  here.refuse = new SubletError("RESOURCE_EXHAUSTED", "nothing");
  here.kept.delete(id);
  here.lender.claimed(id);
  await here.pass(100);
  assert.equal(here.open, false);
});
