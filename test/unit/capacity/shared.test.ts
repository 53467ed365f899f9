import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { followUse, type JobUse, type UseSample } from "../../../src/capacity/shared.ts";

const rules = { quietMs: 1000, marginBytes: 100 };
const cores = [4, 5];

function sample(atMs: number, usedMs: readonly number[], changes: Partial<UseSample> = {}): UseSample {
  return {
    atMs,
    usedNs: new Map(cores.map((core, i) => [core, (usedMs[i] ?? 0) * 1e6])),
    totalNs: undefined,
    memoryLimitBytes: 1000,
    memoryCurrentBytes: 300,
    memoryInactiveFileBytes: 50,
    ...changes,
  };
}

function follow(samples: readonly UseSample[]): JobUse {
  let use: JobUse | undefined;
  for (const each of samples) use = followUse(use, each, cores, rules);
  assert.ok(use !== undefined);
  return use;
}

test("a core is lent when it was unused for the whole time, and not before", () => {
  assert.deepEqual(follow([sample(0, [0, 0])]).cores, []);
  assert.deepEqual(follow([sample(0, [0, 0]), sample(999, [5, 999])]).cores, []);
  assert.deepEqual(follow([sample(0, [0, 0]), sample(500, [1, 500]), sample(1000, [2, 1000])]).cores, [4]);
});

test("one sample of use takes it back, and the time begins anew", () => {
  const quiet = [sample(0, [0, 0]), sample(1000, [0, 0])];
  assert.deepEqual(follow(quiet).cores, [4, 5]);
  const awake = [...quiet, sample(1200, [0, 10])];
  assert.deepEqual(follow(awake).cores, [4]);
  assert.deepEqual(follow([...awake, sample(2199, [0, 10])]).cores, [4]);
  assert.deepEqual(follow([...awake, sample(2200, [0, 10])]).cores, [4, 5]);
});

test("between the marks a lent core stays lent, and one that is not does not become so", () => {
  const quiet = [sample(0, [0, 100]), sample(1000, [0, 130])];
  assert.deepEqual(follow(quiet).cores, [4]);
  assert.deepEqual(follow([...quiet, sample(2000, [30, 160])]).cores, [4]);
  assert.deepEqual(follow([...quiet, sample(2000, [30, 160]), sample(3000, [80, 160])]).cores, [5]);
});

test("what cannot be told is not lent", () => {
  const blind = { usedNs: undefined };
  assert.deepEqual(follow([sample(0, [0, 0], blind), sample(5000, [0, 0], blind)]).cores, []);
  // A counter that fell: another life of the job.
  assert.deepEqual(follow([sample(0, [9, 9]), sample(5000, [0, 0])]).cores, []);
});

test("where the job's own time is known, others' work on its cores is not taken for its own", () => {
  const total = { totalNs: 0 };
  const use = follow([sample(0, [0, 0], total), sample(1000, [900, 900], total)]);
  assert.deepEqual(use.cores, [4, 5]);
});

test("memory: the most it touched in the window, with the margin; nothing at first or without a limit", () => {
  assert.equal(follow([sample(0, [])]).memoryBytes, 0);
  assert.equal(follow([sample(0, []), sample(10, [])]).memoryBytes, 650);
  const peak = { memoryCurrentBytes: 850 };
  const breathes = [sample(0, []), sample(10, [], peak), sample(20, [])];
  assert.equal(follow(breathes).memoryBytes, 100);
  assert.equal(follow([...breathes, sample(1010, [])]).memoryBytes, 100);
  assert.equal(follow([...breathes, sample(1010, []), sample(2010, [])]).memoryBytes, 650);
  assert.equal(follow([sample(0, []), sample(10, [], { memoryCurrentBytes: 2000 })]).memoryBytes, 0);
  assert.equal(follow([sample(0, []), sample(10, [], { memoryLimitBytes: undefined })]).memoryBytes, 0);
});

test("never a core that was used beyond the mark within the window, never memory beyond the formula", () => {
  const step = fc.record({
    afterMs: fc.integer({ min: 1, max: 700 }),
    used: fc.tuple(fc.nat(100), fc.nat(100)),
    current: fc.nat(1200),
    inactive: fc.nat(100),
  });
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 12 }), (steps) => {
      let use: JobUse | undefined;
      let atMs = 0;
      const sums = [0, 0];
      const lastUseMs = [0, 0];
      for (const { afterMs, used, current, inactive } of steps) {
        const before = atMs;
        atMs += afterMs;
        for (const i of [0, 1]) {
          const ms = Math.min(afterMs, used[i] ?? 0);
          sums[i] = (sums[i] ?? 0) + ms;
          if (before > 0 && ms / afterMs >= 0.05) lastUseMs[i] = atMs;
        }
        const memory = { memoryCurrentBytes: current, memoryInactiveFileBytes: inactive };
        use = followUse(use, sample(atMs, sums, memory), cores, rules);
        for (const [i, core] of cores.entries())
          if (use.cores.includes(core)) assert.ok(atMs - (lastUseMs[i] ?? 0) >= rules.quietMs);
        assert.ok(use.memoryBytes <= Math.max(0, 1000 - Math.max(0, current - inactive) - 100));
      }
    }),
    { numRuns: 2000 },
  );
});
