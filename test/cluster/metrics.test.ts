/** The metrics pages of a running cluster: promtool's word, and every name, type, label and value of a label as a list. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { actionNames, signalNames } from "../../agent/guard/table.ts";
import { type Cluster, startCluster } from "../../deploy/testbed/cluster.ts";
import { page } from "../../deploy/testbed/main-job/sampler.ts";
import { stage } from "../../deploy/testbed/main-job/stage.ts";
import { until } from "../../deploy/testbed/shell.ts";
import { outcomes } from "../../src/common/outcomes.ts";
import { alice, hold, sublet } from "./users.ts";

let cluster: Cluster;
before(async () => {
  cluster = await startCluster({ waitForLockMs: 60_000, controllerSettings: { poll_interval_ms: 1000 } });
});
after(async () => {
  await cluster.stop();
});

type Labels = Readonly<Record<string, readonly string[]>>;
/** Name to type and to the values that each label may have. */
type Golden = Readonly<Record<string, readonly [type: "gauge" | "counter" | "histogram", labels?: Labels]>>;

const lendingModes = ["on", "shadow", "hold_out", "drained"];
const classes = ["idle", "unallocated", "shared"];
const held = ["total", "jobs", "spare", "leased", "reserved"];
const endings = [
  "released",
  "term_ended",
  "batch_job",
  "admin",
  "executor_lost",
  "agent_restart",
  "start_failed",
  "guard",
];
const refusals = ["no_cores", "no_memory", "closed", "quota", "start_failed"];
const partitions = ["main", "other"];
const messengers = ["prolog", "step", "cgroup", "use", "admin"];

const ofProcess: Golden = {
  process_cpu_seconds_total: ["counter"],
  process_resident_memory_bytes: ["gauge"],
  process_context_switches_total: ["counter", { kind: ["voluntary", "involuntary"] }],
  process_start_time_seconds: ["gauge"],
  sublet_config_reloads_total: ["counter", { outcome: ["applied", "refused"] }],
  sublet_config_pending_keys: ["gauge"],
};

