import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createConnection } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { connectStarter } from "../../../agent/executor/starter.ts";
import type { AgentLog } from "../../../agent/log.ts";
import { nodeAdmin } from "../../../agent/node/admin.ts";
import { offerMessage } from "../../../agent/offer/messages.ts";
import { Shell } from "../../../agent/shell.ts";
import type { Controllers } from "../../../agent/socket/controllers.ts";
import { localHandlers } from "../../../agent/socket/local.ts";
import { type LocalHandlers, serveLocal } from "../../../agent/socket/server.ts";
import { Billed } from "../../../agent/usage/billing.ts";
import { errorCodes, SubletError } from "../../../src/common/errors.ts";
import type { Exhausted } from "../../../src/common/quota.ts";
import type { LeaseMessage } from "../../../src/rpc/messages.ts";
import { eventually, type FakeStarter, fakeStarter } from "./fake-starter.ts";
import { type LocalClient, leaseOf, localClient } from "./local-client.ts";
import { mib, setup } from "./setup.ts";

const silent = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};
const wish = { kind: "LEASE_KIND_FUNCTION", cores: 1, memoryBytes: mib } as const;
const root = process.getuid?.() === 0;

interface World {
  readonly shell: Shell;
  readonly fake: FakeStarter;
  readonly path: string;
  /** How connections look to the handlers: the tests have one uid only. */
  peer: { uid: number; gid: number } | undefined;
  client(): Promise<LocalClient>;
  /** A controller tells of leases on other nodes. */
  remoteEnded(leases: readonly LeaseMessage[]): void;
  remoteDraining(leases: readonly LeaseMessage[]): void;
  readonly dir: string;
  restore(): Promise<void>;
}

/** An agent without cgroups: a hierarchy without controllers has no directories. */
async function world(
  t: TestContext,
  options: {
    controllers?: Controllers;
    cores?: number;
    controllerTimeoutMs?: number;
    openMs?: number;
    stateDir?: string;
    exhausted?: readonly Exhausted[];
    log?: AgentLog;
  } = {},
): Promise<World> {
  const dir = mkdtempSync(join(tmpdir(), "sublet-socket-"));
  const fake = await fakeStarter(join(dir, "starter.sock"));
  const log = options.log ?? silent;
  const shell = new Shell({
    setup: {
      ...setup,
      cores: Array.from({ length: options.cores ?? 4 }, (_, core) => core),
      guestUidCount: 500,
    },
    tree: { layout: { version: 1, mounts: new Map(), missing: [] }, root: "none" },
    log,
    availableBytes: () => 64 * 1024 * mib,
    order: (guest) => ({
      unixPath: `/run/x/${guest.lease.id}`,
      tcpAddress: "127.0.0.1",
      spinUs: 1,
      executor: "/x",
    }),
    startTimeoutMs: 1000,
  });
  const starter = await connectStarter({
    socketPath: fake.path,
    spawn: undefined,
    timeoutMs: 1000,
    onExited: (leaseId) => shell.dispatch({ type: "executor_exited", leaseId }),
    onLost: () => shell.setStarter(undefined),
  });
  shell.dispatch({ type: "adopt", guests: [] });
  shell.setStarter(starter);
  shell.sampleMemory();
  const identification = {
    node: "n1",
    runDir: dir,
    fabricAddress: "127.0.0.1",
    address: "127.0.0.1:1",
    epochUnixMs: 1,
  };
  const billed = new Billed(shell);
  billed.learn("c:1", options.exhausted ?? []);
  const admin = nodeAdmin({ shell, stateDir: options.stateDir ?? dir, log });
  const handlers = localHandlers({
    shell,
    billed,
    self: () => identification,
    offer: () => offerMessage(shell.state, identification, shell.nowMs(), 0),
    horizonMs: () => 0,
    controllers: options.controllers ?? [],
    controllerConnected: () => false,
    controllerTimeoutMs: options.controllerTimeoutMs ?? 10_000,
    openMs: () => options.openMs ?? 0,
    adminGid: undefined,
    findings: () => ({ a: "b" }),
    admin,
    jobs: { begun: () => undefined, ended: () => undefined, rescan: () => undefined },
    log,
  });
  shell.listen({
    onNotify: (holder, guest) => handlers.notify(holder, guest),
    onDraining: (guest) => handlers.draining(guest),
  });
  const as: LocalHandlers = {
    request: (connection, request, body) =>
      handlers.request(
        here.peer === undefined ? connection : { ...connection, peer: { pid: 1, ...here.peer } },
        request,
        body,
      ),
    closed: handlers.closed,
  };
  const path = join(dir, "agent.sock");
  const server = await serveLocal(path, as);
  const clients: LocalClient[] = [];
  const here: World = {
    shell,
    fake,
    path,
    peer: undefined,
    remoteEnded: handlers.remoteEnded,
    remoteDraining: handlers.remoteDraining,
    dir,
    restore: admin.restore,
    async client() {
      const client = await localClient(path);
      clients.push(client);
      return client;
    },
  };
  t.after(async () => {
    for (const client of clients) await client.close();
    await server.close();
    starter.close();
    shell.close();
    await fake.close();
    rmSync(dir, { recursive: true });
  });
  return here;
}

