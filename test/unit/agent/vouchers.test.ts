/** Leases that are granted ahead: for whom, of which capacity, and every way in which they end before they are used. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { parseMeta } from "../../../agent/executor/meta.ts";
import {
  jobMark,
  type Starter,
  type StartOrder,
  type VoucherOrder,
} from "../../../agent/executor/starter.ts";
import type { LeaseStats } from "../../../agent/executor/stats.ts";
import { type Demand, noPort } from "../../../agent/executor/vouchers.ts";
import { watchMetrics } from "../../../agent/metrics.ts";
import { Shell } from "../../../agent/shell.ts";
import { SubletError } from "../../../src/common/errors.ts";
import type { LeaseRequestMessage } from "../../../src/rpc/messages.ts";
import { eventually } from "./fake-starter.ts";
import { mib, owner, request, setup, token } from "./setup.ts";

/** Of the site's default term. */
const message = {
  kind: "LEASE_KIND_FUNCTION",
  cores: 1,
  minCores: 1,
  memoryBytes: request.memoryBytes,
  termMs: 0,
  durability: "DURABILITY_UNSPECIFIED",
} as LeaseRequestMessage;
const demand: Demand = { request: Buffer.from("0a01", "hex"), message, owner };
const bytes = (text: string): Buffer => Buffer.from(text);

/** A shell on a starter that only notes what it is told, and hands out what a test says. */
async function world(t: TestContext, { cores = 4, max = 4, availableMib = 4096 } = {}) {
  const here = {
    vouched: new Map<string, VoucherOrder>(),
    doors: [] as boolean[],
    problems: [] as string[],
    released: [] as string[],
    stopped: [] as string[],
    awaited: new Map<string, { order: StartOrder; jobId: number }>(),
    unvouched: [] as (string | undefined)[],
    taken: [] as string[],
    mayGrant: true,
    mayStand: true,
    on: true,
    opened: [] as string[],
    laterMs: 0,
  };
  let leases = 0;
  const fake: Starter = {
    async start(order) {
      return { pid: 1, port: 4000 + Number(order.pool !== undefined) };
    },
    prepare: async () => ({ port: 5000 }),
    async vouch(voucher) {
      here.vouched.set(voucher.order.leaseId, voucher);
    },
    async awaitClient(order, jobId) {
      here.awaited.set(order.leaseId, { order, jobId });
      return { port: 6000 };
    },
    async unvouch(_timeoutMs, leaseId) {
      here.unvouched.push(leaseId);
      if (leaseId === undefined) here.vouched.clear();
      else here.vouched.delete(leaseId);
    },
    keep: async () => undefined,
    forget: async () => true,
    async stop(leaseId) {
      here.stopped.push(leaseId);
    },
    list: async () => [],
    code: async () => undefined,
    paths: async () => undefined,
    close: () => undefined,
  };
  const note = (_fields: object, text: string): void => void here.problems.push(text);
  const shell = new Shell({
    setup: { ...setup, cores: Array.from({ length: cores }, (_, core) => core), guestUidCount: 500 },
    tree: { layout: { version: 1, mounts: new Map(), missing: [] }, root: "none", names: new Map() },
    log: { debug: () => undefined, info: () => undefined, warn: note, error: note },
    availableBytes: () => availableMib * mib,
    order: (guest) => ({
      unixPath: `/run/x/${guest.lease.id}`,
      tcpAddress: "127.0.0.1",
      spinUs: 1,
      executor: "/x",
    }),
    startTimeoutMs: 1000,
    stats: {
      open: (leaseId: string) => void here.opened.push(leaseId),
      close: () => undefined,
    } as unknown as LeaseStats,
    nowMs: () => performance.now() + here.laterMs,
    pool: { max, idleMs: 60_000, uidFirst: 900, uidCount: 50 },
  });
  t.after(() => shell.close());
  shell.dispatch({ type: "adopt", guests: [] });
  shell.setStarter(fake);
  shell.sampleMemory();
  shell.executors.vouchers.setDesk({
    on: () => here.on,
    mayGrant: () => here.mayGrant,
    mayStand: () => here.mayStand,
    billing: ({ jobId }) => ({ account: `of-${jobId}`, partition: "" }),
    newLeaseId: () => `v${++leases}`,
    newToken: () => token,
    answer: ({ lease, port }) => bytes(`${lease.id}:${port === 0 ? noPort : port}`),
    open: (open) => void here.doors.push(open),
    taken: (lease) => void here.taken.push(lease.id),
  });
  let grants = 0;
  async function lease(wish = request, holder = 1): Promise<string> {
    const leaseId = `g${++grants}`;
    await shell.ask({ type: "grant", leaseId, request: wish, owner, holder, token });
    return leaseId;
  }
  /** Somebody leases the ordinary way until `count` leases are granted ahead. */
  async function ahead(count: number): Promise<string[]> {
    for (let i = 0; i < 2 * count; i++) {
      const leaseId = await lease();
      shell.executors.vouchers.asked(demand);
      await shell.ask({ type: "release", leaseId, asker: { uid: owner.uid, all: false } });
    }
    await eventually("vouchers", () => here.vouched.size >= count);
    return [...here.vouched.keys()];
  }
  const cleared = (): boolean => shell.state.vouchers.size === 0 && shell.executors.vouchers.size === 0;
  return Object.assign(here, { shell, fake, lease, ahead, cleared });
}

