import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { checkReport } from "../../../src/controller/report.ts";
import { newState, onReport } from "../../../src/controller/state.ts";
import { ClusterSums, PartitionLists } from "../../../src/controller/sums.ts";
import { clusterFigures } from "../../../src/controller/views.ts";
import { controllerMetrics } from "../../../src/metrics/controller.ts";
import { createRegistry } from "../../../src/metrics/registry.ts";
import type { NodeCountersMessage, OfferMessage, ReportRequest } from "../../../src/rpc/messages.ts";
import type { ClusterSnapshot } from "../../../src/slurm/snapshot.ts";
import { leaseMessage, mib, offerMessage, reportMessage } from "./samples.ts";

const counters = (changes: Partial<NodeCountersMessage>): NodeCountersMessage => ({
  invocations: 0,
  throttle: 0,
  freeze: 0,
  shrink: 0,
  evict: 0,
  jobWatchedMs: 0,
  jobCoreMs: 0,
  jobWaitedMs: 0,
  jobMemoryCoreMs: 0,
  jobMemoryWaitedMs: 0,
  outcomes: [],
  ...changes,
});

/** Nodes by their partitions. */
const snapshotOf = (nodes: Readonly<Record<string, readonly string[]>>): ClusterSnapshot =>
  ({
    takenAtMs: 0,
    jobs: [],
    nodes: new Map(
      Object.entries(nodes).map(([name, partitions]) => [
        name,
        { name, partitions, cores: 8, allocatedCores: 3, memoryBytes: mib, allocatedMemoryBytes: 0 },
      ]),
    ),
  }) as unknown as ClusterSnapshot;

function world(nodes: Readonly<Record<string, readonly string[]>>) {
  const registry = createRegistry();
  const metrics = controllerMetrics(registry);
  const state = newState();
  const lists = new PartitionLists(() => snapshotOf(nodes));
  const clock = { ms: 0 };
  const sums = new ClusterSums({ metrics, lists, nowMs: () => clock.ms });
  const report = (node: string, changes: Partial<ReportRequest>, offer: Partial<OfferMessage> = {}): void => {
    const checked = checkReport({
      ...reportMessage(node, offer),
      ...changes,
      offer: offerMessage(node, offer),
    });
    onReport(state, 1, checked, clock.ms);
    sums.reported(checked);
  };
  const tick = (): void => sums.tick(clusterFigures(state, snapshotOf(nodes), (node) => lists.of(node)));
  /** As Prometheus reads it; undefined: there is no such series. */
  const read = async (series: string): Promise<number | undefined> => {
    const line = (await registry.metrics()).split("\n").find((each) => each.startsWith(`${series} `));
    return line === undefined ? undefined : Number(line.slice(series.length));
  };
  return { report, tick, read, clock };
}

