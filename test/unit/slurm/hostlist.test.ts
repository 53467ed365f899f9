import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { maxHosts, parseHostList } from "../../../src/slurm/hostlist.ts";

test("expands what Slurm writes", () => {
  assert.deepEqual(parseHostList("n1"), ["n1"]);
  assert.deepEqual(parseHostList(""), []);
  assert.deepEqual(parseHostList("a,gpu[01-03,7]"), ["a", "gpu01", "gpu02", "gpu03", "gpu7"]);
  assert.deepEqual(parseHostList("r[1-2]c[0-1]-x"), ["r1c0-x", "r1c1-x", "r2c0-x", "r2c1-x"]);
  assert.deepEqual(parseHostList("n[098-101]"), ["n098", "n099", "n100", "n101"]);
});

test("any ranges expand to each number once, in order", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(5000), fc.nat(20)), { minLength: 1, maxLength: 8 }), (ranges) => {
      const list = `n[${ranges.map(([first, more]) => `${first}-${first + more}`).join(",")}]`;
      const expected = ranges.flatMap(([first, more]) =>
        Array.from({ length: more + 1 }, (_, i) => `n${first + i}`),
      );
      assert.deepEqual(parseHostList(list), expected);
    }),
  );
});

test("refuses what it cannot read, and bombs", () => {
  const bombs = ["n[0-999999999]", "n[0-999][0-999][0-999]", `n[${"0-99999,".repeat(5)}1]`];
  for (const text of [
    "n[",
    "n]",
    "n[[1]]",
    "n[]",
    "n[3-1]",
    "n[a]",
    "a,,b",
    "n 1",
    "n[1-2",
    "n\n1",
    ...bombs,
  ])
    assert.throws(() => parseHostList(text), { code: "INVALID_ARGUMENT" }, text);
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom("n", "1", "0", "[", "]", ",", "-", "9") }), (text) => {
      try {
        assert.ok(parseHostList(text).length <= maxHosts);
      } catch (error) {
        assert.equal((error as { code?: string }).code, "INVALID_ARGUMENT");
      }
    }),
    { numRuns: 1000 },
  );
});
