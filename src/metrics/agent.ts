/** What an agent shows to Prometheus. Labels are bounded: states, classes, kinds and reasons, never names or ids. */

import type { CapacityClass, EndReason, LeaseKind, RefusalReason } from "../common/nouns.ts";
import { outcomes } from "../common/outcomes.ts";
import { counter, gauge, histogram, powersHistogram, type Registry } from "./registry.ts";

/** Of a union all members, each once: one that is missing or unknown does not compile. */
const allOf = <Member extends string>(members: Readonly<Record<Member, true>>): Member[] =>
  Object.keys(members) as Member[];

const states = ["total", "jobs", "spare", "leased", "reserved"];
const classes = allOf<CapacityClass>({ idle: true, unallocated: true, shared: true });
const kinds = allOf<LeaseKind>({ function: true, region: true });
const endings = allOf<EndReason>({
  released: true,
  term_ended: true,
  batch_job: true,
  admin: true,
  executor_lost: true,
  agent_restart: true,
  start_failed: true,
  guard: true,
});
const refusals = allOf<RefusalReason | "start_failed">({
  no_cores: true,
  no_memory: true,
  closed: true,
  quota: true,
  start_failed: true,
});
const outcomeOf: Readonly<Record<string, string>> = { released: "released", term_ended: "expired" };
/** How leases end. */
export const ends = {
  labels: { outcome: ["released", "expired", "revoked"], reason: endings },
  occurs: ({ outcome, reason }: { outcome: string; reason: string }): boolean =>
    outcome === (outcomeOf[reason] ?? "revoked"),
};
export const lendingModes = ["on", "shadow", "hold_out", "drained"] as const;
/** Who said that leases are taken back, as far as a job or an administrator wants them. */
export const messengers = ["prolog", "step", "cgroup", "use", "admin"] as const;
/**
 * In this order: facts are fresh and it is decided; its cgroup is limited; the starter has answered; the answer can be sent.
 * `controller`: of leases that a controller was asked for, all that it took.
 */
export const leaseSteps = ["decide", "cgroup", "starter", "answer", "controller"] as const;

/** Fewer than the controller's: one page per node, and each bucket is a series of it. */
const millisecondsToSeconds = [0.001, 0.005, 0.02, 0.1, 0.5, 1, 2.5];

