import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { describe, it } from "node:test";
import { agentMetrics } from "../../../src/metrics/agent.ts";
import { configMetrics } from "../../../src/metrics/config.ts";
import { controllerMetrics } from "../../../src/metrics/controller.ts";
import { guardMetrics } from "../../../src/metrics/guard.ts";
import {
  createRegistry,
  type Gauge,
  gauge,
  labelSets,
  ownFigures,
  type Registry,
} from "../../../src/metrics/registry.ts";
import { serveMetrics } from "../../../src/metrics/serve.ts";

const figures = () => ({
  cpuSeconds: 1.5,
  residentBytes: 50_000_000,
  voluntarySwitches: 10,
  involuntarySwitches: 2,
});

/** One page as both daemons would show it, with fixed values. */
async function page(): Promise<string> {
  const registry = createRegistry(figures);
  const agent = agentMetrics(registry);
  for (const [state, cores] of Object.entries({ total: 8, jobs: 4, spare: 3, leased: 1, reserved: 1 })) {
    agent.cores.set({ state }, cores);
    agent.memoryBytes.set({ state }, cores * 2 ** 30);
  }
  agent.spareCores.set({ class: "unallocated" }, 3);
  agent.spareMemoryBytes.set({ class: "unallocated" }, 2 ** 31);
  agent.leasedCores.set({ class: "idle" }, 1);
  agent.leasedMemoryBytes.set({ class: "idle" }, 2 ** 30);
  agent.guestMemoryBytes.set(2 ** 20);
  agent.fabricInfo.set({ provider: "verbs;ofi_rxm" }, 1);
  agent.leases.set({ kind: "function" }, 1);
  agent.leases.set({ kind: "region" }, 0);
  agent.leasesEnded.inc({ outcome: "revoked", reason: "batch_job" });
  agent.leaseGrants.inc(2);
  agent.usageUnacked.set(3);
  agent.usageOldest.set(12.5);
  agent.usageSpoolBytes.set(4096);
  agent.usageLost.inc(1);
  agent.drained.set(1);
  agent.poolExecutors.set(2);
  agent.poolTakes.inc({ outcome: "hit" }, 3);
  agent.codeCacheBytes.set(4096);
  agent.codeCacheLibraries.set(1);
  agent.codeCacheLookups.inc({ outcome: "hit" }, 5);
  agent.codeCacheOffers.inc({ outcome: "kept" });
  agent.leaseRefusals.inc({ reason: "no_cores" });
  agent.leaseStartSeconds.observe(0.012);
  agent.leaseStepSeconds.inc({ step: "cgroup" }, 0.0005);
  agent.reclaims.inc({ messenger: "prolog" });
  agent.reclaimSeconds.observe(0.0031);
  agent.invocations.inc({ outcome: "ok" }, 1000);
  agent.invocations.inc({ outcome: "stack_overflow" }, 1);
  agent.invocationBytes.inc({ direction: "in" }, 64000);
  agent.invocationSeconds.set([0, 0, 0, 0, 0, 0, 0, 5, 900, 90, 5], 0.0004e9);
  agent.invocationAnswerSeconds.set([0, 0, 0, 0, 0, 0, 0, 0, 905, 90, 5], 0.0005e9);
  agent.workerBusySeconds.inc(0.0004);
  agent.workerPollSeconds.inc(2.5);
  agent.workerSleeps.inc(12);
  agent.workerRestarts.inc(1);
  agent.leaseCoreSeconds.inc(12.5);
  agent.leaseByteSeconds.inc(1e9);
  agent.hookCalls.inc({ event: "prolog" });
  agent.lendingMode.set({ mode: "shadow" }, 1);
  agent.shadowLeases.inc({ outcome: "cut" }, 2);
  agent.shadowCoreSeconds.inc(600);
  agent.shadowByteSeconds.inc(1_000_000);
  agent.nodePressure.inc({ resource: "cpu" }, 1.5);
  agent.jobCoreSeconds.inc({ resource: "cpu" }, 1200);
  agent.jobWaitedCoreSeconds.inc({ resource: "cpu" }, 6);
  const controller = controllerMetrics(registry);
  controller.snapshotAgeSeconds.set(3);
  controller.slurmCalls.inc({ command: "sinfo", outcome: "ok" });
  controller.slurmCallSeconds.observe(0.04);
  controller.slurmRpcs.inc(2);
  controller.agents.set(3);
  controller.leaseRequests.inc({ outcome: "granted" });
  controller.leaseRequestSeconds.observe(0.02);
  controller.clusterLending.set({ mode: "on" }, 3);
  controller.horizonPredictions.inc({ outcome: "kept" }, 4);
  controller.horizonConfidence.set(0.8);
  controller.usageRecords.inc({ outcome: "stored" }, 7);
  controller.accountingUp.set(1);
  controller.accountingErrors.inc(2);
  controller.jobComments.inc({ outcome: "written" }, 4);
  controller.quotaExhausted.set(1);
  controller.clusterCores.set({ state: "total" }, 24);
  controller.clusterMemoryBytes.set({ state: "total" }, 2 ** 36);
  controller.clusterLeaseCoreSeconds.inc(60);
  controller.clusterLeaseByteSeconds.inc(2 ** 36);
  controller.clusterInvocations.inc({ outcome: "ok" }, 5);
  controller.clusterReclaims.inc({ messenger: "step" }, 2);
  controller.clusterReclaimSeconds.observe(0.003);
  controller.clusterLeasesEnded.inc({ outcome: "expired", reason: "term_ended" });
  controller.clusterGuardActions.inc({ action: "evict" });
  controller.partitionNodes.set({ partition: "debug" }, 3);
  const partitions = "debug,long";
  controller.partitionCores.set({ partitions, state: "total" }, 24);
  controller.partitionMemoryBytes.set({ partitions, state: "total" }, 2 ** 36);
  controller.partitionLeaseCoreSeconds.inc({ partitions }, 60);
  controller.partitionLeaseByteSeconds.inc({ partitions }, 2 ** 36);
  controller.partitionInvocations.inc({ partitions, outcome: "ok" }, 5);
  controller.partitionReclaims.inc({ partitions, messenger: "step" }, 2);
  controller.partitionGuardActions.inc({ partitions, action: "evict" });
  return (await registry.metrics()).replace(/^(process_start_time_seconds) \d+$/m, "$1 1700000000");
}

