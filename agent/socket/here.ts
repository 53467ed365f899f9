/**
 * Which leases this node grants to its own clients without asking a controller. Pure. Placement must not be contradicted:
 * what Slurm's state of the node forbids, the controller says with each answer to a report (open_ms); a request that
 * excludes this node or names another one, one that only a part of could be had here, shared capacity, and regions
 * (whose traffic costs a job beside them, so that placement seeks idle nodes) are the controller's. Only the agent says
 * yes to a lease on its node in any case, so that nothing is given out twice.
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
}

export function servedHere(request: HereRequest, { node, spare, openMs }: HereFacts): boolean {
  if (request.kind !== "function" && request.node !== node) return false;
  if ((request.node !== "" && request.node !== node) || request.excludeNodes.includes(node)) return false;
  if (openMs < request.termMs) return false;
  return spare.some(
    (part) =>
      part.class !== "shared" &&
      part.cores.length >= request.cores &&
      part.memoryBytes >= request.memoryBytes,
  );
}
