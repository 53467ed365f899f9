import assert from "node:assert/strict";
import { test } from "node:test";
import type { LeaseRow, NodeTable } from "../../../../src/dashboard/api.ts";
import { leaseView, withChanges } from "../../../../src/dashboard/page/lib/leases.ts";
import { layoutMap, moveBy, positionAt } from "../../../../src/dashboard/page/lib/map-layout.ts";
import {
  applyChanges,
  filterNodes,
  isOff,
  lendingOf,
  sortNodes,
  stateOf,
  sumNodes,
} from "../../../../src/dashboard/page/lib/nodes.ts";

function tableOf(names: string[]): NodeTable {
  const column = (value: number) => names.map(() => value);
  return {
    atMs: 1000,
    revision: 5,
    names,
    slurmState: names.map((_, index) => index % 2),
    slurmStates: ["IDLE", "DOWN"],
    lending: column(0),
    lendings: ["on"],
    partitions: names.map((_, index) => (index < 2 ? [0] : [0, 1])),
    partitionNames: ["normal", "gpu"],
    cores: column(64),
    coresAllocated: column(0),
    coresLent: names.map((_, index) => 10 - index),
    coresSpare: column(3),
    memoryMib: column(1024),
    memoryAllocatedMib: column(0),
    memoryLentMib: column(0),
    memorySpareMib: column(0),
    leases: column(1),
  };
}

const everything = { name: "", partition: "", state: "", lending: "" };
const row = (index: number, coresLent: number) => ({
  index,
  slurmState: "MIXED",
  lending: "drained",
  values: [64, 32, coresLent, 1, 1024, 512, 256, 128, 2],
});

test("changes go into the table, with words that it did not know", () => {
  const table = tableOf(["n1", "n2", "n3"]);
  const next = applyChanges(table, { atMs: 2000, fromRevision: 5, revision: 6, rows: [row(1, 7)] });
  assert.equal(next, table);
  assert.equal(stateOf(table, 1), "MIXED");
  assert.equal(lendingOf(table, 1), "drained");
  assert.deepEqual(table.coresLent, [10, 7, 8]);
  assert.deepEqual([table.memoryLentMib[1], table.leases[1], table.revision, table.atMs], [256, 2, 6, 2000]);
});

test("old changes are passed over; a gap or a row that cannot be asks for the whole table", () => {
  const table = tableOf(["n1", "n2"]);
  assert.equal(applyChanges(table, { atMs: 1, fromRevision: 3, revision: 4, rows: [row(0, 1)] }), table);
  assert.equal(table.coresLent[0], 10);
  assert.equal(applyChanges(table, { atMs: 1, fromRevision: 6, revision: 7, rows: [row(0, 1)] }), undefined);
  assert.equal(applyChanges(table, { atMs: 1, fromRevision: 5, revision: 6, rows: [row(2, 1)] }), undefined);
  const whole = tableOf(["m1"]);
  assert.equal(applyChanges(table, { atMs: 1, fromRevision: 0, revision: 9, table: whole }), whole);
});

test("filters by part of a name, pattern, partition, state and lending", () => {
  const table = tableOf(["n1", "n2", "n10", "gpu.1", "N22"]);
  const names = (filter: Partial<typeof everything>) =>
    filterNodes(table, { ...everything, ...filter }).map((index) => table.names[index]);
  assert.deepEqual(names({}), ["n1", "n2", "n10", "gpu.1", "N22"]);
  assert.deepEqual(names({ name: "1" }), ["n1", "n10", "gpu.1"]);
  assert.deepEqual(names({ name: "n1*" }), ["n1", "n10"]);
  assert.deepEqual(names({ name: "n*2, gpu.*" }), ["n2", "gpu.1", "N22"]);
  assert.deepEqual(names({ name: "u.1" }), ["gpu.1"], "a dot is a dot");
  assert.deepEqual(names({ partition: "gpu", state: "DOWN" }), ["gpu.1"]);
  assert.deepEqual(names({ lending: "drained" }), []);
  assert.deepEqual(names({ name: "(((*" }), []);
});