const golden = new URL("fixtures/page.prom", import.meta.url);

describe("the metrics page", () => {
  it("is the golden page", async () => {
    assert.equal(await page(), readFileSync(golden, "utf8"));
  });
  it("is accepted by promtool without a word", async (t) => {
    const tool = spawnSync("promtool", ["check", "metrics"], { input: await page(), timeout: 30_000 });
    if (tool.error !== undefined && "code" in tool.error && tool.error.code === "ENOENT")
      return t.skip("promtool is not installed (package prometheus)");
    assert.equal(tool.stderr.toString() + tool.stdout.toString(), "");
    assert.equal(tool.status, 0);
  });
  it("shows what the kernel says about this process", async () => {
    const own = ownFigures();
    assert.ok(own.cpuSeconds > 0.01 && own.cpuSeconds < 1000);
    assert.ok(own.residentBytes > 10e6 && own.residentBytes < 1e9);
    assert.ok(own.voluntarySwitches > 0);
    const text = await createRegistry().metrics();
    assert.match(text, /^process_cpu_seconds_total 0\.\d+$/m);
    assert.match(text, /^process_context_switches_total\{kind="voluntary"\} \d+$/m);
  });
  it("keeps no timer running", () => {
    const script =
      'import { createRegistry } from "./src/metrics/registry.ts"; createRegistry(); console.log("end")';
    const child = spawnSync(process.execPath, ["--input-type=module-typescript", "-e", script], {
      timeout: 20_000,
      encoding: "utf8",
    });
    assert.equal(child.signal, null);
    assert.equal(child.stdout, "end\n");
  });
});

