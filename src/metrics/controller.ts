/** What the controller shows to Prometheus. */
import { outcomes } from "../common/outcomes.ts";
import { ends, lendingModes, messengers } from "./agent.ts";
import { guardSteps } from "./guard.ts";
import { counter, gauge, histogram, type Registry } from "./registry.ts";

/** What an agent says that is newer than we are. */
export const otherLabel = "other";
const calls = [...outcomes, otherLabel];
export const causes = [...messengers, otherLabel];
const held = ["total", "jobs", "spare", "leased"];
const seconds = [0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10];

const byPartitions =
  'By all partitions of a node, as one list, so that each node counts once: partitions=~"(.*,)?debug(,.*)?" is what debug has.';

export function controllerMetrics(registry: Registry) {
  return {
    snapshotAgeSeconds: gauge(registry, "snapshot_age_seconds", {
      help: "Age of what is known about Slurm; NaN before the first look.",
    }),
    slurmCalls: counter(registry, "slurm_calls_total", {
      help: "Slurm commands run, by command and outcome (ok, failed, timeout).",
      labels: ["command", "outcome"],
    }),
    slurmCallSeconds: histogram(registry, "slurm_call_seconds", {
      help: "Time that a Slurm command took.",
      buckets: [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
    }),
    slurmRpcs: counter(registry, "slurm_rpcs_total", {
      help: "Requests that our commands made to slurmctld.",
    }),
    agents: gauge(registry, "agents", { help: "Agents whose report stream is open." }),
    leaseRequests: counter(registry, "lease_requests_total", {
      help: "Lease requests by outcome (granted, refused, failed); for what agents hand out ahead none is made.",
      labels: { outcome: ["granted", "refused", "failed"] },
    }),
    leaseRequestSeconds: histogram(registry, "lease_request_seconds", {
      help: "Time from a lease request to its answer, refusals by agents included.",
      buckets: seconds,
    }),
    clusterCores: gauge(registry, "cluster_cores", {
      help: "Cores of the cluster by what holds them: total, jobs, spare, leased.",
      labels: { state: held },
    }),
    clusterLending: gauge(registry, "cluster_lending", {
      help: "Nodes whose agents report, by mode: on, shadow, hold_out, drained.",
      labels: { mode: lendingModes },
    }),
    horizonPredictions: counter(registry, "horizon_predictions_total", {
      help: "Horizons that offers stated, by what became of them: kept, or broken by a job. Kept / all should be the confidence.",
      labels: { outcome: ["kept", "broken"] },
    }),
    horizonConfidence: gauge(registry, "horizon_confidence", {
      help: "Share of the horizons that should be kept, as configured.",
    }),
    usageRecords: counter(registry, "usage_records_total", {
      help: "Usage records that agents sent, by what became of them: stored, duplicate (was there already), invalid (dropped).",
      labels: { outcome: ["stored", "duplicate", "invalid"] },
    }),
    accountingUp: gauge(registry, "accounting_database_up", {
      help: "1 while the data base of the accounting takes records, else 0: records wait at the agents then.",
    }),
    accountingErrors: counter(registry, "accounting_database_errors_total", {
      help: "Times that the data base of the accounting was lost.",
    }),
    jobComments: counter(registry, "job_comments_total", {
      help: "Jobs whose receipts should go into their admin comment, by what became of it: written, kept (the comment has our line already, or quotes or capitals, which sacctmgr would change), failed, dropped (no end in Slurm's accounting, or too many waited).",
      labels: { outcome: ["written", "kept", "failed", "dropped"] },
    }),
    quotaExhausted: gauge(registry, "quota_exhausted_accounts", {
      help: "Accounts that have used what they may use today.",
    }),
    clusterLeases: gauge(registry, "cluster_leases", { help: "Leases that agents reported and that live." }),
    clusterMemoryBytes: gauge(registry, "cluster_memory_bytes", {
      help: "Memory of the cluster by what holds it: total, jobs, spare, leased.",
      labels: { state: held },
    }),
    clusterLeaseCoreSeconds: counter(registry, "cluster_lease_core_seconds_total", {
      help: "Core-seconds lent in the cluster, looked at once a second.",
    }),
    clusterLeaseByteSeconds: counter(registry, "cluster_lease_byte_seconds_total", {
      help: "Byte-seconds of memory lent in the cluster, looked at once a second.",
    }),
    clusterInvocations: counter(registry, "cluster_invocations_total", {
      help: "Calls answered by executors of the cluster, by outcome: ok, or the status that the caller got.",
      labels: { outcome: calls },
    }),
    clusterReclaims: counter(registry, "cluster_reclaims_total", {
      help: "Leases taken back in the cluster, by who said so: prolog, step, cgroup, use, admin. Leases whose term ended are not among them.",
      labels: { messenger: causes },
    }),
    clusterReclaimSeconds: histogram(registry, "cluster_reclaim_seconds", {
      help: "Time from the notice of a job to the last guest in its way verified gone, of all nodes.",
      buckets: seconds,
    }),
    clusterLeasesEnded: counter(registry, "cluster_leases_ended_total", {
      help: "Leases of the cluster that ended, by outcome (released, expired, revoked) and reason.",
      ...ends,
    }),
    clusterGuardActions: counter(registry, "cluster_guard_actions_total", {
      help: "What guards did to guests in the cluster: throttle, freeze, shrink, evict.",
      labels: { action: guardSteps },
    }),
    partitionNodes: gauge(registry, "partition_nodes", {
      help: "Nodes of a partition; a node may be in several.",
      labels: ["partition"],
    }),
    partitionCores: gauge(registry, "partition_cores", {
      help: `Cores by what holds them: total, jobs, spare, leased. ${byPartitions}`,
      labels: ["partitions", "state"],
    }),
    partitionMemoryBytes: gauge(registry, "partition_memory_bytes", {
      help: `Memory by what holds it: total, jobs, spare, leased. ${byPartitions}`,
      labels: ["partitions", "state"],
    }),
    partitionLeaseCoreSeconds: counter(registry, "partition_lease_core_seconds_total", {
      help: `Core-seconds lent. ${byPartitions}`,
      labels: ["partitions"],
    }),
    partitionLeaseByteSeconds: counter(registry, "partition_lease_byte_seconds_total", {
      help: `Byte-seconds of memory lent. ${byPartitions}`,
      labels: ["partitions"],
    }),
    partitionInvocations: counter(registry, "partition_invocations_total", {
      help: `Calls answered by executors: ok, or failed in whatever way. ${byPartitions}`,
      labels: ["partitions", "outcome"],
    }),
    partitionReclaims: counter(registry, "partition_reclaims_total", {
      help: `Leases taken back, by who said so. ${byPartitions}`,
      labels: ["partitions", "messenger"],
    }),
    partitionGuardActions: counter(registry, "partition_guard_actions_total", {
      help: `What guards did to guests. ${byPartitions}`,
      labels: ["partitions", "action"],
    }),
  };
}

export type ControllerMetrics = ReturnType<typeof controllerMetrics>;
