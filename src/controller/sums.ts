/**
 * Sums over the cluster for Prometheus, out of what agents report, so that a site with thousands of nodes may scrape its
 * controllers alone. Each controller counts for itself, from its own start: with several, the highest rate is the best.
 */
import { outcomes } from "../common/outcomes.ts";
import { type ControllerMetrics, causes, otherLabel } from "../metrics/controller.ts";
import { guardSteps } from "../metrics/guard.ts";
import type { ClusterSnapshot } from "../slurm/snapshot.ts";
import type { Report } from "./report.ts";
import { Rises } from "./rises.ts";
import type { ClusterFigures } from "./views.ts";

const maxLists = 64;
const wordOf = (name: string, prefix: string): string => name.slice(prefix.length).toLowerCase();

/**
 * The label of a node's partitions: all of them as one list, so that no node counts twice. Nodes that are in none, or that
 * Slurm does not name, and those of the lists beyond the 64th, are `other`.
 */
export class PartitionLists {
  readonly #snapshot: () => ClusterSnapshot | undefined;
  readonly #labels = new Set<string>();
  readonly #known = new WeakMap<readonly string[], string>();

  constructor(snapshot: () => ClusterSnapshot | undefined) {
    this.#snapshot = snapshot;
  }

  of(node: string): string {
    const partitions = this.#snapshot()?.nodes.get(node)?.partitions ?? [];
    if (partitions.length === 0) return otherLabel;
    const known = this.#known.get(partitions);
    if (known !== undefined) return known;
    const list = [...partitions].sort().join(",");
    if (this.#labels.size < maxLists) this.#labels.add(list);
    const label = this.#labels.has(list) ? list : otherLabel;
    this.#known.set(partitions, label);
    return label;
  }
}

export interface ClusterSumsOptions {
  readonly metrics: ControllerMetrics;
  readonly lists: PartitionLists;
  /** Monotonic. */
  readonly nowMs: () => number;
}

export class ClusterSums {
  readonly #options: ClusterSumsOptions;
  readonly #rises = new Rises();
  readonly #begun = new Set<string>();
  #lentToMs: number;

  constructor(options: ClusterSumsOptions) {
    this.#options = options;
    this.#lentToMs = options.nowMs();
  }

  /** Of a report that was taken. */
  reported({ offer, ended, reclaims, counters }: Report): void {
    const { metrics, lists } = this.#options;
    const partitions = lists.of(offer.node);
    for (const { state, reason, grantedUnixMs } of ended) {
      if (grantedUnixMs === 0) continue; // granted ahead: it never was a lease
      metrics.clusterLeasesEnded.inc({
        outcome: wordOf(state, "LEASE_STATE_"),
        reason: wordOf(reason, "REASON_"),
      });
    }
    for (const { cause, leases, durationUs } of reclaims) {
      const messenger = causes.includes(cause) ? cause : otherLabel;
      metrics.clusterReclaims.inc({ messenger }, leases);
      metrics.partitionReclaims.inc({ partitions, messenger }, leases);
      // Others are known when they are over: nobody waited.
      if (durationUs > 0) metrics.clusterReclaimSeconds.observe(durationUs / 1e6);
    }
    const risen = counters === null ? undefined : this.#rises.of(offer, counters);
    if (risen === undefined) return;
    const { rise } = risen;
    for (const action of guardSteps) {
      const count = rise(action);
      if (count === 0) continue; // as with most reports: thousands a second should cost little
      metrics.clusterGuardActions.inc({ action }, count);
      metrics.partitionGuardActions.inc({ partitions, action }, count);
    }
    const calls = (outcome: string, ofPartition: string, count: number): void => {
      if (count <= 0) return;
      metrics.clusterInvocations.inc({ outcome }, count);
      metrics.partitionInvocations.inc({ partitions, outcome: ofPartition }, count);
    };
    if (rise("invocations") === 0) return;
    let told = 0;
    for (const [i, count] of risen.outcomes().entries()) {
      told += count;
      calls(outcomes[i] ?? otherLabel, i === 0 ? "ok" : "failed", count);
    }
    // An older agent does not say what came of its calls.
    calls(otherLabel, otherLabel, rise("invocations") - told);
  }

  /** Call about once a second, with how things are. */
  tick(figures: ClusterFigures): void {
    const { metrics, nowMs } = this.#options;
    const seconds = Math.max(0, nowMs() - this.#lentToMs) / 1000;
    this.#lentToMs = nowMs();
    metrics.clusterLeaseCoreSeconds.inc(seconds * figures.leased.cores);
    metrics.clusterLeaseByteSeconds.inc(seconds * figures.leased.memoryBytes);
    for (const [partitions, { leased }] of figures.partitions) {
      if (!this.#begun.has(partitions)) this.#begin(partitions);
      metrics.partitionLeaseCoreSeconds.inc({ partitions }, seconds * leased.cores);
      metrics.partitionLeaseByteSeconds.inc({ partitions }, seconds * leased.memoryBytes);
    }
  }

  /** Its series are there before they count: increase() does not see one that begins with what it should tell. */
  #begin(partitions: string): void {
    const { metrics } = this.#options;
    this.#begun.add(partitions);
    for (const messenger of causes) metrics.partitionReclaims.inc({ partitions, messenger }, 0);
    for (const action of guardSteps) metrics.partitionGuardActions.inc({ partitions, action }, 0);
    for (const outcome of ["ok", "failed", otherLabel])
      metrics.partitionInvocations.inc({ partitions, outcome }, 0);
  }
}
