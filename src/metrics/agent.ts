/** What an agent shows to Prometheus. Labels are bounded: states, classes, kinds and reasons, never names or ids. */
import { counter, gauge, histogram, type Registry } from "./registry.ts";

export type CoreState = "total" | "jobs" | "spare" | "leased" | "reserved";

const millisecondsToSeconds = [0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10];

export function agentMetrics(registry: Registry) {
  return {
    cores: gauge(registry, "cores", {
      help: "Cores of this node by what holds them: total, jobs, spare, leased, reserved.",
      labels: ["state"],
    }),
    memoryBytes: gauge(registry, "memory_bytes", {
      help: "Memory of this node by what holds it: total, jobs, spare, leased, reserved.",
      labels: ["state"],
    }),
    spareCores: gauge(registry, "spare_cores", {
      help: "Cores that may be lent now, by class.",
      labels: ["class"],
    }),
    spareMemoryBytes: gauge(registry, "spare_memory_bytes", {
      help: "Memory that may be lent now, by class.",
      labels: ["class"],
    }),
    leases: gauge(registry, "leases", { help: "Live leases by kind.", labels: ["kind"] }),
    leasesEnded: counter(registry, "leases_ended_total", {
      help: "Leases that ended, by outcome (released, expired, revoked) and reason.",
      labels: ["outcome", "reason"],
    }),
    leaseGrants: counter(registry, "lease_grants_total", { help: "Leases granted." }),
    leaseRefusals: counter(registry, "lease_refusals_total", {
      help: "Lease requests refused, by reason.",
      labels: ["reason"],
    }),
    leaseStartSeconds: histogram(registry, "lease_start_seconds", {
      help: "Time from the grant to an executor that is ready.",
      buckets: millisecondsToSeconds,
    }),
    reclaims: counter(registry, "reclaims_total", {
      help: "Leases taken back, by who said so: prolog, cgroup, expire.",
      labels: ["messenger"],
    }),
    reclaimSeconds: histogram(registry, "reclaim_seconds", {
      help: "Time from the notice to the last guest verified gone.",
      buckets: millisecondsToSeconds,
    }),
    invocations: counter(registry, "invocations_total", { help: "Calls answered by executors." }),
    leaseCoreSeconds: counter(registry, "lease_core_seconds_total", {
      help: "Core-seconds lent.",
    }),
    leaseByteSeconds: counter(registry, "lease_byte_seconds_total", {
      help: "Byte-seconds of memory lent.",
    }),
    hookCalls: counter(registry, "hook_calls_total", {
      help: "Notices from Slurm's hooks, by event.",
      labels: ["event"],
    }),
  };
}

export type AgentMetrics = ReturnType<typeof agentMetrics>;
