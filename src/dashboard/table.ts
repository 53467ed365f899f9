/**
 * The node table that all viewers share, by columns, and what changed in it. Rows are compared in place: a tick in which
 * nothing changed makes nothing. A revision is never used twice, by a later controller either: they begin at the clock.
 */
import { type NodeChanges, type NodeTable, nodeValues } from "./api.ts";
import type { DashboardSource, NodeFacts } from "./source.ts";

const mib = 1024 * 1024;
const lendings: NodeTable["lendings"] = ["none", "on", "shadow", "hold-out", "drained"];
/** Changes that a viewer who comes back can be told; older ones cost him the table. */
const keptChanges = 60;

function emptyTable(nowMs: number, revision: number): NodeTable {
  return {
    atMs: nowMs,
    revision,
    names: [],
    slurmState: [],
    slurmStates: [],
    lending: [],
    lendings,
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

function indexIn<T>(list: T[], word: T): number {
  const found = list.indexOf(word);
  return found >= 0 ? found : list.push(word) - 1;
}

function valuesOf({ cores, memoryBytes, leases }: NodeFacts): number[] {
  return [
    cores.total,
    cores.allocated,
    cores.lent,
    cores.spare,
    Math.round(memoryBytes.total / mib),
    Math.round(memoryBytes.allocated / mib),
    Math.round(memoryBytes.lent / mib),
    Math.round(memoryBytes.spare / mib),
    leases,
  ];
}

export class LiveTable {
  #table: NodeTable;
  #index = new Map<string, number>();
  /** Rows that changed, by the revision that they led to. */
  #changes: { readonly revision: number; readonly rows: ReadonlySet<number> }[] = [];

  constructor(nowMs: number) {
    this.#table = emptyTable(nowMs, nowMs);
  }

  get table(): NodeTable {
    return this.#table;
  }

  /** Looks at all nodes, `also` sees each, too. True when the table has a new revision. */
  update(source: Pick<DashboardSource, "eachNode">, nowMs: number, also: (node: NodeFacts) => void): boolean {
    let strange = false;
    let seen = 0;
    const rows = new Set<number>();
    source.eachNode((node) => {
      also(node);
      seen++;
      const index = this.#index.get(node.name);
      if (index === undefined) strange = true;
      else if (!strange && this.#set(index, node)) rows.add(index);
    });
    if (strange || seen !== this.#table.names.length) {
      this.#rebuild(source, nowMs);
      return true;
    }
    this.#table.atMs = nowMs;
    if (rows.size === 0) return false;
    this.#table.revision++;
    this.#changes.push({ revision: this.#table.revision, rows });
    if (this.#changes.length > keptChanges) this.#changes.shift();
    return true;
  }

  #set(index: number, node: NodeFacts): boolean {
    const table = this.#table;
    let changed = false;
    const put = (column: number[], value: number): void => {
      if (column[index] === value) return;
      column[index] = value;
      changed = true;
    };
    put(table.slurmState, indexIn(table.slurmStates, node.slurmState));
    put(table.lending, lendings.indexOf(node.lending));
    const values = valuesOf(node);
    for (const [at, column] of nodeValues.entries()) put(table[column], values[at] ?? 0);
    return changed;
  }

  /** Nodes came or went, or the first look. */
  #rebuild(source: Pick<DashboardSource, "eachNode">, nowMs: number): void {
    const nodes: NodeFacts[] = [];
    source.eachNode((node) => nodes.push({ ...node }));
    const order = new Intl.Collator("en", { numeric: true });
    nodes.sort((a, b) => order.compare(a.name, b.name));
    this.#table = emptyTable(nowMs, this.#table.revision + 1);
    this.#index = new Map(nodes.map(({ name }, index) => [name, index]));
    this.#changes = [];
    const { names, partitions, partitionNames } = this.#table;
    const known = new Map<string, number>();
    for (const [index, node] of nodes.entries()) {
      names.push(node.name);
      partitions.push(
        node.partitions.map((name) => {
          const at = known.get(name) ?? partitionNames.push(name) - 1;
          known.set(name, at);
          return at;
        }),
      );
      this.#set(index, node);
    }
  }

  /** Who is of that revision is told this; undefined when he knows all. */
  changesSince(fromRevision: number): NodeChanges | undefined {
    const table = this.#table;
    const { atMs, revision } = table;
    if (fromRevision === revision) return undefined;
    const first = this.#changes[0]?.revision ?? Number.POSITIVE_INFINITY;
    if (fromRevision > revision || fromRevision < first - 1) return { atMs, fromRevision, revision, table };
    const rows = new Set<number>();
    for (const change of this.#changes)
      if (change.revision > fromRevision) for (const index of change.rows) rows.add(index);
    return {
      atMs,
      fromRevision,
      revision,
      rows: [...rows].map((index) => ({
        index,
        slurmState: table.slurmStates[table.slurmState[index] ?? 0] ?? "",
        lending: lendings[table.lending[index] ?? 0] ?? "none",
        values: nodeValues.map((column) => table[column][index] ?? 0),
      })),
    };
  }
}
