import assert from "node:assert/strict";
import { test } from "node:test";
import { SubletError } from "../../../src/common/errors.ts";
import { refusedCallers } from "../../../src/rpc/refused.ts";

test("callers without a good credential are told, once in ten seconds and with their number", () => {
  const told: [times: number, message: string][] = [];
  let nowMs = 0;
  const onCall = refusedCallers(
    ({ times, message }) => told.push([times, message]),
    () => nowMs,
  );
  const error = new SubletError("UNAUTHENTICATED", "3600 s old");
  const call = { method: "/sublet.v1.NodeService/Grant", tookMs: 1 };
  onCall({ ...call, code: "OK", error: undefined });
  onCall({ ...call, code: "NOT_FOUND", error: new SubletError("NOT_FOUND", "no such lease") });
  assert.deepEqual(told, []);
  for (nowMs = 1000; nowMs < 11_000; nowMs += 1000) onCall({ ...call, code: "UNAUTHENTICATED", error });
  assert.deepEqual(told, [[1, "3600 s old"]]);
  onCall({ ...call, code: "UNAUTHENTICATED", error });
  assert.deepEqual(told[1], [10, "3600 s old"]);
});
