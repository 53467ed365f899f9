/** Fills the controller's metrics: events as they come, the cluster's figures once a second (see main.ts). */

import { toSubletError } from "../common/errors.ts";
import type { ControllerMetrics } from "../metrics/controller.ts";
import { counter, type Registry } from "../metrics/registry.ts";
import type { SlurmCommand } from "../slurm/commands.ts";
import type { CommandRunner } from "../slurm/poller.ts";
import type { ClusterSnapshot } from "../slurm/snapshot.ts";
import type { ClusterFigures } from "./views.ts";

/** Wraps the runner, so that each command is counted with its outcome and its time. */
export function measuredRunner(runner: CommandRunner, metrics: ControllerMetrics): CommandRunner {
  return async (command, options) => {
    const startedMs = performance.now();
    const ended = (outcome: "ok" | "failed" | "timeout"): void => {
      metrics.slurmCalls.inc({ command: command.program, outcome });
      metrics.slurmCallSeconds.observe((performance.now() - startedMs) / 1000);
    };
    try {
      const output = await runner(command, options);
      ended("ok");
      return output;
    } catch (thrown) {
      ended(toSubletError(thrown).code === "DEADLINE_EXCEEDED" ? "timeout" : "failed");
      throw thrown;
    }
  };
}

/** Grants that agents refused, or did not answer, by the refusal's reason or the error's code. */
export function notGrantedCounter(registry: Registry) {
  return counter(registry, "grants_failed_total", {
    help: "Proposals that an agent refused or did not answer, by reason; the request then goes to another node.",
    labels: ["reason"],
  });
}

export function countRpcs(metrics: ControllerMetrics, command: SlurmCommand): void {
  metrics.slurmRpcs.inc(command.rpcs);
}

export function showCluster(
  metrics: ControllerMetrics,
  figures: ClusterFigures,
  ageMs: number | undefined,
): void {
  metrics.snapshotAgeSeconds.set(ageMs === undefined ? Number.NaN : ageMs / 1000);
  metrics.agents.set(figures.agents);
  metrics.clusterLeases.set(figures.leases);
  for (const [mode, count] of figures.lending) metrics.clusterLending.set({ mode }, count);
  for (const state of ["total", "jobs", "spare", "leased"] as const) {
    const share = figures[state];
    if (share === undefined) continue;
    metrics.clusterCores.set({ state }, share.cores);
    metrics.clusterMemoryBytes.set({ state }, share.memoryBytes);
  }
  metrics.partitionCores.reset();
  metrics.partitionMemoryBytes.reset();
  for (const [partitions, holdings] of figures.partitions)
    for (const [state, { cores, memoryBytes }] of Object.entries(holdings)) {
      metrics.partitionCores.set({ partitions, state }, cores);
      metrics.partitionMemoryBytes.set({ partitions, state }, memoryBytes);
    }
}

export function showPartitions(metrics: ControllerMetrics, snapshot: ClusterSnapshot | undefined): void {
  const nodes = new Map<string, number>();
  for (const { partitions } of snapshot?.nodes.values() ?? [])
    for (const partition of partitions) nodes.set(partition, (nodes.get(partition) ?? 0) + 1);
  metrics.partitionNodes.reset();
  for (const [partition, count] of nodes) metrics.partitionNodes.set({ partition }, count);
}
