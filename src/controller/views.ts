/** What the state and the Slurm snapshot look like to others: placement, ListNodes, Prometheus. Pure. */
import type { PlacementOffer } from "../placement/place.ts";
import type { LeaseMessage, NodeStatusMessage } from "../rpc/messages.ts";
import type { ClusterSnapshot } from "../slurm/snapshot.ts";
import { NaturalOrder } from "./order.ts";
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

/** All nodes that Slurm or an agent names, by name. order: of the list before. */
export function listNodes(
  state: ControllerState,
  snapshot: ClusterSnapshot | undefined,
  nowMs: number,
  order = new NaturalOrder(),
): NodeStatusMessage[] {
  const names = new Set([...(snapshot?.nodes.keys() ?? []), ...state.agents.keys()]);
  return order.of([...names]).map((name) => {
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

type Holder = "total" | "jobs" | "spare" | "leased";
export type Holdings = Readonly<Record<Holder, Share>>;

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
  /** By the label of a node's partitions. */
  readonly partitions: ReadonlyMap<string, Holdings>;
}

/** labelOf: of the partitions of a node. */
export function clusterFigures(
  state: ControllerState,
  snapshot: ClusterSnapshot | undefined,
  labelOf: (node: string) => string,
): ClusterFigures {
  type Sum = { cores: number; memoryBytes: number };
  const none = (): Record<Holder, Sum> => ({
    total: { cores: 0, memoryBytes: 0 },
    jobs: { cores: 0, memoryBytes: 0 },
    spare: { cores: 0, memoryBytes: 0 },
    leased: { cores: 0, memoryBytes: 0 },
  });
  const all = none();
  const partitions = new Map<string, Record<Holder, Sum>>();
  const partOf = (node: string): Record<Holder, Sum> => {
    const label = labelOf(node);
    const part = partitions.get(label) ?? none();
    partitions.set(label, part);
    return part;
  };
  const add = (part: Record<Holder, Sum>, holder: Holder, cores: number, memoryBytes: number): void => {
    for (const sum of [all[holder], part[holder]]) {
      sum.cores += cores;
      sum.memoryBytes += memoryBytes;
    }
  };
  let agents = 0;
  const lending = new Map(["on", "shadow", "hold_out", "drained"].map((mode) => [mode, 0]));
  let leases = 0;
  for (const agent of state.agents.values()) {
    leases += agent.leases.size;
    const part = partOf(agent.node);
    for (const { message } of agent.leases.values())
      add(part, "leased", message.cores.length, message.memoryBytes);
    if (agent.streamId === undefined) continue;
    agents++;
    const mode = agent.offer.lending.slice("LENDING_".length).toLowerCase();
    if (lending.has(mode)) lending.set(mode, (lending.get(mode) ?? 0) + 1);
    for (const { cores, memoryBytes } of agent.spare) add(part, "spare", cores.length, memoryBytes);
  }
  for (const node of snapshot?.nodes.values() ?? []) {
    const part = partOf(node.name);
    add(part, "total", node.cores, node.memoryBytes);
    add(part, "jobs", node.allocatedCores, node.allocatedMemoryBytes);
  }
  const { spare, leased } = all;
  const known = snapshot === undefined ? undefined : all;
  return { total: known?.total, jobs: known?.jobs, spare, leased, agents, leases, lending, partitions };
}