const offered = (shell: Shell): number => shell.state.spare.reduce((sum, part) => sum + part.cores.length, 0);

test("who leased may find the next lease granted; its capacity is offered until it is used", async (t) => {
  const { shell, ahead, vouched, doors } = await world(t);
  const [leaseId = ""] = await ahead(1);
  const voucher = vouched.get(leaseId);
  assert.ok(voucher !== undefined);
  const { order } = voucher;
  assert.deepEqual(
    [order.ownerUid, order.memoryBytes, order.token, order.cores.length, order.pool?.startsWith("pool-")],
    [owner.uid, request.memoryBytes, token, 1, true],
  );
  assert.deepEqual(
    [voucher.ownerGid, voucher.jobId, voucher.request],
    [owner.gid, undefined, demand.request],
  );
  assert.deepEqual(voucher.answer, bytes(`${leaseId}:5000`));
  const found = parseMeta(order.meta.replace(jobMark, "99"), leaseId, 5000);
  assert.deepEqual(
    [found?.lease.owner, found?.name],
    [{ ...owner, jobId: 99 }, order.pool],
    "an agent that comes later adopts it",
  );
  assert.equal(offered(shell), 4);
  assert.equal(shell.state.book.leases.size, 0);
  assert.deepEqual(doors, [true]);
  const metrics = watchMetrics(shell, { controllersConnected: () => 0 });

  shell.executors.vouchers.redeemed({ leaseId, jobId: 99, port: 5000, stats: undefined });
  shell.executors.vouchers.claimed(leaseId, 99, 8);
  const guest = shell.state.guests.get(leaseId);
  assert.deepEqual(
    [guest?.phase, guest?.holder, guest?.port, guest?.lease.owner.jobId, guest?.lease.billing?.account],
    ["running", 8, 5000, 99, "of-99"],
  );
  assert.equal(guest?.lease.state, "ACTIVE");
  assert.ok((guest?.lease.expiresAtMs ?? 0) > shell.nowMs() + request.termMs - 1000);
  assert.equal(offered(shell), 3);
  assert.equal(shell.executors.pool.redeemed, 1);
  assert.match(await metrics.metrics(), /^sublet_lease_grants_total 1$/m, "a lease as any other");
  await eventually("the next one", () => vouched.size >= 2);
});

