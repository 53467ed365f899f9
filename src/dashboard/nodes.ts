/** The table of all nodes by columns, and what changed in it since the last look. */
import type { NodeChanges, NodeTable } from "./api.ts";
import type { NodeFacts, NodeLending } from "./source.ts";

const lendings: readonly NodeLending[] = ["none", "on", "shadow", "hold-out", "drained"];
const mib = 1024 * 1024;
/** More than this are told as a whole table. */
const maxRows = 3000;

export class NodeBoard {
  table: NodeTable = emptyTable();
  readonly #states = new Map<string, number>();
  readonly #partitions = new Map<string, number>();

  /** Takes the facts, sorted as `names` are to be; what changed, or nothing. */
  update(nodes: readonly NodeFacts[], atMs: number): NodeChanges | undefined {
    const table = this.table;
    const same = table.names.length === nodes.length && nodes.every(({ name }, i) => table.names[i] === name);
    if (!same) {
      const revision = table.revision + 1;
      this.table = { ...emptyTable(), revision, atMs, names: nodes.map(({ name }) => name) };
      this.#states.clear();
      this.#partitions.clear();
      for (const [index, node] of nodes.entries()) this.#put(index, node);
      return { atMs, fromRevision: revision - 1, revision, table: this.table };
    }
    const words = table.slurmStates.length + table.partitionNames.length;
    const changed: number[] = [];
    for (const [index, node] of nodes.entries()) if (this.#put(index, node)) changed.push(index);
    table.atMs = atMs;
    if (changed.length === 0) return undefined;
    const fromRevision = table.revision++;
    const { revision } = table;
    // A word that is new, or partitions that moved, are in the whole table only.
    if (changed.length > maxRows || table.slurmStates.length + table.partitionNames.length !== words)
      return { atMs, fromRevision, revision, table };
    return { atMs, fromRevision, revision, rows: changed.map((index) => this.#row(index)) };
  }

  #row(index: number): NonNullable<NodeChanges["rows"]>[number] {
    const { table } = this;
    return {
      index,
      slurmState: table.slurmStates[table.slurmState[index] ?? 0] ?? "",
      lending: table.lendings[table.lending[index] ?? 0] ?? "none",
      values: columnsOf(table).map((column) => column[index] ?? 0),
    };
  }

  /** Whether it differs from what was there. */
  #put(index: number, node: NodeFacts): boolean {
    const { table } = this;
    const { cores, memoryBytes } = node;
    const values = [
      cores.total,
      cores.allocated,
      cores.lent,
      cores.spare,
      Math.round(memoryBytes.total / mib),
      Math.round(memoryBytes.allocated / mib),
      Math.round(memoryBytes.lent / mib),
      Math.round(memoryBytes.spare / mib),
      node.leases,
    ];
    let differs = false;
    const set = (column: number[], value: number): void => {
      if (column[index] === value) return;
      column[index] = value;
      differs = true;
    };
    for (const [i, column] of columnsOf(table).entries()) set(column, values[i] ?? 0);
    set(table.slurmState, wordIndex(this.#states, table.slurmStates, node.slurmState.toUpperCase()));
    set(table.lending, lendings.indexOf(node.lending));
    const old = table.partitions[index];
    if (
      old?.length !== node.partitions.length ||
      old.some((at, i) => table.partitionNames[at] !== node.partitions[i])
    ) {
      table.partitions[index] = node.partitions.map((name) =>
        wordIndex(this.#partitions, table.partitionNames, name),
      );
      differs = true;
    }
    return differs;
  }
}

function wordIndex(known: Map<string, number>, words: string[], word: string): number {
  let index = known.get(word);
  if (index === undefined) {
    index = words.push(word) - 1;
    known.set(word, index);
  }
  return index;
}

/** In the order of nodeValues in api.ts. */
function columnsOf(table: NodeTable): number[][] {
  return [
    table.cores,
    table.coresAllocated,
    table.coresLent,
    table.coresSpare,
    table.memoryMib,
    table.memoryAllocatedMib,
    table.memoryLentMib,
    table.memorySpareMib,
    table.leases,
  ];
}

function emptyTable(): NodeTable {
  return {
    atMs: 0,
    revision: 0,
    names: [],
    slurmState: [],
    slurmStates: [],
    lending: [],
    lendings: [...lendings],
    partitions: [],
    partitionNames: [],
    cores: [],
    coresAllocated: [],
    coresLent: [],
    coresSpare: [],
    memoryMib: [],
    memoryAllocatedMib: [],
    memoryLentMib: [],
    memorySpareMib: [],
    leases: [],
  };
}