const ofAgent: Golden = {
  ...ofProcess,
  sublet_controllers_connected: ["gauge"],
  sublet_cores: ["gauge", { state: held }],
  sublet_memory_bytes: ["gauge", { state: held }],
  sublet_spare_cores: ["gauge", { class: classes }],
  sublet_spare_memory_bytes: ["gauge", { class: classes }],
  sublet_leased_cores: ["gauge", { class: classes }],
  sublet_leased_memory_bytes: ["gauge", { class: classes }],
  sublet_guest_memory_bytes: ["gauge"],
  sublet_fabric_info: ["gauge", { provider: ["none"] }],
  sublet_lending_mode: ["gauge", { mode: lendingModes }],
  sublet_shadow_leases_total: ["counter", { outcome: ["finished", "cut"] }],
  sublet_shadow_core_seconds_total: ["counter"],
  sublet_shadow_byte_seconds_total: ["counter"],
  sublet_node_pressure_seconds_total: ["counter", { resource: ["cpu", "memory", "io"] }],
  sublet_job_core_seconds_total: ["counter", { resource: ["cpu", "memory"] }],
  sublet_job_waited_core_seconds_total: ["counter", { resource: ["cpu", "memory"] }],
  sublet_leases: ["gauge", { kind: ["function", "region"] }],
  sublet_leases_ended_total: ["counter", { outcome: ["released", "expired", "revoked"], reason: endings }],
  sublet_lease_grants_total: ["counter"],
  sublet_lease_refusals_total: ["counter", { reason: refusals }],
  sublet_lease_start_seconds: ["histogram"],
  sublet_lease_step_seconds_total: [
    "counter",
    { step: ["decide", "cgroup", "starter", "answer", "controller"] },
  ],
  sublet_reclaims_total: ["counter", { messenger: [...messengers, "expire"] }],
  sublet_usage_unacked_records: ["gauge"],
  sublet_usage_oldest_unacked_seconds: ["gauge"],
  sublet_usage_spool_bytes: ["gauge"],
  sublet_usage_lost_records_total: ["counter"],
  sublet_drained: ["gauge"],
  sublet_pool_executors: ["gauge"],
  sublet_pool_takes_total: ["counter", { outcome: ["hit", "redeemed", "miss"] }],
  sublet_code_cache_bytes: ["gauge"],
  sublet_code_cache_libraries: ["gauge"],
  sublet_code_cache_lookups_total: ["counter", { outcome: ["hit", "miss", "path"] }],
  sublet_code_cache_unread_total: ["counter"],
  sublet_code_cache_offers_total: ["counter", { outcome: ["kept", "refused"] }],
  sublet_code_cache_evictions_total: ["counter"],
  sublet_reclaim_seconds: ["histogram"],
  sublet_invocations_total: ["counter", { outcome: outcomes }],
  sublet_invocation_bytes_total: ["counter", { direction: ["in", "out"] }],
  sublet_invocation_seconds: ["histogram"],
  sublet_invocation_answer_seconds: ["histogram"],
  sublet_worker_busy_seconds_total: ["counter"],
  sublet_worker_poll_seconds_total: ["counter"],
  sublet_worker_sleeps_total: ["counter"],
  sublet_worker_restarts_total: ["counter"],
  sublet_lease_core_seconds_total: ["counter"],
  sublet_lease_byte_seconds_total: ["counter"],
  sublet_hook_calls_total: ["counter", { event: ["prolog", "epilog", "step"] }],
  sublet_guard_guests: ["gauge", { state: ["throttled", "frozen"] }],
  sublet_guard_actions_total: ["counter", { action: [...actionNames, "relax", "thaw"] }],
  sublet_guard_signal_ratio: ["gauge", { signal: signalNames }],
  sublet_guard_samples_total: ["counter"],
  sublet_guard_cpu_seconds_total: ["counter"],
  sublet_guard_interval_seconds: ["gauge"],
  sublet_guard_alarms_total: ["counter"],
  sublet_guard_policy_reloads_total: ["counter", { outcome: ["taken", "refused"] }],
};

const ofController: Golden = {
  ...ofProcess,
  sublet_snapshot_age_seconds: ["gauge"],
  sublet_slurm_calls_total: [
    "counter",
    { command: ["scontrol", "squeue"], outcome: ["ok", "failed", "timeout"] },
  ],
  sublet_slurm_call_seconds: ["histogram"],
  sublet_slurm_rpcs_total: ["counter"],
  sublet_agents: ["gauge"],
  sublet_lease_requests_total: ["counter", { outcome: ["granted", "refused", "failed"] }],
  sublet_job_comments_total: ["counter", { outcome: ["written", "kept", "failed", "dropped"] }],
  sublet_lease_request_seconds: ["histogram"],
  sublet_cluster_cores: ["gauge", { state: ["total", "jobs", "spare", "leased"] }],
  sublet_cluster_leases: ["gauge"],
  sublet_cluster_lending: ["gauge", { mode: lendingModes }],
  sublet_horizon_predictions_total: ["counter", { outcome: ["kept", "broken"] }],
  sublet_horizon_confidence: ["gauge"],
  sublet_usage_records_total: ["counter", { outcome: ["stored", "duplicate", "invalid"] }],
  sublet_accounting_database_up: ["gauge"],
  sublet_accounting_database_errors_total: ["counter"],
  sublet_quota_exhausted_accounts: ["gauge"],
  sublet_cluster_memory_bytes: ["gauge", { state: ["total", "jobs", "spare", "leased"] }],
  sublet_cluster_lease_core_seconds_total: ["counter"],
  sublet_cluster_lease_byte_seconds_total: ["counter"],
  sublet_cluster_invocations_total: ["counter", { outcome: [...outcomes, "other"] }],
  sublet_cluster_reclaims_total: ["counter", { messenger: [...messengers, "other"] }],
  sublet_cluster_reclaim_seconds: ["histogram"],
  sublet_cluster_leases_ended_total: [
    "counter",
    { outcome: ["released", "expired", "revoked"], reason: endings },
  ],
  sublet_cluster_guard_actions_total: ["counter", { action: actionNames }],
  sublet_partition_nodes: ["gauge", { partition: ["main"] }],
  sublet_partition_cores: ["gauge", { partitions, state: ["total", "jobs", "spare", "leased"] }],
  sublet_partition_memory_bytes: ["gauge", { partitions, state: ["total", "jobs", "spare", "leased"] }],
  sublet_partition_lease_core_seconds_total: ["counter", { partitions }],
  sublet_partition_lease_byte_seconds_total: ["counter", { partitions }],
  sublet_partition_invocations_total: ["counter", { partitions, outcome: ["ok", "failed", "other"] }],
  sublet_partition_reclaims_total: ["counter", { partitions, messenger: [...messengers, "other"] }],
  sublet_partition_guard_actions_total: ["counter", { partitions, action: actionNames }],
  sublet_grants_failed_total: [
    "counter",
    { reason: [...refusals, "UNAVAILABLE", "DEADLINE_EXCEEDED", "UNAUTHENTICATED", "INTERNAL", "ABORTED"] },
  ],
};