test("where no executors are kept, the lease alone is granted ahead", async (t) => {
  const { shell, ahead, vouched, cleared } = await world(t, { max: 0 });
  const [leaseId = "", other = ""] = await ahead(2);
  const voucher = vouched.get(leaseId);
  assert.deepEqual([voucher?.order.pool, voucher?.portAt], [undefined, leaseId.length + 1]);
  const uids = [...shell.state.vouchers.values()].map(({ uid }) => uid);
  assert.deepEqual([new Set(uids).size, shell.executors.pool.size], [2, 0]);
  shell.executors.vouchers.claimed(leaseId, 5, 8);
  shell.executors.vouchers.redeemed({ leaseId, jobId: 5, port: 4321, stats: undefined });
  const guest = shell.state.guests.get(leaseId);
  assert.deepEqual([guest?.port, guest?.phase, guest?.holder], [4321, "running", 8]);
  assert.equal(parseMeta(voucher?.order.meta.replace(jobMark, "5") ?? "", leaseId, 1)?.name, undefined);
  await eventually("the next one", () => vouched.size === 3);
  const next = [...vouched.keys()].at(-1) ?? "";
  assert.ok(!uids.includes(shell.state.vouchers.get(next)?.uid ?? 0), "no uid is in use twice");
  shell.executors.vouchers.exited(other); // it could not be started
  await eventually("its capacity is free", () => !shell.state.vouchers.has(other));
  await shell.executors.vouchers.withdraw();
  assert.ok(cleared());
});

test("the client's stream may be heard before the starter", async (t) => {
  const { shell, ahead } = await world(t);
  const [leaseId = ""] = await ahead(1);
  shell.executors.vouchers.claimed(leaseId, 3, 8);
  assert.equal(shell.state.guests.get(leaseId)?.holder, 8);
  shell.executors.vouchers.redeemed({ leaseId, jobId: 3, port: 5000, stats: undefined });
  assert.deepEqual(
    [shell.state.guests.get(leaseId)?.holder, shell.state.book.leases.size, shell.executors.pool.redeemed],
    [8, 1, 1],
  );
  shell.dispatch({ type: "holder_gone", holder: 8 });
  assert.equal(shell.state.guests.get(leaseId)?.phase ?? "ending", "ending");
});

test("a hook is answered when none can be redeemed any more, and what was redeemed before is gone", async (t) => {
  for (const type of ["prolog", "step"] as const) {
    const { shell, ahead, cleared, ...here } = await world(t);
    const [leaseId = "", other = ""] = await ahead(2);
    const order: string[] = [];
    here.fake.unvouch = async () => {
      order.push("unvouch");
      // The starter tells what it handed out before it answers.
      shell.executors.vouchers.redeemed({ leaseId, jobId: 5, port: 5000, stats: undefined });
    };
    const hook = { jobId: 9, stepId: 0, cores: [0, 1, 2, 3], memoryBytes: 0, uid: 1, consent: undefined };
    const answer = await shell.ask({ ...hook, type, partition: "", account: "", qos: "" } as never);
    order.push("answered");
    assert.deepEqual(order, ["unvouch", "answered"], type);
    assert.equal(answer.kind === "hook" && answer.leasesEnded, 1, "what was redeemed");
    assert.ok(!shell.state.guests.has(leaseId) && !shell.state.vouchers.has(other));
    assert.ok(cleared());
    assert.equal(here.doors.at(-1), false);
  }
});

test("somebody else wants the capacity: he gets it", async (t) => {
  const { shell, ahead, lease, cleared } = await world(t, { cores: 2 });
  await ahead(1);
  await lease({ ...request, cores: 1 });
  assert.equal(shell.executors.vouchers.size, 1, "one core is beside it");
  const [taken = ""] = [...shell.state.book.leases.values()].flatMap(({ cores }) => cores.map(String));
  const [kept] = [...shell.state.vouchers.values()];
  assert.ok(!kept?.lease.cores.map(String).includes(taken), "no core is in both");
  await lease({ ...request, cores: 1 });
  assert.ok(cleared());
  assert.equal(shell.state.book.leases.size, 2);
  await assert.rejects(lease(), /not enough spare|lends nothing/);
});

