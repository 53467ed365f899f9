import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import fc from "fast-check";
import { comparedNames } from "../../../src/dashboard/comparison.ts";
import { HistoryStore, resolutions } from "../../../src/dashboard/history.ts";
import {
  addCompared,
  addSample,
  fieldNames,
  gainOf,
  historyOf,
  newPoint,
  type Sample,
} from "../../../src/dashboard/points.ts";
import { gaugesOf, sharesOf } from "../../../src/dashboard/shares.ts";
import { type Amounts, noTotals, type Totals } from "../../../src/dashboard/source.ts";
import { node } from "./samples.ts";

const hourMs = 3_600_000;
const scratch = mkdtempSync(join(tmpdir(), "sublet-history-"));
after(() => rmSync(scratch, { recursive: true, force: true }));

describe("shares", () => {
  it("add up to the total, whatever Slurm and the agent claim", () => {
    const amount = fc.integer({ min: 0, max: 100 });
    fc.assert(
      fc.property(
        fc.record({
          total: amount,
          allocated: amount,
          used: amount,
          lent: amount,
          lentShared: amount,
          spare: amount,
          spareShared: amount,
        }),
        (amounts: Amounts) => {
          const { total, used, heldUnused, lent, spare, closed } = sharesOf(amounts);
          assert.equal(used + heldUnused + lent + spare + closed, total);
          for (const part of [used, heldUnused, lent, spare, closed]) assert.ok(part >= 0);
        },
      ),
    );
  });
  it("tell what jobs use from what they hold and lend", () => {
    const amounts = { total: 10, allocated: 6, used: 3, lent: 3, lentShared: 1, spare: 3, spareShared: 1 };
    assert.deepEqual(sharesOf(amounts), { total: 10, used: 3, heldUnused: 1, lent: 3, spare: 3, closed: 0 });
  });
});

/** 100 cores: 60 allocated, 10 lent of which 4 are the jobs'; node down: 20 cores closed. */
function sample(totals: { readonly [K in keyof Totals]?: number } = {}): Sample {
  const nodes = [
    node("n1", { cores: { total: 80, allocated: 60, used: 50, lent: 10, lentShared: 4, spare: 5 } }),
    node("n2", { usable: false, cores: { total: 20 } }),
  ];
  return {
    cores: gaugesOf(nodes, (each) => each.cores),
    memory: gaugesOf(nodes, (each) => each.memoryBytes),
    totals: { ...noTotals, ...totals } as Totals,
  };
}

