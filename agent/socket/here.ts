/**
 * Which leases this node grants to its own clients without asking a controller. Pure. Placement must not be contradicted:
 * what Slurm's state of the node forbids, the controller says with each answer to a report (open_ms). The controller's are
 * requests that exclude this node or name another one; those that could be had here only in part, or for less than their
 * term as far as one can tell; shared capacity; and regions (whose traffic costs a job beside them, so that placement seeks
 * idle nodes). Only the agent says yes to a lease on its node in any case, so that nothing is given out twice.
 */
import type { LeaseRequest, Spare } from "../../src/common/nouns.ts";

export interface HereRequest extends LeaseRequest {
  /** Only this node; empty: any. */
  readonly node: string;
  readonly excludeNodes: readonly string[];
}

export interface HereFacts {
  readonly node: string;
  readonly spare: readonly Spare[];
  /** For how long from now no controller sees anything against lending here. */
  readonly openMs: number;
  /** For how long the spare capacity is likely to last; 0: unknown. */
  readonly horizonMs: number;
}

export function servedHere(request: HereRequest, { node, spare, openMs, horizonMs }: HereFacts): boolean {
  if (request.kind !== "function" && request.node !== node) return false;
  if ((request.node !== "" && request.node !== node) || request.excludeNodes.includes(node)) return false;
  if (openMs < request.termMs || (horizonMs !== 0 && horizonMs < request.termMs)) return false;
  return spare.some(
    (part) =>
      part.class !== "shared" &&
      part.cores.length >= request.cores &&
      part.memoryBytes >= request.memoryBytes,
  );
}
