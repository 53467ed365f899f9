/** Statistics, verdicts and the rows of the data path: figures in, table out. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Times } from "../../bench/path/measurer.ts";
import { plotSvg } from "../../bench/path/plot.ts";
import { pathRows } from "../../bench/path/rows.ts";
import {
  jsonRows,
  medianInterval,
  medianOf,
  pairedRatio,
  type Row,
  summaryText,
  tableText,
  verdictOf,
} from "../../bench/table.ts";

test("median and its interval", () => {
  assert.equal(medianOf([3, 1, 2]), 2);
  assert.equal(medianOf([4, 1, 2, 3]), 2.5);
  assert.ok(Number.isNaN(medianOf([])));
  assert.deepEqual(medianInterval([5, 1, 3]), [1, 5], "too few for 90 %: all of them");
  // Of nine, the 2nd and the 8th hold the median with 96 %, the 3rd and the 7th with 82 %.
  assert.deepEqual(medianInterval([9, 8, 7, 6, 5, 4, 3, 2, 1]), [2, 8]);
  assert.deepEqual(medianInterval([9, 8, 7, 6, 5, 4, 3, 2, 1], 0.8), [3, 7]);
});

test("a ratio is taken within each round, whatever the machine did between them", () => {
  const { ratio, interval } = pairedRatio([2, 20, 200], [1, 10, 100]);
  assert.equal(ratio, 2);
  assert.deepEqual(interval, [2, 2]);
  assert.equal(pairedRatio([2, Number.NaN, 9], [1, 1, 3]).ratio, 2.5, "a failed round is left out");
});

test("a mark points up or down, on the ratio or on the value", () => {
  const row = (extra: Partial<Row>): Row => ({ what: "x", value: 6, unit: "µs", ...extra });
  const baseline = { what: "b", value: 4 };
  assert.equal(verdictOf(row({})), "");
  assert.equal(verdictOf(row({ mark: 6 })), "met");
  assert.equal(verdictOf(row({ mark: 5 })), "NOT met");
  assert.equal(verdictOf(row({ mark: 5, baseline })), "met");
  assert.equal(verdictOf(row({ least: 2, baseline })), "NOT met");
  assert.equal(verdictOf(row({ mark: 1, baseline, ratio: 0.5 })), "met", "the rounds' ratio comes first");
  assert.equal(verdictOf(row({ mark: 5, markOn: "value", baseline })), "NOT met", "the time, not the ratio");
  assert.equal(verdictOf(row({ mark: 6, markOn: "value", baseline, ratio: 9 })), "met");
  assert.equal(verdictOf(row({ value: Number.NaN, mark: 1 })), "NOT met", "no figure meets no mark");
  assert.equal(verdictOf(row({ mark: 1, notShown: "one core" })), "not shown here");
  assert.equal(verdictOf(row({ mark: 1, notShown: "it broke", broken: true })), "not measured");
});

test("the line below a table counts marks, and says where there are none", () => {
  const row = (what: string, extra: Partial<Row>): Row => ({ what, value: 250, unit: "ms", ...extra });
  const baseline = { what: "node -e 0", value: 50 };
  const inTime = row("nodes", { mark: 300, markOn: "value", baseline });
  const light = row("help", { mark: 2, baseline });
  const told = row("top", { baseline });
  assert.equal(summaryText([told]), "no marks");
  assert.equal(summaryText([inTime, told]), "marks met: 1");
  assert.equal(summaryText([inTime, light, told]), "marks met: 1; NOT met: 1 (help)");
  assert.equal(summaryText([light]), "marks met: 0; NOT met: 1 (help)");
  assert.equal(summaryText([row("disk", { notShown: "one core" })]), "not shown here: 1 (disk)");
  const table = tableText("t", [inTime, light]);
  assert.match(table, / met ≤ 300 ms\n/);
  assert.match(table, /NOT met ≤ 2$/);
});

const times = (p50: number): Times => ({ p50, p99: 2 * p50, p999: 9 * p50, count: 10, perS: 1e6 / p50 });

/** Answers for every series, so that no name has to be kept here. */
class Everything extends Map<string, readonly (Times | undefined)[]> {
  readonly except: string;
  constructor(except: string) {
    super();
    this.except = except;
  }
  override get(name: string) {
    return [1, 2, 3].map((round) => (name === this.except ? undefined : times(round)));
  }
}

test("every mark becomes a row, and a series that failed is told", () => {
  const sleep = { cpuS: 0, wallS: 60 };
  const rows = pathRows(new Everything(""), sleep, 2);
  assert.deepEqual(
    rows.filter((row) => verdictOf(row) === "not measured"),
    [],
  );
  assert.ok(
    rows.some((row) => verdictOf(row) === "NOT met"),
    "a region that is no faster than Redis",
  );
  const broken = pathRows(new Everything("line"), sleep, 2).filter(
    (row) => verdictOf(row) === "not measured",
  );
  assert.ok(broken.length >= 3);
  assert.match(summaryText(broken), /not measured: \d+ \(same node, hot/);
  assert.match(tableText("t", rows), /NOT met ≥ 3 \(issue 3\.7\)/);
  const json = JSON.stringify(jsonRows(rows));
  assert.ok(json.includes('"verdict":"met"') && json.includes('"ratio":1'));
});

test("the plot holds every row with a verdict, and is well formed", () => {
  const rows: Row[] = [
    { what: "a < b & c", value: 1, unit: "µs", mark: 2, baseline: { what: "b", value: 1 } },
    { what: "too slow", value: 9, unit: "µs", mark: 2, baseline: { what: "b", value: 1 } },
    { what: "only told", value: 9, unit: "µs" },
  ];
  const svg = plotSvg("title", "subtitle", rows);
  assert.ok(svg.includes("a &lt; b &amp; c") && svg.includes("too slow") && !svg.includes("only told"));
  assert.equal(svg.match(/<circle/g)?.length, 2);
  assert.ok(!svg.includes("NaN"));
});