test("lease, renew, list, status, release", async (t) => {
  const here = await world(t);
  const client = await here.client();
  assert.equal(statSync(here.path).mode & 0o777, 0o666);
  const leased = await client.call({ body: "lease", lease: { request: wish, jobId: 3 } });
  assert.ok(leased.body === "leased" && leased.leased.endpoint !== null, leased.message);
  const lease = leaseOf(leased);
  assert.equal(lease.state, "LEASE_STATE_ACTIVE");
  assert.deepEqual(lease.cores, [3]);
  assert.equal(leased.leased.endpoint.token.length, 32);
  assert.equal(leased.leased.endpoint.tcpAddress, "127.0.0.1:40001");
  assert.equal(leased.leased.lease?.owner?.uid, process.getuid?.());
  assert.equal(leaseOf(await client.call({ body: "renew", renew: { leaseId: lease.id } })).id, lease.id);
  const listed = await client.call({ body: "list", list: {} });
  assert.ok(listed.body === "leases" && listed.leases.leases.length === 1);
  const status = await client.call({ body: "status", status: {} });
  assert.ok(status.body === "status" && status.status.findings.a === "b");
  assert.deepEqual(status.status.offer?.spare[0]?.cores, [0, 1, 2]);
  const released = await client.call({ body: "release", release: { leaseId: lease.id } });
  assert.equal(leaseOf(released).state, "LEASE_STATE_RELEASED");
  assert.equal(here.shell.state.guests.size, 0);
  const again = await client.call({ body: "release", release: { leaseId: lease.id } });
  assert.equal(again.code, errorCodes.NOT_FOUND);
});

test("a connection that closes takes its leases with it, unless another one has renewed them", async (t) => {
  const here = await world(t);
  const [first, second] = [await here.client(), await here.client()];
  const a = leaseOf(await first.call({ body: "lease", lease: { request: wish } }));
  const b = leaseOf(await first.call({ body: "lease", lease: { request: wish } }));
  await second.call({ body: "renew", renew: { leaseId: b.id } });
  await first.close();
  await eventually("released", () => !here.shell.state.guests.has(a.id));
  assert.ok(here.shell.state.book.leases.has(b.id));
  await second.close();
  await eventually("released", () => here.shell.state.guests.size === 0);
  await eventually("stopped", () => here.fake.live.size === 0);
});

test("a client that dies while its lease starts leaves nothing", async (t) => {
  const here = await world(t);
  const client = await here.client();
  here.fake.mode = "silent";
  const asked = assert.rejects(client.call({ body: "lease", lease: { request: wish } }));
  await eventually("start", () => here.fake.seen.some((each) => each.verb === "START"));
  await client.close();
  await asked;
  await eventually("nothing left", () => here.shell.state.guests.size === 0 && here.fake.live.size === 0);
});

test("200 requests at once: each is answered, as many granted as there are cores, nothing twice", async (t) => {
  const here = await world(t, { cores: 48 });
  const clients = await Promise.all(Array.from({ length: 20 }, () => here.client()));
  const calls = clients.flatMap((client) =>
    Array.from({ length: 10 }, () => client.call({ body: "lease", lease: { request: wish } })),
  );
  const answers = await Promise.all(calls);
  const granted = answers.filter((each) => each.code === 0).map(leaseOf);
  const refused = answers.filter((each) => each.code === errorCodes.RESOURCE_EXHAUSTED);
  assert.equal(granted.length, 48);
  assert.equal(refused.length, 152);
  assert.equal(new Set(granted.flatMap((lease) => lease.cores)).size, 48);
  assert.equal(new Set([...here.shell.state.guests.values()].map((guest) => guest.uid)).size, 48);
  for (const client of clients) await client.close();
  await eventually("nothing left", () => here.shell.state.guests.size === 0 && here.fake.live.size === 0);
});

