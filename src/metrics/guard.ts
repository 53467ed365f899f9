/** What the guard of an agent shows to Prometheus. Labels are bounded: actions, signals, states, outcomes. */
import { counter, gauge, type Registry } from "./registry.ts";

export function guardMetrics(registry: Registry, collect: () => void) {
  return {
    guests: gauge(registry, "guard_guests", {
      help: "Guests that the guard holds back now: throttled, frozen.",
      labels: ["state"],
      collect: () => collect(),
    }),
    actions: counter(registry, "guard_actions_total", {
      help: "What the guard did to guests (throttle, freeze, shrink, evict, and back: relax, thaw), by the signal that was the cause.",
      labels: ["action", "signal"],
    }),
    signals: gauge(registry, "guard_signal_ratio", {
      help: "The worst reading of a signal at the last look, relative to the threshold at which the guard acts: 1 is at it.",
      labels: ["signal"],
    }),
    found: gauge(registry, "guard_signal_found", {
      help: "Whether this machine has the signal: 1, or 0.",
      labels: ["signal"],
    }),
    samples: counter(registry, "guard_samples_total", {
      help: "Times that the guard looked at its signals.",
    }),
    cpuSeconds: counter(registry, "guard_cpu_seconds_total", { help: "CPU time of the guard itself." }),
    intervalSeconds: gauge(registry, "guard_interval_seconds", {
      help: "Time between two looks now; 0 while no guest is beside a job.",
    }),
    alarms: counter(registry, "guard_alarms_total", {
      help: "Actions that the kernel did not take, by action.",
      labels: ["action"],
    }),
    reloads: counter(registry, "guard_policy_reloads_total", {
      help: "Times that the policy file was read again: taken, or refused (the old one stays).",
      labels: ["outcome"],
    }),
  };
}

export type GuardMetrics = ReturnType<typeof guardMetrics>;
