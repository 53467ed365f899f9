import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { NaturalOrder } from "../../../src/controller/order.ts";
import { checkReport } from "../../../src/controller/report.ts";
import {
  agentForgottenMs,
  type ControllerState,
  newState,
  onLeaseGone,
  onLeaseTold,
  onProposed,
  onRefused,
  onReport,
  onStreamClosed,
  onTick,
  proposalMs,
} from "../../../src/controller/state.ts";
import { clusterFigures, listLeases, listNodes, placementOffers } from "../../../src/controller/views.ts";
import type { LeaseMessage, OfferMessage } from "../../../src/rpc/messages.ts";
import { leaseMessage, mib, offerMessage, reportMessage } from "./samples.ts";

function tell(
  state: ControllerState,
  stream: number,
  node: string,
  options: { offer?: Partial<OfferMessage>; leases?: LeaseMessage[]; full?: boolean; nowMs?: number } = {},
) {
  const message = reportMessage(node, options.offer, options.leases, options.full ?? true);
  return onReport(state, stream, checkReport(message), options.nowMs ?? 0);
}

const unnamed = (): string => "other";
const ids = (state: ControllerState): string[] => listLeases(state, "all", 0).map(({ id }) => id);

test("a full report makes an agent known; a part of one makes us ask for the whole", () => {
  const state = newState();
  const first = tell(state, 1, "n1", { full: false, leases: [leaseMessage("a", "n1")] });
  assert.deepEqual(first, {
    ack: { ackedRevision: 1, resendFull: true },
    joined: true,
    ended: [],
    withdrawn: [],
    draining: [],
  });
  const second = tell(state, 1, "n1", { leases: [leaseMessage("a", "n1"), leaseMessage("b", "n1")] });
  assert.deepEqual(second.ack, { ackedRevision: 1, resendFull: false });
  assert.equal(second.joined, false);
  assert.deepEqual(ids(state), ["a", "b"]);
});

test("ended leases and those that a full report lacks are gone; a proposed one is not", () => {
  const state = newState();
  tell(state, 1, "n1", { leases: ["a", "b", "c"].map((id) => leaseMessage(id, "n1")) });
  const over = leaseMessage("a", "n1", { state: "LEASE_STATE_REVOKED", reason: "REASON_BATCH_JOB" });
  assert.deepEqual(tell(state, 1, "n1", { full: false, leases: [over] }).ended, [over]);
  assert.deepEqual(tell(state, 1, "n1", { full: false, leases: [over] }).ended, [], "told once");
  const ahead = leaseMessage("never-told", "n1", {
    state: "LEASE_STATE_REVOKED",
    reason: "REASON_BATCH_JOB",
  });
  const given = leaseMessage("given", "n1", { state: "LEASE_STATE_RELEASED", reason: "REASON_RELEASED" });
  const unknown = tell(state, 1, "n1", { full: false, leases: [ahead, given] });
  assert.deepEqual([unknown.ended, unknown.withdrawn], [[], [ahead]]);
  onProposed(state, { leaseId: "new", node: "n1", cores: 1, memoryBytes: 1 }, 0);
  onLeaseTold(state, leaseMessage("new", "n1"), 0);
  const { ended } = tell(state, 1, "n1", { leases: [leaseMessage("b", "n1")] });
  assert.deepEqual(
    ended.map(({ id }) => id),
    ["c"],
  );
  assert.deepEqual(ids(state), ["b", "new"]);
});

test("late offers are ignored, equal ones are a sign of life, another epoch starts anew", () => {
  const state = newState();
  tell(state, 1, "n1", { offer: { revision: 5, coresTotal: 5 } });
  tell(state, 1, "n1", { offer: { revision: 4, coresTotal: 4 }, nowMs: 10 });
  const agent = state.agents.get("n1");
  assert.equal(agent?.offer.coresTotal, 5);
  tell(state, 1, "n1", { offer: { revision: 5, coresTotal: 5 }, nowMs: 20 });
  assert.equal(agent?.receivedAtMs, 20);
  // The clock of the node stepped back: the new epoch is lower, and counts.
  const { ack, joined } = tell(state, 2, "n1", {
    offer: { revision: 1, epochUnixMs: 10, coresTotal: 1 },
    full: false,
  });
  assert.equal(agent?.offer.coresTotal, 1);
  assert.deepEqual([ack, joined], [{ ackedRevision: 1, resendFull: true }, true]);
});

test("the newest stream speaks for a node, whichever closes first", () => {
  const state = newState();
  tell(state, 1, "n1");
  tell(state, 2, "n1");
  assert.equal(tell(state, 1, "n1").ack, undefined);
  assert.equal(onStreamClosed(state, 1, "n1"), undefined);
  assert.equal(clusterFigures(state, undefined, unnamed).agents, 1);
  assert.equal(onStreamClosed(state, 2, "n1"), "n1");
  assert.equal(clusterFigures(state, undefined, unnamed).agents, 0);
  assert.equal(tell(state, 1, "n1").ack, undefined, "an old stream does not come back to life");
  assert.equal(onStreamClosed(state, 3, undefined), undefined);
});

