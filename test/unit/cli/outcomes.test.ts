/** What came of a drain of many: alike in one line, and what it means for those that did not answer. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { formatOutcomes, resultOf, verdictOf } from "../../../src/cli/outcomes.ts";
import type { NodeOutcome } from "../../../src/rpc/messages.ts";

function outcome(node: string, more: Partial<NodeOutcome> = {}): NodeOutcome {
  return {
    node,
    code: 0,
    message: "",
    leasesEnded: 0,
    leasesLeft: 0,
    drainingLeaseIds: [],
    lending: "LENDING_DRAINED",
    ...more,
  };
}
const away = (node: string, message = `no agent reports from ${node}`) =>
  outcome(node, { code: 14, message });
const thousand = Array.from({ length: 1000 }, (_, index) => `n${index + 1}`);

describe("outcomes", () => {
  it("are a line for those that answered alike", () => {
    const all = thousand.map((node) =>
      node === "n17" || node === "n23" ? away(node) : outcome(node, { leasesEnded: 2 }),
    );
    assert.equal(
      formatOutcomes("drain", all, undefined, true),
      "998 nodes drained: n[1-16,18-22,24-1000]; 1,996 leases ended\n" +
        "2 nodes not reached: n[17,23] (no agent reports): they will be drained when they return\n",
    );
  });
  it("do not promise what nobody keeps", () => {
    assert.match(formatOutcomes("drain", [away("n1")], undefined, false), /it goes on lending if it lives/);
    assert.match(formatOutcomes("resume", [away("n1"), away("n2")], undefined, false), /they stay as before/);
  });
  it("name no node and no address in why, so that equal troubles are one", () => {
    const all = [
      away("n1", "10.0.0.1:7701: connection refused"),
      away("n2", "10.0.0.2:7701: connection refused"),
      away("n3", "[fd00::3]:7701: connection refused"),
    ];
    assert.equal(
      formatOutcomes("reclaim", all, undefined, false),
      "3 nodes not reached: n[1-3] (connection refused): their leases end with their terms; reclaim again when they answer\n",
    );
  });
  it("say apart what is left, what has a budget, and who refused", () => {
    const all = [
      outcome("n1", { leasesLeft: 1 }),
      outcome("n2", { drainingLeaseIds: ["a", "b"] }),
      outcome("n3", { code: 7, message: "uid 7 may not" }),
      outcome("", { code: 13, message: "in force, but a restart of the controller forgets it: disk full" }),
    ];
    assert.equal(
      formatOutcomes("drain", all, undefined, true),
      "n2 drained; 2 leases have their budget\n" +
        "n1 drained; 1 lease is left though it should be gone\n" +
        "n3 refused: uid 7 may not\n" +
        "in force, but a restart of the controller forgets it: disk full\n",
    );
    assert.deepEqual(all.map(resultOf), ["left", "done", "refused", "refused"]);
  });
  it("fit the terminal", () => {
    const text = formatOutcomes(
      "drain",
      thousand.slice(0, 9).map((node) => away(node)),
      60,
      true,
    );
    assert.ok(
      text.split("\n").every((line) => line.length <= 60),
      text,
    );
  });
  it("make a verdict: all, some, none", () => {
    assert.deepEqual([[], [true], [true, false], [false]].map(verdictOf), ["ok", "ok", "partly", "failed"]);
  });
});
