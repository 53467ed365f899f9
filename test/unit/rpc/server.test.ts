/** Server and client over real connections, with an identity that needs no munged, and once with it. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect as connectTcp } from "node:net";
import { after, describe, it } from "node:test";
import { SubletError } from "../../../src/common/errors.ts";
import { connectController, connectNode } from "../../../src/rpc/client.ts";
import { checkCredentialPayload, credentialPayload, type Identity } from "../../../src/rpc/identity.ts";
import type { ReportRequest } from "../../../src/rpc/messages.ts";
import { mungeIdentity } from "../../../src/rpc/munge.ts";
import {
  type CallEvent,
  type ControllerHandlers,
  type NodeHandlers,
  serve,
} from "../../../src/rpc/server.ts";
import { startMunged } from "./munged.ts";

/** Says "<uid>|<payload>" and believes it. */
function plainIdentity(uid: number): Identity {
  return {
    credential: async (audience, method) => `${uid}|${credentialPayload(audience, method, Date.now())}`,
    verify: async (credential, audiences, method) => {
      const [caller, payload] = credential.split("|");
      checkCredentialPayload(payload ?? "", audiences, method, Date.now());
      return { uid: Number(caller), gid: Number(caller) };
    },
  };
}

const unused = async (): Promise<never> => {
  throw new SubletError("INTERNAL", "not used by this test");
};
const nodeHandlers: NodeHandlers = {
  grant: unused,
  renew: unused,
  release: unused,
  listLeases: unused,
  getNode: unused,
  drain: unused,
  resume: unused,
  reclaim: unused,
  getHealth: unused,
};
const controllerHandlers: ControllerHandlers = {
  report: unused,
  requestLease: unused,
  renewLease: unused,
  releaseLease: unused,
  listLeases: unused,
  listNodes: unused,
  drain: unused,
  resume: unused,
  reclaim: unused,
  listReceipts: unused,
  getUsage: unused,
  getGain: unused,
};

const closers: (() => void | Promise<void>)[] = [];
after(async () => {
  for (const close of closers.reverse()) await close();
});

async function nodeServer(handlers: Partial<NodeHandlers>, onCall?: (event: CallEvent) => void) {
  const server = await serve({
    listen: "127.0.0.1:0",
    identity: plainIdentity(0),
    trustedUids: [0],
    node: { ...nodeHandlers, ...handlers },
    ...(onCall === undefined ? {} : { onCall }),
  });
  closers.push(() => server.close());
  return server;
}

function nodeClient(address: string, uid = 0) {
  const client = connectNode(address, { identity: plainIdentity(uid), timeoutMs: 5_000 });
  closers.push(() => client.close());
  return client;
}