const seriesOf = (text: string): number =>
  text.split("\n").filter((line) => line !== "" && !line.startsWith("#")).length;

describe("the number of series of one agent", () => {
  /** Every label of every metric with every value that it may have, as no node ever shows at once. */
  function fullest(): Registry {
    const registry = createRegistry(figures);
    agentMetrics(registry).fabricInfo.set({ provider: "tcp" }, 1);
    guardMetrics(registry, () => undefined);
    configMetrics(registry);
    gauge(registry, "controllers_connected", { help: "As agent/metrics.ts has it." });
    const sets = labelSets(registry);
    for (const metric of registry.getMetricsAsArray()) {
      // What has one value only, or is of the process, shows it by itself.
      const { labelNames = [] } = metric as { labelNames?: readonly string[] };
      const own = ["sublet_fabric_info", "process_context_switches_total"].includes(metric.name);
      if (labelNames.filter((name) => name !== "le").length === 0 || own) continue;
      const known = sets.get(metric.name);
      assert.ok(known !== undefined, `${metric.name}: what may its labels say?`);
      // Counters have them all from the start.
      if ("set" in metric) for (const set of known) (metric as unknown as Gauge<string>).set({ ...set }, 1);
    }
    return registry;
  }

  it("is 200 at most, and 40 in the lean set, whatever happens on it", async (t) => {
    const server = await serveMetrics({ listen: "127.0.0.1:0", registry: fullest(), healthy: () => true });
    try {
      const count = async (query: string): Promise<number> =>
        seriesOf(await (await fetch(`http://${server.address}/metrics${query}`)).text());
      const [full, lean] = [await count(""), await count("?set=lean")];
      t.diagnostic(`${full} series, ${lean} in the lean set`);
      assert.ok(full > 150 && full <= 200, `${full} series`);
      assert.ok(lean > 30 && lean <= 40, `${lean} series in the lean set`);
      assert.equal((await fetch(`http://${server.address}/metrics?set=everything`)).status, 400);
    } finally {
      await server.close();
    }
  });
});

describe("the HTTP server", () => {
  const serving = async (healthy: () => boolean, registry: Registry = createRegistry(figures)) =>
    serveMetrics({ listen: "127.0.0.1:0", registry, healthy });

  it("answers /metrics and /healthz, and nothing else", async () => {
    let well = true;
    const server = await serving(() => well);
    try {
      const get = (path: string, method = "GET") => fetch(`http://${server.address}${path}`, { method });
      const metrics = await get("/metrics");
      assert.equal(metrics.status, 200);
      assert.match(metrics.headers.get("content-type") ?? "", /^text\/plain; version=0\.0\.4/);
      assert.match(await metrics.text(), /^process_cpu_seconds_total 1\.5$/m);
      assert.deepEqual([(await get("/healthz")).status, (await get("/healthz", "HEAD")).status], [200, 200]);
      well = false;
      assert.equal((await get("/healthz")).status, 503);
      assert.deepEqual([(await get("/")).status, (await get("/metrics", "POST")).status], [404, 405]);
    } finally {
      await server.close();
    }
  });
  it("survives garbage, and closes with a client that hangs", async () => {
    const server = await serving(() => true);
    const port = Number(server.address.split(":")[1]);
    const garbage = connect(port, "127.0.0.1");
    garbage.write(Buffer.from("\xff\x00garbage\r\n\r\n", "latin1"));
    garbage.resume();
    await once(garbage, "close");
    const hanging = connect(port, "127.0.0.1");
    await once(hanging, "connect");
    assert.equal((await fetch(`http://${server.address}/healthz`)).status, 200);
    await server.close();
    hanging.destroy();
  });
  it("says when its address is taken", async () => {
    const server = await serving(() => true);
    try {
      await assert.rejects(
        serveMetrics({ listen: server.address, registry: createRegistry(figures), healthy: () => true }),
        { code: "UNAVAILABLE", message: new RegExp(server.address) },
      );
    } finally {
      await server.close();
    }
  });
});