test("hooks are root's; the holder hears of a lease that a prolog took", async (t) => {
  const here = await world(t);
  const client = await here.client();
  const lease = leaseOf(await client.call({ body: "lease", lease: { request: wish } }));
  here.peer = { uid: 1000, gid: 1000 };
  const prolog = { body: "hook", hook: { event: "HOOK_EVENT_PROLOG", jobId: 9, uid: 1 } } as const;
  assert.equal((await client.call(prolog)).code, errorCodes.PERMISSION_DENIED);
  assert.ok(here.shell.state.guests.has(lease.id));
  here.peer = { uid: 0, gid: 0 };
  const done = await client.call(prolog);
  assert.ok(done.body === "hookDone" && done.hookDone.leasesEnded === 1, done.message);
  assert.equal(here.shell.state.guests.size, 0);
  const [notice] = client.notices;
  assert.ok(notice?.body === "revoked" && notice.revoked.leaseId === lease.id);
  assert.equal(notice.revoked.reason, "REASON_BATCH_JOB");
  for (const hook of [
    { event: "HOOK_EVENT_UNSPECIFIED", jobId: 9 } as const,
    { event: "HOOK_EVENT_PROLOG" } as const,
  ])
    assert.equal((await client.call({ body: "hook", hook })).code, errorCodes.INVALID_ARGUMENT);
  const refused = await client.call({ body: "lease", lease: { request: wish } });
  assert.equal(refused.code, errorCodes.RESOURCE_EXHAUSTED);
});

test("a step's cores and words reach the reactor", async (t) => {
  const here = await world(t);
  const client = await here.client();
  here.peer = { uid: 0, gid: 0 };
  const hook = {
    event: "HOOK_EVENT_STEP",
    jobId: 9,
    uid: 1,
    consent: "CONSENT_SHARE",
    cores: [1],
    memoryBytes: 1024,
    partition: "main",
    account: "physics",
    qos: "long",
    stepId: 3,
  } as const;
  const done = await client.call({ body: "hook", hook });
  assert.equal(done.body, "hookDone", done.message);
  assert.deepEqual(here.shell.state.jobs.get(9)?.cores, [1]);
  assert.equal(here.shell.state.jobs.get(9)?.memoryLimitBytes, 1024);
  const said = { uid: 1, consent: "share", partition: "main", account: "physics", qos: "long" };
  assert.deepEqual(here.shell.state.said.get(9), said);
});

test("leases of another uid: neither seen, nor renewed, nor released", async (t) => {
  const here = await world(t);
  const client = await here.client();
  here.peer = { uid: 1000, gid: 1000 };
  const lease = leaseOf(await client.call({ body: "lease", lease: { request: wish } }));
  here.peer = { uid: 1001, gid: 1001 };
  const other = await here.client();
  for (const body of ["renew", "release"] as const) {
    const answer = await other.call({ body, [body]: { leaseId: lease.id } } as Parameters<
      typeof other.call
    >[0]);
    assert.equal(answer.code, errorCodes.NOT_FOUND, body);
  }
  const listed = await other.call({ body: "list", list: {} });
  assert.ok(listed.body === "leases" && listed.leases.leases.length === 0);
});

test("an executor that ends by itself: its holder hears it, the starter's failure is a refusal", async (t) => {
  const here = await world(t);
  const client = await here.client();
  const lease = leaseOf(await client.call({ body: "lease", lease: { request: wish } }));
  here.fake.exit(lease.id);
  await eventually("notice", () => client.notices.length === 1);
  const [notice] = client.notices;
  assert.ok(notice?.body === "revoked" && notice.revoked.reason === "REASON_EXECUTOR_LOST");
  here.fake.mode = "fail";
  const refused = await client.call({ body: "lease", lease: { request: wish } });
  assert.equal(refused.code, errorCodes.RESOURCE_EXHAUSTED);
  assert.match(refused.message, /did not start/);
});

