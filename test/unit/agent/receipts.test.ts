/** Interference receipts: sums are exact piece by piece, bounded, and tell pressure with and without guests apart. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { maxKept, maxLines, type PressureTotals, ReceiptBook } from "../../../agent/receipts/book.ts";
import { fitReceipts, mayRead } from "../../../agent/receipts/keep.ts";
import { encodeLocalResponse } from "../../../src/rpc/local.ts";
import type { ReceiptMessage } from "../../../src/rpc/messages.ts";
import { owner } from "./setup.ts";

const job = { jobId: 7, uid: 5000, consent: "share" as const };

function guest(id: string, cores: readonly number[] = [1], memoryBytes = 100) {
  return { id, kind: "function" as const, class: "shared" as const, cores, memoryBytes, owner };
}

/** A book whose job waits 10 % of the time alone, and 30 % from `loudFromMs` on. */
function bookAt(loudFromMs = Number.POSITIVE_INFINITY, of: PressureTotals["of"] = "job") {
  const clock = { nowMs: 0, gone: false };
  const book = new ReceiptBook("n1", () => {
    if (clock.gone) return undefined;
    const loudMs = Math.max(0, clock.nowMs - loudFromMs);
    const cpuUs = (clock.nowMs - loudMs) * 100 + loudMs * 300;
    return { of, watchedMs: clock.nowMs, cpuUs, memoryUs: 7 * clock.nowMs, ioUs: 5 };
  });
  const at = (nowMs: number, jobs: readonly (typeof job)[], guests: readonly ReturnType<typeof guest>[]) => {
    clock.nowMs = nowMs;
    return book.observe({ jobs, guests }, nowMs, 1_000_000 + nowMs);
  };
  return { book, at, clock };
}

test("a guest counts while both are there, in core seconds and byte seconds", () => {
  const { at } = bookAt(2000);
  at(0, [], [guest("a")]);
  at(1000, [job], [guest("a")]);
  at(2000, [job], [guest("a"), guest("b", [2, 3], 1000)]);
  at(3500, [job], [guest("b", [2, 3], 1000)]);
  at(4000, [job], []);
  const [receipt] = at(5000, [], [guest("c")]);
  assert.ok(receipt !== undefined);
  assert.deepEqual(
    receipt.guests.map((each) => [each.leaseId, each.coreSeconds, each.byteSeconds, each.uid]),
    [
      ["a", 2.5, 250, owner.uid],
      ["b", 4, 2000, owner.uid],
    ],
  );
  assert.deepEqual([receipt.fromUnixMs, receipt.toUnixMs, receipt.ended], [1_001_000, 1_005_000, true]);
  assert.deepEqual([receipt.consent, receipt.uid, receipt.pressureOf], ["CONSENT_SHARE", 5000, "job"]);
});

const waited = (durationMs: number, cpuUs: number) => ({ durationMs, watchedMs: durationMs, cpuUs });

test("waiting with guests and without are told apart", () => {
  const { at } = bookAt(1000);
  at(0, [job], []);
  at(1000, [job], [guest("a")]);
  at(2000, [job], [guest("a"), guest("b")]);
  at(3000, [job], []);
  const [receipt] = at(3500, [], []);
  assert.deepEqual(receipt?.alone, {
    ...waited(1500, 1000 * 100 + 500 * 300),
    memoryWatchedMs: 1500,
    memoryUs: 1500 * 7,
    ioUs: 0,
  });
  assert.deepEqual(receipt?.beside, {
    ...waited(2000, 2000 * 300),
    memoryWatchedMs: 2000,
    memoryUs: 2000 * 7,
    ioUs: 0,
  });
});

test("tasks tell of cores alone: memory is not watched, which is not the same as no waiting", () => {
  const { at } = bookAt(0, "tasks");
  at(0, [job], [guest("a")]);
  const [receipt] = at(1000, [], []);
  assert.equal(receipt?.pressureOf, "tasks");
  const none = { memoryWatchedMs: 0, memoryUs: 0, ioUs: 0 };
  assert.deepEqual(receipt?.beside, { ...waited(1000, 300_000), ...none });
});