export function agentMetrics(registry: Registry) {
  return {
    cores: gauge(registry, "cores", {
      help: "Cores of this node by what holds them: total, jobs, spare, leased, reserved.",
      labels: { state: states },
    }),
    memoryBytes: gauge(registry, "memory_bytes", {
      help: "Memory of this node by what holds it: total, jobs, spare, leased, reserved.",
      labels: { state: states },
    }),
    spareCores: gauge(registry, "spare_cores", {
      help: "Cores that may be lent now, by class.",
      labels: { class: classes },
    }),
    spareMemoryBytes: gauge(registry, "spare_memory_bytes", {
      help: "Memory that may be lent now, by class.",
      labels: { class: classes },
    }),
    leasedCores: gauge(registry, "leased_cores", {
      help: "Cores lent now, by the class they were spare in.",
      labels: { class: classes },
    }),
    leasedMemoryBytes: gauge(registry, "leased_memory_bytes", {
      help: "Memory lent now, by the class it was spare in.",
      labels: { class: classes },
    }),
    guestMemoryBytes: gauge(registry, "guest_memory_bytes", {
      help: "Memory that guests use of what is lent to them, when last looked at.",
    }),
    fabricInfo: gauge(registry, "fabric_info", {
      help: "1 for the provider of libfabric that calls to this node may use beside TCP, or none.",
      labels: ["provider"],
    }),
    lendingMode: gauge(registry, "lending_mode", {
      help: "1 for the mode that this node is in: on, shadow, hold_out, drained.",
      labels: { mode: lendingModes },
    }),
    shadowLeases: counter(registry, "shadow_leases_total", {
      help: "Leases imagined on all spare capacity of a node that lends nothing: finished, or cut short by a job.",
      labels: { outcome: ["finished", "cut"] },
    }),
    shadowCoreSeconds: counter(registry, "shadow_core_seconds_total", {
      help: "Core-seconds of imagined leases.",
    }),
    shadowByteSeconds: counter(registry, "shadow_byte_seconds_total", {
      help: "Byte-seconds of imagined leases.",
    }),
    nodePressure: counter(registry, "node_pressure_seconds_total", {
      help: "Time in which some task of the node waited for a resource (PSI, some), jobs and guests alike: no measure of what jobs pay.",
      labels: { resource: ["cpu", "memory", "io"] },
    }),
    jobCoreSeconds: counter(registry, "job_core_seconds_total", {
      help: "Core-seconds of batch jobs in which their own waiting for this resource was watched: cpu; memory where the kernel tells it (cgroup v2).",
      labels: { resource: ["cpu", "memory"] },
    }),
    jobWaitedCoreSeconds: counter(registry, "job_waited_core_seconds_total", {
      help: "Of job_core_seconds_total, those in which some task of the job waited (PSI of its cgroup, some), or that its tasks waited (run delay, cgroup v1): compare by lending_mode.",
      labels: { resource: ["cpu", "memory"] },
    }),
    leases: gauge(registry, "leases", { help: "Live leases by kind.", labels: { kind: kinds } }),
    leasesEnded: counter(registry, "leases_ended_total", {
      help: "Leases that ended, by outcome (released, expired, revoked) and reason.",
      ...ends,
    }),
    leaseGrants: counter(registry, "lease_grants_total", {
      help: "Leases granted, with those that were handed out ahead.",
    }),
    leaseRefusals: counter(registry, "lease_refusals_total", {
      help: "Lease requests refused, by reason.",
      labels: { reason: refusals },
    }),
    leaseStartSeconds: histogram(registry, "lease_start_seconds", {
      help: "Time from the grant to an executor that is ready.",
      buckets: millisecondsToSeconds,
    }),
    leaseStepSeconds: counter(registry, "lease_step_seconds_total", {
      help: "Time that leases took in this agent until their answer, by step: decide, cgroup, starter, answer; and controller, all of it for those that one was asked for.",
      labels: { step: leaseSteps },
    }),
    reclaims: counter(registry, "reclaims_total", {
      help: "Leases taken back, by who said so: prolog, step, cgroup, expire, admin, use (a job uses what it shared, or does not consent).",
      labels: { messenger: [...messengers, "expire"] },
    }),
    reclaimSeconds: histogram(registry, "reclaim_seconds", {
      help: "Time from the notice to the last guest verified gone.",
      buckets: millisecondsToSeconds,
    }),
    invocations: counter(registry, "invocations_total", {
      help: "Calls answered by executors, by outcome: ok, or the status that the caller got.",
      labels: { outcome: outcomes },
    }),
    invocationBytes: counter(registry, "invocation_bytes_total", {
      help: "Bytes of arguments (in) and results (out) of calls answered by executors.",
      labels: { direction: ["in", "out"] },
    }),
    invocationSeconds: powersHistogram(registry, "invocation_seconds", {
      help: "Time that calls spent in their functions.",
    }),
    invocationAnswerSeconds: powersHistogram(registry, "invocation_answer_seconds", {
      help: "Time from the look that found a call to its answer: also what it waited for others.",
    }),
    workerBusySeconds: counter(registry, "worker_busy_seconds_total", {
      help: "Time that workers spent in functions.",
    }),
    workerPollSeconds: counter(registry, "worker_poll_seconds_total", {
      help: "Time that workers spent looking for calls in vain.",
    }),
    workerSleeps: counter(registry, "worker_sleeps_total", { help: "Times that workers went to sleep." }),
    workerRestarts: counter(registry, "worker_restarts_total", {
      help: "Workers that took the place of one that had ended.",
    }),
    leaseCoreSeconds: counter(registry, "lease_core_seconds_total", {
      help: "Core-seconds lent.",
    }),
    leaseByteSeconds: counter(registry, "lease_byte_seconds_total", {
      help: "Byte-seconds of memory lent.",
    }),
    usageUnacked: gauge(registry, "usage_unacked_records", {
      help: "Usage records that not every controller has acknowledged.",
    }),
    usageOldest: gauge(registry, "usage_oldest_unacked_seconds", {
      help: "Age of the oldest of them.",
    }),
    usageSpoolBytes: gauge(registry, "usage_spool_bytes", {
      help: "Size of the file in which they are kept.",
    }),
    usageLost: counter(registry, "usage_lost_records_total", {
      help: "Usage records that were dropped before any controller had them: there was no room for more.",
    }),
    drained: gauge(registry, "drained", { help: "1 while an administrator has drained this node, else 0." }),
    poolExecutors: gauge(registry, "pool_executors", { help: "Executors kept ready for leases to come." }),
    poolTakes: counter(registry, "pool_takes_total", {
      help: "Leases for functions that found a prepared executor (hit), were granted ahead together with one (redeemed), or found none (miss).",
      labels: { outcome: ["hit", "redeemed", "miss"] },
    }),
    codeCacheBytes: gauge(registry, "code_cache_bytes", {
      help: "Memory of libraries that are kept for the next leases of their users.",
    }),
    codeCacheLibraries: gauge(registry, "code_cache_libraries", { help: "Libraries that are kept so." }),
    codeCacheLookups: counter(registry, "code_cache_lookups_total", {
      help: "Libraries that executors asked for by their content: here (hit), read from where they lie (path), or sent by their client (miss).",
      labels: { outcome: ["hit", "path", "miss"] },
    }),
    codeCacheOffers: counter(registry, "code_cache_offers_total", {
      help: "Libraries that executors offered: kept, or refused (not what their hash says, or no room).",
      labels: { outcome: ["kept", "refused"] },
    }),
    codeCacheUnread: counter(registry, "code_cache_unread_total", {
      help: "Libraries that could not be read from where they lie (not there, not for this user, changed, too slow).",
    }),
    codeCacheEvictions: counter(registry, "code_cache_evictions_total", {
      help: "Libraries that made room for others.",
    }),
    hookCalls: counter(registry, "hook_calls_total", {
      help: "Notices from Slurm's hooks, by event.",
      labels: { event: ["prolog", "epilog", "step"] },
    }),
  };
}

export type AgentMetrics = ReturnType<typeof agentMetrics>;
