/**
 * A fake agent: the real lease book and the real gRPC, but no node, no cgroups and no executors behind it. Reports as
 * agent/offer/reporter.ts does: a full report first, then changes.
 */

import { SubletError } from "../../../src/common/errors.ts";
import type { CapacityClass, Lease, Spare } from "../../../src/common/nouns.ts";
import {
  drainLeases,
  emptyBook,
  grantLease,
  type LeaseBook,
  releaseLease,
  renewLease,
  revokeLeases,
} from "../../../src/lease/book.ts";
import { connectController } from "../../../src/rpc/client.ts";
import { leaseRequestFromWire, leaseToWire, spareToWire } from "../../../src/rpc/convert.ts";
import { checkCredentialPayload, credentialPayload, type Identity } from "../../../src/rpc/identity.ts";
import type { LeaseMessage, OfferMessage, PrincipalMessage } from "../../../src/rpc/messages.ts";
import { type NodeHandlers, serve } from "../../../src/rpc/server.ts";
import { offerMessage } from "./samples.ts";

/** Says "<uid>|<payload>" and believes it: an identity that needs no munged. */
export function plainIdentity(uid: number): Identity {
  return {
    credential: async (audience, method) => `${uid}|${credentialPayload(audience, method, Date.now())}`,
    verify: async (credential, audiences, method) => {
      const [caller, payload] = credential.split("|");
      checkCredentialPayload(payload ?? "", audiences, method, Date.now());
      return { uid: Number(caller), gid: Number(caller) };
    },
  };
}

export interface FakeAgentOptions {
  /** It knows of no leases that are granted ahead. */
  readonly older?: boolean;
  readonly node: string;
  readonly cores: number;
  readonly memoryBytes: number;
  /** Runs in the middle of a grant; may refuse, wait, or fail. */
  readonly onGrant?: (leaseId: string) => Promise<void>;
  /** Runs in the middle of drain, resume and reclaim; may fail. */
  readonly onAdmin?: (node: string) => Promise<void>;
  /** Offers more than there is, as an offer that is out of date does. */
  readonly boastCores?: number;
  /** How long it says that its capacity lasts. */
  readonly horizonMs?: number;
  /** What it lends is of; idle unless said. */
  readonly class?: CapacityClass;
}

export interface FakeAgent {
  readonly node: string;
  readonly address: string;
  readonly owners: PrincipalMessage[];
  readonly seen: { grants: number; releases: number; concurrent: number; resends: number };
  leases(): readonly Lease[];
  /** What administrators asked of this node. */
  readonly admin: string[];
  /** What the controller told of leases on other nodes: ended, or draining. */
  readonly told: LeaseMessage[];
  /** A batch job takes a lease back. */
  revoke(leaseId: string): void;
  /** It is wanted back within the budget. */
  drain(leaseId: string, budgetMs: number): void;
  /** Opens the stream to a controller; resolves with its first acknowledgement. */
  join(controller: string): Promise<void>;
  /** Joins with a part of a report only, as one that does not know that the controller is new. */
  joinWithoutFull(controller: string): Promise<void>;
  leave(): void;
  /** Grants no more, while its stream goes on. */
  stopService(): Promise<void>;
  close(): Promise<void>;
}

