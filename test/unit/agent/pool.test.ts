import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { guestMeta, parseMeta } from "../../../agent/executor/meta.ts";
import { Pool, type Prepared } from "../../../agent/executor/pool.ts";
import { connectStarter } from "../../../agent/executor/starter.ts";
import { Shell } from "../../../agent/shell.ts";
import { eventually, fakeStarter } from "./fake-starter.ts";
import { Driver, mib, owner, request, setup, token } from "./setup.ts";

/** A hierarchy without controllers has no directories. */
const bare = () => ({
  layout: { version: 1 as const, mounts: new Map(), missing: [] },
  root: "none",
  names: new Map<string, string>(),
});

function world(t: TestContext, changes: { max?: number; idleMs?: number } = {}) {
  const here = {
    cores: [0, 1] as readonly number[],
    fail: false,
    prepared: [] as Prepared[],
    stopped: [] as string[],
    problems: [] as string[],
    tree: bare(),
  };
  const pool = new Pool({
    tree: here.tree,
    max: changes.max ?? 2,
    idleMs: changes.idleMs ?? 60_000,
    uidFirst: 900,
    uidCount: 3,
    mems: "0",
    memoryBytes: mib,
    nowMs: () => performance.now(),
    async prepare(prepared) {
      if (here.fail) throw new Error("told to fail");
      here.prepared.push(prepared);
      return { port: 4000 };
    },
    async stop(name) {
      here.stopped.push(name);
    },
    cores: () => here.cores,
    onProblem: (message) => here.problems.push(message),
  });
  t.after(() => pool.close());
  return Object.assign(here, { pool });
}

test("nothing is prepared before somebody leases; then as many as were asked for, up to the most", async (t) => {
  const { pool, prepared, tree } = world(t);
  await new Promise((resolve) => setTimeout(resolve, 40));
  assert.deepEqual([pool.size, prepared.length], [0, 0]);
  assert.equal(pool.take("a"), undefined);
  await eventually("one", () => pool.size === 1);
  const hit = pool.take("b");
  assert.equal(hit?.uid, 900);
  assert.equal(tree.names.get("b"), hit?.name);
  await eventually("two", () => pool.size === 2);
  assert.deepEqual([pool.hits, pool.misses], [1, 1]);
  pool.take("c");
  // Its uids are used by leases now: one is left.
  await eventually("the last uid", () => prepared.length === 3);
  assert.equal(pool.size, 1);
  assert.deepEqual(new Set(prepared.map(({ uid }) => uid)), new Set([900, 901, 902]));
  pool.gone("b");
  assert.equal(tree.names.has("b"), false);
});

test("nobody leases any more: nothing is kept", async (t) => {
  const { pool, stopped } = world(t, { idleMs: 80 });
  pool.take("a");
  await eventually("one", () => pool.size === 1);
  await eventually("none", () => pool.size === 0);
  assert.equal(stopped.length, 1);
});

test("a job, or the end of lending: all end, and none is prepared until that is over", async (t) => {
  const here = world(t);
  here.pool.take("a");
  await eventually("one", () => here.pool.size === 1);
  here.pool.check();
  assert.equal(here.pool.size, 1);
  here.cores = [1];
  here.pool.check();
  assert.equal(here.pool.size, 0);
  here.cores = [];
  assert.equal(here.pool.take("b"), undefined);
  await new Promise((resolve) => setTimeout(resolve, 60));
  assert.deepEqual([here.pool.size, here.stopped.length], [0, 1]);
});

test("one that cannot be prepared, or ends by itself, costs nothing but a word", async (t) => {
  const here = world(t);
  here.fail = true;
  here.pool.take("a");
  await eventually("a word", () => here.problems.length > 0);
  here.fail = false;
  here.pool.take("b");
  await eventually("two", () => here.pool.size === 2);
  here.pool.exited(here.prepared[0]?.name ?? "");
  here.pool.exited("no such one");
  assert.equal(here.pool.size, 1);
});

test("without a pool no demand is counted", (t) => {
  const { pool } = world(t, { max: 0 });
  assert.equal(pool.take("a"), undefined);
  assert.equal(pool.misses, 0);
});

