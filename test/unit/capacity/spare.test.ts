import assert from "node:assert/strict";
import { test } from "node:test";
import { type NodeFacts, spareCapacity } from "../../../src/capacity/spare.ts";

const job = { jobId: 1, cores: [0, 1], memoryLimitBytes: 300, memoryUsedBytes: 10, exclusive: false };
const facts: NodeFacts = {
  inventory: { cores: [0, 1, 2, 3], memoryBytes: 1000 },
  reserve: { cores: [3], memoryBytes: 100 },
  jobs: [],
  announcedJobs: [],
  leases: [],
  memoryAvailableBytes: 900,
  closed: false,
};

test("an idle node lends all but its reserve", () => {
  assert.deepEqual(spareCapacity(facts), [{ class: "idle", cores: [0, 1, 2], memoryBytes: 800 }]);
});

test("beside a job: what Slurm left, and no byte of the job's limit", () => {
  assert.deepEqual(spareCapacity({ ...facts, jobs: [job] }), [
    { class: "unallocated", cores: [2], memoryBytes: 600 },
  ]);
  const unlimited = { ...job, memoryLimitBytes: undefined };
  assert.deepEqual(spareCapacity({ ...facts, jobs: [unlimited] })[0]?.memoryBytes, 0);
});

test("what is lent is not lent again", () => {
  const leases = [{ cores: [2], memoryBytes: 500 }];
  assert.deepEqual(spareCapacity({ ...facts, leases }), [{ class: "idle", cores: [0, 1], memoryBytes: 400 }]);
});

test("in doubt nothing: closed, announced job, exclusive job", () => {
  assert.deepEqual(spareCapacity({ ...facts, closed: true }), []);
  assert.deepEqual(spareCapacity({ ...facts, announcedJobs: [9] }), []);
  assert.deepEqual(spareCapacity({ ...facts, jobs: [{ ...job, exclusive: true }] }), []);
});

test("the kernel's word counts when memory is short", () => {
  assert.equal(spareCapacity({ ...facts, memoryAvailableBytes: 150 })[0]?.memoryBytes, 50);
  assert.equal(spareCapacity({ ...facts, memoryAvailableBytes: 20 })[0]?.memoryBytes, 0);
});
