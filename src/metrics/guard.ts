/** What the guard of an agent shows to Prometheus. Labels are bounded: actions, signals, states, outcomes. */
import { counter, gauge, type Registry } from "./registry.ts";

/** From the mildest to the strongest; and what is given back. */
export const guardSteps = ["throttle", "freeze", "shrink", "evict"] as const;
const guardActions = [...guardSteps, "relax", "thaw"];
export const guardSignals = [
  "job_run_delay",
  "job_cpu_pressure",
  "job_throttled",
  "job_memory_pressure",
  "job_refaults",
  "job_cpi",
  "job_cache_misses",
  "job_bandwidth",
  "node_memory_pressure",
  "node_memory_headroom",
  "node_bandwidth",
] as const;

export function guardMetrics(registry: Registry, collect: () => void) {
  return {
    guests: gauge(registry, "guard_guests", {
      help: "Guests that the guard holds back now: throttled, frozen.",
      labels: { state: ["throttled", "frozen"] },
      collect: () => collect(),
    }),
    actions: counter(registry, "guard_actions_total", {
      help: "What the guard did to guests: throttle, freeze, shrink, evict, and back: relax, thaw. The log and the receipts of jobs say by which signal.",
      labels: { action: guardActions },
    }),
    signals: gauge(registry, "guard_signal_ratio", {
      help: "The worst reading of a signal at the last look, relative to the threshold at which the guard acts: 1 is at it.",
      labels: { signal: guardSignals },
    }),
    samples: counter(registry, "guard_samples_total", {
      help: "Times that the guard looked at its signals.",
    }),
    cpuSeconds: counter(registry, "guard_cpu_seconds_total", { help: "CPU time of the guard itself." }),
    intervalSeconds: gauge(registry, "guard_interval_seconds", {
      help: "Time between two looks now; 0 while no guest is beside a job.",
    }),
    alarms: counter(registry, "guard_alarms_total", {
      help: "Writes of the guard that the kernel did not take, and looks at its signals that failed; the log says which.",
    }),
    reloads: counter(registry, "guard_policy_reloads_total", {
      help: "Times that the policy file was read again: taken, or refused (the old one stays).",
      labels: { outcome: ["taken", "refused"] },
    }),
  };
}

export type GuardMetrics = ReturnType<typeof guardMetrics>;
