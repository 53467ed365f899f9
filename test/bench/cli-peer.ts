/**
 * A controller of many nodes: the real service, gRPC and munge; Slurm's snapshot and the agents' reports are made up. Prints its
 * address and munge's socket as JSON, ends with its input. `node cli-peer.ts [NODES]`.
 */

import { SubletError } from "../../src/common/errors.ts";
import { agentPool } from "../../src/controller/agents.ts";
import { newLearner } from "../../src/controller/horizon.ts";
import { checkReport } from "../../src/controller/report.ts";
import { controllerService } from "../../src/controller/service.ts";
import { newState, onReport } from "../../src/controller/state.ts";
import { mungeIdentity } from "../../src/rpc/munge.ts";
import { serve } from "../../src/rpc/server.ts";
import type { SnapshotNode } from "../../src/slurm/snapshot.ts";
import { leaseMessage, reportMessage } from "../unit/controller/samples.ts";
import { startMunged } from "../unit/rpc/munged.ts";

const gib = 2 ** 30;
const coresEach = 128;
const nowMs = (): number => performance.now();

const nameOf = (index: number): string => `n${String(index + 1).padStart(5, "0")}`;
const allocatedOf = (index: number): number => 32 * (index % 4);

function slurmNode(index: number): SnapshotNode {
  const allocatedCores = allocatedOf(index);
  return {
    name: nameOf(index),
    state: allocatedCores === 0 ? "idle" : "mixed",
    cores: coresEach,
    allocatedCores,
    memoryBytes: 512 * gib,
    allocatedMemoryBytes: allocatedCores * 4 * gib,
    partitions: [index % 10 === 0 ? "gpu" : "main"],
    jobs: allocatedCores === 0 ? 0 : 1,
    exclusive: false,
    plannedStartMs: undefined,
  };
}

/** One lease on seven of eight nodes. */
function report(index: number) {
  const name = nameOf(index);
  const allocated = allocatedOf(index);
  const lent = index % 8;
  const cores = Array.from({ length: lent }, (_, core) => allocated + core);
  const spare = Array.from({ length: coresEach - allocated }, (_, core) => allocated + core).slice(8);
  const lease = leaseMessage(`lease-${index}`, name, { cores, memoryBytes: lent * gib });
  const offer = {
    address: `10.0.${index >> 8}.${index & 255}:7701`,
    lending: index % 100 === 7 ? ("LENDING_DRAINED" as const) : ("LENDING_ON" as const),
    coresTotal: coresEach,
    memoryBytesTotal: 512 * gib,
    horizonMs: 60_000 + index,
    spare: [{ class: "CAPACITY_CLASS_UNALLOCATED" as const, cores: spare, memoryBytes: 64 * gib }],
  };
  return checkReport(reportMessage(name, offer, lent > 0 ? [lease] : []));
}

const count = Number(process.argv[2] ?? 10_000);
const indices = Array.from({ length: count }, (_, index) => index);
const nodes = new Map(indices.map((index) => [nameOf(index), slurmNode(index)]));
const snapshot = { takenAtMs: nowMs(), nodes, jobs: [] };
const state = newState();
// Every five-hundredth node has no agent.
for (const index of indices) if (index % 500 !== 499) onReport(state, index + 1, report(index), nowMs());
const { handlers } = controllerService({
  state,
  agents: agentPool(() => {
    throw new SubletError("UNAVAILABLE", "these agents are made up");
  }),
  snapshot: () => snapshot,
  nowMs,
  adminGid: undefined,
  grantTimeoutMs: 5_000,
  events: { onAgent() {}, onRequest() {}, onNotGranted() {}, onHorizon() {} },
  learner: newLearner(0.9, nowMs()),
});
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
