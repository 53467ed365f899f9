/** A cluster in figures, for tests of the dashboard. */
import {
  type Amounts,
  type ClusterFacts,
  type DashboardSource,
  type NodeFacts,
  noTotals,
} from "../../../src/dashboard/source.ts";

const nothing: Amounts = {
  total: 0,
  allocated: 0,
  used: 0,
  lent: 0,
  lentShared: 0,
  spare: 0,
  spareShared: 0,
};

export function node(
  name: string,
  changes: Partial<Omit<NodeFacts, "cores" | "memoryBytes">> & {
    cores?: Partial<Amounts>;
    memoryBytes?: Partial<Amounts>;
  } = {},
): NodeFacts {
  return {
    name,
    slurmState: "idle",
    partitions: ["main"],
    lending: "on",
    reporting: true,
    usable: true,
    leases: 0,
    ...changes,
    cores: { ...nothing, ...changes.cores },
    memoryBytes: { ...nothing, ...changes.memoryBytes },
  };
}

export function facts(nodes: readonly NodeFacts[]): ClusterFacts {
  return {
    nodes,
    leases: { functions: 0, regions: 0, draining: 0 },
    totals: noTotals,
    snapshot: { valid: true, ageMs: 5 },
    notices: [],
  };
}

export function source(changes: Partial<DashboardSource> = {}): DashboardSource {
  return {
    facts: () => facts([]),
    leases: () => [],
    node: () => undefined,
    accounts: async () => [],
    identify: async () => ({ uid: 0, gid: 0, user: "root", admin: true }),
    administer: async () => [],
    ...changes,
  };
}