describe("gain", () => {
  it("of a day that was counted by hand", () => {
    const points = Array.from({ length: 24 }, (_, hour) => {
      const point = newPoint(hour * hourMs);
      const totals = {
        leasesReclaimed: 2,
        evict: 1,
        besideMs: 1000,
        besideCpuUs: 30_000,
        aloneMs: 1000,
        aloneCpuUs: 10_000,
      };
      addSample(point, sample(totals), noTotals, hour < 12 ? hourMs : 0);
      return point;
    });
    const price = { currency: "EUR", perCoreHour: 0.5, perGibHour: 0 };
    const gain = gainOf(points, 0, 24 * hourMs, price);
    assert.equal(gain.covered, 0.5);
    assert.deepEqual(gain.coreHours, {
      total: 1200,
      slurmAlone: 720,
      lent: 120,
      beyondPacking: 48,
      perfectPacking: 960,
    });
    assert.deepEqual(gain.money, { value: 60, currency: "EUR" });
    assert.equal(gain.cost.leasesReclaimed, 48);
    assert.equal(gain.cost.guardActions, 24);
    assert.equal(gain.cost.cpuPressurePercent, 2);
    assert.equal(gain.cost.memoryPressurePercent, null, "memory was not watched");
    assert.equal(gain.cost.holdOutDifferencePercent, null, "nothing was held out");
    assert.deepEqual(gain.cost.holdOut.cpu.heldOut, { waitedPercent: null, nodes: 0, jobCoreHours: 0 });
    const empty = gainOf(points, 25 * hourMs, 26 * hourMs, undefined);
    assert.deepEqual([empty.covered, empty.coreHours.lent, empty.money], [0, 0, null]);
  });
  it("compares jobs of nodes that lend with those of nodes held out, over all points of the span", () => {
    const totals: Record<string, number> = {
      lendingNodeMs: 4 * hourMs,
      holdOutNodeMs: 3 * hourMs,
    };
    for (const [side, waited] of [
      ["lending", [1, 2, 3, 2]],
      ["holdOut", [0, 1, 2]],
    ] as const)
      for (const [group, hours] of waited.entries()) {
        totals[`${side}.cpu.coreMs.${group}`] = 50 * hourMs;
        totals[`${side}.cpu.waitedMs.${group}`] = (hours / 2) * hourMs;
      }
    const compared = [0, 1].map((hour) => {
      const point = newPoint(hour * hourMs, comparedNames.length);
      addCompared(point, sample(totals), noTotals, hourMs);
      return point;
    });
    const costTo = (toMs: number) => gainOf([], 0, toMs, undefined, compared).cost.holdOut;
    const { cpu, memory } = costTo(2 * hourMs);
    assert.deepEqual(cpu.lending, { waitedPercent: 2, nodes: 4, jobCoreHours: 400 });
    assert.deepEqual(cpu.heldOut, { waitedPercent: 1, nodes: 3, jobCoreHours: 300 });
    assert.equal(cpu.differencePercent?.toFixed(9), "1.000000000");
    assert.ok((cpu.lowPercent ?? 0) < -0.9 && (cpu.highPercent ?? 0) > 2.9);
    assert.equal(memory.lending.waitedPercent, null);
    assert.equal(costTo(hourMs).cpu.lending.jobCoreHours, 200);
  });
  it("does not take places of older data bases for what they no longer hold", () => {
    const names = ["invocations", "receipts", "aloneMs", "besideMemoryUs"];
    assert.deepEqual(
      names.map((name) => fieldNames.indexOf(name) - fieldNames.indexOf("invocations")),
      [0, 7, 18, 25],
    );
  });
  it("of parts is that of the whole", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 60_000 }), { minLength: 1, maxLength: 20 }),
        (lengths) => {
          const points = lengths.map((lengthMs, i) => {
            const point = newPoint(i * 60_000);
            addSample(point, sample({ leasesReclaimed: i }), noTotals, lengthMs);
            return point;
          });
          const cutMs = Math.floor(lengths.length / 2) * 60_000;
          const endMs = lengths.length * 60_000;
          const [whole, first, last] = [
            [0, endMs],
            [0, cutMs],
            [cutMs, endMs],
          ].map(([from, to]) => gainOf(points, from ?? 0, to ?? 0, undefined).coreHours.lent);
          assert.ok(Math.abs((whole ?? 0) - (first ?? 0) - (last ?? 0)) < 1e-9);
        },
      ),
    );
  });
});

