/** What the controller shows to Prometheus. */
import { counter, gauge, histogram, type Registry } from "./registry.ts";

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
      help: "Lease requests by outcome (granted, refused, failed).",
      labels: ["outcome"],
    }),
    leaseRequestSeconds: histogram(registry, "lease_request_seconds", {
      help: "Time from a lease request to its answer, refusals by agents included.",
      buckets: [0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10],
    }),
    clusterCores: gauge(registry, "cluster_cores", {
      help: "Cores of the cluster by what holds them: total, jobs, spare, leased.",
      labels: ["state"],
    }),
    clusterLending: gauge(registry, "cluster_lending", {
      help: "Nodes whose agents report, by mode: on, shadow, hold_out, drained.",
      labels: ["mode"],
    }),
    horizonPredictions: counter(registry, "horizon_predictions_total", {
      help: "Horizons that offers stated, by what became of them: kept, or broken by a job. Kept / all should be the confidence.",
      labels: ["outcome"],
    }),
    horizonConfidence: gauge(registry, "horizon_confidence", {
      help: "Share of the horizons that should be kept, as configured.",
    }),
    usageRecords: counter(registry, "usage_records_total", {
      help: "Usage records that agents sent, by what became of them: stored, duplicate (was there already), invalid (dropped).",
      labels: ["outcome"],
    }),
    accountingUp: gauge(registry, "accounting_database_up", {
      help: "1 while the data base of the accounting takes records, else 0: records wait at the agents then.",
    }),
    accountingErrors: counter(registry, "accounting_database_errors_total", {
      help: "Times that the data base of the accounting was lost.",
    }),
    jobComments: counter(registry, "job_comments_total", {
      help: "Jobs whose receipts should go into their admin comment, by what became of it: written, kept (the comment has our line already, or quotes or capitals, which sacctmgr would change), failed, dropped (no end in Slurm's accounting, or too many waited).",
      labels: ["outcome"],
    }),
    quotaExhausted: gauge(registry, "quota_exhausted_accounts", {
      help: "Accounts that have used what they may use today.",
    }),
    clusterLeases: gauge(registry, "cluster_leases", { help: "Leases that agents reported and that live." }),
    clusterMemoryBytes: gauge(registry, "cluster_memory_bytes", {
      help: "Memory of the cluster by what holds it: total, jobs, spare, leased.",
      labels: ["state"],
    }),
  };
}

export type ControllerMetrics = ReturnType<typeof controllerMetrics>;
