import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { peerCredential } from "../../../src/rpc/peer.ts";

describe("peer credential", () => {
  it("names process, user and group at the other end of a unix socket", async () => {
    const folder = await mkdtemp(join(tmpdir(), "sublet-peer-"));
    const server = createServer();
    try {
      server.listen(join(folder, "s"));
      await once(server, "listening");
      const client = connect(join(folder, "s"));
      const [socket] = (await once(server, "connection")) as [Socket];
      const self = { pid: process.pid, uid: process.getuid?.(), gid: process.getgid?.() };
      assert.deepEqual(peerCredential(socket), self);
      client.destroy();
      socket.destroy();
      assert.throws(() => peerCredential(socket), { code: "UNAUTHENTICATED" });
    } finally {
      server.close();
      await rm(folder, { recursive: true });
    }
  });
  it("names another user", async (t) => {
    if (process.getuid?.() !== 0) return t.skip("needs root to become another user");
    const folder = await mkdtemp(join(tmpdir(), "sublet-peer-"));
    const server = createServer();
    try {
      chmodSync(folder, 0o755);
      server.listen({ path: join(folder, "s"), writableAll: true });
      await once(server, "listening");
      const seen = once(server, "connection").then(([socket]) => {
        const credential = peerCredential(socket as Socket);
        (socket as Socket).destroy();
        return credential;
      });
      const script = `require("net").connect(${JSON.stringify(join(folder, "s"))}).on("close", () => process.exit(0))`;
      const child = spawn("/proc/self/exe", ["-e", script], { uid: 20_077, gid: 20_078, stdio: "inherit" });
      const ended = once(child, "exit");
      const credential = await seen;
      assert.deepEqual(credential, { pid: child.pid, uid: 20_077, gid: 20_078 });
      await ended;
    } finally {
      server.close();
      await rm(folder, { recursive: true });
    }
  });
  it("refuses a socket that is no unix socket", async () => {
    const server = createServer();
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as { port: number };
    const client = connect(port, "127.0.0.1");
    const [socket] = (await once(server, "connection")) as [Socket];
    assert.throws(() => peerCredential(socket), { code: "UNAUTHENTICATED" });
    client.destroy();
    socket.destroy();
    server.close();
  });
});
