/**
 * Leases on other nodes that are granted before they are asked for. Across nodes three processes of JavaScript are on a lease's
 * way, each of which is run once in a while. Who asks twice for the same is likely to ask again: then this agent asks the
 * controller for one more, granted ahead (agent/executor/vouchers.ts on the other node), and leaves the answer with the starter,
 * from where sublet-door hands it out (functions/launch/kept.h). The client then waits for nobody but the executor over there,
 * which has been waiting for him; its node tells the controllers of the lease when he has shown the token.
 *
 *   two leases of the same were granted elsewhere ─► RequestLease, ahead ─► KEEP
 *     ─► in the client's stream: he has it, and his connection holds it as any other
 *     └► FORGET and ReleaseLease: the demand is old, no controller is there; or its node has taken it back
 *
 * The other node takes it back whenever it likes, as any lease. A client who is handed one that has just been taken back finds
 * nobody there, and asks once more (functions/client/lease.c).
 */
import { SubletError, toSubletError } from "../../src/common/errors.ts";
import type { Principal } from "../../src/common/nouns.ts";
import type { LeaseMessage, LeaseRequestMessage, RequestLeaseResponse } from "../../src/rpc/messages.ts";
import type { Starter } from "../executor/starter.ts";
import { type Demand, farMs, same } from "../executor/vouchers.ts";

export interface AheadOptions {
  readonly starter: () => Starter | undefined;
  readonly request: (message: LeaseRequestMessage, owner: Principal) => Promise<RequestLeaseResponse>;
  /** Gives it back; never rejects. */
  readonly release: (leaseId: string, node: string, owner: Principal) => void;
  /** A controller is there, and the configuration is not against it. */
  readonly mayAsk: () => boolean;
  /** The LocalResponse for it, without an id. */
  readonly answer: (granted: RequestLeaseResponse) => Buffer;
  /** Whether there is anything to hand out, for the door. */
  readonly open: (open: boolean) => void;
  readonly nowMs: () => number;
  readonly onProblem: (message: string) => void;
}

interface Kept {
  readonly leaseId: string;
  readonly node: string;
  readonly demand: Demand;
  readonly untilMs: number;
  /** It is the starter's no more: the client's stream must say soon that he has it. */
  out: boolean;
}

/** The other node keeps it longer. */
const keepMs = (farMs * 3) / 4;
const demandMs = keepMs;
/** After a lease: its client comes first. */
const fillDelayMs = 30;
const callTimeoutMs = 1_000;
const lookMs = 1_000;
const claimMs = 5_000;
const tellEveryMs = 10_000;
/** The door takes no more of a request. */
const maxRequestBytes = 1024;
/** A controller or an agent that does not know of such is not asked again for so long. */
const olderMs = 600_000;

function sameDemand(a: Demand, b: Demand): boolean {
  return a.owner.jobId === b.owner.jobId && same(a, b);
}

export class Ahead {
  readonly #options: AheadOptions;
  #last: Demand | undefined;
  #demand: (Demand & { atMs: number }) | undefined;
  readonly #kept = new Map<string, Kept>();
  #asking = false;
  #timer: NodeJS.Timeout | undefined;
  #look: NodeJS.Timeout | undefined;
  readonly #claims = new Set<NodeJS.Timeout>();
  #olderUntilMs = Number.NEGATIVE_INFINITY;
  #toldMs = Number.NEGATIVE_INFINITY;
  #closed = false;

  constructor(options: AheadOptions) {
    this.#options = options;
  }

