/**
 * What Slurm says about the whole cluster at one moment. Pure: the texts of both commands in, a snapshot out.
 * Times of Slurm (wall clock) are turned into the poller's monotonic clock here and nowhere else.
 */
import { SubletError } from "../common/errors.ts";
import { parseJobs, type SlurmJob } from "./jobs.ts";
import { parseNodes, type SlurmNode } from "./nodes.ts";

/** A node with what its jobs mean for it. */
export interface SnapshotNode extends SlurmNode {
  /** Jobs that hold the node now. */
  readonly jobs: number;
  /** A job holds the node for itself, its user or its group: nothing may be lent beside it. */
  readonly exclusive: boolean;
  /** When Slurm plans to start a pending job here, on the poller's clock; the earliest one. */
  readonly plannedStartMs: number | undefined;
}

export interface ClusterSnapshot {
  /** On the poller's monotonic clock, before the first command was run: the snapshot is at least this old. */
  readonly takenAtMs: number;
  readonly nodes: ReadonlyMap<string, SnapshotNode>;
  readonly jobs: readonly SlurmJob[];
}

export interface SlurmTexts {
  readonly nodes: string;
  readonly jobs: string;
}

/** @throws SubletError INTERNAL when a text is cut or not what the pinned command prints. */
export function makeSnapshot(texts: SlurmTexts, takenAtMs: number, takenAtUnixMs: number): ClusterSnapshot {
  const slurmNodes = parseNodes(texts.nodes);
  if (slurmNodes.length === 0)
    throw new SubletError("INTERNAL", "scontrol show nodes names no node: is this the right slurm.conf?");
  const jobs = readJobs(texts.jobs);
  const holders = new Map<string, { jobs: number; exclusive: boolean }>();
  const planned = new Map<string, number>();
  for (const job of jobs) {
    const alone = job.sharing !== "cores" && job.sharing !== "oversubscribe";
    for (const name of job.nodes) {
      const held = holders.get(name);
      holders.set(name, { jobs: (held?.jobs ?? 0) + 1, exclusive: alone || (held?.exclusive ?? false) });
    }
    if (job.startUnixMs === undefined) continue;
    const startMs = takenAtMs + (job.startUnixMs - takenAtUnixMs);
    for (const name of job.plannedNodes)
      planned.set(name, Math.min(startMs, planned.get(name) ?? Number.POSITIVE_INFINITY));
  }
  const nodes = new Map<string, SnapshotNode>();
  for (const node of slurmNodes)
    nodes.set(node.name, {
      ...node,
      jobs: holders.get(node.name)?.jobs ?? 0,
      exclusive: holders.get(node.name)?.exclusive ?? false,
      plannedStartMs: planned.get(node.name),
    });
  return { takenAtMs, nodes, jobs };
}

/** A host list that cannot be read is Slurm's doing, not a caller's: INTERNAL like all else here. */
function readJobs(text: string): SlurmJob[] {
  try {
    return parseJobs(text);
  } catch (thrown) {
    if (thrown instanceof SubletError && thrown.code === "INTERNAL") throw thrown;
    throw new SubletError("INTERNAL", `squeue: ${(thrown as Error).message}`, { cause: thrown });
  }
}
