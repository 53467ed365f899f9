import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type JobOnNode, type NodeFacts, spareCapacity } from "../../../src/capacity/spare.ts";

const silent = { exclusive: false, consent: undefined, unusedCores: [], unusedBytes: 0 };
const job = { jobId: 1, cores: [0, 1], memoryLimitBytes: 300, memoryUsedBytes: 10, ...silent };
const facts: NodeFacts = {
  inventory: { cores: [0, 1, 2, 3], memoryBytes: 1000 },
  reserve: { cores: [3], memoryBytes: 100 },
  jobs: [],
  announcedJobs: [],
  leases: [],
  memoryAvailableBytes: 900,
  closed: false,
  unallocated: "lend",
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

test("threads of one core go together: beside a job, beside a reserve, and where a job shares", () => {
  const inventory = {
    cores: [0, 1, 2, 3, 4, 5, 6, 7],
    memoryBytes: 1000,
    siblings: [
      [0, 4],
      [1, 5],
      [2, 6],
      [3, 7],
    ],
  };
  const hyper: NodeFacts = { ...facts, inventory };
  const cores = (more: Partial<NodeFacts>) => spareCapacity({ ...hyper, ...more }).map((each) => each.cores);
  assert.deepEqual(cores({}), [[0, 1, 2, 4, 5, 6]]);
  assert.deepEqual(cores({ jobs: [{ ...job, cores: [0] }] }), [[1, 2, 5, 6]]);
  // It uses core 1 and not its sibling: neither is lent.
  const sharing = { ...job, cores: [0, 4, 1, 5], consent: "share" as const, unusedCores: [0, 4, 5] };
  assert.deepEqual(cores({ jobs: [sharing] }), [
    [2, 6],
    [0, 4],
  ]);
});

test("what is lent is not lent again", () => {
  const leases = [{ class: "idle" as const, cores: [2], memoryBytes: 500 }];
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

const sharing: JobOnNode = { ...job, consent: "share", unusedCores: [1], unusedBytes: 120 };

test("beside a job that shares: what it does not use, in a class of its own", () => {
  assert.deepEqual(spareCapacity({ ...facts, jobs: [sharing] }), [
    { class: "unallocated", cores: [2], memoryBytes: 600 },
    { class: "shared", cores: [1], memoryBytes: 120 },
  ]);
  const leases = [
    { class: "shared" as const, cores: [1], memoryBytes: 50 },
    { class: "unallocated" as const, cores: [2], memoryBytes: 580 },
  ];
  assert.deepEqual(spareCapacity({ ...facts, jobs: [sharing], leases }), [
    { class: "unallocated", cores: [], memoryBytes: 20 },
    { class: "shared", cores: [], memoryBytes: 70 },
  ]);
});

test("a shared lease may take more than the job lends, at the expense of the rest", () => {
  const leases = [{ class: "shared" as const, cores: [1], memoryBytes: 320 }];
  assert.deepEqual(spareCapacity({ ...facts, jobs: [sharing], leases }), [
    { class: "unallocated", cores: [2], memoryBytes: 400 },
  ]);
});

test("who refuses neighbours has none; who was not asked, where the site wants it so", () => {
  const no: JobOnNode = { ...sharing, consent: "no" };
  assert.deepEqual(spareCapacity({ ...facts, jobs: [sharing, { ...no, jobId: 2, cores: [3] }] }), []);
  assert.deepEqual(spareCapacity({ ...facts, unallocated: "ask", jobs: [job] }), []);
  assert.equal(spareCapacity({ ...facts, unallocated: "ask", jobs: [sharing] }).length, 2);
  assert.equal(spareCapacity({ ...facts, jobs: [{ ...sharing, exclusive: true }] }).length, 2);
});

test("a core of two jobs is shared when both leave it unused", () => {
  const other: JobOnNode = { ...sharing, jobId: 2, memoryLimitBytes: 10, unusedBytes: 0 };
  const classOf = (jobs: JobOnNode[]): readonly number[] | undefined =>
    spareCapacity({ ...facts, jobs }).find((each) => each.class === "shared")?.cores;
  assert.deepEqual(classOf([sharing, other]), [1]);
  assert.deepEqual(classOf([sharing, { ...other, unusedCores: [] }]), []);
  assert.deepEqual(classOf([sharing, { ...other, consent: undefined }]), []);
});

const someCores = fc.uniqueArray(fc.nat(7), { maxLength: 8 }).map((cores) => cores.sort((a, b) => a - b));
const someJob = fc
  .record({
    jobId: fc.nat(9),
    cores: someCores,
    memoryLimitBytes: fc.option(fc.nat(400), { nil: undefined, freq: 8 }),
    memoryUsedBytes: fc.nat(400),
    exclusive: fc.boolean(),
    consent: fc.constantFrom("share" as const, "share" as const, "no" as const, undefined),
    unusedCores: someCores,
    unusedBytes: fc.nat(400),
  })
  .map((each) => ({ ...each, unusedBytes: Math.min(each.unusedBytes, each.memoryLimitBytes ?? 0) }));
const someFacts: fc.Arbitrary<NodeFacts> = fc.record({
  inventory: fc.constant({ cores: [0, 1, 2, 3, 4, 5, 6, 7], memoryBytes: 1000 }),
  reserve: fc.record({ cores: someCores, memoryBytes: fc.nat(200) }),
  jobs: fc.array(someJob, { maxLength: 3 }),
  announcedJobs: fc.constant([]),
  leases: fc.array(
    fc.record({
      class: fc.constantFrom("idle" as const, "unallocated" as const, "shared" as const),
      cores: someCores,
      memoryBytes: fc.nat(300),
    }),
    { maxLength: 3 },
  ),
  memoryAvailableBytes: fc.nat(1000),
  closed: fc.constant(false),
  unallocated: fc.constantFrom("lend" as const, "ask" as const),
});

test("no core twice, shared only beside consent, memory never beyond the formula", () => {
  fc.assert(
    fc.property(someFacts, (some) => {
      const spare = spareCapacity(some);
      const cores = spare.flatMap((each) => each.cores);
      assert.equal(new Set(cores).size, cores.length, "a core is offered twice");
      for (const core of cores) {
        assert.ok(
          !some.reserve.cores.includes(core) && !some.leases.some((each) => each.cores.includes(core)),
        );
        const owners = some.jobs.filter((each) => each.cores.includes(core));
        assert.ok(owners.every((each) => each.consent === "share" && each.unusedCores.includes(core)));
        const shared = spare.find((each) => each.class === "shared")?.cores.includes(core) ?? false;
        assert.equal(shared, owners.length > 0);
      }
      if (spare.length > 0)
        assert.ok(!some.jobs.some((each) => each.consent === "no"), "beside a job that refuses");
      if (!some.jobs.some((each) => each.consent === "share"))
        assert.ok(!spare.some((each) => each.class === "shared" && each.cores.length > 0));
      const bytes = spare.reduce((sum, each) => sum + each.memoryBytes, 0);
      assert.ok(bytes <= Math.max(0, some.memoryAvailableBytes - some.reserve.memoryBytes));
      const needed = some.jobs.reduce(
        (sum, each) =>
          sum +
          (each.memoryLimitBytes ?? Number.POSITIVE_INFINITY) -
          (each.consent === "share" ? each.unusedBytes : 0),
        0,
      );
      const lent = some.leases.reduce((sum, each) => sum + each.memoryBytes, 0);
      if (bytes > 0) assert.ok(bytes + needed + lent + some.reserve.memoryBytes <= 1000);
    }),
    { numRuns: 2000 },
  );
});
