/** The client against a server that answers what each test says, over a real unix socket. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, it } from "node:test";
import { connectAgent } from "../../../src/client/agent.ts";
import { decodeLocalRequest, encodeLocalResponse, FrameReader } from "../../../src/rpc/local.ts";
import type { LocalRequest, LocalRevoked } from "../../../src/rpc/messages.ts";

type Answer = (request: LocalRequest, socket: Socket) => void;

const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0).reverse()) cleanup();
});

async function agent(answer: Answer): Promise<{ socket: string; server: Server; peers: Set<Socket> }> {
  const folder = mkdtempSync(join(tmpdir(), "sublet-agent-client-"));
  const socket = join(folder, "agent.sock");
  const peers = new Set<Socket>();
  const server = createServer((peer) => {
    peers.add(peer);
    const reader = new FrameReader();
    peer.on("error", () => undefined);
    peer.on("data", (chunk: Buffer) => {
      for (const body of reader.push(chunk)) answer(decodeLocalRequest(body), peer);
    });
  });
  cleanups.push(() => {
    for (const peer of peers) peer.destroy();
    server.close();
    rmSync(folder, { recursive: true });
  });
  server.listen(socket);
  await once(server, "listening");
  return { socket, server, peers };
}

describe("client of the agent", () => {
  it("leases, renews, releases, lists and asks for the status", async () => {
    const { socket } = await agent((request, peer) => {
      const { id } = request;
      if (request.body === "lease")
        peer.write(
          encodeLocalResponse({
            id,
            leased: {
              lease: { id: "l1", node: "n2", cores: [request.lease.request?.cores ?? 0] },
              endpoint: { tcpAddress: "10.77.0.12:5", token: Buffer.from([1, 2]) },
            },
          }),
        );
      else if (request.body === "renew")
        peer.write(encodeLocalResponse({ id, lease: { id: request.renew.leaseId, remainingMs: 9 } }));
      else if (request.body === "release")
        peer.write(
          encodeLocalResponse({ id, lease: { id: `${request.release.leaseId}@${request.release.node}` } }),
        );
      else if (request.body === "list")
        peer.write(encodeLocalResponse({ id, leases: { leases: [{ id: "a" }, { id: "b" }] } }));
      else
        peer.write(encodeLocalResponse({ id, status: { controllerConnected: true, findings: { a: "b" } } }));
    });
    const client = await connectAgent({ socket });
    const leased = await client.lease({ kind: "LEASE_KIND_FUNCTION", cores: 2 }, { jobId: 4 });
    assert.deepEqual([leased.lease?.id, leased.lease?.cores], ["l1", [2]]);
    assert.deepEqual(leased.endpoint?.token, Buffer.from([1, 2]));
    assert.equal((await client.renew("l1", "n2")).remainingMs, 9);
    assert.equal((await client.release("l1", "n2")).id, "l1@n2");
    assert.deepEqual(
      (await client.list()).map(({ id }) => id),
      ["a", "b"],
    );
    assert.equal((await client.status()).controllerConnected, true);
    client.close();
    assert.equal(await client.closed, undefined);
    await assert.rejects(client.list(), { code: "ABORTED" });
  });
  it("matches answers that come in another order", async () => {
    const held: (() => void)[] = [];
    const { socket } = await agent((request, peer) => {
      if (request.body !== "renew") return;
      const { id, renew } = request;
      held.push(() => peer.write(encodeLocalResponse({ id, lease: { id: renew.leaseId } })));
      if (held.length === 3) for (const send of held.reverse()) send();
    });
    const client = await connectAgent({ socket });
    const renewed = await Promise.all(["x", "y", "z"].map((id) => client.renew(id, "")));
    assert.deepEqual(
      renewed.map(({ id }) => id),
      ["x", "y", "z"],
    );
    client.close();
  });
  it("throws what the agent refuses, with its code", async () => {
    const { socket } = await agent(({ id }, peer) => {
      peer.write(encodeLocalResponse({ id, code: 8, message: "2 cores asked, 1 spare" }));
    });
    const client = await connectAgent({ socket });
    await assert.rejects(client.lease({}), {
      name: "SubletError",
      code: "RESOURCE_EXHAUSTED",
      message: "2 cores asked, 1 spare",
    });
    client.close();
  });
  it("hands notices on", async () => {
    const { socket } = await agent(({ id }, peer) => {
      peer.write(
        encodeLocalResponse({
          revoked: { leaseId: "l1", state: "LEASE_STATE_REVOKED", reason: "REASON_BATCH_JOB" },
        }),
      );
      peer.write(encodeLocalResponse({ id, leases: {} }));
    });
    const notices: LocalRevoked[] = [];
    const client = await connectAgent({ socket, onRevoked: (notice) => notices.push(notice) });
    assert.deepEqual(await client.list(), []);
    assert.deepEqual(
      notices.map((notice) => ({ ...notice })),
      [{ leaseId: "l1", state: "LEASE_STATE_REVOKED", reason: "REASON_BATCH_JOB" }],
    );
    client.close();
  });
  it("gives up at its deadline, and takes no harm from the answer that comes late", async () => {
    let late: (() => void) | undefined;
    const { socket } = await agent(({ id, body }, peer) => {
      const send = (): boolean => peer.write(encodeLocalResponse({ id, leases: {} }));
      if (late === undefined && body === "list") late = send;
      else {
        late?.();
        send();
      }
    });
    const client = await connectAgent({ socket });
    await assert.rejects(client.list({ timeoutMs: 50 }), { code: "DEADLINE_EXCEEDED" });
    assert.deepEqual(await client.list(), []);
    const abort = new AbortController();
    abort.abort();
    await assert.rejects(client.list({ signal: abort.signal }));
    client.close();
  });
  it("fails what waits when the agent dies, and says so", async () => {
    const { socket } = await agent((_, peer) => peer.destroy());
    const client = await connectAgent({ socket });
    await assert.rejects(client.list(), { code: "UNAVAILABLE" });
    assert.equal((await client.closed)?.code, "UNAVAILABLE");
  });
  it("ends on garbage", async () => {
    const { socket } = await agent((_, peer) => peer.write(Buffer.alloc(64, 0xff)));
    const client = await connectAgent({ socket });
    await assert.rejects(client.list(), { code: "INTERNAL", message: /garbage/ });
  });
  it("says that no agent is there, and where it looked", async () => {
    await assert.rejects(connectAgent({ socket: "/nonexistent/agent.sock" }), {
      code: "UNAVAILABLE",
      message: /\/nonexistent\/agent\.sock: no agent listens there; start sublet-agent/,
    });
  });
});
