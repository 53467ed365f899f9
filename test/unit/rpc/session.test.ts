/** Sessions: the codes by themselves, with clocks that the tests move; then over real connections, with and without munged. */
import assert from "node:assert/strict";
import { after, describe, it } from "node:test";
import { type handleUnaryCall, Server, ServerCredentials, status } from "@grpc/grpc-js";
import { until } from "../../../deploy/testbed/shell.ts";
import { connectNode } from "../../../src/rpc/client.ts";
import { checkCredentialPayload, credentialPayload, type Identity } from "../../../src/rpc/identity.ts";
import { mungeIdentity } from "../../../src/rpc/munge.ts";
import { serviceDefinition } from "../../../src/rpc/schema.ts";
import { type CallEvent, type NodeHandlers, serve } from "../../../src/rpc/server.ts";
import { newNonce, openGrant, Sessions, sessionLifeMs } from "../../../src/rpc/session.ts";
import { startMunged } from "./munged.ts";

const audience = "10.77.0.11:7701";
const caller = { uid: 20_001, gid: 20_001 };
const call = { method: "/sublet.v1.NodeService/Grant", body: Buffer.from("what is asked") };
const refused = (message: RegExp) => ({ name: "SubletError", code: "UNAUTHENTICATED", message });

class Clock {
  monotonic = 5_000;
  unix = 1_700_000_000_000;
  readonly monotonicMs = (): number => this.monotonic;
  readonly unixMs = (): number => this.unix;
  pass(ms: number): void {
    this.monotonic += ms;
    this.unix += ms;
  }
}

/** A callee, and one caller that has its key; each with a clock of its own. */
function pair() {
  const [theirs, mine] = [new Clock(), new Clock()];
  const sessions = new Sessions(theirs);
  const nonce = newNonce();
  const grant = sessions.grant(caller, audience, nonce);
  return { sessions, theirs, mine, nonce, grant, session: openGrant(grant, audience, nonce, mine) };
}