test("what is asked for in part, too, is granted as if nothing were granted ahead", async (t) => {
  for (const cores of [4, 8]) {
    const { shell, ahead, lease, cleared } = await world(t);
    await ahead(1);
    const leaseId = await lease({ ...request, cores, minCores: 2 });
    assert.equal(shell.state.book.leases.get(leaseId)?.cores.length, 4, `${cores} cores, 2 at least`);
    assert.ok(cleared());
  }
  const { shell, ahead, lease } = await world(t);
  await ahead(1);
  await lease({ ...request, cores: 8, minCores: 4 });
  assert.equal(shell.executors.vouchers.size, 0);
});

test("what a function needs at least counts, not the little that it asks for", async (t) => {
  const { shell, lease, vouched } = await world(t);
  await lease({ ...request, memoryBytes: 3422 * mib }); // 128 MiB are offered beside it
  shell.executors.vouchers.asked({ ...demand, message: { ...message, memoryBytes: 52 * mib } });
  await eventually("84 of them are kept", () => vouched.size === 1);
  const leaseId = await lease({ ...request, memoryBytes: 1 });
  assert.ok(shell.state.book.leases.has(leaseId), "it wants 48");
});

test("settings hold from their reload on: what was granted ahead by older ones goes, and is made anew", async (t) => {
  const { shell, ahead, vouched } = await world(t);
  const [leaseId = ""] = await ahead(1);
  assert.equal(shell.state.vouchers.get(leaseId)?.lease.termMs, 60_000);
  shell.dispatch({ type: "settings", setup: { ...shell.state.setup, leaseTermMs: 20_000 } });
  shell.executors.vouchers.reload();
  await eventually("it is gone", () => !shell.state.vouchers.has(leaseId));
  await eventually("another", () => vouched.size > 0 && shell.state.vouchers.size > 0);
  assert.ok([...shell.state.vouchers.values()].every(({ lease }) => lease.termMs === 20_000));
});

test("no room beside the lease: granted ahead as soon as that is given back", async (t) => {
  const here = await world(t, { cores: 1 });
  const { shell, lease, vouched } = here;
  const leaseId = await lease();
  shell.executors.vouchers.asked(demand);
  await eventually("one is prepared", () => shell.executors.pool.size === 1);
  here.mayGrant = false; // as a node without a free core says
  shell.executors.vouchers.asked(demand);
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.equal(vouched.size, 0);
  here.mayGrant = true;
  await shell.ask({ type: "release", leaseId, asker: { uid: owner.uid, all: false } });
  await eventually("a voucher", () => vouched.size === 1);
});

test("what is spare, but not as it is offered, in steps, is not granted ahead and taken back for ever", async (t) => {
  // Spare is 4000 - 512 MiB, offered are 3456.
  const { shell, lease, vouched, stopped } = await world(t, { availableMib: 4000 });
  const memoryBytes = 3440 * mib;
  const leaseId = await lease({ ...request, memoryBytes });
  shell.executors.vouchers.asked({ ...demand, message: { ...message, memoryBytes } });
  await eventually("one is prepared", () => shell.executors.pool.size > 0);
  await shell.ask({ type: "release", leaseId, asker: { uid: owner.uid, all: false } });
  shell.sampleMemory();
  await new Promise((resolve) => setTimeout(resolve, 200));
  shell.sampleMemory();
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.deepEqual([vouched.size, shell.state.vouchers.size], [0, 0]);
  assert.deepEqual(
    stopped.filter((name) => name.startsWith("pool-")),
    [],
  );
});