describe("sums over the cluster", () => {
  it("are of all nodes, by what came of calls, and each node counts once however many partitions it is in", async () => {
    const { report, read } = world({ n1: ["long", "debug"], n2: ["long"] });
    for (const node of ["n1", "n2"]) report(node, { counters: counters({ invocations: 5, outcomes: [5] }) });
    report("n1", { counters: counters({ invocations: 12, outcomes: [10, 0, 0, 0, 0, 2], evict: 1 }) });
    report("n2", { counters: counters({ invocations: 8, outcomes: [8] }) });
    assert.equal(await read('sublet_cluster_invocations_total{outcome="ok"}'), 8);
    assert.equal(await read('sublet_cluster_invocations_total{outcome="crashed"}'), 2);
    assert.equal(await read('sublet_cluster_guard_actions_total{action="evict"}'), 1);
    const calls = (partitions: string, outcome: string) =>
      read(`sublet_partition_invocations_total{partitions="${partitions}",outcome="${outcome}"}`);
    assert.deepEqual(
      [await calls("debug,long", "ok"), await calls("debug,long", "failed"), await calls("long", "ok")],
      [5, 2, 3],
    );
  });
  it("go on when an agent begins anew, and tell the calls of one that does not say what came of them", async () => {
    const { report, read } = world({ n1: ["debug"] });
    report("n1", { counters: counters({}) }, { epochUnixMs: 1 });
    report("n1", { counters: counters({ invocations: 4, outcomes: [4] }) }, { epochUnixMs: 1 });
    report("n1", { counters: counters({ invocations: 3 }) }, { epochUnixMs: 2 });
    assert.equal(await read('sublet_cluster_invocations_total{outcome="ok"}'), 4);
    assert.equal(await read('sublet_cluster_invocations_total{outcome="other"}'), 3);
  });
  it("have reclaims by who said so, and times where a job waited", async () => {
    const { report, read } = world({ n1: ["debug"] });
    const record = (cause: string, durationUs: number) => ({ atUnixMs: 1, durationUs, leases: 2, cause });
    report("n1", { reclaims: [record("prolog", 3000), record("cgroup", 0), record("novel", 0)] });
    for (const messenger of ["prolog", "cgroup", "other"]) {
      assert.equal(await read(`sublet_cluster_reclaims_total{messenger="${messenger}"}`), 2);
      const ofPartition = `sublet_partition_reclaims_total{partitions="debug",messenger="${messenger}"}`;
      assert.equal(await read(ofPartition), 2);
    }
    assert.equal(await read("sublet_cluster_reclaim_seconds_count"), 1);
    assert.equal(await read('sublet_cluster_reclaim_seconds_bucket{le="0.0025"}'), 0);
    assert.equal(await read('sublet_cluster_reclaim_seconds_bucket{le="0.005"}'), 1);
  });
  it("have how leases ended, and what they hold as time goes by", async () => {
    const { report, read, tick, clock } = world({ n1: ["debug"], n2: ["long"] });
    report("n1", { leases: [leaseMessage("a", "n1", { cores: [1, 2], memoryBytes: 10 })] });
    report("n2", { leases: [leaseMessage("b", "n2", { cores: [1], memoryBytes: 5 })] });
    clock.ms = 2_000;
    tick();
    const over = { state: "LEASE_STATE_REVOKED", reason: "REASON_BATCH_JOB" } as const;
    report("n2", { full: false, leases: [leaseMessage("b", "n2", over)] });
    const nobodys = leaseMessage("nobodys", "n2", { ...over, grantedUnixMs: 0 });
    report("n2", { full: false, leases: [nobodys] });
    clock.ms = 3_000;
    tick();
    assert.equal(await read("sublet_cluster_lease_core_seconds_total"), 3 * 2 + 2);
    assert.equal(await read("sublet_cluster_lease_byte_seconds_total"), 2 * 15 + 10);
    assert.equal(await read('sublet_partition_lease_core_seconds_total{partitions="long"}'), 2);
    const revoked = 'sublet_cluster_leases_ended_total{outcome="revoked",reason="batch_job"}';
    assert.equal(await read(revoked), 1);
  });
  it("begin at 0, so that the first of something is seen to rise", async () => {
    const { tick, read } = world({ n1: ["debug"] });
    assert.equal(await read('sublet_cluster_reclaims_total{messenger="cgroup"}'), 0);
    const series = 'sublet_partition_reclaims_total{partitions="debug",messenger="cgroup"}';
    assert.equal(await read(series), undefined);
    tick();
    assert.equal(await read(series), 0);
  });
  it("know 64 lists of partitions at most, and nodes that Slurm does not name", () => {
    const names = Array.from({ length: 70 }, (_, i) => `n${i}`);
    const lists = new PartitionLists(() => snapshot);
    const snapshot = snapshotOf(Object.fromEntries(names.map((name, i) => [name, [`p${i}`]])));
    const labels = new Set(names.map((name) => lists.of(name)));
    assert.equal(labels.size, 65);
    assert.deepEqual([lists.of("n3"), lists.of("n69"), lists.of("gone")], ["p3", "other", "other"]);
  });
});
