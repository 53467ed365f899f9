/** docs/harm.md: what bench:harm writes becomes its table; what is not that is refused. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { harmPage, parseHarm } from "../../../deploy/docs/harm.ts";
import { jsonRows, type Row } from "../../bench/table.ts";

const machine = {
  cores: 64,
  model: "A | B",
  kernel: "6.1.0",
  load: 0.02,
  date: "2026-01-31",
  version: "0.1.0",
};
const rows: Row[] = [
  {
    what: "lammps, an idle agent",
    value: 10.02,
    unit: "s",
    baseline: { what: "alone", value: 10 },
    ratio: 1.002,
    interval: [0.999, 1.004],
    mark: 1.005,
    issue: "1.1",
    note: "worst of 7: 0.5 %",
  },
  {
    what: "hpcc, a guest that streams memory",
    value: 11,
    unit: "s",
    baseline: { what: "alone", value: 10 },
    mark: 1.05,
  },
  { what: "hpcc, not run", value: Number.NaN, unit: "s", baseline: { what: "alone", value: 10 } },
];
const json = (changes: object = {}): string =>
  JSON.stringify({
    machine,
    rounds: 7,
    rows: jsonRows(rows),
    guardActions: 3,
    runs: [{ kind: "alone" }],
    ...changes,
  });

test("the rows of a run are told as changes, with their marks; the single runs stay out", () => {
  const kept = parseHarm(json());
  assert.ok(!("runs" in kept));
  const page = harmPage(kept);
  assert.match(page, /^2026-01-31, Sublet 0\.1\.0: 64 cores \(A \| B\), Linux 6\.1\.0, 7 rounds/m);
  assert.ok(
    page.includes(
      "| lammps, an idle agent | 10.00 s | 10.02 s | +0.2 % | −0.1 % to +0.4 % | ≤ +0.5 %: met | worst of 7: 0.5 % |",
    ),
    page,
  );
  assert.match(
    page,
    /\| hpcc, a guest that streams memory \| 10\.00 s \| 11\.00 s \| \+10\.0 % \| {2}\| ≤ \+5\.0 %: NOT met \|/,
  );
  assert.doesNotMatch(page, /by the median|never acted/);
  assert.match(page, /\| hpcc, not run \| 10\.00 s \| {2}\| {2}\|/);
  assert.doesNotMatch(page, /npm run docs:harm|not quiet/);
});

test("a median that keeps its mark while its interval does not has not shown it; a guard that never acted is told", () => {
  const wide = jsonRows(rows.slice(0, 1).map((row) => ({ ...row, interval: [0.98, 1.02] as const })));
  const page = harmPage(parseHarm(json({ rows: wide, guardActions: 0 })));
  assert.match(page, /\| ≤ \+0\.5 %: met by the median, not by the interval \|/);
  assert.match(page, /The guard never acted/);
});

test("a machine that was busy is told; without a run the page says how to make one", () => {
  assert.match(harmPage(parseHarm(json({ machine: { ...machine, load: 1.4 } }))), /not quiet/);
  assert.match(harmPage(undefined), /npm run bench:harm -- --rounds 15\n +npm run docs:harm </);
});

test("what is not a run of enough rounds is refused", () => {
  for (const bad of [json({ rounds: 3 }), json({ rows: [] }), json({ machine: undefined }), "[]", "no JSON"])
    assert.throws(() => parseHarm(bad));
  assert.throws(() => parseHarm(json({ rounds: 3 })), /fewer than 5 rounds/);
});
