/** The agent's state as messages of sublet.v1: offers, leases, endpoints. */
import { join } from "node:path";
import type { Lease } from "../../src/common/nouns.ts";
import { classToWire, leaseToWire, spareToWire } from "../../src/rpc/convert.ts";
import type { EndpointMessage, LeaseMessage, LendingName, OfferMessage } from "../../src/rpc/messages.ts";
import type { LendingMode } from "../lending/mode.ts";
import type { AgentState, Guest } from "../reactor/state.ts";

/** What identifies this life of the agent to the cluster. */
export interface Identification {
  readonly node: string;
  readonly runDir: string;
  readonly fabricAddress: string;
  /** host:port of the NodeService. */
  readonly address: string;
  readonly epochUnixMs: number;
}

const lendingNames: Readonly<Record<LendingMode, LendingName>> = {
  on: "LENDING_ON",
  shadow: "LENDING_SHADOW",
  hold_out: "LENDING_HOLD_OUT",
};

/** horizonMs: 0 = unknown. nowMs: monotonic. */
export function offerMessage(
  state: AgentState,
  self: Identification,
  nowMs: number,
  horizonMs: number,
): OfferMessage {
  const jobs = [...state.jobs.values()];
  const jobCores = new Set(jobs.flatMap((job) => job.cores ?? []));
  return {
    node: self.node,
    revision: state.revision,
    epochUnixMs: self.epochUnixMs,
    address: self.address,
    spare: state.spare.map(spareToWire),
    horizonMs,
    coresTotal: state.setup.cores.length,
    memoryBytesTotal: state.setup.memoryBytes,
    coresUsedByJobs: state.setup.cores.filter((core) => jobCores.has(core)).length,
    memoryBytesUsedByJobs: jobs.reduce((sum, job) => sum + (job.memoryLimitBytes ?? job.memoryUsedBytes), 0),
    lending: state.drain === undefined ? lendingNames[state.lending] : "LENDING_DRAINED",
    shadowSpare: state.shadowSpare.map(spareToWire),
    spell:
      state.spell === undefined
        ? null
        : {
            class: classToWire(state.spell.class),
            ageMs: Math.max(0, Math.round(nowMs - state.spell.sinceMs)),
            begunSeen: state.spell.begunSeen,
            arrivals: state.arrivals,
          },
  };
}

export function leaseMessage(
  guest: Guest,
  self: Identification,
  nowMs: number,
  invocations = 0,
): LeaseMessage {
  return leaseToWire(guest.lease, {
    node: self.node,
    nowMs,
    grantedUnixMs: guest.grantedUnixMs,
    invocations,
  });
}

/** One that was granted ahead and is over before it was a lease: nobody was granted it. */
export function neverLeaseMessage(lease: Lease, { node }: Identification, nowMs: number): LeaseMessage {
  return leaseToWire(lease, { node, nowMs, grantedUnixMs: 0, invocations: 0 });
}

export function executorSocket(runDir: string, leaseId: string): string {
  return join(runDir, "x", `${leaseId}.sock`);
}

export function endpointMessage(guest: Guest, self: Identification): EndpointMessage {
  return {
    node: self.node,
    unixPath: executorSocket(self.runDir, guest.lease.id),
    tcpAddress: `${self.fabricAddress}:${guest.port}`,
    token: Buffer.from(guest.token, "hex"),
  };
}
