import assert from "node:assert/strict";
import { test } from "node:test";
import {
  binCount,
  dayBlock,
  dayBlocks,
  fade,
  hazardsOf,
  horizonMs,
  learnSpell,
  maxHorizonMs,
  newFacts,
  type SpellFacts,
  survival,
} from "../../../src/capacity/survival.ts";
import { draws } from "./draws.ts";

const minuteMs = 60_000;

/** Spells with a constant hazard: the horizon is -ln(confidence) times the mean, whatever the age. */
function exponential(
  facts: SpellFacts,
  nodeClass: string,
  meanMs: number,
  count: number,
  seed: number,
): void {
  const draw = draws(seed);
  for (let i = 0; i < count; i++)
    learnSpell(facts, nodeClass, i % dayBlocks, 0, -Math.log(1 - draw()) * meanMs, true);
}

test("a constant hazard is found, and with it the horizon, at any age", () => {
  const facts = newFacts();
  exponential(facts, "idle", 10 * minuteMs, 20_000, 1);
  const hazards = hazardsOf(facts, "idle");
  assert.ok(hazards !== undefined);
  for (const ageMs of [0, minuteMs, 7 * minuteMs, 25 * minuteMs]) {
    const ratio = horizonMs(hazards, 2, ageMs, 0.8) / (-Math.log(0.8) * 10 * minuteMs);
    assert.ok(ratio > 0.85 && ratio < 1.15, `age ${ageMs}: ${ratio}`);
  }
});

test("survival and horizon are inverse to each other", () => {
  const facts = newFacts();
  exponential(facts, "idle", 5 * minuteMs, 3000, 2);
  const hazards = hazardsOf(facts, "idle");
  assert.ok(hazards !== undefined);
  for (const ageMs of [0, 40_000, 1_000_000])
    for (const confidence of [0.5, 0.8, 0.95]) {
      const forMs = horizonMs(hazards, 0, ageMs, confidence);
      if (forMs < maxHorizonMs) assert.ok(Math.abs(survival(hazards, 0, ageMs, forMs) - confidence) < 0.001);
    }
});

test("spells that were watched in part teach what whole ones do", () => {
  const whole = newFacts();
  const parts = newFacts();
  const draw = draws(3);
  for (let i = 0; i < 5000; i++) {
    const lengthMs = -Math.log(1 - draw()) * 10 * minuteMs;
    const cutMs = draw() * lengthMs;
    learnSpell(whole, "idle", 0, 0, lengthMs, true);
    learnSpell(parts, "idle", 0, 0, cutMs, false);
    learnSpell(parts, "idle", 0, cutMs, lengthMs, true);
  }
  const a = hazardsOf(whole, "idle");
  const b = hazardsOf(parts, "idle");
  assert.ok(a !== undefined && b !== undefined);
  for (let bin = 0; bin < binCount; bin++)
    assert.ok(Math.abs((a[0]?.[bin] ?? 0) / (b[0]?.[bin] ?? 1) - 1) < 1e-6);
});

test("a class that was hardly watched leans on the others, one that was well watched does not", () => {
  const facts = newFacts();
  exponential(facts, "long", 100 * minuteMs, 5000, 4);
  exponential(facts, "short", minuteMs, 5000, 5);
  exponential(facts, "new", minuteMs, 1, 6);
  const horizonOf = (nodeClass: string): number => {
    const hazards = hazardsOf(facts, nodeClass);
    assert.ok(hazards !== undefined);
    return horizonMs(hazards, 0, 0, 0.8);
  };
  assert.ok(horizonOf("long") > 20 * horizonOf("short"));
  assert.ok(horizonOf("new") > horizonOf("short") && horizonOf("new") < horizonOf("long"));
  assert.ok(horizonOf("never seen") > horizonOf("short") && horizonOf("never seen") < horizonOf("long"));
});

test("a block of the day with many arrivals has a shorter horizon", () => {
  const facts = newFacts();
  for (let i = 0; i < 500; i++) {
    learnSpell(facts, "idle", 2, 0, minuteMs, true);
    learnSpell(facts, "idle", 5, 0, 60 * minuteMs, true);
  }
  const hazards = hazardsOf(facts, "idle");
  assert.ok(hazards !== undefined);
  assert.ok(horizonMs(hazards, 5, 0, 0.8) > 5 * horizonMs(hazards, 2, 0, 0.8));
});

test("too little is known: nothing is said", () => {
  const facts = newFacts();
  assert.equal(hazardsOf(facts, "idle"), undefined);
  exponential(facts, "idle", minuteMs, 19, 7);
  assert.equal(hazardsOf(facts, "idle"), undefined);
  exponential(facts, "idle", minuteMs, 1, 8);
  assert.notEqual(hazardsOf(facts, "idle"), undefined);
});

test("old facts fade", () => {
  const facts = newFacts();
  exponential(facts, "idle", minuteMs, 1000, 9);
  fade(facts, 10 * 86_400_000, 86_400_000);
  exponential(facts, "idle", 100 * minuteMs, 1000, 10);
  const hazards = hazardsOf(facts, "idle");
  assert.ok(hazards !== undefined);
  assert.ok(horizonMs(hazards, 0, 10 * minuteMs, 0.8) > 10 * minuteMs);
});

test("never an arrival: the horizon ends at a day", () => {
  const facts = newFacts();
  exponential(facts, "busy", minuteMs, 100, 11);
  for (let block = 0; block < dayBlocks; block++) learnSpell(facts, "quiet", block, 0, 1e13, false);
  const hazards = hazardsOf(facts, "quiet");
  assert.ok(hazards !== undefined);
  assert.equal(horizonMs(hazards, 0, 100 * 86_400_000, 0.8), maxHorizonMs);
});

test("blocks of the day are the site's", () => {
  const noonMs = Date.UTC(2026, 0, 1, 12);
  assert.equal(dayBlock(noonMs, 0), 3);
  assert.equal(dayBlock(noonMs, -11 * 3_600_000), 0);
  assert.equal(dayBlock(noonMs, 13 * 3_600_000), 0);
  assert.equal(dayBlock(-1, 0), 5);
});