test("a silent agent offers nothing; its leases live until their term ends, then it is forgotten", () => {
  const state = newState();
  tell(state, 1, "n1", { leases: [leaseMessage("a", "n1", { remainingMs: 30_000 })] });
  onStreamClosed(state, 1, "n1");
  assert.deepEqual(
    [...placementOffers(state)].map(({ connected }) => connected),
    [false],
  );
  assert.equal(listNodes(state, undefined, 0)[0]?.offer, null);
  assert.deepEqual(onTick(state, 34_000), { forgottenAgents: [], expired: [] });
  assert.equal(onTick(state, 35_001).expired[0]?.id, "a");
  assert.equal(state.leaseNodes.size, 0);
  assert.equal(onTick(state, agentForgottenMs).forgottenAgents[0]?.node, "n1");
  assert.equal(state.agents.size, 0);
});

test("a lease that is wanted back is told once, and again when its budget is shorter", () => {
  const state = newState();
  const drains = (remainingMs: number, nowMs: number): number => {
    const lease = leaseMessage("a", "n1", { state: "LEASE_STATE_DRAINING", remainingMs });
    return tell(state, 1, "n1", { leases: [lease], nowMs }).draining.length;
  };
  tell(state, 1, "n1", { leases: [leaseMessage("a", "n1")] });
  assert.equal(drains(60_000, 1_000), 1);
  assert.equal(drains(59_000, 2_000), 0, "the same budget");
  assert.equal(drains(1_000, 3_000), 1);
  assert.equal(tell(state, 1, "n1", { leases: [], nowMs: 4_000 }).draining.length, 0);
});

test("a connected agent's lease that should have ended makes us ask again, not guess", () => {
  const state = newState();
  tell(state, 1, "n1", { leases: [leaseMessage("a", "n1", { remainingMs: 1000 })] });
  assert.deepEqual(onTick(state, 7000).expired, []);
  assert.deepEqual(ids(state), ["a"]);
  assert.equal(tell(state, 1, "n1", { full: false, nowMs: 8000 }).ack?.resendFull, true);
  assert.equal(tell(state, 1, "n1", { nowMs: 8001 }).ended[0]?.id, "a");
});

test("a proposal counts until it is reported, refused or too old", () => {
  const state = newState();
  tell(state, 1, "n1");
  const propose = (leaseId: string): void =>
    onProposed(state, { leaseId, node: "n1", cores: 1, memoryBytes: 1 }, 0);
  for (const id of ["a", "b", "c"]) propose(id);
  tell(state, 1, "n1", { full: false, leases: [leaseMessage("a", "n1")] });
  onRefused(state, "b");
  assert.deepEqual([...state.proposals.keys()], ["c"]);
  onTick(state, proposalMs - 1);
  assert.equal(state.proposals.size, 1);
  onTick(state, proposalMs);
  assert.equal(state.proposals.size, 0);
  propose("d");
  onLeaseTold(state, leaseMessage("d", "n1"), 0);
  onLeaseGone(state, "d");
  assert.equal(state.proposals.size, 0);
  assert.deepEqual(ids(state), ["a"]);
});

test("users see their own leases, with the time left now", () => {
  const state = newState();
  const other = { uid: 5, gid: 5, jobId: 0, node: "" };
  tell(state, 1, "n1", { leases: [leaseMessage("a", "n1"), leaseMessage("b", "n1", { owner: other })] });
  assert.deepEqual(
    listLeases(state, 5, 10_000).map(({ id, remainingMs }) => [id, remainingMs]),
    [["b", 50_000]],
  );
  assert.equal(listLeases(state, "all", 0).length, 2);
});

test("the order of nodes is kept, and follows the names", () => {
  const state = newState();
  const order = new NaturalOrder();
  const names = (): string[] => listNodes(state, undefined, 0, order).map(({ node }) => node);
  for (const [index, node] of ["n10", "n2"].entries()) tell(state, index + 1, node);
  assert.deepEqual(
    [names(), names()],
    [
      ["n2", "n10"],
      ["n2", "n10"],
    ],
  );
  tell(state, 3, "n3");
  assert.deepEqual(names(), ["n2", "n3", "n10"]);
  state.agents.delete("n2");
  tell(state, 4, "n11"); // as many as before
  assert.deepEqual(names(), ["n3", "n10", "n11"]);
});

