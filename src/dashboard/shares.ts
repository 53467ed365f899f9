/** What becomes of a node's cores or memory, made to add up: figures of Slurm and of agents are of different moments. Pure. */
import type { Shares } from "./api.ts";
import type { NodeFacts, Told } from "./source.ts";

/** Slurm would start a job here. */
const usable: ReadonlySet<string> = new Set(["idle", "mixed", "allocated", "planned"]);

/** One kind of resource, of a node or of many, at one moment. */
export interface Amounts extends Shares {
  allocated: number;
  /** Part of `lent` out of what jobs hold. */
  beyond: number;
  /** Not allocated, and Slurm could have: the holes. */
  holes: number;
}

export const amountNames = [
  "total",
  "used",
  "heldUnused",
  "lent",
  "spare",
  "closed",
  "allocated",
  "beyond",
  "holes",
] as const satisfies readonly (keyof Amounts)[];

export function noAmounts(): Amounts {
  return {
    total: 0,
    used: 0,
    heldUnused: 0,
    lent: 0,
    spare: 0,
    closed: 0,
    allocated: 0,
    beyond: 0,
    holes: 0,
  };
}

/**
 * Adds one node. What Slurm allocated is taken first, then what is lent, then what is offered, each only as far as there
 * is room: so the parts of every node are its total, and those of a sum are the sum's.
 */
export function addAmounts(sum: Amounts, told: Told, slurmState: string): void {
  const total = Math.max(0, told.total);
  const allocated = Math.min(Math.max(0, told.allocated), total);
  const used = Math.min(told.used ?? allocated, allocated);
  const unused = allocated - used;
  const free = total - allocated;
  const beyond = Math.min(told.lentShared, unused);
  const spareHeld = Math.min(told.spareShared, unused - beyond);
  const inHoles = Math.min(told.lent - told.lentShared, free);
  const spareFree = Math.min(told.spare - told.spareShared, free - inHoles);
  sum.total += total;
  sum.used += used;
  sum.heldUnused += unused - beyond - spareHeld;
  sum.lent += beyond + inHoles;
  sum.spare += spareHeld + spareFree;
  sum.closed += free - inHoles - spareFree;
  sum.allocated += allocated;
  sum.beyond += beyond;
  sum.holes += usable.has(slurmState) ? free : inHoles;
}

export interface Sums {
  readonly cores: Amounts;
  readonly memoryBytes: Amounts;
  readonly nodes: {
    total: number;
    reporting: number;
    lending: number;
    drained: number;
    shadow: number;
    holdOut: number;
  };
}

export function noSums(): Sums {
  const nodes = { total: 0, reporting: 0, lending: 0, drained: 0, shadow: 0, holdOut: 0 };
  return { cores: noAmounts(), memoryBytes: noAmounts(), nodes };
}

export function addNode(sums: Sums, node: NodeFacts): void {
  addAmounts(sums.cores, node.cores, node.slurmState);
  addAmounts(sums.memoryBytes, node.memoryBytes, node.slurmState);
  const { nodes } = sums;
  nodes.total++;
  if (node.lending === "none") return;
  nodes.reporting++;
  if (node.lending === "on") nodes.lending++;
  else if (node.lending === "drained") nodes.drained++;
  else if (node.lending === "shadow") nodes.shadow++;
  else nodes.holdOut++;
}

export function sharesOf(amounts: Amounts): Shares {
  const { total, used, heldUnused, lent, spare, closed } = amounts;
  return { total, used, heldUnused, lent, spare, closed };
}
