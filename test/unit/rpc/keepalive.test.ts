/** A network that swallows everything: both ends notice, though nobody closed anything. Takes about 10 s. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, connect as connectTcp, createServer, type Socket } from "node:net";
import { it } from "node:test";
import { connectController } from "../../../src/rpc/client.ts";
import type { Identity } from "../../../src/rpc/identity.ts";
import { type ControllerHandlers, serve } from "../../../src/rpc/server.ts";

const identity: Identity = { credential: async () => "root", verify: async () => ({ uid: 0, gid: 0 }) };
const unused = async (): Promise<never> => assert.fail("not used");

it("a peer behind a dead network is noticed at both ends, and close() does not wait for it", async () => {
  const agentGone = Promise.withResolvers<void>();
  const stuck = Promise.withResolvers<void>();
  const handlers: ControllerHandlers = {
    report: async (requests, send) => {
      for await (const _request of requests) send({ ackedRevision: 1 });
      agentGone.resolve();
    },
    requestLease: () =>
      new Promise(() => {
        stuck.resolve();
      }),
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
  const server = await serve({ listen: "127.0.0.1:0", identity, trustedUids: [0], controller: handlers });
  const pairs: [Socket, Socket][] = [];
  const proxy = createServer((near) => {
    const far = connectTcp(Number(server.address.split(":")[1]), "127.0.0.1");
    for (const socket of [near, far]) socket.on("error", () => undefined);
    near.pipe(far);
    far.pipe(near);
    pairs.push([near, far]);
  }).listen(0, "127.0.0.1");
  await once(proxy, "listening");
  const client = connectController(`127.0.0.1:${(proxy.address() as AddressInfo).port}`, { identity });
  const stream = await client.report();
  stream.send({});
  const responses = stream.responses[Symbol.asyncIterator]();
  await responses.next();
  for (const [near, far] of pairs) {
    near.unpipe();
    far.unpipe();
  }
  const startMs = performance.now();
  await Promise.all([assert.rejects(responses.next(), { code: "UNAVAILABLE" }), agentGone.promise]);
  const tookMs = performance.now() - startMs; // 9 s; TCP alone would take many minutes
  assert.ok(tookMs < 90_000, `noticed after ${tookMs} ms`);

  const direct = connectController(server.address, { identity });
  const call = assert.rejects(direct.requestLease({}, { timeoutMs: 60_000 }));
  await stuck.promise;
  const closeMs = performance.now();
  await server.close();
  assert.ok(
    performance.now() - closeMs < 20_000,
    "a handler that hangs does not hold close() for its deadline",
  );
  await call;
  client.close();
  direct.close();
  proxy.close();
  for (const [near, far] of pairs) {
    near.destroy();
    far.destroy();
  }
});
