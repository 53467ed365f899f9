/** Sums over nodes: whose the cluster's cores and bytes are now. Pure. */
import type { Shares } from "./api.ts";
import type { Amounts, NodeFacts } from "./source.ts";

/**
 * The parts of one node's resource. They add up to its total, whatever Slurm and the agent say: they look at different
 * moments, so together they may claim more than there is; then what is only offered gives way first.
 */
export function sharesOf(amounts: Amounts): Shares {
  const { total } = amounts;
  const lent = Math.min(total, amounts.lent);
  const used = Math.min(total - lent, amounts.used, amounts.allocated);
  const held = Math.max(0, amounts.allocated - used - amounts.lentShared - amounts.spareShared);
  const heldUnused = Math.min(total - lent - used, held);
  const spare = Math.min(total - lent - used - heldUnused, amounts.spare);
  return { total, used, heldUnused, lent, spare, closed: total - lent - used - heldUnused - spare };
}

export const shareNames = ["total", "used", "heldUnused", "lent", "spare", "closed"] as const;

export function addShares(sum: Shares, more: Shares): void {
  for (const name of shareNames) sum[name] += more[name];
}

export const noShares = (): Shares => ({ total: 0, used: 0, heldUnused: 0, lent: 0, spare: 0, closed: 0 });

/** What the history keeps of one moment; cores, or bytes. */
export interface Gauges extends Shares {
  allocated: number;
  lentShared: number;
  /** Allocated to nobody on nodes that Slurm may use, lent or not. */
  unallocated: number;
}

export const gaugeNames = [...shareNames, "allocated", "lentShared", "unallocated"] as const;

export function gaugesOf(nodes: readonly NodeFacts[], of: (node: NodeFacts) => Amounts): Gauges {
  const sum = { ...noShares(), allocated: 0, lentShared: 0, unallocated: 0 };
  for (const node of nodes) {
    const amounts = of(node);
    addShares(sum, sharesOf(amounts));
    sum.allocated += amounts.allocated;
    sum.lentShared += Math.min(amounts.lent, amounts.lentShared);
    if (node.usable) sum.unallocated += Math.max(0, amounts.total - amounts.allocated);
  }
  return sum;
}