test("garbage ends its connection, and only that", async (t) => {
  const here = await world(t);
  const good = await here.client();
  const lease = leaseOf(await good.call({ body: "lease", lease: { request: wish } }));
  const frame = (body: Buffer): Buffer => {
    const header = Buffer.alloc(4);
    header.writeUInt32LE(body.length);
    return Buffer.concat([header, body]);
  };
  const garbage = [
    Buffer.alloc(4),
    Buffer.alloc(64, 0xff),
    frame(Buffer.alloc(65_537 - 1, 0xff)),
    frame(Buffer.from([0x08, 0xff])),
    frame(Buffer.from([0x08, 0x00])), // id 0
    Buffer.from("GET / HTTP/1.1\r\n\r\n"),
  ];
  for (const bytes of garbage) {
    const socket = createConnection(here.path);
    socket.on("error", () => undefined);
    socket.resume();
    const closed = once(socket, "close");
    socket.write(bytes);
    await closed;
  }
  const unknown = await good.call({});
  assert.equal(unknown.code, errorCodes.INVALID_ARGUMENT);
  const empty = await good.call({ body: "lease", lease: {} });
  assert.equal(empty.code, errorCodes.INVALID_ARGUMENT);
  // Half a frame is no reason to end anything, nor to answer.
  const half = createConnection(here.path);
  half.write(Buffer.from([9, 0]));
  assert.equal(leaseOf(await good.call({ body: "renew", renew: { leaseId: lease.id } })).id, lease.id);
  half.destroy();
});

test("a second agent on the same socket is refused; a socket that nobody serves is replaced", async (t) => {
  const here = await world(t);
  const nobody: LocalHandlers = { request: () => Promise.reject(new Error("no")), closed: () => undefined };
  await assert.rejects(serveLocal(here.path, nobody), { code: "FAILED_PRECONDITION" });
});

function remoteLease(id: string): LeaseMessage {
  return {
    id,
    kind: "LEASE_KIND_FUNCTION",
    state: "LEASE_STATE_ACTIVE",
    reason: "REASON_UNSPECIFIED",
    node: "n2",
    cores: [0],
    memoryBytes: 1,
    class: "CAPACITY_CLASS_IDLE",
    owner: null,
    grantedUnixMs: 1,
    termMs: 1,
    remainingMs: 1,
    invocations: 0,
    durability: "DURABILITY_EPHEMERAL",
    account: "",
    partition: "",
  };
}

function fakeController(): {
  controllers: Controllers;
  released: string[];
  up: boolean;
  owners: unknown[];
  timeoutMs: number;
} {
  const state = {
    released: [] as string[],
    up: true,
    owners: [] as unknown[],
    timeoutMs: 0,
    controllers: [] as Controllers,
  };
  const guard = (): void => {
    if (!state.up) throw new SubletError("UNAVAILABLE", "down");
  };
  state.controllers = [
    {
      address: "c:1",
      async requestLease({ owner }, call) {
        guard();
        state.owners.push(owner);
        state.timeoutMs = call?.timeoutMs ?? 0;
        return { lease: remoteLease("r1"), endpoint: null, refusals: 0, ahead: false };
      },
      async renewLease({ leaseId }) {
        guard();
        return { lease: remoteLease(leaseId ?? "") };
      },
      async releaseLease({ leaseId, node }) {
        guard();
        state.released.push(`${leaseId}@${node}`);
        return { lease: remoteLease(leaseId ?? "") };
      },
      async listReceipts() {
        guard();
        return { receipts: [] };
      },
      async listLeases() {
        guard();
        return { leases: [] };
      },
    },
  ];
  return state;
}

test("a controller places the lease; it ends with the connection, or with the one that renewed it", async (t) => {
  const controller = fakeController();
  const here = await world(t, { controllers: controller.controllers, controllerTimeoutMs: 30_000 });
  const client = await here.client();
  const other = await here.client();
  const leased = await client.call({ body: "lease", lease: { request: wish, jobId: 5 } });
  assert.equal(leaseOf(leased).node, "n2");
  assert.equal(controller.timeoutMs, 30_000);
  assert.deepEqual(controller.owners, [
    { uid: process.getuid?.(), gid: process.getgid?.(), jobId: 5, node: "n1" },
  ]);
  await other.call({ body: "renew", renew: { leaseId: "r1", node: "n2" } });
  await client.close();
  const alive = await other.call({ body: "status", status: {} });
  assert.equal(alive.code, 0);
  assert.deepEqual(controller.released, []);
  await other.close();
  await eventually("released", () => controller.released.join() === "r1@n2");
});