test("events that come all the time put nothing off", async (t) => {
  const { shell, lease, vouched } = await world(t);
  await lease();
  shell.executors.vouchers.asked(demand);
  const busy = setInterval(() => shell.executors.vouchers.later(), 5);
  t.after(() => clearInterval(busy));
  await eventually("a voucher", () => vouched.size > 0);
});

test("a request that is too long for the door, and a starter that refuses: no line per lease", async (t) => {
  const { shell, lease, vouched, ...here } = await world(t);
  const long: Demand = { ...demand, request: Buffer.alloc(1025, 1) };
  let asked = 0;
  here.fake.vouch = async () => {
    asked += 1;
    throw new SubletError("INTERNAL", "starter: no");
  };
  for (let i = 0; i < 3; i++) {
    const leaseId = await lease();
    shell.executors.vouchers.asked(long);
    await new Promise((resolve) => setTimeout(resolve, 60));
    await shell.ask({ type: "release", leaseId, asker: { uid: owner.uid, all: false } });
  }
  assert.equal(asked, 0);
  for (let i = 0; i < 5; i++) {
    shell.executors.vouchers.asked(demand);
    await new Promise((resolve) => setTimeout(resolve, 60));
  }
  assert.ok(asked >= 2, `${asked}`);
  assert.equal(here.problems.filter((text) => text.includes("granted ahead")).length, 1);
  assert.equal(shell.state.vouchers.size + vouched.size, 0, "no capacity is kept");
});

test("whatever ends lending ends them; one that is redeemed meanwhile goes at once", async (t) => {
  const drain = { uid: 0, why: "test", sinceUnixMs: 1 };
  for (const [event, reason] of [
    [{ type: "lending", mode: "shadow" }, "admin"],
    [{ type: "drain", call: 77, drain, budgetMs: undefined }, "admin"],
    [{ type: "guard", leaseIds: [], closed: true }, "guard"],
    [
      {
        type: "jobs",
        jobs: [{ jobId: 9, cores: [0, 1, 2, 3], memoryLimitBytes: undefined, memoryUsedBytes: 1 }],
      },
      "batch_job",
    ],
    [{ type: "memory", availableBytes: 32 * mib, touchedBytes: new Map() }, "batch_job"],
  ] as const) {
    const { shell, ahead, cleared, ...here } = await world(t);
    const [leaseId = ""] = await ahead(1);
    const ended: string[] = [];
    shell.listen({
      onEffect: (effect) => effect.type === "ended" && ended.push(`${effect.guest.lease.reason}`),
    });
    here.fake.unvouch = async () =>
      shell.executors.vouchers.redeemed({ leaseId, jobId: 5, port: 5000, stats: undefined });
    shell.dispatch(event as never);
    await eventually(`the end by ${event.type}`, cleared);
    await eventually("its guest is gone", () => !shell.state.guests.has(leaseId));
    assert.deepEqual(ended, [reason], event.type);
  }
});

test("a starter that does not answer: capacity is free when the executors are gone", async (t) => {
  const { shell, ahead, lease, cleared, ...here } = await world(t, { cores: 2 });
  await ahead(1);
  const order: string[] = [];
  here.fake.unvouch = async () => {
    throw new SubletError("DEADLINE_EXCEEDED", "starter: no answer");
  };
  here.fake.stop = async (name) => {
    await new Promise((resolve) => setTimeout(resolve, 50));
    order.push(name.startsWith("pool-") ? "ended" : name);
  };
  const granted = lease({ ...request, cores: 2 }).then(() => order.push("granted"));
  await granted;
  assert.deepEqual(order.filter((what) => what === "ended" || what === "granted").slice(0, 2), [
    "ended",
    "granted",
  ]);
  assert.ok(cleared());
  assert.match(here.problems.join(), /end with their executors: starter: no answer/);
});