describe("codes of a session", () => {
  it("say who calls, each once, in any order", () => {
    const { sessions, session } = pair();
    const headers = Array.from({ length: 100 }, () => session.sign(call));
    for (const header of headers.reverse()) assert.deepEqual(sessions.verify(header, call), caller);
    for (const header of headers) assert.throws(() => sessions.verify(header, call), refused(/used before/));
  });
  it("are not accepted far behind the newest", () => {
    const { sessions, session } = pair();
    const [old, ...headers] = Array.from({ length: 10_000 }, () => session.sign(call));
    for (const header of headers) sessions.verify(header, call);
    assert.throws(() => sessions.verify(old ?? "", call), refused(/used before/));
  });
  it("are for one method, body, counter, time and session", () => {
    const { sessions, session } = pair();
    const [one, other] = [session.sign(call), pair().session.sign(call)];
    const wrong = refused(/code is wrong/);
    assert.throws(() => sessions.verify(one, { ...call, method: `${call.method}s` }), wrong);
    assert.throws(() => sessions.verify(one, { ...call, body: Buffer.from("what is asked!") }), wrong);
    const parts = one.split(" ");
    for (const [index, value] of [
      [2, "2"],
      [3, `${Number(parts[3]) + 1}`],
      [4, other.split(" ")[4]],
      [4, "0".repeat(64)],
    ] as const)
      assert.throws(() => sessions.verify(parts.with(index, value ?? "").join(" "), call), wrong);
    assert.throws(() => sessions.verify(other, call), refused(/over or unknown/));
    for (const text of ["", "v1", one.replace("v1", "v2"), `${one} `, parts.with(2, "-1").join(" ")])
      assert.throws(() => sessions.verify(text, call), refused(/over or unknown/));
    assert.deepEqual(sessions.verify(one, call), caller, "nothing of that used it up");
  });
  it("are of one life of the callee, and of no other key", () => {
    const { session, grant, nonce, mine } = pair();
    const second = new Sessions(new Clock());
    assert.throws(() => second.verify(session.sign(call), call), refused(/over or unknown/));
    const forged = openGrant(grant.replace(/[0-9a-f]{64}$/, "ab".repeat(32)), audience, nonce, mine);
    const { sessions } = pair();
    assert.throws(() => sessions.verify(forged.sign(call), call), refused(/over or unknown/));
  });
  it("with another key are wrong", () => {
    const { sessions, grant, nonce, mine } = pair();
    const forged = openGrant(grant.replace(/[0-9a-f]{64}$/, "ab".repeat(32)), audience, nonce, mine);
    assert.throws(() => sessions.verify(forged.sign(call), call), refused(/code is wrong/));
  });
  it("held back for a minute, or after a clock jumped either way, are refused, and say so", () => {
    const { sessions, session, theirs } = pair();
    const header = session.sign(call);
    theirs.pass(60_001);
    assert.throws(() => sessions.verify(header, call), refused(/60 s old; compare the clocks/));
    for (const jumpMs of [-86_400_000, 86_400_000]) {
      theirs.unix += jumpMs;
      assert.throws(() => sessions.verify(session.sign(call), call), refused(/compare the clocks/));
      theirs.unix -= jumpMs;
    }
  });
  it("end with the session, by the callee's monotonic clock; callers stop before", () => {
    const { sessions, session, theirs, mine } = pair();
    theirs.unix -= 3_600_000;
    mine.unix -= 3_600_000;
    for (const clock of [theirs, mine]) clock.pass(sessionLifeMs - 60_001);
    assert.ok(session.usable);
    sessions.verify(session.sign(call), call);
    for (const clock of [theirs, mine]) clock.pass(60_001);
    assert.ok(!session.usable);
    assert.throws(() => sessions.verify(session.sign(call), call), refused(/over or unknown/));
    sessions.grant(caller, audience, newNonce());
    assert.equal(sessions.size, 1, "what is over is forgotten");
  });
});

describe("keys", () => {
  it("are for who asked: callee and nonce must be right", () => {
    const { grant, nonce, mine } = pair();
    const foreign = refused(/answered for somebody else/);
    assert.throws(() => openGrant(grant, "10.77.0.12:7701", nonce, mine), foreign);
    assert.throws(() => openGrant(grant, audience, newNonce(), mine), foreign);
    for (const text of ["", `${grant} `, grant.slice(1), grant.slice(0, -2)])
      assert.throws(() => openGrant(text, audience, nonce, mine), foreign);
    assert.throws(
      () => checkCredentialPayload(grant, [audience], call.method, mine.unix),
      refused(/not sublet\.v1/),
      "it is no credential for a call",
    );
  });
  it("are few: a uid that asks on and on loses its own oldest, nobody else's", () => {
    const { sessions, session } = pair();
    for (let i = 0; i < 10_000; i++) sessions.grant({ uid: 7, gid: 7 }, audience, newNonce());
    assert.ok(sessions.size <= 65);
    assert.deepEqual(sessions.verify(session.sign(call), call), caller);
    for (let uid = 100; uid < 9_000; uid++) sessions.grant({ uid, gid: uid }, audience, newNonce());
    assert.ok(sessions.size <= 8_192);
    assert.throws(() => sessions.grant(caller, audience, "x y"), { code: "INVALID_ARGUMENT" });
  });
});

const closers: (() => void | Promise<void>)[] = [];
after(async () => {
  for (const close of closers.reverse()) await close();
});

interface Spied {
  readonly identity: Identity;
  credentials: number;
  sealed: string[];
  /** Of the credentials' and codes' clock. */
  offMs: number;
}

