import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { logSink } from "../../../src/common/log.ts";

const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 20));

test("lines arrive whole and in order", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "sublet-log-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, "log");
  const fd = openSync(path, "a");
  const sink = logSink(fd);
  for (let i = 0; i < 1000; i++) sink.write(`line ${i}\n`);
  const written = (): string[] => readFileSync(path, "utf8").split("\n").filter(Boolean);
  for (let tries = 0; tries < 100 && written().length < 1000; tries++) await turn();
  assert.deepEqual(
    written(),
    Array.from({ length: 1000 }, (_, i) => `line ${i}`),
  );
  sink.write("first");
  sink.write(" and last\n");
  sink.flushSync();
  await turn();
  assert.equal(readFileSync(path, "utf8").match(/last/g)?.length, 1);
  closeSync(fd);
});

test("a full disk neither blocks nor breaks: lines are dropped", async () => {
  const fd = openSync("/dev/full", "a");
  const sink = logSink(fd);
  for (let i = 0; i < 100; i++) {
    sink.write("x".repeat(100_000));
    if (i % 10 === 0) await turn();
    sink.flushSync();
  }
  await turn();
  closeSync(fd);
});

test("a pipe whose reader has stopped does not keep a process from ending", async (t) => {
  const module = new URL("../../../src/common/log.ts", import.meta.url).href;
  const program = `
    const { logSink } = await import(${JSON.stringify(module)});
    const sink = logSink(2);
    for (let i = 0; i < 100; i++) sink.write("x".repeat(5000));
    setTimeout(() => { sink.flushSync(); process.exit(7); }, 200);
  `;
  // Nobody reads its standard error: the pipe is full after 64 KiB. (Node's own "pipe" is a pair of sockets.)
  const folder = mkdtempSync(join(tmpdir(), "sublet-log-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, "pipe");
  execFileSync("mkfifo", [path]);
  const pipe = openSync(path, "r+");
  const child = spawn(process.execPath, ["--input-type=module", "--eval", program], {
    stdio: ["ignore", "ignore", pipe],
  });
  t.after(() => {
    child.kill("SIGKILL");
    closeSync(pipe);
  });
  const patience = setTimeout(() => child.kill("SIGKILL"), 20_000);
  const status = await new Promise((resolve) => child.on("exit", resolve));
  clearTimeout(patience);
  assert.equal(status, 7);
});
