import assert from "node:assert/strict";
import { test } from "node:test";
import { lendingMode, lotOf } from "../../../agent/lending/mode.ts";
import { newScore, nextScore } from "../../../agent/lending/score.ts";
import { offerMessage } from "../../../agent/offer/messages.ts";
import type { Spare } from "../../../src/common/nouns.ts";
import { Driver, mib, setup, types } from "./setup.ts";

const config = { mode: "on", holdOut: 0.1, holdOutDays: 7, shadowTermMs: 300_000 } as const;
const weekMs = 7 * 86_400_000;
const names = Array.from({ length: 5000 }, (_, i) => `n${i}`);

test("the configured share of the nodes is held out, others in the next period, and every node comes to it", () => {
  const held = (unixMs: number) =>
    new Set(names.filter((name) => lendingMode(config, name, unixMs) === "hold_out"));
  const first = held(10 * weekMs);
  assert.ok(Math.abs(first.size / names.length - 0.1) < 0.02, `${first.size}`);
  assert.deepEqual(held(10 * weekMs + weekMs - 1), first, "the same for a whole period, on any restart");
  const second = held(11 * weekMs);
  const both = [...second].filter((name) => first.has(name)).length;
  assert.ok(both < 0.25 * first.size, `${both} of ${first.size} twice`);
  assert.ok(Array.from({ length: 200 }, (_, i) => i).some((i) => lotOf("n1", i) < 0.1));
  assert.equal(lendingMode({ ...config, holdOut: 0 }, "n1", 0), "on");
  assert.equal(lendingMode({ ...config, mode: "shadow" }, "n1", 0), "shadow");
});

test("a node that is held out lends nothing, ends what it lent, and says what it would lend", () => {
  const driver = Driver.ready();
  driver.feed({ type: "jobs", jobs: [] });
  driver.run("a");
  const revision = driver.state.revision;
  const effects = driver.feed({ type: "lending", mode: "hold_out" });
  assert.ok(types(effects).includes("draining") && types(effects).includes("offer"), types(effects).join());
  driver.nowMs += setup.reclaimBudgetMs;
  assert.ok(types(driver.feed({ type: "timer" })).includes("end"), "its budget is over");
  driver.feed({ type: "guest_gone", leaseId: "a" });
  const self = { node: "n1", runDir: "/r", fabricAddress: "f", address: "a:1", epochUnixMs: 1 };
  const offer = offerMessage(driver.state, self, driver.nowMs, 0);
  assert.equal(offer.lending, "LENDING_HOLD_OUT");
  assert.deepEqual(offer.spare, []);
  assert.deepEqual(offer.shadowSpare[0]?.cores, [0, 1, 2, 3]);
  assert.ok(offer.revision > revision);
  const { call, effects: refused } = driver.grant("b");
  assert.deepEqual(
    refused.map((effect) => [effect.type, "call" in effect ? effect.call : undefined]),
    [["refuse", call]],
  );
  driver.feed({ type: "lending", mode: "on" });
  const again = offerMessage(driver.state, self, driver.nowMs, 0);
  assert.deepEqual(
    [again.lending, again.spare[0]?.cores, again.shadowSpare],
    ["LENDING_ON", [0, 1, 2, 3], []],
  );
});

const spare = (...cores: number[]): readonly Spare[] =>
  cores.length === 0 ? [] : [{ class: "idle", cores, memoryBytes: 2 * mib }];

test("imagined leases finish with their term, are cut short by a job, and are counted to the millisecond", () => {
  let score = newScore(0);
  const at = (nowMs: number, now: readonly Spare[]): void => {
    score = nextScore(score, now, 1000, nowMs);
  };
  at(0, spare(0, 1));
  at(400, spare(0, 1, 2)); // more came free: for the next lease
  at(2500, spare(0, 1, 2)); // two terms are over
  assert.deepEqual([score.finished, score.cut, score.coreMs], [2, 0, 5000]);
  at(2700, spare(2)); // a job took core 0 and 1
  assert.deepEqual([score.finished, score.cut, score.coreMs], [2, 1, 5400]);
  at(3000, []);
  assert.deepEqual([score.cut, score.coreMs], [2, 5700]);
  at(9000, []);
  assert.deepEqual([score.finished, score.cut, score.coreMs], [2, 2, 5700]);
  assert.equal(score.byteMs, 2 * mib * 3000);
});