test("a lease in nobody's stream is given back", async (t) => {
  const { shell, ahead } = await world(t);
  const [leaseId = ""] = await ahead(1);
  shell.executors.vouchers.redeemed({ leaseId, jobId: 5, port: 5000, stats: undefined });
  assert.equal(shell.state.guests.get(leaseId)?.phase, "running");
  await eventually("its end", () => !shell.state.guests.has(leaseId));
});

test("once something else is asked for changes nothing, twice does", async (t) => {
  const { shell, ahead, vouched } = await world(t);
  await ahead(1);
  const other: Demand = { ...demand, request: Buffer.from("0a02", "hex") };
  shell.executors.vouchers.asked(other);
  shell.executors.vouchers.asked(demand);
  shell.executors.vouchers.asked(other);
  await new Promise((resolve) => setTimeout(resolve, 60));
  assert.ok([...vouched.values()].every((each) => each.request.equals(demand.request)));
  shell.executors.vouchers.asked(other);
  await eventually("vouchers for the other", () =>
    [...vouched.values()].some((each) => each.request.equals(other.request)),
  );
  assert.ok([...vouched.values()].every((each) => each.request.equals(other.request)));
});

test("what a controller or a quota has against it is seen within a second or so", async (t) => {
  const here = await world(t);
  await here.ahead(1);
  here.mayGrant = false;
  await eventually("the end", here.cleared);
});

test("an executor that ends, a starter that is lost, one that knows of none", async (t) => {
  const { shell, ahead, cleared, vouched, ...here } = await world(t);
  const [leaseId = ""] = await ahead(1);
  const name = vouched.get(leaseId)?.order.pool ?? "";
  shell.executors.vouchers.exited(name);
  await eventually("one less", () => !shell.state.vouchers.has(leaseId));
  vouched.clear();
  await ahead(1);
  shell.setStarter(undefined);
  await eventually("none", cleared);
  let asked = 0;
  here.fake.vouch = async () => {
    asked += 1;
    throw new SubletError("INTERNAL", "starter: unknown verb; there are START");
  };
  shell.setStarter(here.fake);
  for (let i = 0; i < 3; i++) {
    await here.lease();
    shell.executors.vouchers.asked(demand);
    await new Promise((resolve) => setTimeout(resolve, 60));
  }
  assert.equal(asked, 1);
  assert.ok(cleared());
  assert.equal(
    here.problems.filter((text) => text.includes("granted ahead")).length,
    0,
    "and nobody was bothered",
  );
});

test("the configuration is against it: what is there goes, and no more is made", async (t) => {
  const here = await world(t);
  await here.ahead(1);
  here.on = false;
  await eventually("withdrawn", here.cleared);
  await assert.rejects(here.shell.executors.vouchers.grantAhead(far("f1")), { code: "RESOURCE_EXHAUSTED" });
  here.shell.executors.vouchers.asked(demand);
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.ok(here.cleared());
});

const far = (leaseId: string) => ({ leaseId, wish: request, owner: { ...owner, jobId: 7 } });

test("for a client on another node: who shows the token has it, and his node's agent holds it", async (t) => {
  const { shell, lease, awaited, doors, taken, cleared } = await world(t);
  await assert.rejects(
    shell.executors.vouchers.grantAhead(far("f1")),
    { code: "RESOURCE_EXHAUSTED" },
    "none is prepared",
  );
  await lease();
  await eventually("one is prepared", () => shell.executors.pool.size > 0);
  const granted = await shell.executors.vouchers.grantAhead(far("f1"));
  assert.deepEqual([granted.port, granted.token, granted.lease.owner.jobId], [6000, token, 7]);
  const there = awaited.get("f1");
  assert.deepEqual(
    [there?.jobId, there?.order.token, there?.order.pool?.startsWith("pool-")],
    [7, token, true],
  );
  assert.equal(parseMeta(there?.order.meta ?? "", "f1", 1)?.lease.owner.jobId, 7);
  assert.deepEqual(
    [offered(shell), shell.state.book.leases.size, doors],
    [3, 1, []],
    "it is none of the door's",
  );
  await assert.rejects(shell.executors.vouchers.grantAhead(far("f1")), { code: "INVALID_ARGUMENT" });

  shell.executors.vouchers.redeemed({ leaseId: "f1", jobId: 7, port: 6000, stats: undefined });
  const guest = shell.state.guests.get("f1");
  assert.deepEqual([guest?.phase, guest?.holder, guest?.lease.owner.jobId], ["running", undefined, 7]);
  assert.equal(shell.executors.pool.redeemed, 1);
  await new Promise((resolve) => setTimeout(resolve, 2_500));
  assert.ok(shell.state.guests.has("f1"), "nobody here claims it");
  await shell.ask({ type: "renew", leaseId: "f1", asker: { uid: owner.uid, all: false }, holder: undefined });
  assert.ok(cleared());
  assert.deepEqual(taken, []);
});

