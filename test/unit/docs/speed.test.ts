/** docs/speed.md: what bench:path writes becomes its tables, by what they are about; what is not that is refused. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { parseSpeed, speedPage } from "../../../deploy/docs/speed.ts";
import { jsonRows, type Row } from "../../bench/table.ts";

const machine = { cores: 2, model: "M", kernel: "6.1.0", load: 0.02, date: "2026-01-31", version: "0.1.0" };
const rows: Row[] = [
  {
    what: "hot call, 64 B",
    value: 0.197,
    p99: 0.31,
    unit: "µs",
    baseline: { what: "cache line", value: 0.12 },
    ratio: 1.64,
    interval: [1.6, 1.7],
    mark: 2,
    issue: "3.1",
  },
  {
    what: "calls",
    value: 4_400_000,
    unit: "calls/s",
    interval: [4_300_000, 4_500_000],
    least: 1_500_000,
    issue: "3.5",
  },
  { what: "streaming", value: 21_400, unit: "µs", issue: "3.7" },
  { what: "lost", value: 0, unit: "", mark: 0, issue: "3.2" },
  {
    what: "cold",
    value: 9,
    unit: "ms",
    baseline: { what: "spawn", value: 1 },
    mark: 5,
    markOn: "value",
    issue: "3.6",
  },
  { what: "64 workers", value: Number.NaN, unit: "", issue: "3.5", notShown: "two cores" },
  { what: "nested", value: 30, unit: "µs", baseline: { what: "alone", value: 20 } },
];
const json = (changes: object = {}): string =>
  JSON.stringify({ machine, rounds: 7, rows: jsonRows(rows), series: { call_64: [] }, ...changes });

test("the rows of a run stand below what they are about, with baseline, mark and verdict", () => {
  const kept = parseSpeed(json());
  assert.ok(!("series" in kept));
  const page = speedPage(kept);
  const [, sameNode = "", tcp = "", many = "", cold = "", regions = "", beside = ""] = page.split("\n### ");
  assert.match(sameNode, /^Calls on the same node/);
  assert.ok(
    sameNode.includes(
      "| hot call, 64 B | 0.197 µs | 0.310 µs | cache line: 0.120 µs | 1.64 | 1.60 to 1.70 | ≤ 2 times: met |  |",
    ),
    page,
  );
  assert.match(many, /\| calls \| 4\.40 M calls\/s \|.*\| ≥ 1\.5 M calls\/s: met \|/);
  assert.match(many, /\| 4\.30 M calls\/s to 4\.50 M calls\/s \|/);
  assert.match(tcp, /\| lost \| 0 \|/);
  assert.match(regions, /\| streaming \| 21\.4 ms \|/);
  assert.match(many, /\| 64 workers \| {2}\|.*\| two cores \|/);
  assert.match(cold, /\| ≤ 5 ms: NOT met \|/);
  assert.match(beside, /^Beside them[\s\S]*\| nested \|/);
  assert.doesNotMatch(page, /docs:speed|not quiet|3\.\d\b.*issue/);
});

test("a machine that was busy is told; without a run the page says how to make one", () => {
  assert.match(speedPage(parseSpeed(json({ machine: { ...machine, load: 1.4 } }))), /not quiet/);
  assert.match(speedPage(undefined), /npm run bench:path\n +npm run docs:speed </);
});

test("what is not a run of enough rounds is refused", () => {
  for (const bad of [json({ rounds: 2 }), json({ rows: [] }), json({ machine: undefined }), "[]", "no JSON"])
    assert.throws(() => parseSpeed(bad));
});