test("a lease on another node that ended there: its holder hears why, once, and nobody else", async (t) => {
  const controller = fakeController();
  const here = await world(t, { controllers: controller.controllers });
  const [client, other] = [await here.client(), await here.client()];
  await client.call({ body: "lease", lease: { request: wish } });
  const ended = { ...remoteLease("r1"), state: "LEASE_STATE_REVOKED", reason: "REASON_BATCH_JOB" } as const;
  here.remoteEnded([{ ...ended, node: "n3" }, { ...ended, id: "r2" }, ended, ended]);
  for (const each of [client, other]) await each.call({ body: "status", status: {} });
  assert.deepEqual(
    client.notices.map((notice) => notice.body === "revoked" && { ...notice.revoked }),
    [{ leaseId: "r1", state: "LEASE_STATE_REVOKED", reason: "REASON_BATCH_JOB" }],
  );
  assert.deepEqual(other.notices, []);
  // It is over: nobody need release it.
  await client.close();
  await other.call({ body: "status", status: {} });
  assert.deepEqual(controller.released, []);
});

test("a lease that is wanted back: its holder hears the budget, here and on other nodes, and nobody else", async (t) => {
  const controller = fakeController();
  const here = await world(t, { controllers: controller.controllers });
  const [client, other] = [await here.client(), await here.client()];
  await client.call({ body: "lease", lease: { request: wish } }); // r1 on n2
  controller.up = false;
  const { id } = leaseOf(await client.call({ body: "lease", lease: { request: wish } }));
  await here.shell.ask({ type: "reclaim", leaseIds: [id], budgetMs: 60_000 });
  const remote = { ...remoteLease("r1"), remainingMs: 700, reason: "REASON_ADMIN" } as const;
  here.remoteDraining([{ ...remote, node: "n3" }, { ...remote, id: "r2" }, remote]);
  for (const each of [client, other]) await each.call({ body: "status", status: {} });
  const heard = client.notices.map((notice) => (notice.body === "draining" ? notice.draining : undefined));
  assert.deepEqual(
    heard.map((notice) => [notice?.leaseId, notice?.reason]),
    [
      [id, "REASON_ADMIN"],
      ["r1", "REASON_ADMIN"],
    ],
  );
  assert.ok((heard[0]?.remainingMs ?? 0) > 50_000 && heard[1]?.remainingMs === 700);
  assert.deepEqual(other.notices, []);
  const renewed = leaseOf(await client.call({ body: "renew", renew: { leaseId: id, node: "" } }));
  assert.equal(renewed.state, "LEASE_STATE_DRAINING");
});

test("a node that may lends to its own clients without a controller; what it cannot serve goes there", async (t) => {
  const controller = fakeController();
  const here = await world(t, { controllers: controller.controllers, cores: 2, openMs: 3_600_000 });
  const client = await here.client();
  const nodeOf = async (more: object): Promise<string> =>
    leaseOf(await client.call({ body: "lease", lease: { request: { ...wish, ...more }, jobId: 5 } })).node;
  assert.equal(await nodeOf({}), "n1");
  assert.deepEqual(controller.owners, []);
  assert.equal(await nodeOf({ node: "n1" }), "n1");
  assert.deepEqual(controller.owners, [], "and named");
  assert.equal(await nodeOf({}), "n2", "the node is full");
  here.shell.dispatch({ type: "starter", up: false });
  assert.equal(await nodeOf({}), "n2", "the node lends nothing");
  await client.close();
  await eventually("those here are gone", () => here.shell.state.guests.size === 0);
  await eventually("and those on n2", () => controller.released.includes("r1@n2"));
});

test("a start that fails here is the controller's to make good", async (t) => {
  const controller = fakeController();
  const here = await world(t, { controllers: controller.controllers, openMs: 3_600_000 });
  const client = await here.client();
  here.fake.mode = "fail";
  assert.equal(leaseOf(await client.call({ body: "lease", lease: { request: wish } })).node, "n2");
  assert.equal(controller.owners.length, 1);
});

