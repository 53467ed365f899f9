/**
 * Drain, resume and reclaim over many nodes: selected, carried to each agent, so many at once, and every node's answer
 * listed. One that cannot be reached does not keep the others from it. Agents check who asks for themselves.
 */
import { errorCodes, SubletError, toSubletError } from "../common/errors.ts";
import type { NodeClient } from "../rpc/client.ts";
import type { NodeOutcome, PrincipalMessage, Selection } from "../rpc/messages.ts";
import { parseHostList } from "../slurm/hostlist.ts";
import type { ClusterSnapshot } from "../slurm/snapshot.ts";
import type { AgentPool } from "./agents.ts";
import type { ClusterDrain } from "./cluster-drain.ts";
import { leaseIdPattern } from "./report.ts";
import type { ControllerState } from "./state.ts";

export interface AdminOptions {
  readonly state: ControllerState;
  readonly agents: AgentPool;
  readonly snapshot: () => ClusterSnapshot | undefined;
}

/** Who is asked for what: nodes with the leases that are meant; none = the whole node. */
export interface Target {
  readonly node: string;
  readonly leaseIds: readonly string[];
}

export type AdminClient = Pick<NodeClient, "drain" | "resume" | "reclaim">;

/** A thousand nodes that each wait 2 s for guests to be gone are empty within some seconds. */
const maxAtOnce = 512;
/** An agent waits 2 s for guests to be gone. */
const nodeTimeoutMs = 5_000;
const maxLeaseIds = 4096;

/** An outcome of a node that said nothing. */
function failed(node: string, error: SubletError): NodeOutcome {
  return {
    node,
    code: errorCodes[error.code],
    message: error.message,
    leasesEnded: 0,
    leasesLeft: 0,
    drainingLeaseIds: [],
    lending: "LENDING_UNSPECIFIED",
  };
}

function partitionNodes(snapshot: ClusterSnapshot | undefined, partitions: readonly string[]): string[] {
  if (snapshot === undefined)
    throw new SubletError("UNAVAILABLE", "Slurm has not answered yet: its partitions are not known");
  const nodes = [...snapshot.nodes.values()];
  const known = new Set(nodes.flatMap((node) => node.partitions));
  const strange = partitions.filter((name) => !known.has(name));
  if (strange.length > 0)
    throw new SubletError(
      "INVALID_ARGUMENT",
      `no partition ${strange.join(", ").slice(0, 200)}; Slurm has ${[...known].sort().join(", ").slice(0, 500)}`,
    );
  return nodes
    .filter((node) => node.partitions.some((name) => partitions.includes(name)))
    .map(({ name }) => name);
}

/** Nodes by name, once each, and what is known to fail already. @throws SubletError INVALID_ARGUMENT, UNAVAILABLE. */
export function selectTargets(
  { state, snapshot }: AdminOptions,
  selection: Selection | null,
  mayNameLeases: boolean,
): { targets: Target[]; failures: NodeOutcome[] } {
  const bad = (why: string): SubletError => new SubletError("INVALID_ARGUMENT", why);
  const { nodes, partitions, all, leaseIds } = selection ?? {
    nodes: [],
    partitions: [],
    all: false,
    leaseIds: [],
  };
  const byNode = nodes.length + partitions.length > 0 || all;
  if (leaseIds.length === 0 && !byNode) throw bad("nothing is selected: name nodes, a partition, or all");
  if (leaseIds.length > 0 && (!mayNameLeases || byNode))
    throw bad("leases are named for reclaim only, and then nothing else");
  if (leaseIds.length > maxLeaseIds) throw bad(`more than ${maxLeaseIds} leases are named`);
  const failures: NodeOutcome[] = [];
  if (leaseIds.length > 0) {
    const leases = new Map<string, string[]>();
    for (const id of new Set(leaseIds)) {
      if (!leaseIdPattern.test(id)) throw bad("lease_id is not one");
      const node = state.leaseNodes.get(id);
      if (node === undefined)
        failures.push(
          failed("", new SubletError("NOT_FOUND", `lease ${id} is not known (it may have ended)`)),
        );
      else leases.set(node, [...(leases.get(node) ?? []), id]);
    }
    return { targets: [...leases].map(([node, ids]) => ({ node, leaseIds: ids })), failures };
  }
  const names = new Set(nodes.flatMap(parseHostList));
  // A word that is mistyped is no node that is away. As long as Slurm has not answered nobody can tell.
  const slurm = snapshot();
  if (slurm !== undefined)
    for (const node of names)
      if (!slurm.nodes.has(node) && !state.agents.has(node)) {
        names.delete(node);
        failures.push(failed(node, new SubletError("NOT_FOUND", "neither Slurm nor an agent names it")));
      }
  if (partitions.length > 0) for (const name of partitionNodes(snapshot(), partitions)) names.add(name);
  if (all) for (const name of state.agents.keys()) names.add(name);
  const order = new Intl.Collator("en", { numeric: true });
  const targets = [...names].sort(order.compare).map((node) => ({ node, leaseIds: [] }));
  return { targets, failures };
}