test("meta keeps the name of a cgroup that is not the lease's", () => {
  const driver = Driver.ready();
  driver.run("a");
  const guest = driver.state.guests.get("a");
  assert.ok(guest !== undefined);
  assert.equal(parseMeta(guestMeta(guest, "pool-x"), "a", 1)?.name, "pool-x");
  assert.equal(parseMeta(guestMeta(guest), "a", 1)?.name, undefined);
  assert.equal(parseMeta(guestMeta(guest, "../x"), "a", 1), undefined);
});

test("a lease gets the prepared executor and its uid; one of no use is replaced by a cold start", async (t) => {
  const dir = mkdtempSync(join(tmpdir(), "sublet-pool-"));
  const fake = await fakeStarter(join(dir, "starter.sock"));
  const tree = bare();
  const warnings: string[] = [];
  const ways: object[] = [];
  const shell = new Shell({
    setup,
    tree,
    log: {
      debug: (fields, message) => message === "lease answered" && ways.push(fields),
      info: () => undefined,
      warn: (_, message) => warnings.push(message),
      error: () => undefined,
    },
    availableBytes: () => 64 * 1024 * mib,
    order: ({ lease }) => ({
      unixPath: `/run/x/${lease.id}`,
      tcpAddress: "127.0.0.1",
      spinUs: 1,
      executor: "/x",
    }),
    startTimeoutMs: 1000,
    pool: { max: 1, idleMs: 60_000, uidFirst: 900, uidCount: 2 },
  });
  const starter = await connectStarter({
    socketPath: fake.path,
    spawn: undefined,
    timeoutMs: 1000,
    onExited: (leaseId) => shell.executors.pool.exited(leaseId),
    onLost: () => shell.setStarter(undefined),
  });
  t.after(async () => {
    shell.close();
    starter.close();
    await fake.close();
    rmSync(dir, { recursive: true });
  });
  shell.dispatch({ type: "adopt", guests: [] });
  shell.setStarter(starter);
  shell.sampleMemory();
  const lease = async (leaseId: string): Promise<number | undefined> => {
    await shell.ask({ type: "grant", leaseId, request, owner, holder: undefined, token });
    return shell.state.guests.get(leaseId)?.uid;
  };
  assert.equal(await lease("cold"), setup.guestUidFirst);
  await eventually("prepared", () => shell.executors.pool.size === 1);
  assert.equal(await lease("warm"), 900);
  assert.equal(fake.live.get("warm")?.fields.find(([key]) => key === "uid")?.[1], "900");
  assert.ok(tree.names.get("warm")?.startsWith("pool-"));
  for (const [index, lease] of ["cold", "warm"].entries()) {
    const way = ways[index] as { lease: string; tookMs: object };
    assert.deepEqual(
      [way.lease, Object.keys(way.tookMs)],
      [lease, ["decide", "cgroup", "starter", "answer"]],
    );
  }
  assert.ok(shell.steps.seconds.starter > 0);
  // Ended: neither its name nor its uid is taken any more.
  await shell.ask({ type: "release", leaseId: "warm", asker: { uid: 0, all: true } });
  assert.equal(tree.names.has("warm"), false);
  await eventually("prepared again", () => shell.executors.pool.size === 1);
  fake.forget();
  assert.ok((await lease("again")) !== 900);
  assert.deepEqual(warnings, ["prepared executor is of no use"]);
  // A prolog ends what is prepared; none comes while the job does.
  await eventually("prepared once more", () => shell.executors.pool.size === 1);
  await shell.ask({ type: "prolog", jobId: 5 });
  assert.equal(shell.executors.pool.size, 0);
});

test("how many are kept may be changed while it works: fewer end, more are made, none is none", async (t) => {
  const { pool, stopped } = world(t, { max: 1 });
  for (let n = 0; n < 3; n++) pool.take(`lease-${n}`);
  await eventually("one", () => pool.size === 1);
  pool.setMax(3);
  await eventually("three", () => pool.size === 3);
  pool.setMax(0);
  await eventually("none", () => pool.size === 0);
  await eventually("all ended", () => stopped.length === 3);
  assert.equal(pool.take("another"), undefined);
  assert.equal(pool.misses, 3);
});
