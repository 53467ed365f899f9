import assert from "node:assert/strict";
import { test } from "node:test";
import { type HereFacts, type HereRequest, servedHere } from "../../../agent/socket/here.ts";
import { mib, request } from "./setup.ts";

const wish: HereRequest = { ...request, cores: 2, minCores: 2, node: "", excludeNodes: [] };
const facts: HereFacts = {
  node: "n1",
  spare: [{ class: "unallocated", cores: [2, 3], memoryBytes: 64 * mib }],
  openMs: 3_600_000,
  horizonMs: 0,
};

test("what this node serves whole, it grants; named, too, and regions only then", () => {
  assert.ok(servedHere(wish, facts));
  assert.ok(servedHere({ ...wish, node: "n1" }, facts));
  assert.ok(servedHere({ ...wish, kind: "region", cores: 0, minCores: 0, node: "n1" }, facts));
  assert.ok(servedHere({ ...wish, excludeNodes: ["n2"] }, facts));
});

test("what placement would see otherwise is the controller's", () => {
  const notHere: Partial<HereRequest>[] = [
    { node: "n2" },
    { excludeNodes: ["n2", "n1"] },
    { kind: "region", cores: 0, minCores: 0 },
    { cores: 3, minCores: 1 },
    { memoryBytes: 65 * mib },
    { termMs: 3_600_001 },
  ];
  for (const change of notHere) assert.ok(!servedHere({ ...wish, ...change }, facts), JSON.stringify(change));
  assert.ok(!servedHere(wish, { ...facts, openMs: 0 }));
  assert.ok(!servedHere(wish, { ...facts, horizonMs: wish.termMs - 1 }));
  assert.ok(servedHere(wish, { ...facts, horizonMs: wish.termMs }));
  assert.ok(!servedHere(wish, { ...facts, spare: [] }));
  const shared = facts.spare.map((part) => ({ ...part, class: "shared" as const }));
  assert.ok(!servedHere(wish, { ...facts, spare: shared }));
});
