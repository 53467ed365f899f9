import assert from "node:assert/strict";
import { it } from "node:test";
import fc from "fast-check";
import type { LendingName, NodeStatusMessage, SpareMessage } from "../../../src/rpc/messages.ts";
import { nodesFromColumns, nodesToColumns } from "../../../src/rpc/node-columns.ts";

const amount = fc.integer({ min: 0, max: 2 ** 40 });
const spare = fc
  .uniqueArray(
    fc.record({
      class: fc.constantFrom<SpareMessage["class"][]>(
        "CAPACITY_CLASS_IDLE",
        "CAPACITY_CLASS_UNALLOCATED",
        "CAPACITY_CLASS_SHARED",
      ),
      cores: fc.array(fc.constant(3), { minLength: 1, maxLength: 4 }),
      memoryBytes: amount,
    }),
    { selector: (each) => each.class, maxLength: 3 },
  )
  .map((list) => list as SpareMessage[]);
const status: fc.Arbitrary<NodeStatusMessage> = fc
  .record({
    name: fc.string(),
    state: fc.constantFrom("idle", "mixed", ""),
    lending: fc.option(
      fc.constantFrom<LendingName[]>("LENDING_ON", "LENDING_SHADOW", "LENDING_HOLD_OUT", "LENDING_DRAINED"),
    ),
    spare,
    numbers: fc.array(amount, { minLength: 10, maxLength: 10 }),
    partitions: fc.subarray(["main", "gpu", "long"]),
  })
  .map(({ name, state, lending, spare: found, numbers, partitions }) => {
    const at = (i: number): number => numbers[i] ?? 0;
    const shadow = lending === "LENDING_SHADOW" || lending === "LENDING_HOLD_OUT";
    return {
      node: name,
      slurmState: state,
      slurmCores: at(0),
      slurmAllocCores: at(1),
      slurmMemoryBytes: at(2),
      slurmAllocMemoryBytes: at(3),
      offer:
        lending === null
          ? null
          : {
              node: name,
              revision: 0,
              epochUnixMs: 0,
              address: "",
              spare: shadow ? [] : found,
              horizonMs: at(4),
              coresTotal: 0,
              memoryBytesTotal: 0,
              coresUsedByJobs: 0,
              memoryBytesUsedByJobs: 0,
              lending,
              shadowSpare: shadow ? found : [],
              spell: null,
            },
      offerAgeMs: at(5),
      leases: at(6),
      leasedCores: at(7),
      leasedMemoryBytes: at(8),
      partitions,
    };
  });

/** What a table shows of an offer: counts by class, and all memory. */
function shown(node: NodeStatusMessage) {
  const { offer } = node;
  const brief = (list: readonly SpareMessage[]) => ({
    cores: Object.fromEntries(list.map((each) => [each.class, each.cores.length])),
    memoryBytes: list.reduce((sum, { memoryBytes }) => sum + memoryBytes, 0),
  });
  return {
    ...node,
    offer:
      offer === null ? null : { ...offer, spare: brief(offer.spare), shadowSpare: brief(offer.shadowSpare) },
  };
}

it("columns and back show the same nodes", () => {
  fc.assert(
    fc.property(fc.array(status, { maxLength: 20 }), (nodes) => {
      const back = nodesFromColumns(nodesToColumns(nodes));
      assert.deepEqual(back.map(shown), nodes.map(shown));
    }),
  );
});

it("columns that are too short give nothing worse than zeros", () => {
  const columns = nodesToColumns([]);
  const [node] = nodesFromColumns({ ...columns, nodes: ["n1"] });
  assert.deepEqual([node?.slurmCores, node?.slurmState, node?.partitions], [0, "", []]);
});
