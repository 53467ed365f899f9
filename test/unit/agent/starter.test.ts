import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { findGuests, guestOf } from "../../../agent/executor/adopt.ts";
import { guestMeta, parseMeta } from "../../../agent/executor/meta.ts";
import { decodeFields, encodeFields } from "../../../agent/executor/protocol.ts";
import { connectStarter, type Starter, type StartOrder } from "../../../agent/executor/starter.ts";
import { eventually, type FakeStarter, fakeStarter } from "./fake-starter.ts";
import { Driver, token } from "./setup.ts";

const order: StartOrder = {
  leaseId: "a",
  uid: 200_000,
  gid: 200_000,
  cgroups: [],
  unixPath: "/run/x/a.sock",
  tcpAddress: "127.0.0.1",
  kind: "function",
  cores: [1, 3],
  ownerUid: 1000,
  memoryBytes: 1,
  pidsMax: 80,
  token,
  spinUs: 50,
  meta: "[1]",
  executor: "/bin/x",
};

const silent = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};

async function pair(
  t: TestContext,
): Promise<{ fake: FakeStarter; starter: Starter; exited: string[]; lost: number[] }> {
  const dir = mkdtempSync(join(tmpdir(), "sublet-starter-"));
  const fake = await fakeStarter(join(dir, "starter.sock"));
  const exited: string[] = [];
  const lost: number[] = [];
  const starter = await connectStarter({
    socketPath: fake.path,
    spawn: undefined,
    timeoutMs: 1000,
    onExited: (lease) => exited.push(lease),
    onLost: () => lost.push(1),
  });
  t.after(async () => {
    starter.close();
    await fake.close();
    rmSync(dir, { recursive: true });
  });
  return { fake, starter, exited, lost };
}

test("fields: repeated keys keep their order, values may hold =, bad ones are refused", () => {
  const fields = [
    ["verb", "START"],
    ["cgroup", "/a=b"],
    ["cgroup", "/c"],
  ] as const;
  assert.deepEqual(decodeFields(encodeFields(fields).subarray(4)), fields);
  assert.throws(() => encodeFields([["meta", "two\nlines"]]), { code: "INVALID_ARGUMENT" });
  assert.throws(() => encodeFields([["meta", "x".repeat(65536)]]), { code: "INVALID_ARGUMENT" });
  assert.throws(() => decodeFields(Buffer.from("verb=A")), { code: "INVALID_ARGUMENT" });
  assert.throws(() => decodeFields(Buffer.from("=A\n")), { code: "INVALID_ARGUMENT" });
});

test("start, list, stop, and the notice of an end", async (t) => {
  const { fake, starter, exited } = await pair(t);
  const started = await starter.start(order, 1000);
  assert.equal(started.port, 40_001);
  const fields = fake.live.get("a")?.fields ?? [];
  assert.ok(fields.some(([key, value]) => key === "cores" && value === "1,3"));
  assert.ok(fields.some(([key, value]) => key === "tcp" && value === "127.0.0.1:0"));
  assert.deepEqual(await starter.list(1000), [{ leaseId: "a", pid: 1, port: 4242, meta: "[1]" }]);
  await assert.rejects(starter.start(order, 1000), { code: "INTERNAL" });
  await starter.stop("a", 1000);
  assert.deepEqual(await starter.list(1000), []);
  await starter.start({ ...order, leaseId: "b" }, 1000);
  await starter.start({ ...order, leaseId: "c" }, 1000);
  await starter.start({ ...order, leaseId: "d" }, 1000);
  assert.deepEqual(
    (await starter.list(1000)).map(({ leaseId }) => leaseId),
    ["b", "c", "d"],
  );
  fake.exit("b");
  await eventually("EXITED", () => exited.includes("b"));
});

test("no answer: an error at the deadline; a lost starter: at once", async (t) => {
  const { fake, starter, lost } = await pair(t);
  fake.mode = "silent";
  await assert.rejects(starter.start(order, 20), { code: "DEADLINE_EXCEEDED" });
  const waiting = assert.rejects(starter.start(order, 10_000), { code: "UNAVAILABLE" });
  await fake.close();
  await waiting;
  assert.equal(lost.length, 1);
  await assert.rejects(starter.list(1000), { code: "UNAVAILABLE" });
});

test("garbage from the starter's socket is a lost starter", async (t) => {
  const { fake, lost } = await pair(t);
  fake.garble(Buffer.alloc(64, 0xff));
  await eventually("lost", () => lost.length === 1);
});

test("nobody listens: an error that names the socket", async () => {
  const options = { spawn: undefined, timeoutMs: 50, onExited: () => undefined, onLost: () => undefined };
  await assert.rejects(connectStarter({ socketPath: "/nonexistent/s", ...options }), {
    code: "UNAVAILABLE",
    message: /\/nonexistent\/s/,
  });
  await assert.rejects(
    connectStarter({
      socketPath: "/nonexistent/s",
      ...options,
      spawn: { program: "/nonexistent/p", args: [] },
    }),
    { code: "UNAVAILABLE", message: /\/nonexistent\/p/ },
  );
});

test("meta: what is written is read again, 256 of them fit into a frame, anything else is refused", () => {
  const driver = Driver.ready();
  driver.run("a", { cores: 4, minCores: 4 });
  const guest = driver.state.guests.get("a");
  assert.ok(guest !== undefined);
  const line = guestMeta(guest);
  const parsed = parseMeta(line, "a", 77);
  assert.deepEqual(parsed?.lease, { ...guest.lease, state: "ACTIVE", expiresAtMs: 0 });
  assert.deepEqual([parsed?.uid, parsed?.token, parsed?.port], [guest.uid, token, 77]);
  const region = guestMeta({ ...guest, lease: { ...guest.lease, durability: "evacuated" } });
  assert.equal(parseMeta(region, "a", 77)?.lease.durability, "evacuated");
  assert.equal(parseMeta(region, "a", 77)?.name, undefined);
  const longName = guestMeta({ ...guest, lease: { ...guest.lease, id: "x".repeat(44) } });
  assert.ok((longName.length + 44 + 50) * 256 < 65_536, `${longName.length} bytes`);
  for (const bad of [
    "",
    "{}",
    "[]",
    "null",
    line.slice(1),
    line.replace("[1,", "[2,"),
    line.replace("200000", "-1"),
  ])
    assert.equal(parseMeta(bad, "a", 1), undefined, bad);
});

test("adoption: a lease that was granted ahead is one since it was handed out, all others since their meta says", async (t) => {
  const { fake, starter } = await pair(t);
  const driver = Driver.ready();
  driver.run("a");
  const guest = driver.state.guests.get("a");
  assert.ok(guest !== undefined);
  await starter.start({ ...order, meta: guestMeta({ ...guest, grantedUnixMs: 1_000 }) }, 1000);
  const granted = async (): Promise<unknown> => (await starter.list(1000)).map(guestOf)[0]?.grantedUnixMs;
  assert.equal(await granted(), 1_000);
  const live = fake.live.get("a");
  assert.ok(live !== undefined);
  live.redeemedUnixMs = 61_000;
  assert.equal(await granted(), 61_000);
});

test("adoption: an executor without meta, or not in its cgroup, is stopped", async (t) => {
  const { fake, starter } = await pair(t);
  await starter.start(order, 1000);
  const tree = { layout: { version: 1 as const, mounts: new Map(), missing: [] }, root: "none" };
  const adopted = await findGuests({ tree, starter, timeoutMs: 1000, log: silent });
  assert.deepEqual(adopted, []);
  assert.deepEqual(fake.seen.at(-1), { verb: "STOP", lease: "a" });
});