export async function fakeAgent(options: FakeAgentOptions): Promise<FakeAgent> {
  const { node } = options;
  let book: LeaseBook = emptyBook;
  let revision = 0;
  const owners: PrincipalMessage[] = [];
  const told: LeaseMessage[] = [];
  const admin: string[] = [];
  const seen = { grants: 0, releases: 0, concurrent: 0, resends: 0 };
  let running = 0;
  let report: (leases: LeaseMessage[], full: boolean) => void = () => undefined;
  let leave: () => void = () => undefined;

  const spare = (): Spare[] => {
    const held = new Set([...book.leases.values()].flatMap(({ cores }) => cores));
    const used = [...book.leases.values()].reduce((sum, { memoryBytes }) => sum + memoryBytes, 0);
    const cores = Array.from({ length: options.cores }, (_, core) => core).filter((core) => !held.has(core));
    return [{ class: options.class ?? "idle", cores, memoryBytes: options.memoryBytes - used }];
  };
  const message = (lease: Lease): LeaseMessage =>
    leaseToWire(lease, { node, nowMs: performance.now(), grantedUnixMs: 1, invocations: 0 });
  const all = (): LeaseMessage[] => [...book.leases.values()].map(message);
  const offer = (): OfferMessage => {
    const boast = Array.from({ length: options.boastCores ?? 0 }, (_, core) => core);
    const real = spare().map(spareToWire);
    if (real[0] !== undefined && boast.length > 0) real[0] = { ...real[0], cores: boast };
    const { horizonMs = 0 } = options;
    return offerMessage(node, { revision: ++revision, address: server.address, spare: real, horizonMs });
  };

  const handlers: NodeHandlers = {
    async grant({ leaseId, request, owner, account, partition, ahead: wanted }) {
      seen.grants++;
      seen.concurrent = Math.max(seen.concurrent, ++running);
      try {
        await options.onGrant?.(leaseId);
        if (request === null || owner === null) throw new SubletError("INVALID_ARGUMENT", "empty grant");
        const wish = { ...leaseRequestFromWire(request, 60_000), billing: { account, partition } };
        const decision = grantLease(book, leaseId, wish, owner, spare(), performance.now());
        if (!decision.granted)
          throw new SubletError("RESOURCE_EXHAUSTED", decision.message, {
            details: { reason: decision.reason, node },
          });
        book = decision.book;
        owners.push(owner);
        await new Promise((resolve) => setTimeout(resolve, 2)); // an executor starts
        const ahead = wanted && options.older !== true;
        if (!ahead) report([message(decision.lease)], false);
        const endpoint = { node, unixPath: "", tcpAddress: "127.0.0.1:1", token: Buffer.alloc(32) };
        return { lease: message(decision.lease), endpoint, ahead };
      } finally {
        running--;
      }
    },
    async renew({ leaseId }) {
      const renewed = renewLease(book, leaseId, performance.now());
      book = renewed.book;
      return { lease: message(renewed.lease) };
    },
    async release({ leaseId, caller }) {
      seen.releases++;
      const held = book.leases.get(leaseId);
      if (held !== undefined && caller?.uid !== 0 && held.owner.uid !== caller?.uid)
        throw new SubletError("NOT_FOUND", "not on this node"); // as the real one: not even that it is there
      const { book: next, ended } = releaseLease(book, leaseId);
      book = next;
      report(ended.map(message), false);
      return { lease: message(ended[0] as Lease) };
    },
    async listLeases() {
      return { leases: all() };
    },
    async drain({ caller, reason }) {
      admin.push(`drain by ${caller?.uid}: ${reason}`);
      await options.onAdmin?.(node);
      return { outcome: { node, lending: "LENDING_DRAINED" } };
    },
    async resume({ caller }) {
      admin.push(`resume by ${caller?.uid}`);
      await options.onAdmin?.(node);
      return { outcome: { node, lending: "LENDING_ON" } };
    },
    async reclaim({ leaseIds }) {
      admin.push(`reclaim ${[...leaseIds].sort().join(" ") || "all"}`);
      await options.onAdmin?.(node);
      return { outcome: { node, leasesEnded: leaseIds.length } };
    },
    async getNode() {
      return { offer: offer(), findings: {} };
    },
    async getHealth() {
      return { unixMs: Date.now() };
    },
  };
  const server = await serve({
    listen: "127.0.0.1:0",
    identity: plainIdentity(0),
    trustedUids: [0],
    node: handlers,
  });

  async function join(controller: string, full: boolean): Promise<void> {
    const client = connectController(controller, { identity: plainIdentity(0) });
    const stream = await client.report();
    report = (leases, whole) => void stream.send({ offer: offer(), leases, full: whole });
    leave = () => {
      stream.close();
      client.close();
    };
    report(full ? all() : [], full);
    await new Promise<void>((resolve, reject) => {
      void (async () => {
        for await (const { resendFull, endedLeases, drainingLeases } of stream.responses) {
          told.push(...endedLeases, ...drainingLeases);
          if (resendFull) {
            seen.resends++;
            report(all(), true);
          } else resolve();
        }
      })().catch(reject);
    });
  }

  return {
    node,
    address: server.address,
    owners,
    seen,
    leases: () => [...book.leases.values()],
    admin,
    told,
    revoke(leaseId) {
      const { book: next, ended } = revokeLeases(book, ({ id }) => id === leaseId, "batch_job");
      book = next;
      report(ended.map(message), false);
    },
    drain(leaseId, budgetMs) {
      const endAtMs = performance.now() + budgetMs;
      const { book: next, draining } = drainLeases(book, ({ id }) => id === leaseId, endAtMs, "admin");
      book = next;
      report(draining.map(message), false);
    },
    join: (controller) => join(controller, true),
    joinWithoutFull: (controller) => join(controller, false),
    leave: () => leave(),
    stopService: () => server.close(),
    async close() {
      leave();
      await server.close();
    },
  };
}
