import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { spareCapacity } from "../../../src/capacity/spare.ts";
import type { LeaseRequest, Principal, Spare } from "../../../src/common/nouns.ts";
import {
  activateLease,
  adoptLease,
  emptyBook,
  expireLeases,
  grantLease,
  type LeaseBook,
  releaseLease,
  renewLease,
  revokeLeases,
} from "../../../src/lease/book.ts";
import { leaseEnded, leaseTable, nextLeaseState } from "../../../src/lease/lifecycle.ts";

const owner: Principal = { uid: 1000, gid: 1000, jobId: 7, node: "n1" };
const request: LeaseRequest = { kind: "function", cores: 2, minCores: 2, memoryBytes: 100, termMs: 60_000 };
const spare = [{ class: "idle" as const, cores: [0, 1, 2, 3], memoryBytes: 1000 }];

function granted(book: LeaseBook, id: string, wish: Partial<LeaseRequest> = {}, from = spare) {
  const decision = grantLease(book, id, { ...request, ...wish }, owner, from, 0);
  assert.ok(decision.granted, "refused");
  return decision;
}

test("every state reaches an end, and ended leases stay ended", () => {
  for (const state of Object.keys(leaseTable) as (keyof typeof leaseTable)[]) {
    if (leaseEnded(state))
      assert.throws(() => nextLeaseState(state, "revoke"), { code: "FAILED_PRECONDITION" });
    else assert.equal(nextLeaseState(state, "revoke"), "REVOKED");
  }
});

test("grants from the top, and the same id twice is one lease", () => {
  const first = granted(emptyBook, "a");
  assert.deepEqual(first.lease.cores, [2, 3]);
  assert.equal(granted(first.book, "a").book.leases.size, 1);
  const second = granted(first.book, "b");
  assert.deepEqual(second.lease.cores, [0, 1]);
});

test("refuses with the reason, and takes fewer cores when it may", () => {
  const refused = (wish: Partial<LeaseRequest>, from = spare) => {
    const decision = grantLease(emptyBook, "x", { ...request, ...wish }, owner, from, 0);
    return decision.granted ? "granted" : decision.reason;
  };
  assert.equal(refused({ cores: 5, minCores: 5 }), "no_cores");
  assert.equal(refused({ memoryBytes: 1001 }), "no_memory");
  assert.equal(refused({}, []), "closed");
  assert.deepEqual(granted(emptyBook, "x", { cores: 9, minCores: 1 }).lease.cores, [0, 1, 2, 3]);
  assert.deepEqual(granted(emptyBook, "r", { kind: "region", cores: 0, minCores: 0 }).lease.cores, []);
  assert.throws(() => grantLease(emptyBook, "x", { ...request, termMs: Number.NaN }, owner, spare, 0), {
    code: "INVALID_ARGUMENT",
  });
});

test("a durable region takes no class shared, and leaves it to others", () => {
  const region = { kind: "region", cores: 0, minCores: 0, memoryBytes: 500 } as const;
  const both = [
    { class: "unallocated" as const, cores: [0], memoryBytes: 400 },
    { class: "shared" as const, cores: [1], memoryBytes: 400 },
  ];
  const decide = (wish: Partial<LeaseRequest>) =>
    grantLease(emptyBook, "r", { ...request, ...region, ...wish }, owner, both, 0);
  for (const durability of ["evacuated", "mirrored"] as const) {
    const refused = decide({ durability });
    assert.ok(!refused.granted && refused.reason === "no_memory");
    assert.match(refused.message, /only memory of class shared/);
    const small = decide({ durability, memoryBytes: 400 });
    assert.ok(small.granted && small.lease.class === "unallocated");
    const large = decide({ durability, memoryBytes: 801 });
    assert.ok(!large.granted && large.message === "not enough spare memory");
  }
  for (const wish of [{}, { durability: "ephemeral" }, { kind: "function", cores: 1 }] as const) {
    const decision = decide(wish);
    assert.ok(decision.granted && decision.lease.class === "shared");
  }
});

test("renewal extends, never shortens, and ends with the lease", () => {
  const { book } = granted(emptyBook, "a");
  assert.equal(renewLease(book, "a", 1000).lease.expiresAtMs, 61_000);
  assert.equal(renewLease(book, "a", -5000).lease.expiresAtMs, 60_000);
  assert.equal(expireLeases(book, 59_999).ended.length, 0);
  const { book: after, ended } = expireLeases(book, 60_000);
  assert.equal(ended[0]?.state, "EXPIRED");
  assert.throws(() => renewLease(after, "a", 60_001), { code: "NOT_FOUND" });
});

