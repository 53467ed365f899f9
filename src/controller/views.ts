/** What the state and the Slurm snapshot look like to others: placement, ListNodes, Prometheus. Pure. */
import type { PlacementOffer } from "../placement/place.ts";
import type { LeaseMessage, NodeStatusMessage } from "../rpc/messages.ts";
import type { ClusterSnapshot } from "../slurm/snapshot.ts";
import type { AgentState, ControllerState } from "./state.ts";

export function* placementOffers(state: ControllerState): Generator<PlacementOffer> {
  for (const agent of state.agents.values())
    yield {
      node: agent.node,
      receivedAtMs: agent.receivedAtMs,
      connected: agent.streamId !== undefined,
      spare: agent.spare,
      horizonMs: agent.offer.horizonMs,
    };
}

/** A lease with the time left as of now. */
function current(message: LeaseMessage, expiresAtMs: number, nowMs: number): LeaseMessage {
  return { ...message, remainingMs: Math.max(0, Math.round(expiresAtMs - nowMs)) };
}

/** Leases of one owner, or of all. */
export function listLeases(state: ControllerState, uid: number | "all", nowMs: number): LeaseMessage[] {
  const found: LeaseMessage[] = [];
  for (const agent of state.agents.values())
    for (const { message, expiresAtMs } of agent.leases.values())
      if (uid === "all" || message.owner?.uid === uid) found.push(current(message, expiresAtMs, nowMs));
  return found.sort((a, b) => (a.node < b.node ? -1 : a.node > b.node ? 1 : a.id < b.id ? -1 : 1));
}

/** All nodes that Slurm or an agent names, by name. */
export function listNodes(
  state: ControllerState,
  snapshot: ClusterSnapshot | undefined,
  nowMs: number,
): NodeStatusMessage[] {
  const names = new Set([...(snapshot?.nodes.keys() ?? []), ...state.agents.keys()]);
  const order = new Intl.Collator("en", { numeric: true });
  return [...names].sort(order.compare).map((name) => {
    const slurm = snapshot?.nodes.get(name);
    const agent = state.agents.get(name);
    const live = agent === undefined ? [] : [...agent.leases.values()].map(({ message }) => message);
    return {
      node: name,
      slurmState: slurm?.state ?? "",
      slurmCores: slurm?.cores ?? 0,
      slurmAllocCores: slurm?.allocatedCores ?? 0,
      slurmMemoryBytes: slurm?.memoryBytes ?? 0,
      slurmAllocMemoryBytes: slurm?.allocatedMemoryBytes ?? 0,
      offer: connectedOffer(agent),
      offerAgeMs: agent === undefined ? 0 : Math.max(0, Math.round(nowMs - agent.receivedAtMs)),
      leases: live.length,
      leasedCores: live.reduce((sum, { cores }) => sum + cores.length, 0),
      leasedMemoryBytes: live.reduce((sum, { memoryBytes }) => sum + memoryBytes, 0),
      partitions: [...(slurm?.partitions ?? [])],
    };
  });
}

function connectedOffer(agent: AgentState | undefined): NodeStatusMessage["offer"] {
  return agent?.streamId === undefined ? null : agent.offer;
}

export interface Share {
  readonly cores: number;
  readonly memoryBytes: number;
}

/** The cluster by what holds it. `total` and `jobs` are Slurm's figures, undefined before its first answer. */
export interface ClusterFigures {
  readonly total: Share | undefined;
  readonly jobs: Share | undefined;
  /** Offered by connected agents. */
  readonly spare: Share;
  readonly leased: Share;
  readonly agents: number;
  readonly leases: number;
  /** Connected agents by whether they lend: on, shadow, hold_out, drained. */
  readonly lending: ReadonlyMap<string, number>;
}

export function clusterFigures(
  state: ControllerState,
  snapshot: ClusterSnapshot | undefined,
): ClusterFigures {
  const sum = { cores: 0, memoryBytes: 0 };
  const spare = { ...sum };
  const leased = { ...sum };
  let agents = 0;
  const lending = new Map(["on", "shadow", "hold_out", "drained"].map((mode) => [mode, 0]));
  let leases = 0;
  for (const agent of state.agents.values()) {
    leases += agent.leases.size;
    for (const { message } of agent.leases.values()) {
      leased.cores += message.cores.length;
      leased.memoryBytes += message.memoryBytes;
    }
    if (agent.streamId === undefined) continue;
    agents++;
    const mode = agent.offer.lending.slice("LENDING_".length).toLowerCase();
    if (lending.has(mode)) lending.set(mode, (lending.get(mode) ?? 0) + 1);
    for (const { cores, memoryBytes } of agent.spare) {
      spare.cores += cores.length;
      spare.memoryBytes += memoryBytes;
    }
  }
  if (snapshot === undefined)
    return { total: undefined, jobs: undefined, spare, leased, agents, leases, lending };
  const total = { ...sum };
  const jobs = { ...sum };
  for (const node of snapshot.nodes.values()) {
    total.cores += node.cores;
    total.memoryBytes += node.memoryBytes;
    jobs.cores += node.allocatedCores;
    jobs.memoryBytes += node.allocatedMemoryBytes;
  }
  return { total, jobs, spare, leased, agents, leases, lending };
}
