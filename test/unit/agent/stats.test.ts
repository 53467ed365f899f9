import assert from "node:assert/strict";
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { bucketCount, leaseStats, readPage } from "../../../agent/executor/stats.ts";
import { outcomes } from "../../../src/common/outcomes.ts";

const worker = 1024;

/** A page as an executor of two workers writes it. */
function page(fill: (set: (worker: number, offset: number, value: number) => void) => void): Buffer {
  const bytes = Buffer.alloc(4096 + 64 * worker);
  bytes.writeUInt32LE(0x59424c53, 0);
  bytes.writeUInt16LE(1, 4);
  bytes.writeUInt16LE(2, 6);
  bytes.writeUInt32LE(worker, 8);
  fill((number, offset, value) => bytes.writeBigUInt64LE(BigInt(value), 4096 + number * worker + offset));
  return bytes;
}

/** A file in the place of the starter's memory, as /proc shows it. */
function shown(t: TestContext, bytes: Buffer): { path: string; fd: number } {
  const folder = mkdtempSync(join(tmpdir(), "sublet-stats-"));
  writeFileSync(join(folder, "page"), bytes);
  const fd = openSync(join(folder, "page"), "r+");
  t.after(() => {
    closeSync(fd);
    rmSync(folder, { recursive: true });
  });
  return { path: `/proc/${process.pid}/fd/${fd}`, fd };
}

test("a page is summed over its workers, by outcome", () => {
  const counts = readPage(
    page((set) => {
      set(0, 0, 1000);
      set(1, 0, 1);
      set(1, 8 * outcomes.indexOf("stack_overflow"), 3);
      set(0, 256, 77);
      set(1, 272, 5000);
      set(0, 320 + 8 * 10, 7);
      set(1, 672 + 8 * (bucketCount - 1), 9);
    }),
  );
  assert.equal(counts?.outcomes[0], 1001);
  assert.equal(counts?.outcomes[15], 3);
  assert.deepEqual([counts?.inBytes, counts?.runNs, counts?.run[10]], [77, 5000, 7]);
  assert.equal(counts?.answer[bucketCount - 1], 9);
});

test("what is no page counts nothing", () => {
  assert.equal(readPage(Buffer.alloc(0)), undefined);
  assert.equal(readPage(Buffer.alloc(8192)), undefined);
  const newer = page(() => undefined);
  newer.writeUInt16LE(2, 4);
  assert.equal(readPage(newer), undefined);
});

test("what a lease has counted stays when it ends", (t) => {
  const { path, fd } = shown(
    t,
    page((set) => set(0, 0, 10)),
  );
  const stats = leaseStats(() => 1000);
  stats.open("a", path, 2, 0);
  assert.equal(stats.invocations("a"), 10);
  writeSync(
    fd,
    page((set) => set(0, 0, 25)),
    0,
    undefined,
    0,
  );
  stats.close("a"); // Reads once more.
  assert.equal(stats.invocations("a"), 0);
  assert.equal(stats.totals().outcomes[0], 25);
});

test("a guest that lies is not believed", (t) => {
  const { path, fd } = shown(
    t,
    page((set) => set(0, 0, 10)),
  );
  const stats = leaseStats(() => 1000);
  stats.open("a", path, 2, 0);
  assert.equal(stats.totals().outcomes[0], 10);
  for (const lie of [3, 1e15]) {
    writeSync(
      fd,
      page((set) => set(0, 0, lie)),
      0,
      undefined,
      0,
    );
    assert.equal(stats.totals().outcomes[0], 10);
  }
});

test("only what the starter shows is opened", (t) => {
  const { path } = shown(
    t,
    page((set) => set(0, 0, 10)),
  );
  const stats = leaseStats(() => 1000);
  for (const wrong of [undefined, "/etc/passwd", `${path}/../../../etc/passwd`, "/proc/1/fd/99999"])
    stats.open("a", wrong, 2, 0);
  assert.equal(stats.invocations("a"), 0);
});