  /** Answers that are kept. */
  get size(): number {
    return [...this.#kept.values()].filter(({ out }) => !out).length;
  }

  /** A lease for functions was granted on another node the ordinary way. */
  granted(demand: Demand): void {
    if (demand.request.length > maxRequestBytes) return;
    const twice = this.#last !== undefined && sameDemand(demand, this.#last);
    this.#last = demand;
    if (!twice) return;
    if (this.#demand !== undefined && !sameDemand(demand, this.#demand)) this.#forgetAll();
    this.#demand = { ...demand, atMs: this.#options.nowMs() };
    this.#later();
  }

  /** The client's stream says that he has it: on which node. Undefined: it is none of these. */
  claimed(leaseId: string): { readonly node: string } | undefined {
    const kept = this.#kept.get(leaseId);
    if (kept === undefined) return undefined;
    this.#kept.delete(leaseId);
    this.#settle();
    if (this.#demand !== undefined && sameDemand(kept.demand, this.#demand)) {
      this.#demand.atMs = this.#options.nowMs();
      this.#later();
    }
    return { node: kept.node };
  }

  /** The controllers say what has ended. */
  ended(leases: readonly Pick<LeaseMessage, "id" | "node">[]): void {
    for (const { id, node } of leases) {
      const kept = this.#kept.get(id);
      if (kept?.node === node && !kept.out) void this.#forget(kept);
    }
  }

  /** Another starter, or none: what it kept is gone, or handed out. */
  starterChanged(): void {
    for (const kept of this.#kept.values()) if (!kept.out) this.#wentOut(kept);
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    clearInterval(this.#look);
    for (const timer of this.#claims) clearTimeout(timer);
  }

  #later(): void {
    if (this.#closed) return;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      void this.#fill();
    }, fillDelayMs);
  }

  async #fill(): Promise<void> {
    const { starter, mayAsk, nowMs } = this.#options;
    const demand = this.#demand;
    if (demand === undefined || this.#asking || this.size > 0 || nowMs() < this.#olderUntilMs) return;
    if (starter() === undefined || !mayAsk() || nowMs() - demand.atMs >= demandMs) return;
    this.#asking = true;
    try {
      await this.#one(demand);
    } catch (thrown) {
      const { code, message } = toSubletError(thrown);
      if (message.includes("unknown verb")) this.#olderUntilMs = nowMs() + olderMs;
      else if (code !== "RESOURCE_EXHAUSTED") this.#tell(message); // else: there will be another time
    } finally {
      this.#asking = false;
    }
  }

  async #one(demand: Demand): Promise<void> {
    const { request, release, answer, nowMs } = this.#options;
    const { owner } = demand;
    const granted = await request(demand.message, owner);
    const { lease, endpoint, ahead } = granted;
    if (lease === null) throw new SubletError("INTERNAL", "the controller granted nothing");
    const current = this.#demand !== undefined && sameDemand(demand, this.#demand);
    const starter = this.#options.starter();
    const here = lease.node === owner.node; // this node's own are granted ahead without a controller
    if (!ahead || endpoint === null || here || !current || this.#closed || starter === undefined) {
      if (!ahead) this.#olderUntilMs = nowMs() + olderMs;
      release(lease.id, lease.node, owner);
      return;
    }
    const kept: Kept = { leaseId: lease.id, node: lease.node, demand, untilMs: nowMs() + keepMs, out: false };
    this.#kept.set(kept.leaseId, kept);
    try {
      const { uid: ownerUid, gid: ownerGid, jobId } = owner;
      const whose = { leaseId: lease.id, ownerUid, ownerGid, jobId };
      await starter.keep({ ...whose, request: demand.request, answer: answer(granted) }, callTimeoutMs);
    } catch (thrown) {
      this.#wentOut(kept);
      throw thrown;
    }
    this.#look ??= setInterval(() => this.#lookAgain(), lookMs);
    this.#settle();
  }

  #lookAgain(): void {
    const { mayAsk, nowMs } = this.#options;
    for (const kept of this.#kept.values())
      if (!kept.out && (kept.untilMs <= nowMs() || !mayAsk())) void this.#forget(kept);
  }

  #forgetAll(): void {
    for (const kept of this.#kept.values()) if (!kept.out) void this.#forget(kept);
  }

  /** When it cannot be handed out any more it is given back; if it was, the client's stream will say so. */
  async #forget(kept: Kept): Promise<void> {
    if (kept.out) return;
    kept.out = true;
    this.#settle();
    const there = await this.#options
      .starter()
      ?.forget(kept.leaseId, callTimeoutMs)
      .catch(() => false);
    if (there === true) this.#giveBack(kept);
    else this.#wentOut(kept);
  }

  #wentOut(kept: Kept): void {
    kept.out = true;
    this.#settle();
    const timer = setTimeout(() => {
      this.#claims.delete(timer);
      this.#giveBack(kept);
    }, claimMs);
    this.#claims.add(timer);
  }

  /** Unless somebody has it. */
  #giveBack({ leaseId, node, demand }: Kept): void {
    if (this.#kept.delete(leaseId)) this.#options.release(leaseId, node, demand.owner);
  }

  /** The door asks the starter only while there is something. */
  #settle(): void {
    this.#options.open(this.size > 0);
    if (this.size > 0) return;
    clearInterval(this.#look);
    this.#look = undefined;
  }

  #tell(message: string): void {
    const nowMs = this.#options.nowMs();
    if (nowMs - this.#toldMs < tellEveryMs) return;
    this.#toldMs = nowMs;
    this.#options.onProblem(`no lease on another node could be granted ahead: ${message}`);
  }
}