const pageOf = (daemon: string): Promise<string> => page(`${cluster.metricsUrl(daemon)}/metrics`);

interface Series {
  readonly name: string;
  readonly labels: ReadonlyMap<string, string>;
  readonly value: number;
}

function seriesOf(text: string): Series[] {
  return text
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => {
      const [, name = "", inside = "", value = ""] = /^([a-z_]+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
      assert.notEqual(name, "", `what is this? ${line}`);
      const labels = [...inside.matchAll(/([a-z_]+)="([^"]*)"/g)].map((m): [string, string] => [
        m[1] ?? "",
        m[2] ?? "",
      ]);
      return { name, labels: new Map(labels), value: Number(value) };
    });
}

const figure = (text: string, name: string, ...labels: [string, string][]): number =>
  seriesOf(text)
    .filter((each) => each.name === name && labels.every(([key, value]) => each.labels.get(key) === value))
    .reduce((sum, { value }) => sum + value, 0);

/** Compares a page with its list, both ways. */
function compare(text: string, golden: Golden): void {
  const types = new Map([...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map((m) => [m[1] ?? "", m[2] ?? ""]));
  const wanted = new Map(Object.entries(golden).map(([name, [type]]) => [name, type as string]));
  assert.deepEqual([...types].sort(), [...wanted].sort());
  for (const { name, labels } of seriesOf(text)) {
    const family = types.has(name) ? name : name.replace(/_(bucket|sum|count)$/, "");
    const allowed = golden[family]?.[1] ?? {};
    const names = [...labels.keys()].filter((key) => key !== "le").sort();
    assert.deepEqual(names, Object.keys(allowed).sort(), name);
    for (const [label, values] of Object.entries(allowed))
      assert.ok(values.includes(labels.get(label) ?? ""), `${name}: ${label}="${labels.get(label)}"`);
  }
  for (const name of types.keys()) {
    assert.doesNotMatch(
      name,
      /_(ms|us|ns|milliseconds|minutes|kib|mib|gib|kb|mb|gb|percent)(_|$)/,
      "base units",
    );
    assert.equal(name.endsWith("_total"), types.get(name) === "counter", name);
  }
}

test("after leases, calls, a refusal and a job the pages are as promised", async (t) => {
  const base = await stage(join(cluster.stateDir, "opt"));
  const invoke = ["invoke", join(base, "functions/libecho.so"), "echo", "--data", "x", "--node", "n2"];
  for (let i = 0; i < 3; i++) {
    const said = await sublet(cluster, "n3", alice, [...invoke, "--no-local"]);
    assert.equal(said.status, 0, said.error);
  }
  assert.equal((await sublet(cluster, "n3", alice, [...invoke, "--no-local", "--cores", "64"])).status, 3);
  const lease = await hold(cluster, alice, "n3", "n2");
  const during = await pageOf("agent-n2");
  assert.equal(figure(during, "sublet_leases", ["kind", "function"]), 1);
  assert.equal(figure(during, "sublet_cores", ["state", "leased"]), 1);
  assert.equal(figure(during, "sublet_leased_cores"), 1);
  assert.equal(figure(during, "sublet_leased_cores", ["class", "idle"]), 1);
  assert.equal(
    figure(during, "sublet_leased_memory_bytes"),
    figure(during, "sublet_memory_bytes", ["state", "leased"]),
  );
  await until("the agent has looked at its guest's memory", 15_000, async () =>
    figure(await pageOf("agent-n2"), "sublet_guest_memory_bytes") > 0 ? true : undefined,
  );
  const id = await cluster.sbatch({ args: ["--nodelist=n2", "--exclusive"], script: "sleep 2" });
  assert.equal((await cluster.waitJob(id)).state, "COMPLETED");
  await lease.letGo();
  await cluster.waitIdle();

  const agent = await pageOf("agent-n2");
  const controller = await until("the controller's page has seen it all", 20_000, async () => {
    const text = await pageOf("controller");
    return figure(text, "sublet_slurm_rpcs_total") > 0 && figure(text, "sublet_agents") === 3
      ? text
      : undefined;
  });
  compare(agent, ofAgent);
  assert.ok(seriesOf(agent).length <= 200, "labels are bounded");
  compare(controller, ofController);
  for (const text of [agent, controller]) {
    const tool = spawnSync("promtool", ["check", "metrics"], {
      input: text,
      timeout: 30_000,
      encoding: "utf8",
    });
    if (tool.error !== undefined) t.diagnostic("skipped: promtool is not installed (package prometheus)");
    else assert.deepEqual([tool.status, tool.stdout + tool.stderr], [0, ""]);
  }
  assert.equal(figure(agent, "sublet_invocations_total", ["outcome", "ok"]), 3);
  assert.equal(figure(agent, "sublet_invocations_total"), 3);
  assert.equal(figure(agent, "sublet_invocation_bytes_total"), 6);
  assert.equal(figure(agent, "sublet_lease_grants_total"), 4);
  assert.equal(figure(agent, "sublet_leases_ended_total", ["outcome", "released"]), 3);
  assert.equal(figure(agent, "sublet_leases_ended_total", ["reason", "batch_job"]), 1);
  assert.equal(figure(agent, "sublet_reclaims_total", ["messenger", "prolog"]), 1);
  assert.equal(figure(agent, "sublet_reclaim_seconds_count"), 1);
  for (const event of ["prolog", "epilog", "step"])
    assert.equal(figure(agent, "sublet_hook_calls_total", ["event", event]), 1, event);
  // What was handed out ahead is a lease of the agent's that no controller was asked for.
  const ahead = figure(agent, "sublet_pool_takes_total", ["outcome", "redeemed"]);
  assert.ok(ahead <= 2, "the first two of four requests are not known before");
  assert.equal(figure(controller, "sublet_lease_requests_total", ["outcome", "granted"]), 4 - ahead);
  // Of the three calls the controller may have known the agent since some only.
  assert.ok(figure(controller, "sublet_cluster_invocations_total", ["outcome", "ok"]) > 0);
  assert.equal(figure(controller, "sublet_cluster_reclaims_total", ["messenger", "prolog"]), 1);
  assert.equal(figure(controller, "sublet_cluster_leases_ended_total"), 4);
  assert.equal(figure(controller, "sublet_lease_requests_total", ["outcome", "refused"]), 1);
  assert.ok(figure(controller, "sublet_snapshot_age_seconds") < 10);
  const own = (await cluster.rpcCount()).byUser.root ?? 0;
  assert.ok(figure(controller, "sublet_slurm_rpcs_total") <= own, "slurmctld counted what we say we cost it");
  for (const text of [agent, controller]) {
    assert.ok(figure(text, "process_cpu_seconds_total") > 0);
    assert.ok(figure(text, "process_resident_memory_bytes") > 20e6);
    assert.ok(figure(text, "process_context_switches_total", ["kind", "voluntary"]) > 0);
  }
});
