/** The hold-out's difference and its interval: by hand, by tables, and on clusters whose truth is known. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  differenceOf,
  groupNames,
  groupOf,
  groups,
  studentQuantile,
  type Unit,
} from "../../../src/dashboard/comparison.ts";
import { random } from "../../browser/fake/cluster.ts";

const hourMs = 3_600_000;
const unit = (coreHours: number, waitedHours: number): Unit => ({
  coreMs: coreHours * hourMs,
  waitedMs: waitedHours * hourMs,
});
const hundreds = (...waitedHours: number[]): Unit[] => waitedHours.map((hours) => unit(100, hours));

test("Student's quantiles are those of the tables", () => {
  for (const [freedom, quantile] of [
    [1, 12.706],
    [2, 4.303],
    [3, 3.182],
    [4, 2.776],
    [10, 2.228],
    [30, 2.042],
  ] as const)
    assert.ok(
      Math.abs(studentQuantile(freedom) - quantile) < 0.001,
      `${freedom}: ${studentQuantile(freedom)}`,
    );
  assert.ok(studentQuantile(3.857) > 2.776 && studentQuantile(3.857) < 3.182);
});

test("units of one size: Welch's interval, counted by hand", () => {
  // Shares 1, 2, 3, 2 % have a mean of 2 % and the variance 2/3e-4, that of the mean is 1/6e-4; 0, 1, 2 %: 1 % and 1/3e-4.
  const found = differenceOf(hundreds(1, 2, 3, 2), hundreds(0, 1, 2));
  const error = Math.sqrt(1e-4 / 6 + 1e-4 / 3);
  const freedom = (1 / 6 + 1 / 3) ** 2 / ((1 / 6) ** 2 / 3 + (1 / 3) ** 2 / 2);
  const half = studentQuantile(freedom) * error;
  assert.ok(found !== undefined);
  for (const [value, wanted] of [
    [found.share, 0.01],
    [found.low, 0.01 - half],
    [found.high, 0.01 + half],
  ] as const)
    assert.ok(Math.abs(value - wanted) < 1e-12, `${value} ${wanted}`);
});

test("units of several sizes count by their core-time", () => {
  const lending = [unit(300, 3), unit(200, 3), unit(200, 1), unit(100, 1)];
  const found = differenceOf(lending, hundreds(1, 1, 1));
  assert.ok(found !== undefined);
  // 8 of 800 less 3 of 300. Deviations from 1 %: 0, 1, -1, 0 hours; the others have none, so theirs are the degrees of freedom.
  const error = Math.sqrt(((4 / 3) * 2) / 800 ** 2);
  const freedom = 800 ** 2 / (300 ** 2 + 200 ** 2 + 200 ** 2 + 100 ** 2) - 1;
  assert.ok(Math.abs(found.share) < 1e-12);
  assert.ok(Math.abs(found.high - studentQuantile(freedom) * error) < 1e-12);
});

test("too little data is no number", () => {
  const enough = hundreds(1, 2, 3, 2);
  assert.equal(differenceOf([], enough), undefined, "nobody lends");
  assert.equal(differenceOf(enough, []), undefined, "nobody is held out");
  assert.equal(differenceOf(enough, hundreds(1, 2)), undefined, "two groups");
  assert.equal(differenceOf(enough, [...hundreds(1, 2), unit(0, 0)]), undefined, "and one without jobs");
  assert.equal(
    differenceOf(enough, [unit(100, 1), unit(1, 0), unit(1, 0), unit(1, 0)]),
    undefined,
    "one is all",
  );
  assert.equal(differenceOf(enough, [unit(3, 0), unit(3, 0), unit(3, 0)]), undefined, "nine hours");
  assert.ok(differenceOf(enough, [unit(4, 0), unit(4, 0), unit(4, 0)]) !== undefined, "twelve hours");
});

test("groups are for ever, and nodes of all names are spread over them", () => {
  assert.deepEqual(["n1", "n2", "nid001234"].map(groupOf), [
    groupOf("n1"),
    groupOf("n2"),
    groupOf("nid001234"),
  ]);
  for (const name of [(i: number) => `n${i}`, (i: number) => `nid${String(i).padStart(6, "0")}`]) {
    const counts = new Array<number>(groups).fill(0);
    for (let i = 0; i < 1600; i++) counts[groupOf(name(i))] = (counts[groupOf(name(i))] ?? 0) + 1;
    for (const count of counts) assert.ok(count > 50 && count < 150, counts.join());
  }
  assert.equal(new Set(groupNames).size, groups * 8);
});

/** A cluster whose nodes each have jobs of their own kind; on nodes that lend they wait by `effect` longer. */
function clusterOf(draw: () => number, effect: number, nodes: number, heldOut: number) {
  const sums = { lending: new Map<number, Unit>(), heldOut: new Map<number, Unit>() };
  for (let i = 0; i < nodes; i++) {
    const side = draw() < heldOut ? "heldOut" : "lending";
    const coreMs = (20 + 400 * draw()) * hourMs;
    const share = -0.02 * Math.log(1 - draw()) + (side === "lending" ? effect : 0);
    const group = groupOf(`n${i}`);
    const had = sums[side].get(group) ?? unit(0, 0);
    sums[side].set(group, { coreMs: had.coreMs + coreMs, waitedMs: had.waitedMs + coreMs * share });
  }
  return differenceOf([...sums.lending.values()], [...sums.heldOut.values()]);
}

for (const [nodes, heldOut] of [
  [60, 0.2],
  [1000, 0.05],
] as const)
  test(`${nodes} nodes, ${100 * heldOut} % held out: the interval holds the truth about 95 times of 100`, (t) => {
    const draw = random(nodes);
    let told = 0;
    let held = 0;
    let sum = 0;
    for (let i = 0; i < 1000; i++) {
      const found = clusterOf(draw, 0.005, nodes, heldOut);
      if (found === undefined) continue;
      told++;
      sum += found.share;
      if (found.low <= 0.005 && found.high >= 0.005) held++;
    }
    t.diagnostic(
      `${told} clusters, held ${((100 * held) / told).toFixed(1)} %, mean ${(sum / told).toFixed(5)}`,
    );
    assert.ok(told > 900);
    assert.ok(held / told > 0.88 && held / told < 0.99, `${held} of ${told}`);
    assert.ok(Math.abs(sum / told - 0.005) < 0.001, "the mean is the truth");
  });

test("an effect as large as waiting itself is seen, none is not", () => {
  const draw = random(3);
  const all = (effect: number) =>
    Array.from({ length: 200 }, () => clusterOf(draw, effect, 1000, 0.05)).filter(
      (found) => found !== undefined,
    );
  const clear = all(0.02);
  assert.ok(clear.filter(({ low }) => low > 0).length > 0.95 * clear.length);
  const none = all(0);
  assert.ok(none.filter(({ low, high }) => low > 0 || high < 0).length < 0.12 * none.length);
});