/** Says "<uid>|<payload>" and believes it; what it seals for a uid only that uid opens. */
function plain(uid: number): Spied {
  const spied = { credentials: 0, sealed: [] as string[], offMs: 0 };
  const nowUnixMs = (): number => Date.now() + spied.offMs;
  const identity: Identity = {
    nowUnixMs,
    credential: async (to, method) => {
      spied.credentials += 1;
      return `${uid}|${credentialPayload(to, method, nowUnixMs())}`;
    },
    verify: async (credential, audiences, method) => {
      const [who, payload] = credential.split("|");
      const made = checkCredentialPayload(payload ?? "", audiences, method, nowUnixMs());
      return { uid: Number(who), gid: Number(who), audience: made };
    },
    seal: async (text, reader) => {
      spied.sealed.push(text);
      return `${reader.uid}:${text}`;
    },
    open: async (sealed) => {
      const [reader, ...text] = sealed.split(":");
      assert.equal(Number(reader), uid);
      return text.join(":");
    },
  };
  return Object.assign(spied, { identity });
}

const unused = async (): Promise<never> => assert.fail("not used");

async function nodeServer(
  { identity }: Pick<Spied, "identity">,
  events: CallEvent[] = [],
  listen = "127.0.0.1:0",
) {
  const node: NodeHandlers = {
    grant: async ({ leaseId }, { caller: who }) => ({ lease: { id: leaseId, owner: who } }),
    renew: unused,
    release: unused,
    listLeases: unused,
    drain: unused,
    resume: unused,
    reclaim: unused,
    getHealth: unused,
    getNode: async (_, { caller: who }) => ({ findings: { uid: `${who.uid}`, trusted: `${who.trusted}` } }),
  };
  const onCall = (event: CallEvent): unknown => events.push(event);
  const server = await serve({ listen, identity, trustedUids: [0], node, onCall });
  closers.push(() => server.close());
  return server;
}

function nodeClient(address: string, { identity }: Pick<Spied, "identity">) {
  const client = connectNode(address, { identity, timeoutMs: 5_000 });
  closers.push(() => client.close());
  return client;
}

/** Calls until the key is there. */
async function settle(client: ReturnType<typeof nodeClient>): Promise<void> {
  for (let i = 0; i < 3; i++) {
    await client.getNode({});
    await new Promise((resolve) => setImmediate(resolve));
  }
}

