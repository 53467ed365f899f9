/**
 * What the controller knows of agents and leases. Soft: all of it comes back with the agents' reports. No I/O, no
 * clock, no randomness: events and the time come in, the state changes, what to do comes back. (It changes in place: a
 * copy per report of ten thousand agents would cost more than all the rest.)
 *
 * Rules and races:
 * - The newest stream of a node speaks for it; reports on an older one are refused. Epochs are not compared for order,
 *   since a node's clock may step back: another epoch on the same stream only means that leases must be told anew.
 * - A stream must begin with a full report, else we ask for one.
 * - Within one epoch an offer with a lower revision is late and ignored; an equal one is a sign of life.
 * - A proposal (lease asked of an agent, outcome not reported yet) counts against the node's offer until the agent's
 *   report names the lease, the agent refused, or some seconds passed: many requests at once do not all run to one node.
 * - A node whose stream closed is not proposed any more. Its leases live on until their term ends: executors
 *   do not need the agent. While it is connected, the agent alone says when a lease ends: one that should have ended makes
 *   us ask for a full report.
 */
import type { Spare } from "../common/nouns.ts";
import type { LeaseMessage, OfferMessage } from "../rpc/messages.ts";
import type { Report } from "./report.ts";

export interface AgentState {
  readonly node: string;
  /** Of the stream that speaks for it; undefined when it closed. */
  streamId: number | undefined;
  /** The highest stream that ever spoke for it. */
  newestStreamId: number;
  epochUnixMs: number;
  offer: OfferMessage;
  spare: readonly Spare[];
  /** When the offer was last confirmed. */
  receivedAtMs: number;
  /** A full report came in this epoch on this stream. */
  synced: boolean;
  readonly leases: Map<string, KnownLease>;
}

export interface KnownLease {
  readonly message: LeaseMessage;
  /** End of the term as last told, on the controller's clock. */
  readonly expiresAtMs: number;
}

export interface Proposal {
  readonly leaseId: string;
  readonly node: string;
  readonly cores: number;
  readonly memoryBytes: number;
  /** When it stops counting, whatever happened. */
  readonly untilMs: number;
}

export interface ControllerState {
  readonly agents: Map<string, AgentState>;
  /** Node by lease id. */
  readonly leaseNodes: Map<string, string>;
  readonly proposals: Map<string, Proposal>;
}

/** An agent that is gone and has no lease left is forgotten after this. */
export const agentForgottenMs = 60_000;
/** Longer than a grant may take. */
export const proposalMs = 15_000;
/** Terms end on the agent's clock: give its report time to arrive. */
const expiryGraceMs = 5_000;

export function newState(): ControllerState {
  return { agents: new Map(), leaseNodes: new Map(), proposals: new Map() };
}

export interface ReportReply {
  /** Undefined when the report was refused: another stream speaks for the node now. */
  readonly ack: { readonly ackedRevision: number; readonly resendFull: boolean } | undefined;
  /** The agent was unknown, or gone, or began a new life. */
  readonly joined: boolean;
  /** Known leases that ended with this report. */
  readonly ended: readonly LeaseMessage[];
  /** Taken back before they were told of: granted ahead, they may never have been leases. */
  readonly withdrawn: readonly LeaseMessage[];
  /** Leases that are wanted back: new ones, and those whose budget is shorter than was told. */
  readonly draining: readonly LeaseMessage[];
}

/** streamId rises with each stream that is opened. */
export function onReport(
  state: ControllerState,
  streamId: number,
  report: Report,
  nowMs: number,
): ReportReply {
  const { offer } = report;
  const known = state.agents.get(offer.node);
  if (known !== undefined && streamId < known.newestStreamId)
    return { ack: undefined, joined: false, ended: [], withdrawn: [], draining: [] };
  const joined = known?.streamId !== streamId || known.epochUnixMs !== offer.epochUnixMs;
  const agent = known ?? newAgent(report, streamId, nowMs);
  state.agents.set(offer.node, agent);
  if (joined) agent.synced = false;
  if (joined || offer.revision >= agent.offer.revision) {
    agent.offer = offer;
    agent.spare = report.spare;
  }
  agent.streamId = streamId;
  agent.newestStreamId = streamId;
  agent.epochUnixMs = offer.epochUnixMs;
  agent.receivedAtMs = nowMs;
  const ended: LeaseMessage[] = [];
  const withdrawn: LeaseMessage[] = [];
  for (const lease of report.ended) {
    state.proposals.delete(lease.id);
    const known = forget(state, agent, lease.id) !== undefined;
    if (known) ended.push(lease);
    else if (lease.state === "LEASE_STATE_REVOKED") withdrawn.push(lease);
  }
  const draining: LeaseMessage[] = [];
  for (const lease of report.live) {
    state.proposals.delete(lease.id);
    if (drainsSooner(lease, agent.leases.get(lease.id), nowMs)) draining.push(lease);
    learn(state, agent, lease, nowMs);
  }
  if (report.full) {
    agent.synced = true;
    const told = new Set(report.live.map(({ id }) => id));
    for (const [id, { message }] of agent.leases)
      if (!told.has(id) && !state.proposals.has(id)) {
        forget(state, agent, id);
        ended.push(message);
      }
  }
  const ack = { ackedRevision: agent.offer.revision, resendFull: !agent.synced };
  return { ack, joined, ended, withdrawn, draining };
}

