import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { formatCpuList, maxCores, parseCpuList } from "../../../src/common/cpulist.ts";

test("reads what the kernel writes", () => {
  assert.deepEqual(parseCpuList("0-3,8\n"), [0, 1, 2, 3, 8]);
  assert.deepEqual(parseCpuList(""), []);
  assert.deepEqual(parseCpuList("0-7:2/4"), [0, 1, 4, 5]);
});

test("round trip of any set of cores", () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.nat(maxCores - 1), { maxLength: 300 }), (cores) => {
      assert.deepEqual(
        parseCpuList(formatCpuList(cores)),
        cores.slice().sort((a, b) => a - b),
      );
    }),
  );
});

test("refuses hostile input, and never takes long over it", () => {
  for (const text of [
    "-1",
    "1-",
    "3-1",
    "8192",
    "0-99999",
    "0-8191:0/1",
    "0-3:2/1",
    "x",
    "1,,2",
    "0x3",
    "1 2",
  ])
    assert.throws(() => parseCpuList(text), { code: "INVALID_ARGUMENT" }, text);
  assert.throws(() => parseCpuList("0,".repeat(100_000)), { code: "INVALID_ARGUMENT" });
  fc.assert(
    fc.property(fc.string(), (text) => {
      try {
        for (const core of parseCpuList(text)) assert.ok(core >= 0 && core < maxCores);
      } catch (error) {
        assert.equal((error as { code?: string }).code, "INVALID_ARGUMENT");
      }
    }),
  );
});
