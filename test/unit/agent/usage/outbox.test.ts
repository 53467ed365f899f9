import assert from "node:assert/strict";
import { test } from "node:test";
import { Outbox } from "../../../../agent/usage/outbox.ts";
import { usageKey } from "../../../../src/common/nouns.ts";
import { record } from "../../accounting/records.ts";

const keys = (outbox: Outbox, controller: string): string[] => outbox.next(controller, 10).map(usageKey);

test("a record is kept until every controller has acknowledged it", () => {
  const outbox = new Outbox(["a", "b"], 1e6);
  outbox.add(record(), 5, true);
  outbox.add(record({ slice: 1 }), 7, true);
  assert.deepEqual(outbox.acked("a", ["L1/0", "none/0"]), ["L1/0"]);
  assert.deepEqual(outbox.acked("a", ["L1/0"]), [], "twice is no news");
  assert.deepEqual([keys(outbox, "a"), keys(outbox, "b")], [["L1/1"], ["L1/0", "L1/1"]]);
  assert.equal(outbox.oldestMs, 5);
  outbox.acked("b", ["L1/0"]);
  assert.deepEqual([outbox.size, outbox.oldestMs], [1, 7]);
});

test("what is not on the disk yet is not sent", () => {
  const outbox = new Outbox(["a"], 1e6);
  outbox.add(record(), 0, false);
  assert.deepEqual(keys(outbox, "a"), []);
  outbox.setSendable("L1/0");
  assert.deepEqual(outbox.next("a", 1), [record()]);
});

test("it is bounded: the oldest goes, and is lost only if no controller has it", () => {
  const outbox = new Outbox(["a", "b"], 4_000);
  for (let slice = 0; slice < 100; slice++) {
    outbox.add(record({ slice }), slice, true);
    if (slice < 50) outbox.acked("a", [`L1/${slice}`]);
  }
  assert.ok(outbox.bytes <= 4_000 && outbox.size > 3, `${outbox.size} records of ${outbox.bytes} bytes`);
  assert.equal(outbox.lost.records, 100 - 50 - outbox.size);
  assert.equal(outbox.lost.coreSeconds, 200 * outbox.lost.records);
  assert.equal(keys(outbox, "b").at(-1), "L1/99");
});

test("controllers that are not configured any more are not waited for", () => {
  const outbox = new Outbox(["b"], 1e6);
  outbox.add(record(), 0, true, ["a", "b"]);
  assert.equal(outbox.size, 0);
  outbox.add(record({ slice: 1 }), 0, true, ["a"]);
  assert.deepEqual(
    [...outbox.texts()].map(({ acked }) => acked),
    [[]],
  );
});

test("controllers come and go", () => {
  const outbox = new Outbox(["a"], 1e6);
  outbox.add(record(), 0, true);
  outbox.setControllers(["a", "b"]);
  outbox.acked("a", ["L1/0"]);
  assert.deepEqual([keys(outbox, "a"), keys(outbox, "b")], [[], ["L1/0"]], "a new one is told what is kept");
  outbox.setControllers(["a"]);
  assert.equal(outbox.size, 0);
});
