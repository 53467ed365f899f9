/** What `sublet trace` shows of the traces that it took. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type Trace, type TracePart, traceParts } from "../../../src/cli/libsublet.ts";
import { formatMicroseconds, formatTrace, timeRows } from "../../../src/cli/trace.ts";

function traceOf(parts: Partial<Record<TracePart, number>>, more: Partial<Trace> = {}): Trace {
  const partsNs = Object.fromEntries(traceParts.map((part) => [part, parts[part] ?? 0])) as Trace["partsNs"];
  const totalNs = Object.values(partsNs).reduce((sum, ns) => sum + ns, 0);
  return {
    path: "memory",
    workerTold: true,
    workerSlept: false,
    callerSlept: false,
    totalNs,
    partsNs,
    ...more,
  };
}

describe("the times of traces", () => {
  it("set the first call apart", () => {
    const rows = timeRows([
      traceOf({ send: 9000, run: 1 }),
      traceOf({ run: 10 }),
      traceOf({ run: 30 }),
      traceOf({ run: 20 }),
    ]);
    const run = rows.find(({ name }) => name === "run");
    assert.deepEqual([run?.firstNs, run?.medianNs, run?.p99Ns], [1, 20, 30]);
    const total = rows.at(-1);
    assert.deepEqual([total?.name, total?.firstNs, total?.medianNs], ["total", 9001, 20]);
  });
  it("are of the only call when there is one", () => {
    assert.equal(timeRows([traceOf({ wire: 7 })]).find(({ name }) => name === "wire")?.medianNs, 7);
  });
  it("have three digits", () => {
    assert.deepEqual([84, 12_345, 10_300_400].map(formatMicroseconds), ["0.084", "12.3", "10300"]);
  });
});

describe("the table", () => {
  it("says of one call how long each part took", () => {
    const text = formatTrace("1 call", [traceOf({ run: 10_000_000 })], undefined);
    assert.match(text, /^1 call\npart +where +what +us\n/);
    assert.match(text, /\nrun +worker +the function +10000\n/);
    assert.match(text, /\ntotal +10000\n/);
    assert.doesNotMatch(text, /median|clocks/);
  });
  it("says what a connection hides, and who did not tell", () => {
    const calls = [1, 2, 3].map((ns) => traceOf({ wire: ns }, { path: "connection", workerTold: ns !== 3 }));
    const text = formatTrace("3 calls", calls, undefined);
    assert.match(text, /clocks of both sides are not compared/);
    assert.match(text, /In 1 calls the worker did not tell/);
  });
  for (const width of [80, 40, 24])
    it(`fits ${width} columns`, () => {
      const text = formatTrace("1000 calls of echo", [traceOf({ run: 5 }), traceOf({ run: 6 })], width);
      for (const line of text.split("\n")) assert.ok(line.length <= width, line);
      assert.match(text, /median/);
    });
});
