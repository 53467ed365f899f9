/** What viewers are told, by a clock of the test's own. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { NodeChanges, NodeTable } from "../../../src/dashboard/api.ts";
import { HistoryStore } from "../../../src/dashboard/history.ts";
import { Live } from "../../../src/dashboard/live.ts";
import { facts, node, source } from "./samples.ts";

test("who reads the table takes no news from those who watch it", async () => {
  let leases = 1;
  let nowMs = 0;
  const told: NodeChanges[] = [];
  const live = new Live({
    source: source({ facts: () => facts([node("n1", { leases }), node("n2")]) }),
    history: await HistoryStore.open({ file: undefined, onTrouble: assert.fail }),
    cluster: "test",
    version: "1",
    price: undefined,
    unixMs: () => 1_700_000_000_000 + nowMs,
    nowMs: () => nowMs,
    onEvent: (topic, text) => {
      if (topic === "nodes") told.push(JSON.parse(text) as NodeChanges);
    },
    watched: () => true,
  });
  live.tick();
  const first = JSON.parse(live.nodeTable()) as NodeTable;
  leases = 2;
  nowMs += 1_500;
  const second = JSON.parse(live.nodeTable()) as NodeTable;
  live.tick();
  assert.deepEqual(second.leases, [2, 0]);
  const changes = told.at(-1);
  assert.equal(changes?.fromRevision, first.revision);
  assert.equal(changes?.revision, second.revision);
  assert.deepEqual(
    changes?.rows?.map(({ index, values }) => [index, values.at(-1)]),
    [[0, 2]],
  );
  assert.equal(live.nodeTable(), live.nodeTable());
});
