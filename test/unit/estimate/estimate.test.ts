import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { SubletError } from "../../../src/common/errors.ts";
import { longestHoldMs, parseCounts, timelinesOf } from "../../../src/estimate/counts.ts";
import { estimate } from "../../../src/estimate/estimate.ts";
import { HistoryCollector } from "../../../src/estimate/history.ts";
import { addHoles, areaOf, freeOverTime, newHoles } from "../../../src/estimate/holes.ts";
import { estimatePage } from "../../../src/estimate/page.ts";
import { simulate } from "../../../src/estimate/simulate.ts";
import { type Timeline, TimelineBuilder } from "../../../src/estimate/timeline.ts";

const hourS = 3600;
const quiet = (): void => {};

/** One node of 4 cores and 1024 MiB: a job of 3 cores from 1 h to 2 h, another of 1 core from 1.5 h to 3 h; 4 hours. */
function twoJobs(): Timeline {
  const builder = new TimelineBuilder([{ node: "n1", cores: 4, memoryMib: 1024 }], 0, 4 * hourS * 1000);
  builder.add({ startMs: 3_600_000, endMs: 7_200_000, nodes: ["n1"], cores: 3, memoryMib: 512 });
  builder.add({ startMs: 5_400_000, endMs: 10_800_000, nodes: ["n1", "gone"], cores: 1, memoryMib: 0 });
  assert.equal(builder.unknownNodes, 1);
  return builder.build()[0] as Timeline;
}

test("a timeline says what was free, from jobs in any order", () => {
  const { atS, freeCores, freeMib } = twoJobs();
  assert.deepEqual([...atS], [0, 3600, 5400, 7200, 10_800]);
  assert.deepEqual([...freeCores], [4, 1, 0, 3, 4]);
  assert.deepEqual([...freeMib], [1024, 512, 512, 1024, 1024]);
});

test("holes of a small day, counted by hand", () => {
  const line = twoJobs();
  const holes = newHoles(1);
  addHoles(holes, line.atS, line.freeCores, 4 * hourS, [2000]);
  // Three cores free for 1 h, one for 1.5 h; then three for 2 h and one for 1 h.
  assert.deepEqual(holes.count, [0, 0, 0, 0, 4, 0, 0]);
  assert.equal(holes.unitSeconds[4], 3 * 3600 + 5400 + 3 * 7200 + 3600);
  assert.equal(holes.fits[0], 3 * 2000 + 4000 + 3 * 6000 + 2000);
});

const skyline = fc
  .array(fc.record({ at: fc.integer({ min: 1, max: 9999 }), free: fc.integer({ min: 0, max: 8 }) }), {
    maxLength: 40,
  })
  .map((steps) => {
    const at = new Map(steps.map((step) => [step.at, step.free]));
    const times = [0, ...[...at.keys()].sort((a, b) => a - b)];
    return {
      node: "n1",
      cores: 8,
      memoryMib: 8,
      atS: Uint32Array.from(times),
      freeCores: Int32Array.from(times, (time) => at.get(time) ?? 8),
      freeMib: Int32Array.from(times, (time) => at.get(time) ?? 8),
    };
  });

test("holes are exactly the area below the skyline, and so is what is shown over time", () => {
  fc.assert(
    fc.property(skyline, (line) => {
      const holes = newHoles(0);
      addHoles(holes, line.atS, line.freeCores, 10_000, []);
      const area = areaOf(line, 10_000);
      assert.equal(
        holes.unitSeconds.reduce((sum, value) => sum + value, 0),
        area.coreSeconds,
      );
      const shown = freeOverTime([line], 10_000, 7).reduce((sum, value) => sum + (value * 10_000) / 7, 0);
      assert.ok(Math.abs(shown - area.coreSeconds) < 1e-6 * Math.max(1, area.coreSeconds));
    }),
  );
});

test("simulated leases: caught and lost make up what was spare, and leases of one core catch what fits", () => {
  fc.assert(
    fc.property(skyline, fc.integer({ min: 50, max: 4000 }), (line, termS) => {
      const options = { termS, leaseCores: 1, leaseMibPerCore: 0, endS: 10_000 };
      const found = simulate([line], options);
      const { coreSeconds } = areaOf(line, 10_000);
      assert.equal(found.spare, coreSeconds);
      assert.equal(found.caught + found.lost, coreSeconds, "somebody always wants more");
      const holes = newHoles(1);
      addHoles(holes, line.atS, line.freeCores, 10_000, [termS]);
      // What the end of the span cuts off counts as caught, so never less than what fits.
      assert.ok(found.caught >= (holes.fits[0] ?? 0));
    }),
  );
});

