/**
 * Many nodes as columns: what ListNodes tells, but for the numbers of cores, of which only the count is left. Ten thousand
 * nodes are a third of the bytes and a tenth of the time to read.
 */
import type { NodeColumnsMessage, NodeStatusMessage, OfferMessage, SpareMessage } from "./messages.ts";

const classes = ["CAPACITY_CLASS_IDLE", "CAPACITY_CLASS_UNALLOCATED", "CAPACITY_CLASS_SHARED"] as const;
const lendings = [
  "LENDING_UNSPECIFIED",
  "LENDING_ON",
  "LENDING_SHADOW",
  "LENDING_HOLD_OUT",
  "LENDING_DRAINED",
] as const;
/** In place of a lending mode: no agent reports. */
const noAgent = 255;

/** Words that come again and again, by number. */
class Words {
  readonly list: string[] = [];
  readonly #known = new Map<string, number>();

  of(word: string): number {
    let index = this.#known.get(word);
    if (index === undefined) {
      index = this.list.push(word) - 1;
      this.#known.set(word, index);
    }
    return index;
  }
}

export function nodesToColumns(nodes: readonly NodeStatusMessage[]): NodeColumnsMessage {
  const states = new Words();
  const partitions = new Words();
  // A mode that shows what it would lend has that in place of what it lends.
  const spareOf = ({ offer }: NodeStatusMessage): readonly SpareMessage[] =>
    offer === null ? [] : offer.spare.length > 0 ? offer.spare : offer.shadowSpare;
  const columns: NodeColumnsMessage = {
    nodes: [],
    slurmState: [],
    states: states.list,
    partitions: [],
    partitionLists: partitions.list,
    slurmCores: [],
    slurmAllocCores: [],
    slurmMemoryBytes: [],
    slurmAllocMemoryBytes: [],
    lending: [],
    offerAgeMs: [],
    horizonMs: [],
    idleCores: [],
    unallocatedCores: [],
    sharedCores: [],
    spareMemoryBytes: [],
    leases: [],
    leasedCores: [],
    leasedMemoryBytes: [],
  };
  for (const node of nodes) {
    const { offer } = node;
    const cores = { CAPACITY_CLASS_IDLE: 0, CAPACITY_CLASS_UNALLOCATED: 0, CAPACITY_CLASS_SHARED: 0 };
    let spareBytes = 0;
    for (const spare of spareOf(node)) {
      if (spare.class !== "CAPACITY_CLASS_UNSPECIFIED") cores[spare.class] += spare.cores.length;
      spareBytes += spare.memoryBytes;
    }
    columns.nodes.push(node.node);
    columns.slurmState.push(states.of(node.slurmState));
    // One word for all partitions of a node: most nodes share theirs.
    columns.partitions.push(partitions.of(node.partitions.join(",")));
    columns.slurmCores.push(node.slurmCores);
    columns.slurmAllocCores.push(node.slurmAllocCores);
    columns.slurmMemoryBytes.push(node.slurmMemoryBytes);
    columns.slurmAllocMemoryBytes.push(node.slurmAllocMemoryBytes);
    columns.lending.push(offer === null ? noAgent : Math.max(0, lendings.indexOf(offer.lending)));
    columns.offerAgeMs.push(node.offerAgeMs);
    columns.horizonMs.push(offer?.horizonMs ?? 0);
    columns.idleCores.push(cores.CAPACITY_CLASS_IDLE);
    columns.unallocatedCores.push(cores.CAPACITY_CLASS_UNALLOCATED);
    columns.sharedCores.push(cores.CAPACITY_CLASS_SHARED);
    columns.spareMemoryBytes.push(spareBytes);
    columns.leases.push(node.leases);
    columns.leasedCores.push(node.leasedCores);
    columns.leasedMemoryBytes.push(node.leasedMemoryBytes);
  }
  return columns;
}

/** The rows again. Core numbers are holes: only their count is known. Of a node's memory the first class has all. */
export function nodesFromColumns(columns: NodeColumnsMessage): NodeStatusMessage[] {
  const partitions = columns.partitionLists.map((list) => (list === "" ? [] : list.split(",")));
  const at = (column: readonly number[], index: number): number => column[index] ?? 0;
  return columns.nodes.map((node, i) => ({
    node,
    slurmState: columns.states[at(columns.slurmState, i)] ?? "",
    slurmCores: at(columns.slurmCores, i),
    slurmAllocCores: at(columns.slurmAllocCores, i),
    slurmMemoryBytes: at(columns.slurmMemoryBytes, i),
    slurmAllocMemoryBytes: at(columns.slurmAllocMemoryBytes, i),
    offer: at(columns.lending, i) === noAgent ? null : offerOf(columns, i),
    offerAgeMs: at(columns.offerAgeMs, i),
    leases: at(columns.leases, i),
    leasedCores: at(columns.leasedCores, i),
    leasedMemoryBytes: at(columns.leasedMemoryBytes, i),
    partitions: [...(partitions[at(columns.partitions, i)] ?? [])],
  }));
}

/** One list per length, for all: nobody writes to them. */
const lists = new Map<number, number[]>();

function holes(count: number): number[] {
  const known = lists.get(count) ?? new Array<number>(count);
  lists.set(count, known);
  return known;
}

function offerOf(columns: NodeColumnsMessage, i: number): OfferMessage {
  const lending = lendings[columns.lending[i] ?? 0] ?? "LENDING_UNSPECIFIED";
  const counts = [columns.idleCores[i], columns.unallocatedCores[i], columns.sharedCores[i]];
  let memoryBytes = columns.spareMemoryBytes[i] ?? 0;
  const spare: SpareMessage[] = [];
  for (const [index, name] of classes.entries()) {
    const count = counts[index] ?? 0;
    const last = index === classes.length - 1 && spare.length === 0;
    if (count === 0 && !(last && memoryBytes > 0)) continue;
    spare.push({ class: name, cores: holes(count), memoryBytes });
    memoryBytes = 0;
  }
  const shadow = lending === "LENDING_SHADOW" || lending === "LENDING_HOLD_OUT";
  return {
    node: columns.nodes[i] ?? "",
    revision: 0,
    epochUnixMs: 0,
    address: "",
    spare: shadow ? [] : spare,
    horizonMs: columns.horizonMs[i] ?? 0,
    coresTotal: 0,
    memoryBytesTotal: 0,
    coresUsedByJobs: 0,
    memoryBytesUsedByJobs: 0,
    lending,
    shadowSpare: shadow ? spare : [],
    spell: null,
  };
}