test("drain, resume and reclaim of this node: administrators only; a drain outlives the agent", async (t) => {
  const here = await world(t);
  const client = await here.client();
  const { id } = leaseOf(await client.call({ body: "lease", lease: { request: wish } }));
  here.peer = { uid: 1234, gid: 1234 };
  for (const body of [
    { body: "drain", drain: { mode: "RECLAIM_MODE_IMMEDIATE" } },
    { body: "resume", resume: {} },
    { body: "reclaim", reclaim: { mode: "RECLAIM_MODE_IMMEDIATE" } },
  ] as const)
    assert.equal((await client.call(body)).code, errorCodes.PERMISSION_DENIED, body.body);
  assert.equal(here.shell.state.drain, undefined);
  here.peer = { uid: 0, gid: 0 };
  const drained = await client.call({
    body: "drain",
    drain: { mode: "RECLAIM_MODE_GRACEFUL", budgetMs: 60_000, reason: "disk" },
  });
  assert.ok(drained.body === "outcome");
  assert.deepEqual(
    { ...drained.outcome },
    {
      node: "n1",
      code: 0,
      message: "",
      leasesEnded: 0,
      leasesLeft: 0,
      drainingLeaseIds: [id],
      lending: "LENDING_DRAINED",
    },
  );
  const after = await world(t, { stateDir: here.dir });
  await after.restore();
  assert.equal(after.shell.state.drain?.why, "disk");
  assert.equal(after.shell.state.spare.length, 0);
  const resumed = await client.call({ body: "resume", resume: {} });
  assert.ok(resumed.body === "outcome" && resumed.outcome.lending === "LENDING_ON");
  const later = await world(t, { stateDir: here.dir });
  await later.restore();
  assert.equal(later.shell.state.drain, undefined);
  assert.deepEqual(
    readdirSync(here.dir).filter((name) => name.includes("drained")),
    [],
  );
});

test("reclaim: leases that are not here are told so; a budget and a mode have bounds", async (t) => {
  const here = await world(t);
  const client = await here.client();
  const { id } = leaseOf(await client.call({ body: "lease", lease: { request: wish } }));
  here.peer = { uid: 0, gid: 0 };
  const reclaim = async (wanted: object) => client.call({ body: "reclaim", reclaim: wanted });
  const immediate = { mode: "RECLAIM_MODE_IMMEDIATE" };
  assert.equal((await reclaim({})).code, errorCodes.INVALID_ARGUMENT);
  assert.equal((await reclaim({ mode: "RECLAIM_MODE_GRACEFUL" })).code, errorCodes.INVALID_ARGUMENT);
  assert.equal(
    (await reclaim({ mode: "RECLAIM_MODE_GRACEFUL", budgetMs: 3_600_001 })).code,
    errorCodes.INVALID_ARGUMENT,
  );
  assert.equal((await reclaim({ ...immediate, leaseIds: ["x"] })).code, errorCodes.NOT_FOUND);
  const done = await reclaim({ ...immediate, leaseIds: ["x", id] });
  assert.ok(done.body === "outcome");
  assert.deepEqual([done.outcome.leasesEnded, done.outcome.message], [1, "1 leases had ended before"]);
  assert.equal(here.shell.state.guests.size, 0);
});

test("a disk that is full: drained all the same, and the answer says that a restart forgets it", async (t) => {
  const here = await world(t, { stateDir: "/nonexistent/state" });
  const client = await here.client();
  here.peer = { uid: 0, gid: 0 };
  const answer = await client.call({ body: "drain", drain: { mode: "RECLAIM_MODE_IMMEDIATE" } });
  assert.ok(answer.body === "outcome" && answer.outcome.lending === "LENDING_DRAINED");
  assert.match(answer.outcome.message, /a restart of the agent forgets it: .*ENOENT/);
});

test("a record of a drain that cannot be read counts as one", async (t) => {
  const here = await world(t);
  writeFileSync(join(here.dir, "drained.json"), "{");
  await here.restore();
  assert.match(here.shell.state.drain?.why ?? "", /cannot be read/);
});