describe("calls of one connection", () => {
  it("show two credentials, and no more; who is calling stays the same", async () => {
    const [theirs, mine] = [plain(0), plain(20_001)];
    const server = await nodeServer(theirs);
    const client = nodeClient(server.address, mine);
    await settle(client);
    await Promise.all(Array.from({ length: 200 }, (_, i) => client.grant({ leaseId: `l${i}` })));
    const { findings } = await client.getNode({});
    assert.deepEqual({ ...findings }, { uid: "20001", trusted: "false" });
    assert.deepEqual([mine.credentials, theirs.sealed.length], [2, 1]);
  });
  it("one call asks for no key", async () => {
    const [theirs, mine] = [plain(0), plain(20_001)];
    await nodeClient((await nodeServer(theirs)).address, mine).getNode({});
    assert.deepEqual(theirs.sealed, []);
  });
  it("go on after either side began a new life", async () => {
    const [theirs, mine] = [plain(0), plain(20_001)];
    const events: CallEvent[] = [];
    const first = await nodeServer(theirs);
    const client = nodeClient(first.address, mine);
    await settle(client);
    await first.close();
    const second = await nodeServer(theirs, events, first.address);
    for (let tries = 0; ; tries++)
      try {
        await client.getNode({});
        break;
      } catch (thrown) {
        if (tries === 100) throw thrown;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    assert.ok(
      events.some(({ code, error }) => code === "UNAUTHENTICATED" && /over or unknown/.test(`${error}`)),
      "the old key was tried, and nothing else came of it",
    );
    assert.equal((await client.getNode({})).findings.uid, "20001");
    assert.equal((await nodeClient(second.address, plain(20_002)).getNode({})).findings.uid, "20002");
  });
  it("go on with credentials when the callee became one of a version that knows no sessions", async () => {
    const [theirs, mine] = [plain(0), plain(20_001)];
    const first = await nodeServer(theirs);
    const client = nodeClient(first.address, mine);
    await settle(client);
    await first.close();
    const seen: string[] = [];
    const older = new Server();
    closers.push(() => older.forceShutdown());
    const getNode: handleUnaryCall<object, object> = ({ metadata }, answer) => {
      const shown = metadata.get("sublet-munge").length > 0;
      seen.push(shown ? "credential" : "none");
      if (shown) answer(null, { findings: { older: "yes" } });
      else {
        const details = "call without sublet-munge: munge identity is required";
        answer({ code: status.UNAUTHENTICATED, details });
      }
    };
    older.addService(serviceDefinition("NodeService"), { GetNode: getNode });
    await new Promise<void>((resolve, reject) =>
      older.bindAsync(first.address, ServerCredentials.createInsecure(), (error) =>
        error === null ? resolve() : reject(error),
      ),
    );
    const { findings } = await until("it answers", 10_000, async () =>
      client.getNode({}).catch((thrown: { code: string }) => {
        assert.equal(thrown.code, "UNAVAILABLE");
        return undefined;
      }),
    );
    assert.equal(findings.older, "yes");
    await client.getNode({});
    assert.deepEqual(seen, ["none", "credential", "credential"], "the key is tried once, then forgotten");
  });
  it("are refused on both ways when a clock jumps, and go on when it is back", async () => {
    const [theirs, mine] = [plain(0), plain(20_001)];
    const client = nodeClient((await nodeServer(theirs)).address, mine);
    await settle(client);
    mine.offMs = -61_000;
    await assert.rejects(client.getNode({}), refused(/credential: 61 s old.*compare the clocks/));
    mine.offMs = 0;
    assert.equal((await client.getNode({})).findings.uid, "20001");
  });
  it("are not taken from who learned a code, and a callee that gives bad keys gets credentials", async () => {
    const [theirs, mine] = [plain(0), plain(20_001)];
    const seal = async (): Promise<string> => "20001:nonsense";
    const client = nodeClient((await nodeServer({ identity: { ...theirs.identity, seal } })).address, mine);
    await settle(client);
    assert.equal((await client.getNode({})).findings.uid, "20001");
    assert.equal(mine.credentials, 4);
    const failing = async (): Promise<string> => Promise.reject(new Error("munged is busy"));
    const busy = await nodeServer({ identity: { ...theirs.identity, seal: failing } });
    await settle(nodeClient(busy.address, mine));
    const hangs = (): Promise<string> => new Promise(() => undefined);
    const stuck = await nodeServer({ identity: { ...theirs.identity, seal: hangs } });
    await settle(nodeClient(stuck.address, mine));
  });
});

describe("keys sealed by munge", () => {
  it("are opened by the caller's uid only, and make calls go without munged", async () => {
    const munged = await startMunged();
    closers.push(() => munged.stop());
    const identity = mungeIdentity({ socket: munged.socket });
    const uid = process.getuid?.() ?? 0;
    const mine = { uid, gid: process.getgid?.() ?? 0 };
    assert.equal(await identity.open?.((await identity.seal?.("text", mine)) ?? ""), "text");
    const others = (await identity.seal?.("text", { uid: uid + 1, gid: 0 })) ?? "";
    await assert.rejects(identity.open?.(others) ?? Promise.resolve(), refused(/[Uu]nauthorized/));
    let opened = false;
    const open = async (sealed: string): Promise<string> => {
      const key = (await identity.open?.(sealed)) ?? "";
      opened = true;
      return key;
    };
    const client = nodeClient((await nodeServer({ identity })).address, { identity: { ...identity, open } });
    for (let i = 0; i < 2; i++) await client.getNode({});
    await until("the key is opened by munged", 20_000, () => opened || undefined);
    await munged.stop();
    assert.equal((await client.getNode({})).findings.uid, `${uid}`);
  });
});