/** Asks every target, `maxAtOnce` at a time, within the caller's time. Answers come in the order of the targets. */
export async function askNodes(
  { state, agents }: AdminOptions,
  targets: readonly Target[],
  timeoutMs: number,
  ask: (client: AdminClient, target: Target, leftMs: number) => Promise<{ outcome: NodeOutcome | null }>,
): Promise<NodeOutcome[]> {
  const endMs = performance.now() + timeoutMs;
  const outcomes: NodeOutcome[] = [];

  async function askOne(target: Target): Promise<NodeOutcome> {
    const { node } = target;
    try {
      const agent = state.agents.get(node);
      if (agent?.streamId === undefined)
        throw new SubletError("UNAVAILABLE", `no agent reports from ${node}`);
      const leftMs = Math.min(nodeTimeoutMs, endMs - performance.now());
      if (leftMs < 1) throw new SubletError("DEADLINE_EXCEEDED", "the time was over before its turn");
      const { outcome } = await agents.call(agent.offer.address, leftMs, (client, ms) =>
        ask(client, target, ms),
      );
      if (outcome === null)
        throw new SubletError("INTERNAL", `the agent of ${node} answered without an outcome`);
      return { ...outcome, node };
    } catch (thrown) {
      return failed(node, toSubletError(thrown));
    }
  }

  let next = 0;
  async function worker(): Promise<void> {
    for (let index = next++; index < targets.length; index = next++) {
      const target = targets[index];
      if (target !== undefined) outcomes[index] = await askOne(target);
    }
  }
  await Promise.all(Array.from({ length: Math.min(maxAtOnce, targets.length) }, worker));
  return outcomes;
}

/** What is to be said when a cluster's drain could not be written down. */
export function notKept(why: string): NodeOutcome {
  const text = `in force, but a restart of the controller forgets it: ${why}`;
  return failed("", new SubletError("INTERNAL", text));
}

/** Nodes that did not answer in time are told again, those that are away when they come. */
export function oweDrain(drain: ClusterDrain | undefined, outcomes: readonly NodeOutcome[]): void {
  const silent: readonly number[] = [errorCodes.UNAVAILABLE, errorCodes.DEADLINE_EXCEEDED];
  for (const { node, code } of outcomes) if (silent.includes(code)) drain?.onJoined(node);
}

/** Tells nodes that came while the cluster's drain stands; those that did not hear are owed still. */
export async function tellDrain(options: AdminOptions, drain: ClusterDrain, nowMs: number): Promise<void> {
  const standing = drain.standing();
  if (standing === undefined) return;
  const { uid, gid, mode, budgetMs, reason } = standing;
  const targets = drain.owed(maxAtOnce, nowMs).map((node) => ({ node, leaseIds: [] }));
  if (targets.length === 0) return;
  const caller = { uid, gid, jobId: 0, node: "" };
  const outcomes = await askNodes(options, targets, nodeTimeoutMs, (client, _, timeoutMs) =>
    client.drain({ mode, budgetMs, reason, caller }, { timeoutMs }),
  );
  for (const { node, code } of outcomes) if (code === 0) drain.done(node);
}

/** @throws SubletError PERMISSION_DENIED. */
export function mustBeAdmin({ uid, gid }: PrincipalMessage, adminGid: number | undefined): void {
  if (uid === 0 || (adminGid !== undefined && gid === adminGid)) return;
  throw new SubletError("PERMISSION_DENIED", `uid ${uid} may not: only root and the admin group may`);
}