test("for a client on another node: whose account it is, the controller has said, who knows his job", async (t) => {
  const { shell } = await world(t, { max: 0 });
  const billing = { account: "his-jobs", partition: "p" };
  await shell.executors.vouchers.grantAhead({ ...far("f1"), wish: { ...request, billing } });
  await shell.executors.vouchers.grantAhead(far("f2"));
  for (const leaseId of ["f1", "f2"])
    shell.executors.vouchers.redeemed({ leaseId, jobId: 7, port: 6000, stats: undefined });
  const accounts = ["f1", "f2"].map((id) => shell.state.guests.get(id)?.lease.billing?.account);
  assert.deepEqual(accounts, ["his-jobs", "of-7"], "or else what is known here");
});

test("for a client on another node: what has come up against it since is seen within a second or so", async (t) => {
  const here = await world(t, { max: 0 });
  await here.shell.executors.vouchers.grantAhead(far("f1"));
  here.mayStand = false; // a job is planned there, or his account has nothing left
  await eventually("it is gone", here.cleared);
  assert.deepEqual(here.taken, ["f1"]);
});

test("for a client on another node, where no executors are kept", async (t) => {
  const { shell, awaited } = await world(t, { max: 0 });
  const granted = await shell.executors.vouchers.grantAhead(far("f1"));
  assert.deepEqual([granted.port, awaited.get("f1")?.order.pool], [6000, undefined]);
  await shell.executors.vouchers.grantAhead(far("f2"));
  await assert.rejects(shell.executors.vouchers.grantAhead(far("f3")), { code: "RESOURCE_EXHAUSTED" });
  shell.executors.vouchers.exited("f1"); // who called it showed no token
  await eventually("its capacity is free", () => !shell.state.vouchers.has("f1"));
  shell.executors.vouchers.redeemed({ leaseId: "f2", jobId: 7, port: 6000, stats: undefined });
  assert.equal(shell.state.guests.get("f2")?.port, 6000);
});

test("what another node's client has made no use of is given back to its owner only, and once", async (t) => {
  const { shell, cleared, ...here } = await world(t, { max: 0 });
  await shell.executors.vouchers.grantAhead(far("f1"));
  await shell.executors.vouchers.grantAhead(far("f2"));
  assert.equal(await shell.executors.vouchers.giveBack("f1", { uid: 4711, all: false }), undefined);
  assert.equal(shell.executors.vouchers.size, 2);
  assert.equal((await shell.executors.vouchers.giveBack("f1", { uid: owner.uid, all: false }))?.id, "f1");
  assert.deepEqual(here.unvouched, ["f1"]);
  assert.equal(await shell.executors.vouchers.giveBack("f1", { uid: owner.uid, all: false }), undefined);
  here.fake.unvouch = async () =>
    shell.executors.vouchers.redeemed({ leaseId: "f2", jobId: 7, port: 6000, stats: undefined }); // told before the answer
  assert.equal(
    await shell.executors.vouchers.giveBack("f2", { uid: 0, all: true }),
    undefined,
    "it is a lease by now",
  );
  assert.ok(shell.state.guests.has("f2"));
  assert.ok(cleared());
});