test("no controller answers: the node decides alone, unless it may not serve the request", async (t) => {
  const controller = fakeController();
  controller.up = false;
  const here = await world(t, { controllers: controller.controllers });
  const client = await here.client();
  assert.equal(leaseOf(await client.call({ body: "lease", lease: { request: wish } })).node, "n1");
  for (const more of [{ node: "n2" }, { excludeNodes: ["n1"] }]) {
    const answer = await client.call({ body: "lease", lease: { request: { ...wish, ...more } } });
    assert.equal(answer.code, errorCodes.UNAVAILABLE);
  }
});

test("an account with nothing left: the controller is asked, and where none answers the node refuses", async (t) => {
  const controller = fakeController();
  const physics = {
    account: "physics",
    limitCoreSeconds: 100,
    usedCoreSeconds: 120.7,
    resetsInMs: 3_600_000,
    timeZone: "UTC",
  };
  const here = await world(t, {
    controllers: controller.controllers,
    openMs: 3_600_000,
    exhausted: [physics],
  });
  const client = await here.client();
  const facts = (account: string): void =>
    here.shell.dispatch({
      type: "facts",
      jobs: [
        { jobId: 7, uid: process.getuid?.() ?? 0, partition: "main", account, qos: "", exclusive: false },
      ],
    });
  const ask = async () => await client.call({ body: "lease", lease: { request: wish, jobId: 7 } });
  assert.equal(leaseOf(await ask()).node, "n2", "an account that is not known here may be that one");
  facts("chemistry");
  assert.equal(leaseOf(await ask()).node, "n1");
  const [held] = here.shell.state.guests.values();
  assert.deepEqual(held?.lease.billing, { account: "chemistry", partition: "main" });
  facts("physics");
  assert.equal(leaseOf(await ask()).node, "n2");
  controller.up = false;
  const refused = await ask();
  assert.equal(refused.code, errorCodes.RESOURCE_EXHAUSTED);
  assert.match(
    refused.message,
    /account physics has used 120 of 100 core-seconds today: leases are granted again at midnight \(UTC\), in 1 h 0 min/,
  );
  facts("chemistry");
  assert.equal(leaseOf(await ask()).node, "n1");
});

test("the kernel names the peer", { skip: root ? false : "needs root to tell uids apart" }, async (t) => {
  const here = await world(t);
  const client = await here.client();
  const done = await client.call({ body: "hook", hook: { event: "HOOK_EVENT_EPILOG", jobId: 9 } });
  assert.equal(done.code, 0);
});

test("a thousand leases and refusals that go as they should leave no line each at info or above", async (t) => {
  const lines: string[] = [];
  let details = 0;
  const note = (fields: { event?: string }, message: string): void =>
    void lines.push(fields.event ?? message);
  const log = { debug: () => void details++, info: note, warn: note, error: note };
  const away = () => Promise.reject(new SubletError("UNAVAILABLE", "nobody there"));
  const nobody = {
    address: "nobody:1",
    requestLease: away,
    renewLease: away,
    releaseLease: away,
    listLeases: away,
    listReceipts: away,
  };
  const { client, shell } = await world(t, { log, controllers: [nobody], openMs: 1e9 });
  const { call } = await client();
  for (let round = 0; round < 500; round++) {
    const { id } = leaseOf(await call({ body: "lease", lease: { request: wish } }));
    await call({ body: "renew", renew: { leaseId: id, node: "n1" } });
    assert.notEqual((await call({ body: "lease", lease: { request: { ...wish, cores: 60 } } })).code, 0);
    await call({ body: "release", release: { leaseId: id, node: "n1" } });
  }
  // That nobody answers is told, once in ten seconds at most.
  const alone = "no controller answers: this node decides alone";
  assert.ok(lines.length >= 1 && lines.length <= 3, `${lines.length} lines`);
  assert.deepEqual(new Set(lines), new Set([alone]));
  lines.length = 0;
  assert.ok(details >= 500, `${details} lines at debug`);
  const next = async (): Promise<string> =>
    leaseOf(await call({ body: "lease", lease: { request: wish } })).id;
  await shell.ask({ type: "reclaim", leaseIds: [await next()], budgetMs: 0 });
  shell.dispatch({ type: "executor_exited", leaseId: await next() });
  assert.deepEqual(lines, ["lease_revoked", "executor_crashed"]);
});
