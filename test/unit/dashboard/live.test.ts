/** What viewers are told, by a clock of the test's own. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Days } from "../../../src/common/days.ts";
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
    longHistory: false,
    days: new Days("UTC"),
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

test("today begins at the site's midnight, whose days have 23, 24 and 25 hours", async () => {
  const hourMs = 3_600_000;
  for (const [endsUtc, hours] of [
    ["2026-03-29T22:00Z", 23],
    ["2026-06-01T22:00Z", 24],
    ["2026-10-25T23:00Z", 25],
  ] as const) {
    const endMs = Date.parse(endsUtc);
    let unixMs = endMs - hours * hourMs - 2 * hourMs;
    const history = await HistoryStore.open({ file: undefined, onTrouble: assert.fail });
    const nodes = [node("n1", { cores: { total: 8, lent: 2 } })];
    const live = new Live({
      source: source({ facts: () => facts(nodes) }),
      history,
      cluster: "test",
      version: "1",
      price: undefined,
      longHistory: false,
      days: new Days("Europe/Zurich"),
      unixMs: () => unixMs,
      nowMs: () => unixMs,
      onEvent: () => undefined,
      watched: () => false,
    });
    for (; unixMs < endMs; unixMs += 30_000) live.tick();
    unixMs = endMs - 1;
    const { gain, timeZone } = live.summary();
    assert.equal(timeZone, "Europe/Zurich");
    assert.equal(gain.today.fromMs, endMs - hours * hourMs, endsUtc);
    assert.ok(Math.abs(gain.today.coreHours.lent - 2 * hours) < 0.1, `${gain.today.coreHours.lent}`);
    assert.ok(gain.today.covered > 0.99 && gain.today.covered <= 1);
    unixMs = endMs + 31_000;
    assert.equal(live.summary().gain.today.fromMs, endMs, "a minute later it is another day");
  }
});
