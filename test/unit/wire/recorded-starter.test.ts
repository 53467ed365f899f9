/**
 * Frames between agent and starter, and an executor's page of statistics, as they were once written
 * (test/native/wire/recorded.txt, whose other side is test/native/wire/recorded_test.c): today's agent makes the same
 * START, and reads what was recorded.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { connectStarter, type StartOrder } from "../../../agent/executor/starter.ts";
import { bucketCount, readPage } from "../../../agent/executor/stats.ts";
import { outcomes } from "../../../src/common/outcomes.ts";

const recorded = new Map(
  readFileSync(new URL("../../native/wire/recorded.txt", import.meta.url), "utf8")
    .split("\n")
    .filter((line) => /^[a-z]/.test(line))
    .map((line) => line.split(" ") as [string, string]),
);

function frame(name: string): Buffer {
  const hex = recorded.get(name);
  assert.ok(hex !== undefined, `${name} is recorded`);
  return Buffer.from(hex, "hex");
}

const order: StartOrder = {
  leaseId: "n2-1",
  uid: 60001,
  gid: 60002,
  cgroups: ["/sys/fs/cgroup/sublet/n2-1"],
  unixPath: "/run/sublet/n2-1.sock",
  tcpAddress: "10.77.0.12",
  kind: "function",
  cores: [2, 3],
  ownerUid: 1000,
  memoryBytes: 2 ** 30,
  pidsMax: 64,
  token: "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
  spinUs: 200,
  meta: '[1,"n2-1"]',
  executor: "/usr/libexec/sublet/sublet-executor",
  fabric: "none",
  pool: "pool-3",
};

test("START is what it was; answers are understood", async (t) => {
  const answers = [["starter_started"], ["starter_refused"], ["starter_exited", "starter_listed"]];
  const asked: Buffer[] = [];
  const dir = mkdtempSync(join(tmpdir(), "sublet-recorded-"));
  const server = createServer((socket: Socket) => {
    socket.on("data", (bytes: Buffer) => {
      asked.push(bytes);
      for (const name of answers.shift() ?? []) socket.write(frame(name));
    });
  });
  server.listen(join(dir, "starter.sock"));
  await once(server, "listening");
  const exited: unknown[] = [];
  const starter = await connectStarter({
    socketPath: join(dir, "starter.sock"),
    spawn: undefined,
    timeoutMs: 5000,
    onExited: (lease, status) => exited.push([lease, status]),
    onLost: () => undefined,
  });
  t.after(() => {
    starter.close();
    server.close();
    rmSync(dir, { recursive: true });
  });
  assert.deepEqual(await starter.start(order, 5000), { pid: 4711, port: 40000, stats: "/proc/77/fd/9" });
  assert.equal(asked[0]?.toString("latin1"), frame("starter_start").toString("latin1"));
  await assert.rejects(starter.start(order, 5000), /uid must stand there once/);
  assert.deepEqual(await starter.list(5000), [
    { leaseId: "n2-1", pid: 4711, port: 40000, meta: order.meta, stats: "/proc/77/fd/9" },
  ]);
  assert.deepEqual(exited, [["n2-1", 256]]);
});

test("a page of statistics is understood", () => {
  const page = Buffer.alloc(4096 + 1024);
  frame("stats_header").copy(page);
  frame("stats_worker").copy(page, 4096);
  const counts = readPage(page);
  assert.equal(counts?.outcomes[outcomes.indexOf("ok")], 1000);
  assert.equal(counts?.outcomes[outcomes.indexOf("left_threads")], 3);
  const { inBytes, outBytes, runNs, answerNs, polledNs, sleeps, restarts } = counts ?? {};
  assert.deepEqual(
    [inBytes, outBytes, runNs, answerNs, polledNs, sleeps, restarts],
    [10, 5 * 2 ** 32, 30, 40, 50, 60, 70],
  );
  assert.deepEqual([counts?.run[0], counts?.run[bucketCount - 1]], [80, 90]);
  assert.deepEqual([counts?.answer[0], counts?.answer[bucketCount - 1]], [100, 110]);
});
