/** What is reserved must be there. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { checkReserves } from "../../../agent/ground.ts";

const node = { cores: [0, 1, 2, 3], memoryBytes: 2 ** 30 };

test("cores and memory that the node does not have cannot be reserved", () => {
  checkReserves({ reserveCores: [0, 3], reserveMemoryBytes: 2 ** 30 }, node);
  assert.throws(() => checkReserves({ reserveCores: [3, 4, 5], reserveMemoryBytes: 0 }, node), {
    code: "INVALID_ARGUMENT",
    message: "reserve_cores: this node has no core 4-5; its cores are 0-3",
  });
  assert.throws(() => checkReserves({ reserveCores: [], reserveMemoryBytes: 2 ** 30 + 1 }, node), {
    code: "INVALID_ARGUMENT",
    message: /^reserve_memory_mib: .* is more than this node's 1\.0 GiB|1 GiB/,
  });
});