test("sorts by a column, equal ones in the table's order", () => {
  const table = tableOf(["n1", "n2", "n3", "n4"]);
  table.coresLent = [3, 9, 3, 1];
  const all = [0, 1, 2, 3];
  assert.deepEqual(sortNodes(table, all, "coresLent", true), [1, 0, 2, 3]);
  assert.deepEqual(sortNodes(table, all, "coresLent", false), [3, 0, 2, 1]);
  assert.deepEqual(sortNodes(table, all, "state", false), [1, 3, 0, 2]);
  assert.deepEqual(sortNodes(table, all, "name", true), [3, 2, 1, 0]);
  assert.equal(sumNodes(table, [0, 1], "coresLent"), 12);
});

test("what Slurm cannot use", () => {
  for (const state of ["DOWN", "IDLE+DRAIN", "DRAINING", "MAINT", "DOWN*", "POWERED_DOWN"])
    assert.ok(isOff(state), state);
  for (const state of ["IDLE", "MIXED", "ALLOCATED", "COMPLETING"]) assert.ok(!isOff(state), state);
});

test("ten thousand squares fit a wall, a laptop and a phone; zoom makes them larger", () => {
  for (const [width, height] of [
    [2300, 900],
    [1000, 560],
    [330, 520],
  ] as const) {
    const layout = layoutMap(10_000, width, height, 0, 0);
    assert.ok(layout.columns * layout.cell <= width);
    assert.ok(layout.columns * layout.rows >= 10_000);
    assert.ok(layout.cell >= 3);
    if (layout.cell > 3) assert.ok(layout.height <= height, `${layout.height} in ${height}`);
    assert.ok(layoutMap(10_000, width, height, 0, 2).cell > layout.cell);
  }
  assert.equal(layoutMap(3, 1000, 500, 76, 0).cell, 64, "a few nodes are not blown up");
});

test("a point finds its node, keys walk, and neither leaves the map", () => {
  const layout = layoutMap(95, 500, 200, 0, 0);
  const { cell, columns } = layout;
  assert.equal(positionAt(layout, 95, cell * 2 + 1, cell + 1), columns + 2);
  assert.equal(positionAt(layout, 95, -1, 5), -1);
  assert.equal(positionAt(layout, 95, columns * cell + 1, 1), -1);
  assert.equal(positionAt(layout, 95, cell * (columns - 1), cell * layout.rows), -1);
  assert.equal(moveBy(layout, 95, 0, "ArrowLeft"), 0);
  assert.equal(moveBy(layout, 95, 0, "ArrowUp"), 0);
  assert.equal(moveBy(layout, 95, 0, "ArrowDown"), columns);
  assert.equal(moveBy(layout, 95, 94, "ArrowDown"), 94);
  assert.equal(moveBy(layout, 95, 94, "ArrowRight"), 94);
  assert.equal(moveBy(layout, 95, 3, "End"), 94);
  assert.equal(moveBy(layout, 95, 3, "x"), undefined);
});

test("leases come, change and end; who ends twice ends once", () => {
  const lease = (id: string, invocations = 0) => ({ id, invocations }) as LeaseRow;
  let view = leaseView([lease("a"), lease("b")]);
  view = withChanges(view, { atMs: 5, live: [lease("a", 9), lease("c")], ended: [lease("b")] });
  assert.deepEqual([...view.live.keys()], ["a", "c"]);
  assert.equal(view.live.get("a")?.invocations, 9);
  view = withChanges(view, { atMs: 6, live: [], ended: [lease("b"), lease("c")] });
  assert.deepEqual(
    view.ended.map(({ id, endedAtMs }) => [id, endedAtMs]),
    [
      ["b", 6],
      ["c", 6],
    ],
  );
});
