import assert from "node:assert/strict";
import { test } from "node:test";
import { horizon } from "../../../agent/offer/horizon.ts";
import { ageEdgesMs, binCount, dayBlocks } from "../../../src/capacity/survival.ts";
import type { HorizonModelMessage } from "../../../src/rpc/messages.ts";
import { Driver, mib } from "./setup.ts";

const since = (driver: Driver): number | undefined => driver.state.spell?.sinceMs;

const job = (jobId: number, cores: readonly number[]) => ({
  jobId,
  cores: [...cores],
  memoryLimitBytes: 100 * mib,
  memoryUsedBytes: 0,
});

test("a spell ends when a job arrives and when the last one leaves; jobs that were there before count as neither", () => {
  const driver = Driver.ready();
  assert.equal(driver.state.spell, undefined);
  driver.feed({ type: "jobs", jobs: [job(1, [0])] });
  assert.deepEqual(driver.state.spell, { class: "unallocated", sinceMs: 1000, begunSeen: false });
  assert.equal(driver.state.arrivals, 0);

  driver.nowMs = 5000;
  driver.feed({ type: "prolog", call: driver.nextCall(), jobId: 2 });
  assert.deepEqual(driver.state.spell, { class: "unallocated", sinceMs: 5000, begunSeen: true });
  assert.equal(driver.state.arrivals, 1);

  driver.nowMs = 6000;
  driver.feed({ type: "jobs", jobs: [job(1, [0]), job(2, [1])] });
  driver.feed({ type: "memory", availableBytes: 4096 * mib, touchedBytes: new Map() });
  assert.equal(driver.state.arrivals, 1, "its cgroup is no second arrival");
  assert.equal(since(driver), 5000);

  driver.feed({ type: "epilog", call: driver.nextCall(), jobId: 2 });
  driver.feed({ type: "jobs", jobs: [job(1, [0])] });
  assert.equal(since(driver), 5000, "one of two left: what is lent is not in the way of anybody");
  driver.nowMs = 9000;
  driver.feed({ type: "jobs", jobs: [] });
  assert.deepEqual(driver.state.spell, { class: "idle", sinceMs: 9000, begunSeen: true });
  assert.equal(driver.state.arrivals, 1);
});

const perHour = (rate: number): number[] => Array.from({ length: dayBlocks * binCount }, () => rate);
const model = (changes: Partial<HorizonModelMessage> = {}): HorizonModelMessage => ({
  tables: [{ class: "CAPACITY_CLASS_IDLE", arrivalsPerHour: perHour(6) }],
  confidence: 0.8,
  ageEdgesMs: [...ageEdgesMs],
  ...changes,
});

test("the horizon follows the model of the controllers; one that is none changes nothing", () => {
  const here = horizon();
  const spell = { class: "idle", sinceMs: 0, begunSeen: true } as const;
  assert.equal(here.ofSpell(spell, 1000, 0), 0, "nothing is known yet");
  here.learn(model());
  const expected = (-Math.log(0.8) * 3_600_000) / 6;
  assert.ok(Math.abs(here.ofSpell(spell, 1000, 0) - expected) < 2);
  assert.equal(here.ofSpell({ ...spell, class: "unallocated" }, 1000, 0), 0, "no table for it");
  assert.equal(here.ofSpell(undefined, 1000, 0), 0);
  for (const bad of [
    model({ confidence: 0 }),
    model({ confidence: Number.NaN }),
    model({ ageEdgesMs: [1000] }),
    model({ tables: [{ class: "CAPACITY_CLASS_IDLE", arrivalsPerHour: [1] }] }),
    model({ tables: [{ class: "CAPACITY_CLASS_IDLE", arrivalsPerHour: perHour(-1) }] }),
    model({ tables: [{ class: "CAPACITY_CLASS_IDLE", arrivalsPerHour: perHour(Number.NaN) }] }),
  ]) {
    here.learn(bad);
    assert.ok(Math.abs(here.ofSpell(spell, 1000, 0) - expected) < 2);
  }
});