test("the view of nodes joins Slurm and agents", () => {
  const state = newState();
  tell(state, 1, "n2", { leases: [leaseMessage("a", "n2", { cores: [2, 3] })] });
  const slurmNode = {
    state: "mixed" as const,
    cores: 8,
    allocatedCores: 3,
    memoryBytes: 10 * mib,
    allocatedMemoryBytes: 4 * mib,
    partitions: [],
    jobs: 1,
    exclusive: false,
    plannedStartMs: undefined,
  };
  const snapshot = {
    takenAtMs: 0,
    jobs: [],
    nodes: new Map(["n10", "n2"].map((name) => [name, { name, ...slurmNode }])),
  };
  const nodes = listNodes(state, snapshot, 100);
  assert.deepEqual(
    nodes.map((n) => [n.node, n.slurmState, n.slurmAllocCores, n.offerAgeMs, n.leases, n.leasedCores]),
    [
      ["n2", "mixed", 3, 100, 1, 2],
      ["n10", "mixed", 3, 0, 0, 0],
    ],
  );
  assert.deepEqual(
    clusterFigures(state, snapshot, (node) => (node === "n2" ? "debug" : "other")),
    {
      total: { cores: 16, memoryBytes: 20 * mib },
      jobs: { cores: 6, memoryBytes: 8 * mib },
      spare: { cores: 4, memoryBytes: 1024 * mib },
      leased: { cores: 2, memoryBytes: 64 * mib },
      agents: 1,
      leases: 1,
      lending: new Map([
        ["on", 1],
        ["shadow", 0],
        ["hold_out", 0],
        ["drained", 0],
      ]),
      partitions: new Map([
        [
          "debug",
          {
            total: { cores: 8, memoryBytes: 10 * mib },
            jobs: { cores: 3, memoryBytes: 4 * mib },
            spare: { cores: 4, memoryBytes: 1024 * mib },
            leased: { cores: 2, memoryBytes: 64 * mib },
          },
        ],
        [
          "other",
          {
            total: { cores: 8, memoryBytes: 10 * mib },
            jobs: { cores: 3, memoryBytes: 4 * mib },
            spare: { cores: 0, memoryBytes: 0 },
            leased: { cores: 0, memoryBytes: 0 },
          },
        ],
      ]),
    },
  );
});

test("reports out of bounds are refused", () => {
  const lease = leaseMessage("a", "n1");
  const spare = (cores: number[]) => [{ class: "CAPACITY_CLASS_IDLE" as const, cores, memoryBytes: 1 }];
  for (const bad of [
    { offer: null, receipts: [], usage: [], reclaims: [], counters: null, leases: [], full: true },
    reportMessage("../etc"),
    reportMessage("n1", { address: "nowhere" }),
    reportMessage("n1", { revision: 2 ** 60 }),
    reportMessage("n1", { spare: spare([9000]) }),
    reportMessage("n1", { spare: spare([1, 1]) }),
    reportMessage("n1", { spare: Array.from({ length: 17 }, () => spare([])).flat() }),
    reportMessage("n1", {}, [{ ...lease, node: "n2" }]),
    reportMessage("n1", {}, [{ ...lease, id: "../x" }]),
    reportMessage("n1", {}, [{ ...lease, owner: null }]),
    reportMessage("n1", {}, [{ ...lease, state: "LEASE_STATE_UNSPECIFIED" }]),
    reportMessage(
      "n1",
      {},
      Array.from({ length: 5000 }, () => lease),
    ),
  ])
    assert.throws(() => checkReport(bad), { code: "INVALID_ARGUMENT" });
  assert.equal(
    checkReport({
      offer: offerMessage("n1"),
      leases: [lease],
      full: false,
      receipts: [],
      usage: [],
      reclaims: [],
      counters: null,
    }).live.length,
    1,
  );
});

test("any order of events: leases are indexed exactly, and a full report is the truth", () => {
  const node = fc.constantFrom("n1", "n2");
  const leaseIds = fc.subarray(["a", "b", "c", "d"]);
  const event = fc.oneof(
    fc.record({
      kind: fc.constant("report" as const),
      node,
      leaseIds,
      full: fc.boolean(),
      stream: fc.nat(4),
    }),
    fc.record({ kind: fc.constant("close" as const), node, stream: fc.nat(4) }),
    fc.record({ kind: fc.constant("tick" as const), ms: fc.nat(100_000) }),
    fc.record({ kind: fc.constant("gone" as const), id: fc.constantFrom("n1a", "n2b") }),
  );
  fc.assert(
    fc.property(fc.array(event, { maxLength: 40 }), (events) => {
      const state = newState();
      let nowMs = 0;
      for (const e of events) {
        if (e.kind === "report") {
          const leases = e.leaseIds.map((id) => leaseMessage(`${e.node}${id}`, e.node));
          const { ack } = tell(state, e.stream, e.node, { leases, full: e.full, nowMs });
          if (ack !== undefined && e.full)
            assert.deepEqual(
              [...(state.agents.get(e.node)?.leases.keys() ?? [])].sort(),
              leases.map((l) => l.id),
            );
        } else if (e.kind === "close") onStreamClosed(state, e.stream, e.node);
        else if (e.kind === "gone") onLeaseGone(state, e.id);
        else {
          nowMs += e.ms;
          onTick(state, nowMs);
        }
        const index = [...state.leaseNodes].sort();
        const held = [...state.agents.values()].flatMap((a) =>
          [...a.leases.keys()].map((id) => [id, a.node]),
        );
        assert.deepEqual(index, held.sort());
      }
    }),
  );
});
