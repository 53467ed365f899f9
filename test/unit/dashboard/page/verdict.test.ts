/** What the overview says first: never a harm that is sure behind a figure that is not, never nothing for not known. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Gain, WaitingComparison } from "../../../../src/dashboard/api.ts";
import { gained, paid } from "../../../../src/dashboard/page/lib/verdict.ts";

const hours = { total: 1000, slurmAlone: 800, lent: 100, beyondPacking: 20, perfectPacking: 200 };
const side = { waitedPercent: 1, nodes: 10, jobCoreHours: 100 };
const none: WaitingComparison = {
  lending: side,
  heldOut: { ...side, waitedPercent: null },
  differencePercent: null,
  lowPercent: null,
  highPercent: null,
};
const compared = (low: number, high: number): WaitingComparison => ({
  lending: side,
  heldOut: side,
  differencePercent: (low + high) / 2,
  lowPercent: low,
  highPercent: high,
});
const gain: Gain = {
  fromMs: 0,
  toMs: 1,
  covered: 1,
  coreHours: hours,
  gibHours: { ...hours, lent: 400 },
  money: null,
  cost: {
    guardActions: 0,
    leasesReclaimed: 0,
    cpuPressurePercent: null,
    memoryPressurePercent: null,
    holdOutDifferencePercent: null,
    holdOut: { cpu: none, memory: none },
    receipts: 0,
  },
};
const cost = (cpu: WaitingComparison, memory: WaitingComparison) =>
  paid({ ...gain.cost, holdOut: { cpu, memory } });

describe("what was gained", () => {
  it("is core-hours, and what they are beside Slurm's", () => {
    assert.deepEqual(gained(gain), {
      value: "100 core-hours",
      note: "12.5\u00a0% on top of Slurm's · 400 GiB-hours of memory",
    });
    assert.match(gained({ ...gain, money: { value: 3, currency: "EUR" } }).note, /worth €3\.00$/);
  });
  it("is not known when nothing was watched, and says when little was", () => {
    assert.equal(gained({ ...gain, covered: 0 }).value, "Not known yet");
    assert.match(gained({ ...gain, covered: 0.02 }).note, / · 2\u00a0% of the time was watched$/);
  });
  it("is nothing when nobody leased", () => {
    const nothing = { ...hours, lent: 0, beyondPacking: 0 };
    assert.deepEqual(gained({ ...gain, coreHours: nothing, gibHours: nothing, covered: 0.5 }), {
      value: "0 core-hours",
      note: "Nobody leased anything · 50\u00a0% of the time was watched",
    });
  });
});

describe("what the jobs paid", () => {
  it("is not told from chance while 0 lies in the range", () => {
    const { value, note } = cost(compared(-0.15, 0.07), compared(-0.01, 0.01));
    assert.equal(value, "No difference to be seen");
    assert.match(
      note,
      /for cores −0\.04\u00a0% \(95\u00a0%: −0\.15\u00a0% to \+0\.07\u00a0%\), for memory 0\u00a0%/,
    );
  });
  it("is the worst of what is sure", () => {
    assert.equal(cost(compared(0.1, 0.3), compared(0.01, 0.02)).value, "+0.2 % waiting for cores");
    assert.equal(cost(compared(-0.3, 0.3), compared(0.1, 0.2)).value, "+0.15 % waiting for memory");
    assert.equal(cost(compared(-3, -1), compared(0.1, 0.2)).value, "+0.15 % waiting for memory");
  });
  it("may be less than nothing", () => {
    assert.equal(cost(compared(-3, -1), none).value, "Less waiting than without");
    assert.equal(cost(compared(-3, -1), compared(-1, 1)).value, "No difference to be seen");
  });
  it("is by receipts while nothing can be compared, and says so", () => {
    const { value, note } = paid({ ...gain.cost, cpuPressurePercent: 0.31, memoryPressurePercent: 0.5 });
    assert.equal(value, "+0.5 % waiting for memory");
    assert.match(note, /held out is not there yet/);
  });
  it("is not measured, not nothing, without any of it", () => {
    assert.equal(paid(gain.cost).value, "Not measured yet");
  });
});