test("when the job's cgroup is gone, what was measured last stands, and what came after was not watched", () => {
  const { book, at, clock } = bookAt();
  at(0, [job], [guest("a")]);
  clock.nowMs = 1000;
  book.measure(1000);
  clock.gone = true;
  const [receipt] = at(2000, [], [guest("a")]);
  assert.equal(receipt?.pressureOf, "job");
  const { durationMs, watchedMs, cpuUs } = receipt?.beside ?? {};
  assert.deepEqual([durationMs, watchedMs, cpuUs], [2000, 1000, 100_000]);
});

test("what the guard did counts for the jobs beside that guest", () => {
  const { book, at } = bookAt();
  at(0, [job], [guest("a")]);
  book.guardActed("freeze", "a");
  book.guardActed("freeze", "a");
  book.guardActed("evict", "gone");
  assert.deepEqual(book.of(7, 10, 10)[0]?.actions, [{ action: "freeze", count: 2 }]);
});

test("a job that goes on has sums so far, and reading them does not change them", () => {
  const { book, at } = bookAt();
  at(0, [job], [guest("a")]);
  assert.equal(book.of(7, 500, 500)[0]?.ended, false);
  assert.equal(book.of(7, 1000, 1000)[0]?.guests[0]?.coreSeconds, 1);
  assert.equal(at(2000, [], [])[0]?.guests[0]?.coreSeconds, 2);
  assert.deepEqual(book.of(8, 0, 0), []);
});

test("lines and receipts are bounded; what is left out is in the sums", () => {
  const { book, at } = bookAt();
  for (let i = 0; i < maxLines + 100; i++) at(i * 1000, [job], [guest(`g${i}`)]);
  const [receipt] = at((maxLines + 100) * 1000, [], []);
  assert.equal(receipt?.guests.length, maxLines + 1);
  assert.deepEqual(receipt.guests.at(-1)?.leases, 100);
  const sum = receipt.guests.reduce((seconds, each) => seconds + each.coreSeconds, 0);
  assert.equal(Math.round(sum), maxLines + 100);
  for (let i = 0; i < 2 * maxKept; i++) {
    at(1e6 + i, [{ ...job, jobId: 100 + i }], []);
    at(1e6 + i, [], []);
  }
  assert.equal(book.kept.length, maxKept);
  const { receipts, leftOut } = fitReceipts(Array(20).fill(receipt));
  assert.equal(receipts.length + leftOut, 20);
  assert.ok(receipts.length > 1 && leftOut > 0);
  encodeLocalResponse({ id: 1, body: "receipts", receipts: { receipts, leftOut } });
});

test("receipts are for the job's owner and those who see all; one without an owner for these only", () => {
  const receipt = { uid: 5000 } as ReceiptMessage;
  assert.equal(mayRead(receipt, { uid: 5000, all: false }), true);
  assert.equal(mayRead(receipt, { uid: 5001, all: false }), false);
  assert.equal(mayRead(receipt, { uid: 5001, all: true }), true);
  assert.equal(mayRead({ uid: 0 } as ReceiptMessage, { uid: 0, all: false }), false);
});

test("whatever comes and goes, each guest's sum is the time in which it was beside the job", () => {
  const step = fc.record({
    afterMs: fc.integer({ min: 0, max: 500 }),
    here: fc.subarray(["a", "b", "c"]),
    job: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const { at } = bookAt();
      let nowMs = 0;
      let last: (typeof steps)[number] | undefined;
      let expected = new Map<string, number>();
      const check = (receipts: readonly ReceiptMessage[]): void => {
        for (const receipt of receipts) {
          const sums = new Map<string, number>();
          for (const each of receipt.guests)
            sums.set(each.leaseId, (sums.get(each.leaseId) ?? 0) + each.coreSeconds);
          for (const [id, ms] of expected) assert.ok(Math.abs((sums.get(id) ?? 0) - ms / 1000) < 1e-9);
          assert.equal(
            receipt.toUnixMs - receipt.fromUnixMs,
            Math.round((receipt.alone?.durationMs ?? 0) + (receipt.beside?.durationMs ?? 0)),
          );
          expected = new Map();
        }
      };
      for (const each of [...steps, { afterMs: 1, here: [], job: false }]) {
        nowMs += each.afterMs;
        if (last?.job === true)
          for (const id of last.here) expected.set(id, (expected.get(id) ?? 0) + each.afterMs);
        check(
          at(
            nowMs,
            each.job ? [job] : [],
            each.here.map((id) => guest(id)),
          ),
        );
        last = each;
      }
    }),
    { numRuns: 500 },
  );
});
