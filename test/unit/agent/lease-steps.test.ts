import assert from "node:assert/strict";
import { test } from "node:test";
import { LeaseSteps } from "../../../agent/lease-steps.ts";

test("the steps of a lease add up to its way; what is not on its way is not counted", () => {
  let nowMs = 100;
  const steps = new LeaseSteps(() => nowMs);
  const after = (ms: number, act: () => void) => {
    nowMs += ms;
    act();
  };
  steps.begin("a");
  after(2, () => steps.mark("a", "decide"));
  after(1, () => steps.begin("a")); // the same call once more: it goes on
  after(2, () => steps.mark("a", "cgroup"));
  after(4, () => steps.mark("a", "cgroup")); // the prepared executor was of no use
  after(10, () => steps.mark("a", "starter"));
  after(1, () => steps.mark("a", "answer"));
  assert.deepEqual(steps.end("a"), { decide: 2, cgroup: 7, starter: 10, answer: 1 });
  assert.equal(steps.end("a"), undefined);
  after(50, () => steps.mark("a", "answer"));
  steps.begin("b");
  after(3, () => steps.mark("b", "decide"));
  steps.end("b"); // refused
  assert.deepEqual(steps.seconds, {
    decide: 0.005,
    cgroup: 0.007,
    starter: 0.01,
    answer: 0.001,
    controller: 0,
  });
});
