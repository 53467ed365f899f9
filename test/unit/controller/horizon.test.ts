import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type HorizonLearner,
  horizonModel,
  newLearner,
  onLearnerTick,
  onSpell,
  onSpellLost,
} from "../../../src/controller/horizon.ts";
import type { SpellMessage } from "../../../src/rpc/messages.ts";

const minuteMs = 60_000;

function spell(ageMs: number, arrivals: number, changes: Partial<SpellMessage> = {}): SpellMessage {
  return { class: "CAPACITY_CLASS_IDLE", ageMs, begunSeen: true, arrivals, ...changes };
}

function tell(
  learner: HorizonLearner,
  nowMs: number,
  message: SpellMessage | null,
  horizonMs = 0,
  node = "n1",
): string | undefined {
  return onSpell(learner, { node, partitions: ["p"], spell: message, horizonMs }, nowMs, nowMs);
}

function learned(learner: HorizonLearner): { arrivals: number; watchedMs: number } {
  const bins = [...learner.facts.classes.values()].flat(2);
  return {
    arrivals: bins.reduce((sum, bin) => sum + bin.arrivals, 0),
    watchedMs: bins.reduce((sum, bin) => sum + bin.watchedMs, 0),
  };
}

test("a spell is learned as long as it was watched, and its arrival once", () => {
  const learner = newLearner(0.8, 0);
  tell(learner, 0, spell(0, 0));
  tell(learner, 5000, spell(5000, 0));
  tell(learner, 10_000, spell(10_000, 0));
  // A job came at 12 s; the report of it at 15 s.
  tell(learner, 15_000, spell(3000, 1, { class: "CAPACITY_CLASS_UNALLOCATED" }));
  assert.deepEqual(learned(learner), { arrivals: 1, watchedMs: 12_000 });
});

test("the last job left: what was watched counts, an arrival does not", () => {
  const learner = newLearner(0.8, 0);
  tell(learner, 0, spell(0, 3, { class: "CAPACITY_CLASS_UNALLOCATED" }));
  tell(learner, 9000, spell(1000, 3));
  assert.deepEqual(learned(learner), { arrivals: 0, watchedMs: 8000 });
});

test("a spell whose beginning nobody saw, a restarted or silent agent teach nothing", () => {
  const learner = newLearner(0.8, 0);
  tell(learner, 0, spell(0, 0, { begunSeen: false }));
  tell(learner, 5000, spell(100, 1));
  assert.deepEqual(learned(learner), { arrivals: 0, watchedMs: 0 });
  tell(learner, 6000, spell(0, 0));
  assert.deepEqual(learned(learner), { arrivals: 0, watchedMs: 0 });
  tell(learner, 7000, null);
  tell(learner, 8000, spell(10, 9));
  onSpellLost(learner, "n1");
  tell(learner, 9000, spell(0, 10));
  assert.deepEqual(learned(learner), { arrivals: 0, watchedMs: 0 });
  tell(learner, 9500, spell(Number.NaN, 10));
  tell(learner, 9600, spell(-5, 10));
  assert.deepEqual(learned(learner), { arrivals: 0, watchedMs: 0 });
});

test("a horizon that was stated is kept or broken, once", () => {
  const learner = newLearner(0.8, 0);
  assert.equal(tell(learner, 0, spell(0, 0), 10_000), undefined);
  assert.equal(tell(learner, 5000, spell(5000, 0), 60_000), undefined, "the first word counts");
  assert.equal(tell(learner, 10_000, spell(10_000, 0), 60_000), "kept");
  assert.equal(tell(learner, 20_000, spell(2000, 1), 0), "broken", "the next was 60 s");
  assert.equal(tell(learner, 30_000, spell(2000, 2), 5000), undefined, "nothing was stated");
  assert.equal(tell(learner, 40_000, spell(1000, 3), 0), "kept", "9 s, 5 were said");
});

test("a model comes with enough arrivals, at the next rebuild, and foretells them", () => {
  const learner = newLearner(0.8, 0);
  assert.equal(horizonModel(learner, ["p"]), null);
  let nowMs = 0;
  for (let arrivals = 0; arrivals < 200; arrivals++) {
    tell(learner, nowMs, spell(0, arrivals));
    nowMs += 5 * minuteMs;
  }
  assert.equal(horizonModel(learner, ["p"]), null, "not before the rebuild");
  const { version } = learner;
  onLearnerTick(learner, nowMs);
  assert.equal(learner.version, version + 1);
  const model = horizonModel(learner, ["p"]);
  assert.equal(model?.confidence, 0.8);
  assert.equal(model?.tables.length, 2);
  const rates = model?.tables[0]?.arrivalsPerHour ?? [];
  assert.ok(rates.every((rate) => Number.isFinite(rate) && rate >= 0));
  // All spells were 5 minutes: no arrival is to be expected in the first minute, one soon before the fifth.
  assert.ok((rates[7] ?? 0) > 10 * (rates[0] ?? 0), `${rates.slice(0, 9)}`);
  onLearnerTick(learner, nowMs + 1000);
  assert.equal(learner.version, version + 1, "not every second");
});

test("many kinds of nodes: memory stays bounded", () => {
  const learner = newLearner(0.8, 0);
  for (let i = 0; i < 2000; i++) {
    const report = { node: `n${i}`, partitions: [`p${i}`], horizonMs: 0 };
    onSpell(learner, { ...report, spell: spell(0, 0) }, 0, 0);
    onSpell(learner, { ...report, spell: spell(0, 1) }, 5000, 5000);
    horizonModel(learner, [`p${i}`]);
  }
  assert.ok(learner.facts.classes.size <= 258);
  assert.ok(learner.models.size <= 256);
});