describe("unary calls", () => {
  it("carry request, response and who is calling", async () => {
    const server = await nodeServer({
      grant: async (request, { caller, deadlineMs }) => {
        assert.ok(deadlineMs > 4_000 && deadlineMs <= 5_000);
        return { lease: { id: request.leaseId, owner: { uid: caller.uid, gid: caller.trusted ? 1 : 0 } } };
      },
    });
    const trusted = await nodeClient(server.address).grant({ leaseId: "a" });
    assert.equal(trusted.lease?.id, "a");
    assert.deepEqual(trusted.lease?.owner, { uid: 0, gid: 1, jobId: 0, node: "" });
    const user = await nodeClient(server.address, 20_001).grant({ leaseId: "b" });
    assert.deepEqual(user.lease?.owner, { uid: 20_001, gid: 0, jobId: 0, node: "" });
    assert.equal(user.endpoint, null);
  });
  it("are refused when they were meant for another name, unless the site says that it is ours", async () => {
    const grant = async (request: { leaseId: string }) => ({ lease: { id: request.leaseId } });
    const called = async (names: readonly string[]): Promise<string> => {
      const server = await serve({
        listen: "127.0.0.1:0",
        names,
        identity: plainIdentity(0),
        trustedUids: [0],
        node: { ...nodeHandlers, grant },
      });
      closers.push(() => server.close());
      // Every machine resolves this one.
      const answer = await nodeClient(server.address.replace("127.0.0.1", "localhost")).grant({
        leaseId: "a",
      });
      return answer.lease?.id ?? "";
    };
    await assert.rejects(called([]), { code: "UNAUTHENTICATED", message: /made for localhost:/ });
    await assert.rejects(called(["head"]), { code: "UNAUTHENTICATED" });
    assert.equal(await called(["head", "localhost"]), "a");
  });
  it("carry a refusal with its details", async () => {
    const server = await nodeServer({
      grant: async () => {
        throw new SubletError("RESOURCE_EXHAUSTED", "2 cores asked, 1 spare", {
          details: { reason: "no_cores", node: "n1", retryAfterMs: 500 },
        });
      },
    });
    await assert.rejects(nodeClient(server.address).grant({}), {
      name: "SubletError",
      code: "RESOURCE_EXHAUSTED",
      message: "2 cores asked, 1 spare",
      details: { reason: "no_cores", node: "n1", retryAfterMs: 500 },
    });
  });
  it("carry codes; what is no SubletError is INTERNAL, and the server is told", async () => {
    const events: CallEvent[] = [];
    const server = await nodeServer(
      {
        renew: async () => {
          throw new SubletError("NOT_FOUND", "lease x is not on this node");
        },
        release: async () => {
          throw new TypeError("oops");
        },
      },
      (event) => events.push(event),
    );
    const client = nodeClient(server.address);
    await assert.rejects(client.renew({ leaseId: "x" }), { code: "NOT_FOUND", details: {} });
    await assert.rejects(client.release({}), { code: "INTERNAL", message: "oops" });
    assert.deepEqual(
      events.map(({ method, code }) => `${method} ${code}`),
      ["/sublet.v1.NodeService/Renew NOT_FOUND", "/sublet.v1.NodeService/Release INTERNAL"],
    );
  });
  it("end at their deadline on both sides", async () => {
    const aborted = Promise.withResolvers<unknown>();
    const server = await nodeServer({
      getNode: (_, { signal }) =>
        new Promise(() => signal.addEventListener("abort", () => aborted.resolve(signal.reason))),
    });
    const startMs = performance.now();
    await assert.rejects(nodeClient(server.address).getNode({}, { timeoutMs: 150 }), {
      code: "DEADLINE_EXCEEDED",
    });
    assert.ok(performance.now() - startMs < 2_000);
    assert.ok((await aborted.promise) instanceof SubletError);
  });
  it("are cancelled by their signal, and the handler is told", async () => {
    const aborted = Promise.withResolvers<void>();
    const entered = Promise.withResolvers<void>();
    const server = await nodeServer({
      getNode: (_, { signal }) =>
        new Promise(() => {
          signal.addEventListener("abort", () => aborted.resolve());
          entered.resolve();
        }),
    });
    const controller = new AbortController();
    const call = nodeClient(server.address).getNode({}, { signal: controller.signal });
    const rejected = assert.rejects(call, { code: "ABORTED" });
    await entered.promise;
    controller.abort();
    await rejected;
    await aborted.promise;
  });
  it("fail at once when nobody listens, and say where", async () => {
    const server = await nodeServer({});
    await server.close();
    const startMs = performance.now();
    await assert.rejects(nodeClient(server.address).getNode({}), {
      code: "UNAVAILABLE",
      message: new RegExp(server.address),
    });
    assert.ok(performance.now() - startMs < 2_000);
  });
  it("are refused without a credential, or with one for another callee", async () => {
    let entered = false;
    const server = await nodeServer({
      getNode: async () => {
        entered = true;
        return {};
      },
    });
    const wrong: Identity = {
      ...plainIdentity(0),
      credential: (_, method) => plainIdentity(0).credential("10.0.0.1:1", method),
    };
    const client = connectNode(server.address, { identity: wrong });
    closers.push(() => client.close());
    await assert.rejects(client.getNode({}), { code: "UNAUTHENTICATED" });
    const anonymous = connectNode(server.address, { identity: { ...wrong, credential: async () => "" } });
    closers.push(() => anonymous.close());
    await assert.rejects(anonymous.getNode({}), { code: "UNAUTHENTICATED" });
    assert.equal(entered, false);
  });
  it("go to a service that is not there: another version", async () => {
    const server = await nodeServer({});
    const client = connectController(server.address, { identity: plainIdentity(0) });
    closers.push(() => client.close());
    await assert.rejects(client.listNodes({}), { code: "FAILED_PRECONDITION", message: /version/ });
  });
  it("survive garbage on the port", async () => {
    const server = await nodeServer({ getNode: async () => ({ findings: { ok: "yes" } }) });
    const port = Number(server.address.split(":")[1]);
    for (const bytes of [
      "GET / HTTP/1.1\r\n\r\n",
      "\0".repeat(1000),
      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff",
    ]) {
      const socket = connectTcp(port, "127.0.0.1");
      socket.on("error", () => undefined);
      socket.write(Buffer.from(bytes, "latin1"), () => socket.destroy());
      await once(socket, "close");
    }
    assert.deepEqual({ ...(await nodeClient(server.address).getNode({})).findings }, { ok: "yes" });
  });
});

