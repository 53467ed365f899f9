/**
 * What agents cannot know of their jobs by themselves: account, partition, QOS, owner, and whether a job holds its node for
 * itself, from the one snapshot. Told to an agent when it comes, and when it changed; a node that has no jobs is told so.
 */
import type { JobFactMessage } from "../rpc/messages.ts";
import type { ClusterSnapshot } from "../slurm/snapshot.ts";

/** More jobs than fit on one node. */
const maxJobs = 1024;

/** Facts of the jobs that hold nodes, by node. */
export function factsByNode(snapshot: ClusterSnapshot): ReadonlyMap<string, readonly JobFactMessage[]> {
  const byNode = new Map<string, JobFactMessage[]>();
  for (const job of snapshot.jobs) {
    if (job.state === "pending") continue;
    const fact = {
      jobId: job.id,
      uid: job.uid,
      partition: job.partitions[0] ?? "",
      account: job.account ?? "",
      qos: job.qos ?? "",
      exclusive: job.sharing !== "cores" && job.sharing !== "oversubscribe",
    };
    for (const node of job.nodes) {
      const facts = byNode.get(node) ?? [];
      if (facts.length < maxJobs) facts.push(fact);
      byNode.set(node, facts);
    }
  }
  return byNode;
}

/** What each node was told last. */
export class FactsTold {
  readonly #told = new Map<string, string>();
  #snapshot: ClusterSnapshot | undefined;
  #byNode: ReturnType<typeof factsByNode> = new Map();

  /** Facts that this node has not been told; undefined: none. */
  newsFor(node: string, snapshot: ClusterSnapshot | undefined): readonly JobFactMessage[] | undefined {
    if (snapshot === undefined) return undefined;
    if (snapshot !== this.#snapshot) {
      this.#snapshot = snapshot;
      this.#byNode = factsByNode(snapshot);
    }
    const facts = this.#byNode.get(node) ?? [];
    const text = JSON.stringify(facts);
    if (this.#told.get(node) === text) return undefined;
    this.#told.set(node, text);
    return facts;
  }

  /** Its stream is gone, or what was told may not have arrived. */
  forget(node: string): void {
    this.#told.delete(node);
  }
}