/** Told again (in a full report) a budget may seem some ms shorter: that is no news. */
const budgetSlackMs = 50;

function drainsSooner(lease: LeaseMessage, before: KnownLease | undefined, nowMs: number): boolean {
  if (lease.state !== "LEASE_STATE_DRAINING") return false;
  if (before?.message.state !== "LEASE_STATE_DRAINING") return true;
  return nowMs + lease.remainingMs + budgetSlackMs < before.expiresAtMs;
}

function newAgent(report: Report, streamId: number, nowMs: number): AgentState {
  const { offer, spare } = report;
  return {
    node: offer.node,
    streamId,
    newestStreamId: streamId,
    epochUnixMs: offer.epochUnixMs,
    offer,
    spare,
    receivedAtMs: nowMs,
    synced: false,
    leases: new Map(),
  };
}

function learn(state: ControllerState, agent: AgentState, message: LeaseMessage, nowMs: number): void {
  const before = state.leaseNodes.get(message.id);
  if (before !== undefined && before !== agent.node) return; // ids are random: somebody else's stays his
  agent.leases.set(message.id, { message, expiresAtMs: nowMs + message.remainingMs });
  state.leaseNodes.set(message.id, agent.node);
}

function forget(state: ControllerState, agent: AgentState, id: string): KnownLease | undefined {
  const lease = agent.leases.get(id);
  if (lease === undefined) return undefined;
  agent.leases.delete(id);
  state.leaseNodes.delete(id);
  return lease;
}

/** The stream is gone. Gives the node that fell silent with it, if it was the one that spoke for it. */
export function onStreamClosed(
  state: ControllerState,
  streamId: number,
  node: string | undefined,
): string | undefined {
  const agent = node === undefined ? undefined : state.agents.get(node);
  if (agent?.streamId !== streamId) return undefined;
  agent.streamId = undefined;
  return agent.node;
}

/** A lease is about to be asked of an agent. */
export function onProposed(state: ControllerState, proposal: Omit<Proposal, "untilMs">, nowMs: number): void {
  state.proposals.set(proposal.leaseId, { ...proposal, untilMs: nowMs + proposalMs });
}

/** The agent said no, or did not answer. */
export function onRefused(state: ControllerState, leaseId: string): void {
  state.proposals.delete(leaseId);
}

/** An agent's answer to a grant or a renewal. The proposal stays until a report names the lease. */
export function onLeaseTold(state: ControllerState, message: LeaseMessage, nowMs: number): void {
  const agent = state.agents.get(message.node);
  if (agent !== undefined) learn(state, agent, message, nowMs);
}

/** An agent's answer to a release, or its word that there is no such lease. */
export function onLeaseGone(state: ControllerState, leaseId: string): void {
  state.proposals.delete(leaseId);
  const agent = state.agents.get(state.leaseNodes.get(leaseId) ?? "");
  if (agent !== undefined) forget(state, agent, leaseId);
}

export interface TickReply {
  readonly forgottenAgents: readonly AgentState[];
  readonly expired: readonly LeaseMessage[];
}

/** Time passed: what ends by itself. */
export function onTick(state: ControllerState, nowMs: number): TickReply {
  for (const [id, { untilMs }] of state.proposals) if (untilMs <= nowMs) state.proposals.delete(id);
  const forgottenAgents: AgentState[] = [];
  const expired: LeaseMessage[] = [];
  for (const agent of state.agents.values()) {
    for (const [id, { message, expiresAtMs }] of agent.leases) {
      if (expiresAtMs + expiryGraceMs > nowMs) continue;
      if (agent.streamId !== undefined) {
        agent.synced = false;
        break;
      }
      forget(state, agent, id);
      expired.push(message);
    }
    if (agent.streamId !== undefined) continue;
    if (agent.leases.size === 0 && nowMs - agent.receivedAtMs >= agentForgottenMs) {
      state.agents.delete(agent.node);
      forgottenAgents.push(agent);
    }
  }
  return { forgottenAgents, expired };
}
