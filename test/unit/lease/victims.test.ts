import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Lease } from "../../../src/common/nouns.ts";
import { cheapestFirst, type Victim, victimsFor } from "../../../src/lease/victims.ts";

function victim(id: string, changes: Partial<Lease> = {}, facts: Partial<Victim> = {}): Victim {
  const lease: Lease = {
    id,
    kind: "function",
    state: "ACTIVE",
    reason: undefined,
    class: "idle",
    cores: [],
    memoryBytes: 10,
    owner: { uid: 1, gid: 1, jobId: 1, node: "n1" },
    termMs: 1000,
    expiresAtMs: 1000,
    ...changes,
  };
  return { lease, starting: false, touchedBytes: 0, startedAtMs: 0, ...facts };
}
const ids = (victims: readonly Victim[]): string => victims.map(({ lease }) => lease.id).join(" ");
const size = ({ lease }: Victim): number => lease.memoryBytes;

test("the cheapest goes first: what starts, functions, copies, what can move, contents; then the newest", () => {
  const region = { kind: "region" as const };
  const victims = [
    victim("content-much", region, { touchedBytes: 9 }),
    victim("content-little", region, { touchedBytes: 1 }),
    victim("moves", { ...region, durability: "evacuated" }, { touchedBytes: 99 }),
    victim("copy", { ...region, durability: "mirrored" }, { touchedBytes: 99 }),
    victim("old", {}, { startedAtMs: 1 }),
    victim("new", {}, { startedAtMs: 2 }),
    victim("starts", region, { starting: true }),
  ];
  assert.equal(ids(cheapestFirst(victims)), "starts new old copy moves content-little content-much");
});

test("no more go than are needed", () => {
  const small = victim("small", { memoryBytes: 1 }, { startedAtMs: 3 });
  const middle = victim("middle", { memoryBytes: 5 }, { startedAtMs: 2 });
  const large = victim("large", { memoryBytes: 20 }, { startedAtMs: 1 });
  const all = [large, small, middle];
  assert.equal(ids(victimsFor(all, 0, size)), "");
  assert.equal(ids(victimsFor(all, 1, size)), "small");
  assert.equal(ids(victimsFor(all, 6, size)), "small middle");
  assert.equal(ids(victimsFor(all, 7, size)), "large");
  assert.equal(ids(victimsFor(all, 21, size)), "small large");
  assert.equal(ids(victimsFor(all, 100, size)), "small middle large");
});

test("whatever there is: it is enough where it can be, and none of it is superfluous", () => {
  const some = fc.array(fc.record({ memoryBytes: fc.integer({ min: 1, max: 50 }), startedAtMs: fc.nat(5) }), {
    maxLength: 12,
  });
  fc.assert(
    fc.property(some, fc.nat(200), (list, bytes) => {
      const victims = list.map(({ memoryBytes, startedAtMs }, i) =>
        victim(`v${i}`, { memoryBytes }, { startedAtMs }),
      );
      const taken = victimsFor(victims, bytes, size);
      const freed = taken.reduce((sum, each) => sum + size(each), 0);
      const most = victims.reduce((sum, each) => sum + size(each), 0);
      assert.ok(freed >= Math.min(bytes, most));
      if (most >= bytes) for (const each of taken) assert.ok(freed - size(each) < bytes, "superfluous");
    }),
  );
});