describe("history", () => {
  it("draws gaps as gaps, and rates of what was counted", () => {
    const point = newPoint(60_000);
    addSample(point, sample({ invocations: 120, reclaims: 1 }), noTotals, 30_000);
    const drawn = historyOf([point], 0, 180_000, 60_000);
    assert.deepEqual(drawn.atMs, [0, 60_000, 120_000]);
    assert.deepEqual(drawn.cores.lent, [null, 10, null]);
    assert.deepEqual(drawn.invocationsPerSecond, [null, 4, null]);
    assert.deepEqual(drawn.reclaimsPerHour, [null, 120, null]);
  });

  const open = (name: string) => {
    const troubles: string[] = [];
    return HistoryStore.open({ file: join(scratch, name), onTrouble: (why) => troubles.push(why) }).then(
      (store) => ({ store, troubles }),
    );
  };
  const lent = (store: HistoryStore, fromMs: number, toMs: number): number =>
    gainOf(store.between(fromMs, toMs), fromMs, toMs, undefined).coreHours.lent;

  it("is there again after a restart, which leaves a gap and not a lie", async () => {
    const { store } = await open("again.db");
    const startMs = 1_700_000_040_000;
    for (let i = 0; i <= 12; i++) store.add(sample(), startMs + i * 10_000, 5_000 + i * 10_000);
    const before = lent(store, startMs, startMs + hourMs);
    assert.ok(Math.abs(before - (10 * 120) / 3600) < 1e-9, `${before}`);
    store.close();
    const { store: again, troubles } = await open("again.db");
    assert.equal(lent(again, startMs, startMs + hourMs), before);
    // An hour later: the first sample only tells where the counters stand.
    again.add(sample({ reclaims: 500 }), startMs + hourMs, 1_000);
    again.add(sample({ reclaims: 501 }), startMs + hourMs + 10_000, 11_000);
    const after = gainOf(
      again.between(startMs, startMs + 2 * hourMs),
      startMs,
      startMs + 2 * hourMs,
      undefined,
    );
    assert.ok(Math.abs(after.covered - 130 / 7200) < 1e-9);
    assert.deepEqual(troubles, []);
    again.close();
  });

  it("finds what is compared again, in hours", async () => {
    const startMs = 1_700_000_040_000;
    const { store } = await open("compared.db");
    for (let i = 0; i <= 3; i++) {
      const totals = { holdOutNodeMs: 10_000 * i, "holdOut.memory.waitedMs.11": i };
      store.add(sample(totals), startMs + i * 10_000, i * 10_000);
    }
    const [before] = store.compared(startMs - hourMs, startMs + hourMs);
    store.close();
    const { store: again } = await open("compared.db");
    assert.deepEqual(again.compared(startMs - hourMs, startMs + hourMs), [before]);
    assert.deepEqual(again.compared(startMs + hourMs, startMs + 2 * hourMs), []);
    const at = (name: (typeof comparedNames)[number]) => before?.values[comparedNames.indexOf(name)];
    assert.deepEqual(
      [before?.coveredMs, at("holdOutNodeMs"), at("holdOut.memory.waitedMs.11")],
      [30_000, 30_000, 3],
    );
    again.close();
  });

  it("counts no time twice where points of a minute meet points of ten, and forgets what is old", async () => {
    const { store } = await open("long.db");
    const startMs = 1_700_000_000_000;
    const days = 3;
    const stepMs = 30_000;
    const steps = (days * 24 * hourMs) / stepMs;
    for (let i = 0; i <= steps; i++) store.add(sample(), startMs + i * stepMs, i * stepMs);
    const toMs = startMs + days * 24 * hourMs + 600_000;
    const hours = lent(store, startMs - 600_000, toMs) / 10;
    assert.ok(Math.abs(hours - days * 24) < 1e-6, `${hours}`);
    assert.ok(
      store.points <= resolutions[0].keepMs / 60_000 + 2 + days * (144 + 24) + 4,
      `${store.points} points`,
    );
    store.close();
  });

  it("takes a machine that slept for one that did not watch, and a clock that steps back for nothing worse", async () => {
    const { store } = await open("clock.db");
    store.add(sample(), 1_700_000_000_000, 0);
    store.add(sample(), 1_700_000_010_000, hourMs);
    store.add(sample(), 1_699_999_000_000, hourMs + 10_000);
    const total = lent(store, 1_699_990_000_000, 1_700_010_000_000);
    assert.ok(Math.abs(total - (10 * 40) / 3600) < 1e-9, `${total}`);
    store.close();
  });

  it("loses nothing to a clock that says 2036 for a minute, and keeps none of what it said", async () => {
    const { store } = await open("wrong.db");
    const startMs = 1_700_000_040_000;
    const wrongMs = startMs + 10 * 365 * 24 * hourMs;
    for (let i = 0; i <= 12; i++) store.add(sample(), startMs + i * 10_000, i * 10_000);
    const before = lent(store, startMs, startMs + hourMs);
    for (let i = 13; i < 19; i++) store.add(sample(), wrongMs + i * 10_000, i * 10_000);
    assert.equal(lent(store, startMs, startMs + hourMs), before);
    for (let i = 19; i < 80; i++) store.add(sample(), startMs + i * 10_000, i * 10_000);
    assert.equal([...store.between(wrongMs - hourMs, wrongMs + hourMs)].length, 0);
    assert.ok(lent(store, startMs, startMs + hourMs) > before);
    store.close();
  });

  it("puts a file that is no data base aside and goes on", async () => {
    const file = join(scratch, "bad.db");
    writeFileSync(file, "this is not a data base, and long enough to be looked at as one".repeat(100));
    const { store, troubles } = await open("bad.db");
    assert.equal(troubles.length, 1);
    store.add(sample(), 0, 0);
    store.add(sample(), 10_000, 10_000);
    store.close();
    const { store: again } = await open("bad.db");
    assert.ok(again.points > 0);
    again.close();
  });
});
