/** Viewers that do not read: real sockets that stand still cost one event, delay nobody, and get what is true when they read again. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { after, before, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Viewers } from "../../../src/dashboard/viewers.ts";

const stalled = 50;
const eventBytes = 200 * 1024;
const mib = 2 ** 20;

let nowMs = 0;
let latest = 0;
const viewers = new Viewers({ latest: () => `latest ${latest}`, nowMs: () => nowMs });
const server = createServer((request, response) => {
  viewers.add(request, response, "summary,nodes", "first");
});
const sockets: Socket[] = [];

/** A viewer that reads nothing before `resume`. */
async function viewer(): Promise<Socket> {
  const { port } = server.address() as AddressInfo;
  const before = viewers.size;
  const socket = connect(port, "127.0.0.1");
  socket.on("error", () => undefined);
  sockets.push(socket);
  socket.pause();
  socket.write("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
  while (viewers.size === before) await sleep(5);
  return socket;
}

before(async () => {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
});
after(() => {
  viewers.close();
  for (const socket of sockets) socket.destroy();
  server.close();
});

describe("viewers that stop reading", () => {
  it("cost one event each, delay nobody, and hear what is true when they read again", async () => {
    for (let i = 0; i < stalled; i++) await viewer();
    const reader = await viewer();
    let read = "";
    reader.on("data", (part: Buffer) => {
      read = (read + part.toString("latin1")).slice(-2 * eventBytes);
    });
    reader.resume();
    const events = 150;
    let mostWaiting = 0;
    for (let i = 1; i <= events; i++) {
      latest = i;
      viewers.tell("summary", `${"x".repeat(eventBytes)} event ${i}`);
      const endMs = performance.now() + 10_000;
      while (!read.includes(` event ${i}\n`)) {
        assert.ok(performance.now() < endMs, `the one who reads did not hear event ${i}`);
        await sleep(1);
      }
      mostWaiting = Math.max(mostWaiting, viewers.waitingBytes);
    }
    const sentMib = (stalled * events * eventBytes) / mib;
    const mostMib = (stalled * (256 * 1024 + 2 * eventBytes)) / mib;
    assert.ok(mostWaiting < mostMib * mib, `${mostWaiting / mib} MiB wait of ${sentMib} MiB told`);
    assert.ok(mostWaiting > 0, "the kernel took everything: nobody stood still");
    assert.equal(viewers.size, stalled + 1);

    const late = sockets[0] as Socket;
    let heard = "";
    late.on("data", (part: Buffer) => {
      heard += part.toString("latin1");
    });
    late.resume();
    const endMs = performance.now() + 10_000;
    while (!heard.includes(`data: latest ${events}\n`)) {
      assert.ok(performance.now() < endMs, "who reads again was not told how things are");
      await sleep(5);
    }
    const told = heard.match(/ event \d+\n/g)?.length ?? 0;
    assert.ok(told < events / 2, `${told} of ${events} events were kept for it`);
    viewers.tell("summary", "news");
    while (!heard.includes("data: news\n")) {
      assert.ok(performance.now() < endMs, "who reads again was not told what came after");
      await sleep(5);
    }
  });

  it("are let go after two minutes, those who read are not", async () => {
    nowMs += 119_000;
    viewers.heartbeat();
    assert.equal(viewers.size, stalled + 1);
    nowMs += 2_000;
    viewers.heartbeat();
    assert.equal(viewers.size, 2);
  });
});
