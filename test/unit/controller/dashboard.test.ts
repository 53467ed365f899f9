import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { AccountingParts } from "../../../src/controller/accounting.ts";
import { DashboardFeed } from "../../../src/controller/dashboard.ts";
import { checkReport } from "../../../src/controller/report.ts";
import { newState, onReport } from "../../../src/controller/state.ts";
import type { LeaseRow, ReclaimRow } from "../../../src/dashboard/api.ts";
import { groupOf } from "../../../src/dashboard/comparison.ts";
import type { NodeCountersMessage, OfferMessage } from "../../../src/rpc/messages.ts";
import type { ClusterSnapshot } from "../../../src/slurm/snapshot.ts";
import { leaseMessage, offerMessage, receiptMessage, reportMessage } from "./samples.ts";

const counters = (changes: Partial<NodeCountersMessage> = {}): NodeCountersMessage => ({
  invocations: 0,
  throttle: 0,
  freeze: 0,
  shrink: 0,
  evict: 0,
  outcomes: [],
  jobWatchedMs: 0,
  jobCoreMs: 0,
  jobWaitedMs: 0,
  jobMemoryCoreMs: 0,
  jobMemoryWaitedMs: 0,
  ...changes,
});

function feed(snapshot?: ClusterSnapshot) {
  const state = newState();
  const reclaimed: ReclaimRow[] = [];
  const ended: LeaseRow[] = [];
  const made = new DashboardFeed({
    state,
    snapshot: () => snapshot,
    accounting: {
      names: new Map([[20001, "alice"]]),
      accounting: { status: { up: true, place: "", why: "" } },
    } as unknown as AccountingParts,
    adminGid: () => 40,
    identity: {
      verify: async (credential, audiences, method) => {
        assert.deepEqual([audiences, method], [["dashboard"], "login"]);
        return credential === "admin" ? { uid: 5, gid: 40 } : { uid: 20001, gid: 20001 };
      },
    },
    nowMs: () => 1000,
  });
  const unasked = () => assert.fail("not asked");
  made.show(
    { reclaimed: (row) => reclaimed.push(row), leaseEnded: (row) => ended.push(row) },
    unasked,
    unasked,
  );
  const report = (
    changes: Partial<Parameters<typeof checkReport>[0]>,
    offer: Partial<OfferMessage> = {},
  ): void => {
    const checked = checkReport({ ...reportMessage("n1"), ...changes, offer: offerMessage("n1", offer) });
    made.reported(checked, onReport(state, 1, checked, 1000).ended);
  };
  return { made, state, report, reclaimed, ended };
}

describe("sums over agents", () => {
  it("count what rose since an agent was known, also over its lives, and nothing twice", () => {
    const { made, report } = feed();
    const epoch = { epochUnixMs: 5 };
    report({ counters: counters({ invocations: 100, evict: 3 }) }, epoch);
    assert.equal(made.facts().totals.invocations, 0, "before our time");
    report({ counters: counters({ invocations: 140, evict: 4 }) }, epoch);
    report({ counters: counters({ invocations: 140, evict: 4 }) }, epoch);
    report({ counters: counters({ invocations: 7 }) }, { epochUnixMs: 6 });
    const { totals } = made.facts();
    assert.deepEqual([totals.invocations, totals.evict], [47, 1]);
  });
  it("tell waiting of jobs on nodes that lend from that on nodes held out, by the node's group", () => {
    const { made, report } = feed();
    const group = groupOf("n1");
    report({ counters: counters() });
    const lent = { jobWatchedMs: 1000, jobCoreMs: 8000, jobWaitedMs: 50 };
    report({ counters: counters(lent) }, { lending: "LENDING_ON" });
    const held = {
      jobWatchedMs: 3000,
      jobCoreMs: 20_000,
      jobWaitedMs: 90,
      jobMemoryCoreMs: 500,
      jobMemoryWaitedMs: 1,
    };
    report({ counters: counters(held) }, { lending: "LENDING_HOLD_OUT" });
    report({ counters: counters({ ...held, jobCoreMs: 90_000 }) }, { lending: "LENDING_SHADOW" });
    const { totals } = made.facts();
    const rose = Object.fromEntries(
      Object.entries(totals).filter(([name, value]) => value > 0 && /^(lending|holdOut)/.test(name)),
    );
    assert.deepEqual(rose, {
      lendingNodeMs: 1000,
      [`lending.cpu.coreMs.${group}`]: 8000,
      [`lending.cpu.waitedMs.${group}`]: 50,
      holdOutNodeMs: 2000,
      [`holdOut.cpu.coreMs.${group}`]: 12_000,
      [`holdOut.cpu.waitedMs.${group}`]: 40,
      [`holdOut.memory.coreMs.${group}`]: 500,
      [`holdOut.memory.waitedMs.${group}`]: 1,
    });
  });
  it("take an agent that does not say how jobs waited for one that nothing is known of", () => {
    const { made, report } = feed();
    const waits = { durationMs: 1000, cpuUs: 500, memoryUs: 0, ioUs: 0 };
    const unwatched = { ...waits, watchedMs: 0, memoryWatchedMs: 0 };
    const old = receiptMessage({ alone: unwatched, beside: unwatched, pressureOf: "node" });
    report({ counters: counters(), receipts: [old] });
    report({ counters: counters({ invocations: 5 }) }, { lending: "LENDING_HOLD_OUT" });
    const { totals } = made.facts();
    assert.deepEqual(
      [totals.receipts, totals.aloneMs, totals.aloneCpuUs, totals.holdOutNodeMs],
      [1, 0, 0, 0],
    );
    const watched = { ...waits, watchedMs: 800, memoryWatchedMs: 0 };
    report({ receipts: [receiptMessage({ alone: watched, pressureOf: "tasks" })] });
    const { aloneMs, aloneCpuUs, aloneMemoryMs } = made.facts().totals;
    assert.deepEqual([aloneMs, aloneCpuUs, aloneMemoryMs], [800, 500, 0]);
  });
  it("pass reclaims and ended leases on", () => {
    const { report, made, reclaimed, ended } = feed();
    report({ leases: [leaseMessage("a", "n1")] });
    const record = { atUnixMs: 9, durationUs: 2500, leases: 2, cause: "prolog" };
    const over = leaseMessage("a", "n1", { state: "LEASE_STATE_REVOKED", reason: "REASON_BATCH_JOB" });
    report({ reclaims: [record], leases: [over] });
    assert.deepEqual(reclaimed, [{ atMs: 9, node: "n1", durationMs: 2.5, leases: 2, cause: "prolog" }]);
    assert.deepEqual([ended[0]?.id, ended[0]?.state, ended[0]?.reason], ["a", "revoked", "batch_job"]);
    assert.equal(made.facts().totals.leasesReclaimed, 2);
  });
  it("are not taken from a report that makes no sense", () => {
    const { report } = feed();
    const record = { atUnixMs: 9, durationUs: 1, leases: 2, cause: "<b>" };
    assert.throws(() => report({ reclaims: [record] }), /a reclaim that cannot be/);
    assert.throws(() => report({ counters: counters({ evict: -1 }) }), /counters are out of bounds/);
  });
});

describe("who logs in", () => {
  it("is an admin as root or by group", async () => {
    const { made } = feed();
    assert.deepEqual(await made.identify("admin"), { uid: 5, gid: 40, user: "uid 5", admin: true });
    assert.deepEqual(await made.identify("user"), { uid: 20001, gid: 20001, user: "alice", admin: false });
  });
});
