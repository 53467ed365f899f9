/**
 * Where the time of a lease goes in this agent, from the request to the answer that may be sent. Sums for Prometheus (over
 * the grants of the same time they are means; lease_start_seconds has the spread), and one line per lease in the debug log.
 * Kept for leases on their way only.
 */

import type { leaseSteps } from "../src/metrics/agent.ts";

export type LeaseStep = (typeof leaseSteps)[number];

interface Way {
  atMs: number;
  readonly tookMs: Partial<Record<LeaseStep, number>>;
}

export class LeaseSteps {
  readonly #nowMs: () => number;
  readonly #ways = new Map<string, Way>();
  /** All leases together. */
  readonly seconds: Record<LeaseStep, number> = {
    decide: 0,
    cgroup: 0,
    starter: 0,
    answer: 0,
    controller: 0,
  };

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** A lease is asked for. One that is on its way already goes on. */
  begin(leaseId: string): void {
    if (!this.#ways.has(leaseId)) this.#ways.set(leaseId, { atMs: this.#nowMs(), tookMs: {} });
  }

  /** The step is over. A step that is made twice (a prepared executor was of no use) takes the sum. */
  mark(leaseId: string, step: LeaseStep): void {
    const way = this.#ways.get(leaseId);
    if (way === undefined) return;
    const nowMs = this.#nowMs();
    this.add(step, nowMs - way.atMs);
    way.tookMs[step] = (way.tookMs[step] ?? 0) + nowMs - way.atMs;
    way.atMs = nowMs;
  }

  add(step: LeaseStep, tookMs: number): void {
    this.seconds[step] += Math.max(0, tookMs) / 1000;
  }

  /** It was granted or refused. @returns what each step took, ms; undefined: told already. */
  end(leaseId: string): Way["tookMs"] | undefined {
    const way = this.#ways.get(leaseId);
    this.#ways.delete(leaseId);
    return way?.tookMs;
  }
}
