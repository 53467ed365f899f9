/** Keeps the agent's metrics. Counters follow effects; gauges are set from the state when Prometheus asks. */

import { outcomes } from "../src/common/outcomes.ts";
import { type AgentMetrics, agentMetrics, leaseSteps } from "../src/metrics/agent.ts";
import { createRegistry, gauge, type Registry } from "../src/metrics/registry.ts";
import { reasonToWire } from "../src/rpc/convert.ts";
import type { CodeFigures } from "./executor/code.ts";
import type { Counts } from "./executor/stats.ts";
import type { WaitingSums } from "./jobs/waiting.ts";
import { type LendingView, lendingView } from "./lending/view.ts";
import type { Effect } from "./reactor/events.ts";
import type { AgentState, Guest } from "./reactor/state.ts";
import type { Shell } from "./shell.ts";
import type { UsageFigures } from "./usage/usage.ts";

export interface AgentGauges {
  readonly controllersConnected: () => number;
  /** What executors may use beside TCP. */
  readonly fabricProvider?: string;
  /** What executors have counted. */
  readonly counts?: () => Counts;
  readonly shadowTermMs?: () => number;
  /** What waits to be told to the accounting. */
  readonly usage?: () => UsageFigures;
  /** How jobs waited. */
  readonly waiting?: () => WaitingSums;
}

function sum(values: Iterable<number>): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}

function showState(metrics: AgentMetrics, state: AgentState): void {
  const { setup } = state;
  const guests = [...state.guests.values()];
  const jobs = [...state.jobs.values()];
  const jobCores = new Set(jobs.flatMap((job) => job.cores ?? []));
  metrics.cores.set({ state: "total" }, setup.cores.length);
  metrics.cores.set({ state: "reserved" }, setup.reserveCores.length);
  metrics.cores.set({ state: "jobs" }, setup.cores.filter((core) => jobCores.has(core)).length);
  metrics.cores.set({ state: "leased" }, sum(guests.map((guest) => guest.lease.cores.length)));
  metrics.cores.set({ state: "spare" }, sum(state.spare.map((spare) => spare.cores.length)));
  metrics.memoryBytes.set({ state: "total" }, setup.memoryBytes);
  metrics.memoryBytes.set({ state: "reserved" }, setup.reserveMemoryBytes);
  metrics.memoryBytes.set(
    { state: "jobs" },
    sum(jobs.map((job) => job.memoryLimitBytes ?? job.memoryUsedBytes)),
  );
  metrics.memoryBytes.set({ state: "leased" }, sum(guests.map((guest) => guest.lease.memoryBytes)));
  metrics.memoryBytes.set({ state: "spare" }, sum(state.spare.map((spare) => spare.memoryBytes)));
  for (const name of ["idle", "unallocated", "shared"] as const) {
    const offered = state.spare.find((spare) => spare.class === name);
    metrics.spareCores.set({ class: name }, offered?.cores.length ?? 0);
    metrics.spareMemoryBytes.set({ class: name }, offered?.memoryBytes ?? 0);
    const lent = guests.filter((guest) => guest.lease.class === name);
    metrics.leasedCores.set({ class: name }, sum(lent.map((guest) => guest.lease.cores.length)));
    metrics.leasedMemoryBytes.set({ class: name }, sum(lent.map((guest) => guest.lease.memoryBytes)));
  }
  metrics.guestMemoryBytes.set(sum(guests.map((guest) => guest.touchedBytes)));
  for (const kind of ["function", "region"] as const)
    metrics.leases.set(
      { kind },
      guests.filter((guest) => guest.lease.kind === kind && guest.phase !== "ending").length,
    );
}

function showCounts(metrics: AgentMetrics, counts: Counts): void {
  metrics.invocations.reset();
  for (const [index, outcome] of outcomes.entries())
    metrics.invocations.inc({ outcome }, counts.outcomes[index] ?? 0);
  metrics.invocationBytes.reset();
  metrics.invocationBytes.inc({ direction: "in" }, counts.inBytes);
  metrics.invocationBytes.inc({ direction: "out" }, counts.outBytes);
  metrics.invocationSeconds.set(counts.run, counts.runNs);
  metrics.invocationAnswerSeconds.set(counts.answer, counts.answerNs);
  for (const [counter, value] of [
    [metrics.workerBusySeconds, counts.runNs / 1e9],
    [metrics.workerPollSeconds, counts.polledNs / 1e9],
    [metrics.workerSleeps, counts.sleeps],
    [metrics.workerRestarts, counts.restarts],
  ] as const) {
    counter.reset();
    counter.inc(value);
  }
}

function showCode(metrics: AgentMetrics, figures: CodeFigures | undefined): void {
  metrics.codeCacheBytes.set(figures?.bytes ?? 0);
  metrics.codeCacheLibraries.set(figures?.libraries ?? 0);
  metrics.codeCacheLookups.reset();
  metrics.codeCacheLookups.inc({ outcome: "hit" }, figures?.hits ?? 0);
  metrics.codeCacheLookups.inc({ outcome: "miss" }, figures?.misses ?? 0);
  metrics.codeCacheLookups.inc({ outcome: "path" }, figures?.paths ?? 0);
  metrics.codeCacheUnread.reset();
  metrics.codeCacheUnread.inc(figures?.unread ?? 0);
  metrics.codeCacheOffers.reset();
  metrics.codeCacheOffers.inc({ outcome: "kept" }, figures?.kept ?? 0);
  metrics.codeCacheOffers.inc({ outcome: "refused" }, figures?.refused ?? 0);
  metrics.codeCacheEvictions.reset();
  metrics.codeCacheEvictions.inc(figures?.evicted ?? 0);
}