test("a hook, or who wants the capacity, takes both kinds, and the other node hears of it", async (t) => {
  const { shell, ahead, cleared, taken, ...here } = await world(t, { cores: 4 });
  await ahead(1);
  await eventually(
    "one is prepared beside it",
    () => shell.executors.pool.size > shell.executors.vouchers.size,
  );
  await shell.executors.vouchers.grantAhead(far("f1"));
  assert.equal(shell.state.vouchers.size, 2);
  const hook = { jobId: 9, stepId: 0, cores: [0, 1, 2, 3], memoryBytes: 0, uid: 1, consent: undefined };
  await shell.ask({ ...hook, type: "prolog", partition: "", account: "", qos: "" } as never);
  assert.ok(cleared());
  assert.deepEqual([here.unvouched.at(-1), taken], [undefined, ["f1"]]);
  await assert.rejects(shell.executors.vouchers.grantAhead(far("f2")), { code: "RESOURCE_EXHAUSTED" });
});

test("another node's client has not come for a minute: its agent does not hand it out any more, and it is gone", async (t) => {
  const here = await world(t, { max: 0 });
  await here.shell.executors.vouchers.grantAhead(far("f1"));
  here.laterMs = 50_000;
  await new Promise((resolve) => setTimeout(resolve, 1_200));
  assert.ok(here.shell.state.vouchers.has("f1"));
  here.laterMs = 60_000;
  await eventually("it is gone", here.cleared);
});

test("another demand of this node leaves alone what another node's client was granted", async (t) => {
  const { shell, ahead, ...here } = await world(t);
  await ahead(1);
  await eventually(
    "one is prepared beside it",
    () => shell.executors.pool.size > shell.executors.vouchers.size,
  );
  await shell.executors.vouchers.grantAhead(far("f1"));
  const near = [...here.vouched.keys()];
  shell.executors.vouchers.asked({ ...demand, request: Buffer.from("0b02", "hex") });
  shell.executors.vouchers.asked({ ...demand, request: Buffer.from("0b02", "hex") });
  await eventually("the first demand's are gone", () => near.every((id) => !shell.state.vouchers.has(id)));
  assert.ok(shell.state.vouchers.has("f1"));
  assert.deepEqual([...here.unvouched].sort(), near.sort());
  assert.deepEqual(here.taken, []);
});

test("the starter fails, or does not know of it: the capacity is free again", async (t) => {
  const { shell, cleared, fake } = await world(t, { max: 0 });
  fake.awaitClient = async () => {
    throw new SubletError("INTERNAL", "starter: unknown verb; there are START");
  };
  await assert.rejects(shell.executors.vouchers.grantAhead(far("f1")));
  await eventually("nothing is held", cleared);
});

test("a lease that is given back at once: where its executor counts is heard before that ends", async (t) => {
  const here = await world(t);
  const { shell, ahead, fake, opened } = here;
  const [leaseId = ""] = await ahead(1);
  const order: string[] = [];
  fake.unvouch = async (_timeoutMs, id) => {
    order.push(`unvouch ${id}`);
    shell.executors.vouchers.redeemed({ leaseId, jobId: 3, port: 5000, stats: "/x" });
    order.push(`opened ${opened.join(" ")}`);
  };
  shell.executors.vouchers.claimed(leaseId, 3, 8);
  await shell.ask({ type: "release", leaseId, asker: { uid: owner.uid, all: false } });
  assert.deepEqual(order, [`unvouch ${leaseId}`, `opened ${leaseId}`]);
  assert.ok(!shell.state.book.leases.has(leaseId));
  await shell.ask({ type: "release", leaseId, asker: { uid: owner.uid, all: false } }).catch(() => undefined);
  assert.equal(order.length, 2);
});
