/**
 * A fake controller of many nodes: real gRPC and munge, no Slurm, no agents. Prints its address and munge's socket as JSON,
 * ends with its input. `node cli-peer.ts [NODES]`.
 */

import { mungeIdentity } from "../../src/rpc/munge.ts";
import { nodesToColumns } from "../../src/rpc/node-columns.ts";
import { type ControllerHandlers, serve } from "../../src/rpc/server.ts";
import { startMunged } from "../unit/rpc/munged.ts";

const gib = 2 ** 30;
const coresEach = 128;

function node(index: number) {
  const name = `n${String(index + 1).padStart(5, "0")}`;
  const allocated = index % 4 === 0 ? 0 : 32 * (index % 4);
  const spare = Array.from({ length: coresEach - allocated }, (_, core) => allocated + core).slice(8);
  const lent = index % 8;
  return {
    node: name,
    slurmState: allocated === 0 ? "idle" : "mixed",
    slurmCores: coresEach,
    slurmAllocCores: allocated,
    slurmMemoryBytes: 512 * gib,
    slurmAllocMemoryBytes: allocated * 4 * gib,
    partitions: [index % 10 === 0 ? "gpu" : "main"],
    leases: lent > 0 ? 1 : 0,
    leasedCores: lent,
    leasedMemoryBytes: lent * gib,
    offerAgeMs: index % 2000,
    offer:
      index % 500 === 499
        ? null
        : {
            node: name,
            address: `10.0.${index >> 8}.${index & 255}:7701`,
            lending: index % 100 === 7 ? ("LENDING_DRAINED" as const) : ("LENDING_ON" as const),
            coresTotal: coresEach,
            memoryBytesTotal: 512 * gib,
            horizonMs: 60_000 + index,
            spare: [{ class: "CAPACITY_CLASS_UNALLOCATED" as const, cores: spare, memoryBytes: 64 * gib }],
            revision: 1,
            epochUnixMs: 0,
            coresUsedByJobs: 0,
            memoryBytesUsedByJobs: 0,
            shadowSpare: [],
            spell: null,
          },
  };
}

const count = Number(process.argv[2] ?? 10_000);
const nodes = Array.from({ length: count }, (_, index) => node(index));
const unused = async (): Promise<never> => {
  throw new Error("this controller is a fake");
};
const handlers: ControllerHandlers = {
  report: unused,
  getUsage: unused,
  getGain: unused,
  listReceipts: unused,
  requestLease: unused,
  renewLease: unused,
  releaseLease: unused,
  drain: unused,
  resume: unused,
  reclaim: unused,
  listLeases: async () => ({ leases: [] }),
  listNodes: async (request) => ({
    ...(request.columns ? { nodes: [], columns: nodesToColumns(nodes) } : { nodes, columns: null }),
    snapshotValid: true,
    snapshotAgeMs: 3_000,
  }),
};
const munged = await startMunged();
const server = await serve({
  listen: "127.0.0.1:0",
  identity: mungeIdentity({ socket: munged.socket }),
  trustedUids: [0],
  controller: handlers,
});
console.log(JSON.stringify({ address: server.address, munge: munged.socket }));
process.stdin.resume();
process.stdin.on("end", async () => {
  await server.close();
  await munged.stop();
  process.exit(0);
});
