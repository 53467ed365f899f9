/** What several tests of the agent need: a node's setup, and a driver of the reactor that collects effects. */

import type { AgentEvent, Effect } from "../../../agent/reactor/events.ts";
import { react } from "../../../agent/reactor/react.ts";
import { type AgentState, initialState, type NodeSetup } from "../../../agent/reactor/state.ts";
import type { LeaseRequest, Principal } from "../../../src/common/nouns.ts";
import { consentConfig } from "../../../src/config/consent.ts";

export const mib = 1024 * 1024;

export const setup: NodeSetup = {
  node: "n1",
  cores: [0, 1, 2, 3],
  mems: "0",
  memoryBytes: 4096 * mib,
  reserveCores: [],
  reserveMemoryBytes: 512 * mib,
  guestUidFirst: 200_000,
  guestUidCount: 8,
  leaseTermMs: 60_000,
  leaseTermMaxMs: 120_000,
  announceTimeoutMs: 10_000,
  hookTimeoutMs: 2_000,
  epilogTimeoutMs: 600_000,
  consent: consentConfig(undefined),
  prolog: "all",
  reclaimBudgetMs: 1_000,
};

export const owner: Principal = { uid: 1000, gid: 1000, jobId: 7, node: "n1" };

export const request: LeaseRequest = {
  kind: "function",
  cores: 1,
  minCores: 1,
  memoryBytes: 64 * mib,
  termMs: 60_000,
};

export const token = "ab".repeat(32);

/** Feeds events to the reactor, with a clock that stands still unless told. */
export class Driver {
  state: AgentState;
  nowMs = 1000;
  #call = 0;

  constructor(changes: Partial<NodeSetup> = {}) {
    this.state = initialState({ ...setup, ...changes });
  }

  /** An agent that lends: adopted, with a starter and memory. */
  static ready(changes: Partial<NodeSetup> = {}): Driver {
    const driver = new Driver(changes);
    driver.feed({ type: "adopt", guests: [] });
    driver.feed({ type: "starter", up: true });
    driver.feed({ type: "memory", availableBytes: 4096 * mib, touchedBytes: new Map() });
    return driver;
  }

  feed(event: AgentEvent): Effect[] {
    const { state, effects } = react(this.state, event, this.nowMs, 1_700_000_000_000 + this.nowMs);
    this.state = state;
    return [...effects];
  }

  nextCall(): number {
    this.#call += 1;
    return this.#call;
  }

  grant(
    leaseId: string,
    wish: Partial<LeaseRequest> = {},
    holder?: number,
  ): { call: number; effects: Effect[] } {
    const call = this.nextCall();
    const effects = this.feed({
      type: "grant",
      call,
      leaseId,
      request: { ...request, ...wish },
      owner,
      holder,
      token,
    });
    return { call, effects };
  }

  /** Grants and starts. */
  run(leaseId: string, wish: Partial<LeaseRequest> = {}, holder?: number): void {
    this.grant(leaseId, wish, holder);
    this.feed({ type: "started", leaseId, port: 4000 });
  }
}

export function types(effects: readonly Effect[]): string[] {
  return effects.map((effect) => effect.type);
}