test("adoption refuses a clash of cores", () => {
  const { book, lease } = granted(emptyBook, "a");
  assert.equal(adoptLease(book, lease).leases.size, 1);
  assert.throws(() => adoptLease(book, { ...lease, id: "b" }), { code: "ABORTED" });
});

type Step =
  | { do: "grant"; id: string; cores: number; memoryBytes: number; termMs: number }
  | { do: "renew" | "release" | "activate"; id: string }
  | { do: "wait"; ms: number }
  | { do: "job"; cores: number[] };

const id = fc.constantFrom("a", "b", "c", "d", "e");
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    do: fc.constant("grant" as const),
    id,
    cores: fc.nat(4),
    memoryBytes: fc.nat(800),
    termMs: fc.integer({ min: 1, max: 500 }),
  }),
  fc.record({ do: fc.constantFrom("renew" as const, "release" as const, "activate" as const), id }),
  fc.record({ do: fc.constant("wait" as const), ms: fc.nat(300) }),
  fc.record({ do: fc.constant("job" as const), cores: fc.uniqueArray(fc.nat(5), { maxLength: 4 }) }),
);

const silentJob = {
  jobId: 1,
  memoryLimitBytes: 200,
  memoryUsedBytes: 0,
  exclusive: false,
  consent: undefined,
  unusedCores: [],
  unusedBytes: 0,
};

test("a shared lease may take memory of the other classes, not the other way round", () => {
  const spare: readonly Spare[] = [
    { class: "unallocated", cores: [1], memoryBytes: 100 },
    { class: "shared", cores: [2, 3], memoryBytes: 50 },
  ];
  const grant = (cores: number, memoryBytes: number) => {
    const wish = { ...request, cores, minCores: cores, memoryBytes };
    const decision = grantLease(emptyBook, "a", wish, owner, spare, 0);
    return decision.granted ? [decision.lease.class, decision.lease.cores] : decision.reason;
  };
  assert.deepEqual(grant(1, 100), ["unallocated", [1]]);
  assert.deepEqual(grant(1, 101), ["shared", [3]]);
  assert.deepEqual(grant(2, 150), ["shared", [2, 3]]);
  assert.equal(grant(2, 151), "no_memory");
  assert.equal(grant(3, 1), "no_cores");
});

test("never more than spare, never a core twice, every lease ends, whatever happens", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      let book = emptyBook;
      let nowMs = 0;
      let jobCores: number[] = [];
      const inventory = { cores: [0, 1, 2, 3, 4, 5], memoryBytes: 1000 };
      const reserve = { cores: [0], memoryBytes: 100 };
      const facts = () => ({
        inventory,
        reserve,
        jobs: jobCores.length === 0 ? [] : [{ ...silentJob, cores: jobCores }],
        announcedJobs: [],
        leases: [...book.leases.values()],
        memoryAvailableBytes: 900,
        closed: false,
        unallocated: "lend" as const,
      });
      for (const s of steps) {
        try {
          if (s.do === "wait") nowMs += s.ms;
          else if (s.do === "job") {
            jobCores = s.cores;
            book = revokeLeases(book, (l) => l.cores.some((c) => s.cores.includes(c)), "batch_job").book;
          } else if (s.do === "grant") {
            const wish = {
              ...request,
              cores: s.cores,
              minCores: s.cores,
              memoryBytes: s.memoryBytes,
              termMs: s.termMs,
            };
            const decision = grantLease(book, s.id, wish, owner, spareCapacity(facts()), nowMs);
            if (decision.granted) book = decision.book;
          } else if (s.do === "renew") book = renewLease(book, s.id, nowMs).book;
          else if (s.do === "release") book = releaseLease(book, s.id).book;
          else book = activateLease(book, s.id);
        } catch (error) {
          assert.match(
            (error as { code?: string }).code ?? String(error),
            /^(NOT_FOUND|FAILED_PRECONDITION)$/,
          );
        }
        book = expireLeases(book, nowMs).book;
        const cores = [...book.leases.values()].flatMap((lease) => lease.cores);
        assert.equal(new Set(cores).size, cores.length, "a core twice");
        for (const core of cores)
          assert.ok(inventory.cores.includes(core) && core !== 0 && !jobCores.includes(core), `core ${core}`);
        for (const lease of book.leases.values()) assert.ok(lease.expiresAtMs > nowMs);
        const memory = [...book.leases.values()].reduce((sum, lease) => sum + lease.memoryBytes, 0);
        assert.ok(memory <= inventory.memoryBytes - reserve.memoryBytes, "more memory than there is");
      }
      assert.equal(expireLeases(book, nowMs + 1000).book.leases.size, 0, "a lease without an end");
    }),
    { numRuns: 400 },
  );
});