test("memory that a job wants back ends leases, and a node without memory lends no cores", () => {
  const base = { node: "n1", cores: 4, memoryMib: 1000, atS: Uint32Array.from([0, 500]) };
  const kept = { ...base, freeCores: Int32Array.from([4, 4]), freeMib: Int32Array.from([1000, 1000]) };
  const options = { termS: 1000, leaseCores: 1, leaseMibPerCore: 250, endS: 1000 };
  assert.equal(simulate([kept], options).cut, 0);
  const half = simulate([{ ...kept, freeMib: Int32Array.from([1000, 500]) }], options);
  assert.deepEqual([half.leases, half.cut], [4, 2]);
  assert.equal(simulate([{ ...kept, freeMib: Int32Array.from([200, 200]) }], options).leases, 0);
});

test("an estimate adds up, and time in which a node was down is not spare", async () => {
  const size = { node: "n1", cores: 4, memoryMib: 2048 };
  const toMs = 10 * hourS * 1000;
  const collector = new HistoryCollector([size], 0, toMs);
  const job = {
    startMs: 0,
    endMs: toMs / 2,
    nodes: ["n1"],
    cores: 4,
    memoryMib: 1024,
    busy: 0.5,
    usedMib: 512,
  };
  collector.job(job);
  collector.down({ node: "n1", startMs: (toMs * 9) / 10, endMs: toMs + 1e6 });
  const { coreHours, gibHours } = collector.heldUnused();
  const found = await estimate(
    {
      source: "<b>test</b>",
      fromMs: 0,
      toMs,
      jobs: 1,
      readings: [{ name: "as recorded", timelines: collector.timelines() }],
      heldUnusedCoreHours: coreHours,
      heldUnusedGibHours: gibHours,
      notes: [],
      termsS: [60, 7200],
      leaseCores: 4,
      leaseMibPerCore: 256,
    },
    quiet,
  );
  assert.deepEqual(found.coreHours, { total: 40, allocated: 24, idle: 16, unallocated: 0, heldUnused: 10 });
  assert.deepEqual(found.gibHours, { total: 20, allocated: 7, idle: 8, unallocated: 5, heldUnused: 2.5 });
  const [reading] = found.readings;
  assert.deepEqual(
    reading?.terms.map(({ caught, lost }) => [caught, lost]),
    [
      [1, 0],
      [1, 0],
    ],
  );
  assert.equal(reading?.holes[4]?.coreHours, 0);
  assert.equal(reading?.holes[5]?.coreHours, 16);
  assert.equal(reading?.terms[0]?.caughtCoreHours, 16);
  const page = estimatePage(found, { perCoreHour: 0.5, currency: "EUR" }, "sublet estimate");
  assert.ok(!page.includes("<b>test"), "what comes from outside is escaped");
  assert.ok(!/<script|https?:\/\//.test(page), "nothing is loaded");
});

const counts = `timestamp,idle_nodes,allocated_nodes
2026-01-01T00:00:00,2,1
2026-01-01T00:01:40,1,2
2026-01-01T00:03:20,2,1
2026-01-01T00:05:00,0,3
2026-01-01T02:00:00,1,2
`;

test("a trace of counts is read both ways, with the same area; unwatched time is not claimed", () => {
  const size = { cores: 10, memoryMib: 1 };
  const samples = parseCounts(counts);
  assert.equal(longestHoldMs(samples), 1_000_000);
  const late = parseCounts(counts.replace("00:05:00,0,3", "00:05:00,1,2"));
  for (const reading of ["oldest first", "newest first"] as const) {
    const area = (of: typeof samples): number =>
      timelinesOf(of, size, reading).reduce((sum, line) => sum + areaOf(line, 7200).coreSeconds, 0);
    assert.equal(area(samples), 5000);
    assert.equal(area(late), 5000 + 10_000);
    const longest = Math.max(
      ...timelinesOf(late, size, reading).flatMap((line) =>
        [...line.atS].map((at, i) => (line.freeCores[i] ? (line.atS[i + 1] ?? 7200) - at : 0)),
      ),
    );
    assert.equal(longest, reading === "newest first" ? 1300 : 1100);
  }
});

test("a trace that makes no sense is refused with line and reason", () => {
  const refused = (text: string, why: RegExp): void => {
    assert.throws(
      () => parseCounts(text),
      (error) => error instanceof SubletError && error.code === "INVALID_ARGUMENT" && why.test(error.message),
    );
  };
  refused("", /line 1: no column timestamp/);
  refused("timestamp,idle_nodes\n", /no column allocated_nodes/);
  refused(counts.replace("00:01:40,1", "00:01:40,-1"), /line 3: idle_nodes is "-1"/);
  refused(counts.replace("2026-01-01T00:03:20", "soon"), /line 4: "soon" is no time/);
  refused(counts.split("\n").slice(0, 2).join("\n"), /fewer than two samples/);
});