function showUsage(metrics: AgentMetrics, figures: UsageFigures | undefined): void {
  metrics.usageUnacked.set(figures?.records ?? 0);
  metrics.usageOldest.set(figures?.oldestSeconds ?? 0);
  metrics.usageSpoolBytes.set(figures?.spoolBytes ?? 0);
  metrics.usageLost.reset();
  metrics.usageLost.inc(figures?.lostRecords ?? 0);
}

function showWaiting(metrics: AgentMetrics, { cpu, memory }: WaitingSums): void {
  metrics.jobCoreSeconds.reset();
  metrics.jobWaitedCoreSeconds.reset();
  for (const [resource, { coreMs, waitedMs }] of Object.entries({ cpu, memory })) {
    metrics.jobCoreSeconds.inc({ resource }, coreMs / 1000);
    metrics.jobWaitedCoreSeconds.inc({ resource }, waitedMs / 1000);
  }
}

/** Registers everything and follows the shell. */
export function watchMetrics(shell: Shell, gauges: AgentGauges): Registry {
  const registry = createRegistry();
  let metrics: AgentMetrics | undefined;
  let view: LendingView | undefined;
  /** Up to when core-seconds and byte-seconds of live leases are counted. */
  let countedToMs = shell.nowMs();
  /** What pool_takes_total has counted, by outcome. */
  const poolCounted = new Map<string, number>();

  function lent(guest: Guest, fromMs: number, toMs: number): void {
    const seconds = Math.max(0, toMs - Math.max(fromMs, guest.startedAtMs)) / 1000;
    metrics?.leaseCoreSeconds.inc(seconds * guest.lease.cores.length);
    metrics?.leaseByteSeconds.inc(seconds * guest.lease.memoryBytes);
  }

  // Registered first, so that its collect() sets the others before they are read.
  gauge(registry, "controllers_connected", {
    help: "Controllers that this agent reports to now.",
    collect(own) {
      shell.settle();
      own.set(gauges.controllersConnected());
      const nowMs = shell.nowMs();
      for (const guest of shell.state.guests.values())
        if (guest.phase !== "ending") lent(guest, countedToMs, nowMs);
      countedToMs = nowMs;
      if (metrics === undefined) return;
      showState(metrics, shell.state);
      view?.show();
      metrics.drained.set(shell.state.drain === undefined ? 0 : 1);
      metrics.poolExecutors.set(shell.executors.pool.size);
      for (const [outcome, count] of [
        ["hit", shell.executors.pool.hits],
        ["redeemed", shell.executors.pool.redeemed],
        ["miss", shell.executors.pool.misses],
      ] as const) {
        metrics.poolTakes.inc({ outcome }, count - (poolCounted.get(outcome) ?? 0));
        poolCounted.set(outcome, count);
      }
      metrics.leaseStepSeconds.reset();
      for (const step of leaseSteps) metrics.leaseStepSeconds.inc({ step }, shell.steps.seconds[step]);
      if (gauges.counts !== undefined) showCounts(metrics, gauges.counts());
      showCode(metrics, shell.executors.code.figures());
      showUsage(metrics, gauges.usage?.());
      if (gauges.waiting !== undefined) showWaiting(metrics, gauges.waiting());
    },
  });
  const all = agentMetrics(registry);
  all.fabricInfo.set({ provider: gauges.fabricProvider ?? "none" }, 1);
  metrics = all;
  view = lendingView(shell, all, gauges.shadowTermMs);

  function onEffect(effect: Effect): void {
    const nowMs = shell.nowMs();
    switch (effect.type) {
      case "offer":
        view?.look();
        break;
      case "answer":
        if (effect.answer.kind === "reclaimed" && effect.answer.ended > 0)
          all.reclaims.inc({ messenger: "admin" }, effect.answer.ended);
        if (effect.answer.kind === "hook") {
          all.hookCalls.inc({ event: effect.answer.event });
          if (effect.answer.leasesEnded > 0) {
            all.reclaims.inc({ messenger: effect.answer.event }, effect.answer.leasesEnded);
            all.reclaimSeconds.observe(effect.answer.tookUs / 1e6);
          }
        }
        break;
      case "refuse":
        if (typeof effect.error.details.reason === "string")
          all.leaseRefusals.inc({ reason: effect.error.details.reason });
        break;
      case "start":
        all.leaseGrants.inc();
        break;
      case "ready":
        if (effect.ahead === true) all.leaseGrants.inc();
        all.leaseStartSeconds.observe(Math.max(0, nowMs - effect.guest.startedAtMs) / 1000);
        break;
      case "missed":
        all.reclaims.inc({ messenger: "cgroup" }, effect.leases);
        break;
      case "unshared":
        all.reclaims.inc({ messenger: "use" }, effect.leases);
        break;
      case "ended": {
        const { state, reason } = effect.guest.lease;
        all.leasesEnded.inc({
          outcome: state.toLowerCase(),
          reason: reasonToWire(reason).slice("REASON_".length).toLowerCase(),
        });
        if (reason === "term_ended") all.reclaims.inc({ messenger: "expire" });
        lent(effect.guest, countedToMs, nowMs);
        break;
      }
    }
  }
  shell.listen({ onEffect });
  return registry;
}