describe("the report stream", () => {
  const open = async (report: ControllerHandlers["report"]) => {
    const server = await serve({
      listen: "127.0.0.1:0",
      identity: plainIdentity(0),
      trustedUids: [0],
      controller: { ...controllerHandlers, report },
    });
    const client = connectController(server.address, { identity: plainIdentity(7), timeoutMs: 5_000 });
    closers.push(
      () => server.close(),
      () => client.close(),
    );
    return { server, client };
  };

  it("carries offers up and acknowledgements down", async () => {
    const seen: ReportRequest[] = [];
    const { client } = await open(async (requests, send, { caller }) => {
      assert.equal(caller.uid, 7);
      for await (const request of requests) {
        seen.push(request);
        send({ ackedRevision: request.offer?.revision ?? 0 });
        if (seen.length === 3) return;
      }
    });
    const stream = await client.report();
    const acked: number[] = [];
    stream.send({ offer: { node: "n1", revision: 1 }, full: true });
    for await (const response of stream.responses) {
      acked.push(response.ackedRevision);
      stream.send({ offer: { node: "n1", revision: acked.length + 1 } });
    }
    assert.deepEqual(acked, [1, 2, 3]);
    assert.deepEqual(
      seen.map(({ offer, full }) => [offer?.node, full]),
      [
        ["n1", true],
        ["n1", false],
        ["n1", false],
      ],
    );
  });
  it("ends in the handler when the agent goes away", async () => {
    const ended = Promise.withResolvers<void>();
    const first = Promise.withResolvers<void>();
    const { client } = await open(async (requests) => {
      for await (const _request of requests) first.resolve();
      ended.resolve();
    });
    const stream = await client.report();
    stream.send({ full: true });
    await first.promise;
    stream.close();
    await ended.promise;
  });
  it("throws in the agent what the controller said", async () => {
    const { client } = await open(async () => {
      throw new SubletError("PERMISSION_DENIED", "user 7 is no agent");
    });
    const stream = await client.report();
    await assert.rejects(
      async () => {
        for await (const _response of stream.responses) assert.fail("nothing was sent");
      },
      { code: "PERMISSION_DENIED", message: "user 7 is no agent" },
    );
    assert.equal(stream.send({}), false);
  });
  it("throws UNAVAILABLE when the controller dies", async () => {
    const { client, server } = await open(async (requests, send) => {
      for await (const _request of requests) send({ ackedRevision: 1 });
    });
    const stream = await client.report();
    stream.send({ full: true });
    const responses = stream.responses[Symbol.asyncIterator]();
    assert.equal((await responses.next()).value?.ackedRevision, 1);
    const closed = server.close();
    const startMs = performance.now();
    await assert.rejects(responses.next(), { code: "UNAVAILABLE" });
    await closed;
    assert.ok(performance.now() - startMs < 1_000);
    const again = await client.report();
    await assert.rejects(again.responses[Symbol.asyncIterator]().next(), { code: "UNAVAILABLE" });
  });
});

describe("identity by munge, end to end", () => {
  it("takes a call of this user, once", async () => {
    const munged = await startMunged();
    const identity = mungeIdentity({ socket: munged.socket });
    const kept: string[] = [];
    const keeping: Identity = {
      ...identity,
      credential: async (audience, method) => {
        const credential = kept[0] ?? (await identity.credential(audience, method));
        kept.push(credential);
        return credential;
      },
    };
    const server = await serve({
      listen: "127.0.0.1:0",
      identity,
      trustedUids: [0],
      node: {
        ...nodeHandlers,
        getNode: async (_, { caller }) => ({ findings: { uid: String(caller.uid) } }),
      },
    });
    const client = connectNode(server.address, { identity: keeping });
    try {
      assert.equal((await client.getNode({})).findings.uid, String(process.getuid?.()));
      await assert.rejects(client.getNode({}), { code: "UNAUTHENTICATED", message: /used before/ });
    } finally {
      client.close();
      await server.close();
      await munged.stop();
    }
  });
});
