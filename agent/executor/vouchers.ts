/**
 * Leases granted before they are asked for. Who asks twice for the same is likely to ask again: some of the prepared
 * executors are bound ahead to a lease of that user for that very request, which the starter hands out when the door shows
 * it the request (functions/launch/voucher.h). The client then waits for neither this process nor a controller; all that
 * is decided about such a lease was decided here, before.
 *
 *   a lease is granted the ordinary way ─► demand ─► executor lent by the pool, capacity kept (reactor), cgroup limited
 *                                                  └► where none are kept: a uid and a cgroup, for one to be started then
 *   ─► VOUCH ─► redeemed: a lease as any other                          (told by the starter, and by the client's stream)
 *            └► withdrawn: UNVOUCH, capacity free again, executor ended
 *
 * A lease for a client on another node is granted ahead when that node's agent asks for it (agent/socket/ahead.ts), for about
 * a minute: AWAIT in place of VOUCH, and who shows its token redeems it.
 *
 * What can go wrong goes the way of withdrawing: a job comes, lending ends, memory is short, somebody else wants the
 * capacity, a controller or a quota has something against it (looked at each second), the demand is old. After UNVOUCH was
 * answered none can be redeemed any more; hooks wait for that answer, and then take back what was redeemed before like any
 * lease. Should the starter not answer, its executors are ended by their cgroups, and only then is their capacity free.
 */
import { SubletError, toSubletError } from "../../src/common/errors.ts";
import type { Billing, Lease, LeaseRequest, Principal } from "../../src/common/nouns.ts";
import { leaseRequestFromWire } from "../../src/rpc/convert.ts";
import type { LeaseRequestMessage } from "../../src/rpc/messages.ts";
import type { GuestLimits } from "../cgroup/limits.ts";
import type { AgentEvent } from "../reactor/events.ts";
import type { AgentState, Guest } from "../reactor/state.ts";
import { againstVouchers } from "../reactor/vouchers.ts";
import { metaForAnyJob } from "./meta.ts";
import type { Pool, Prepared } from "./pool.ts";
import { jobMark, type Redeemed, type Starter, type StartOrder, type VoucherOrder } from "./starter.ts";

/** What somebody asked for and got, here or (agent/socket/ahead.ts) on another node. */
export interface Demand {
  /** Bytes of the LeaseRequest, as they came. */
  readonly request: Buffer;
  readonly message: LeaseRequestMessage;
  /** With his job. */
  readonly owner: Principal;
}

/** Who knows of users and of the world. */
export interface VoucherDesk {
  /** The configuration's word. */
  readonly on: () => boolean;
  /** Whether this node may grant that now without asking anybody. */
  readonly mayGrant: (demand: Demand) => boolean;
  /** Whether what a controller had granted ahead to another node's client could be granted still. */
  readonly mayStand: (lease: Lease) => boolean;
  readonly billing: (owner: Principal) => Billing | undefined;
  readonly newLeaseId: () => string;
  readonly newToken: () => string;
  /** The LocalResponse for the lease, without an id. */
  readonly answer: (guest: Guest) => Buffer;
  /** Whether there is anything to redeem, for the door. */
  readonly open: (open: boolean) => void;
  /** One that was granted ahead to another node's client is taken back. */
  readonly taken: (lease: Lease) => void;
}

/** A lease that is wanted ahead for a client on another node. */
export interface FarDemand {
  readonly leaseId: string;
  readonly wish: LeaseRequest;
  /** With the job. */
  readonly owner: Principal;
}

interface Held {
  readonly prepared: Prepared;
  /** For a client on another node, and until when. */
  readonly far?: { readonly lease: Lease; readonly untilMs: number };
}

export interface VouchersOptions {
  readonly pool: Pool;
  readonly state: () => AgentState;
  readonly nowMs: () => number;
  readonly dispatch: (event: AgentEvent) => void;
  readonly starter: () => Starter | undefined;
  /** Gives the prepared executor's cgroup the limits of the lease, or makes one. @throws SubletError when they do not take. */
  readonly limit: (leaseId: string, limits: GuestLimits, prepared: Prepared) => void;
  /** START's words for it. */
  readonly order: (guest: Guest, limits: GuestLimits, prepared: Prepared) => StartOrder;
  readonly release: (leaseId: string) => void;
  readonly openStats: (guest: Guest, path: string | undefined) => void;
  readonly onProblem: (message: string) => void;
}

/** In an answer in place of a port that is not known yet. */
export const noPort = "00000";
/** Demand is forgotten after this; the pool does the same. */
const demandMs = 60_000;
const lookMs = 1_000;
/** After a lease: its client comes first. */
const fillDelayMs = 30;
const callTimeoutMs = 1_000;
const tellEveryMs = 10_000;
/** The starter and the door take no more of a request. */
const maxRequestBytes = 1024;
/** A lease that was handed out must be in its client's stream by then. */
const claimMs = 2_000;
/** Longer than the other node's agent hands it out. */
export const farMs = 60_000;

function isNear({ far }: Held): boolean {
  return far === undefined;
}

export function same(a: Demand, b: Demand): boolean {
  return a.owner.uid === b.owner.uid && a.owner.gid === b.owner.gid && a.request.equals(b.request);
}

export class Vouchers {
  readonly #options: VouchersOptions;
  #desk: VoucherDesk | undefined;
  #demand: (Demand & { atMs: number }) | undefined;
  /** What was asked last, where that is something else. */
  #other: Demand | undefined;
  /** By lease: not known to be redeemed. */
  readonly #held = new Map<string, Held>();
  #withdrawing: Promise<void> | undefined;
  #filling = false;
  /** There was no capacity for one more, or something against it: the next change may be for the better. */
  #starved = false;
  /** This starter knows of none. */
  #refused = false;
  #timer: NodeJS.Timeout | undefined;
  #look: NodeJS.Timeout | undefined;
  readonly #claims = new Map<string, NodeJS.Timeout>();
  #closed = false;
  #toldMs = Number.NEGATIVE_INFINITY;

  constructor(options: VouchersOptions) {
    this.#options = options;
  }

  /** From here on there may be some. */
  setDesk(desk: VoucherDesk): void {
    this.#desk = desk;
  }

  get size(): number {
    return this.#held.size;
  }

  /** A lease for functions was granted on this node the ordinary way, to one who may come again. */
  asked(demand: Demand): void {
    if (demand.request.length > maxRequestBytes) return;
    if (this.#demand !== undefined && !same(demand, this.#demand)) {
      const twice = this.#other !== undefined && same(demand, this.#other);
      this.#other = demand;
      if (!twice && this.#options.nowMs() - this.#demand.atMs < demandMs) return;
      void this.#withdrawThose(isNear);
    }
    this.#other = undefined;
    this.#demand = { ...demand, atMs: this.#options.nowMs() };
    this.later();
  }

  /** Looks whether more can be made. */
  later(): void {
    if (this.#closed || this.#desk === undefined || this.#demand === undefined) return;
    // One that is set stays: events that come all the time must not put it off for ever.
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      void this.#fill();
    }, fillDelayMs);
  }

  async #fill(): Promise<void> {
    if (this.#filling) return this.later();
    this.#filling = true;
    this.#starved = false;
    try {
      while (await this.#one());
    } catch (thrown) {
      const { message } = toSubletError(thrown);
      if (message.includes("unknown verb")) this.#refused = true;
      else this.#tell(`no lease could be granted ahead: ${message}`);
    } finally {
      this.#filling = false;
    }
  }

  /** Leases come by the thousand, and with them this could. */
  #tell(message: string): void {
    const nowMs = this.#options.nowMs();
    if (nowMs - this.#toldMs < tellEveryMs) return;
    this.#toldMs = nowMs;
    this.#options.onProblem(message);
  }

  /** False: no more. */
  async #one(): Promise<boolean> {
    const desk = this.#desk;
    const demand = this.#demand;
    const starter = this.#options.starter();
    const { pool } = this.#options;
    if (desk === undefined || demand === undefined || starter === undefined) return false;
    if (this.#closed || this.#refused || this.#withdrawing !== undefined) return false;
    if (!this.#wanted()) {
      this.#starved = this.#options.nowMs() - demand.atMs < demandMs;
      return false;
    }
    const leaseId = desk.newLeaseId();
    const prepared = pool.lend(leaseId) ?? pool.place(leaseId);
    if (prepared === undefined) return false;
    const wish = leaseRequestFromWire(demand.message, this.#options.state().setup.leaseTermMs);
    const guest = this.#vouch({ leaseId, wish, owner: demand.owner }, desk, prepared);
    if (guest === undefined) {
      this.#starved = true;
      return false;
    }
    this.#held.set(leaseId, { prepared });
    const done = await this.#leave(leaseId, () =>
      starter.vouch(this.#voucherOf(desk, demand, guest, prepared), callTimeoutMs),
    );
    if (done === undefined) return false;
    desk.open(true);
    return true;
  }

  /** Keeps the capacity. Undefined: there is none. */
  #vouch({ leaseId, wish, owner }: FarDemand, desk: VoucherDesk, prepared: Prepared): Guest | undefined {
    const { pool, state, dispatch, nowMs } = this.#options;
    const { uid, port } = prepared;
    dispatch({ type: "vouch", leaseId, request: wish, owner, token: desk.newToken(), uid, port });
    const voucher = state().vouchers.get(leaseId);
    if (voucher === undefined) {
      pool.giveBack(leaseId, prepared);
      return undefined;
    }
    return {
      ...voucher,
      lease: { ...voucher.lease, state: "ACTIVE" },
      phase: "running",
      grantedUnixMs: Date.now(),
      startedAtMs: nowMs(),
      holder: undefined,
      touchedBytes: 0,
      cores: voucher.limits.cores,
      callers: [],
    };
  }

  /** Leaves what is held with the starter. Undefined: it was withdrawn, or redeemed, meanwhile. */
  async #leave<T>(leaseId: string, tell: () => Promise<T>): Promise<{ said: T } | undefined> {
    let said: T;
    try {
      said = await tell();
    } catch (thrown) {
      if (this.#held.has(leaseId)) await this.#drop(leaseId);
      throw thrown;
    }
    if (!this.#held.has(leaseId)) return undefined;
    this.#look ??= setInterval(() => this.#lookAgain(), lookMs);
    return { said };
  }

  #startOf(guest: Guest, owner: Principal, prepared: Prepared): StartOrder {
    const { state, limit, order } = this.#options;
    const { id } = guest.lease;
    const voucher = state().vouchers.get(id);
    if (voucher === undefined) throw new SubletError("INTERNAL", `lease ${id} is not granted ahead`);
    limit(id, voucher.limits, prepared);
    return order({ ...guest, lease: { ...guest.lease, owner } }, voucher.limits, prepared);
  }

  #voucherOf(desk: VoucherDesk, { request, owner }: Demand, guest: Guest, prepared: Prepared): VoucherOrder {
    const start = this.#startOf(guest, owner, prepared);
    const answer = desk.answer(guest);
    return {
      order: { ...start, meta: metaForAnyJob(start.meta, jobMark) },
      ownerGid: owner.gid,
      jobId: undefined,
      request,
      answer,
      portAt: prepared.limits === undefined ? answer.indexOf(`:${noPort}`) + 1 : undefined,
    };
  }

  /**
   * Grants a lease ahead to a client on another node. What is returned is how it will be.
   * @throws SubletError RESOURCE_EXHAUSTED: not now.
   */
  async grantAhead(demand: FarDemand): Promise<Guest> {
    const no = (why: string): SubletError =>
      new SubletError("RESOURCE_EXHAUSTED", `nothing is granted ahead: ${why}`, {
        details: { reason: "closed" },
      });
    const { leaseId, owner } = demand;
    const desk = this.#desk;
    const starter = this.#options.starter();
    const { pool, state, nowMs } = this.#options;
    if (desk === undefined || starter === undefined || this.#closed || this.#refused)
      throw no("this node does not do so");
    if (this.#withdrawing !== undefined || this.#against()) throw no("what there is may be wanted");
    if (state().vouchers.has(leaseId) || state().guests.has(leaseId))
      throw new SubletError("INVALID_ARGUMENT", `lease ${leaseId} is there already`);
    const prepared = pool.lend(leaseId, true) ?? pool.place(leaseId);
    if (prepared === undefined) throw no("no executor is prepared");
    const guest = this.#vouch(demand, desk, prepared);
    if (guest === undefined) throw no("not enough is spare");
    this.#held.set(leaseId, { prepared, far: { lease: guest.lease, untilMs: nowMs() + farMs } });
    const done = await this.#leave(leaseId, () =>
      starter.awaitClient(this.#startOf(guest, owner, prepared), owner.jobId, callTimeoutMs),
    );
    if (done === undefined) throw no("it was taken back");
    return { ...guest, port: done.said.port };
  }

  /** One for another node's client, of which he has made no use, is given back. Undefined: there is no such, or it is a lease. */
  async giveBack(
    leaseId: string,
    asker: { readonly uid: number; readonly all: boolean },
  ): Promise<Lease | undefined> {
    const held = this.#held.get(leaseId);
    if (held?.far === undefined || !(asker.all || asker.uid === held.far.lease.owner.uid)) return undefined;
    await this.#withdrawThose((each) => each === held);
    return this.#options.state().guests.has(leaseId) ? undefined : held.far.lease;
  }

  /** Whether the demand is there, and nothing is against granting it. */
  #wanted(): boolean {
    const demand = this.#demand;
    if (demand === undefined || this.#options.nowMs() - demand.atMs >= demandMs) return false;
    return !this.#against() && this.#desk?.mayGrant(demand) === true;
  }

  /** The pool has less patience with memory that gets short. */
  #against(): boolean {
    return (
      this.#desk?.on() !== true ||
      !this.#options.pool.open ||
      againstVouchers(this.#options.state()) !== undefined
    );
  }

  #lookAgain(): void {
    if (this.#against()) return void this.withdraw();
    const nowMs = this.#options.nowMs();
    const wanted = this.#wanted();
    const stands = ({ untilMs, lease }: NonNullable<Held["far"]>): boolean =>
      untilMs > nowMs && this.#desk?.mayStand(lease) === true;
    void this.#withdrawThose(({ far }) => (far === undefined ? !wanted : !stands(far)));
  }

  /** The node's state has changed. */
  check(): void {
    if (this.#held.size > 0 && this.#against()) void this.withdraw();
    else if (this.#starved && !this.#filling) this.later();
  }

  /** The configuration was read again: what it would decide otherwise by now is decided anew. */
  reload(): void {
    void this.withdraw().then(() => this.later());
  }

  /** When this resolves none can be redeemed, and what was redeemed is known. Never rejects. */
  withdraw(): Promise<void> {
    return this.#withdrawThose(() => true);
  }

  #withdrawThose(which: (held: Held) => boolean): Promise<void> {
    if (this.#withdrawing !== undefined) return this.#withdrawing.then(() => this.#withdrawThose(which));
    const those = [...this.#held].filter(([, held]) => which(held)).map(([leaseId]) => leaseId);
    if (those.length === 0) return Promise.resolve();
    this.#withdrawing = this.#withdraw(those).finally(() => {
      this.#withdrawing = undefined;
    });
    return this.#withdrawing;
  }

  async #withdraw(those: readonly string[]): Promise<void> {
    const starter = this.#options.starter();
    if (those.some((leaseId) => this.#held.get(leaseId)?.far === undefined)) this.#desk?.open(false);
    let dead = false;
    try {
      if (those.length === this.#held.size) await starter?.unvouch(callTimeoutMs);
      else await Promise.all(those.map((leaseId) => starter?.unvouch(callTimeoutMs, leaseId)));
    } catch (thrown) {
      dead = true;
      this.#tell(`leases granted ahead end with their executors: ${toSubletError(thrown).message}`);
    }
    const ends = those.map((leaseId) => {
      if (!dead) this.#free(leaseId);
      return this.#drop(leaseId);
    });
    if (dead) await Promise.all(ends);
  }

  #free(leaseId: string): void {
    if (this.#options.state().vouchers.has(leaseId))
      this.#options.dispatch({ type: "unvouch", leaseIds: [leaseId] });
  }

  /** Ends its executor, unless that has become a lease's; then its capacity is free. */
  async #drop(leaseId: string): Promise<void> {
    const held = this.#held.get(leaseId);
    if (held === undefined) return;
    this.#held.delete(leaseId);
    this.#shut();
    const { pool, state } = this.#options;
    if (state().guests.has(leaseId)) return void pool.redeem(held.prepared);
    if (held.far !== undefined) this.#desk?.taken(held.far.lease);
    await pool.discard(leaseId, held.prepared);
    this.#free(leaseId);
  }

  /** What nobody waits at any more. */
  #shut(): void {
    if (![...this.#held.values()].some(isNear)) this.#desk?.open(false);
    if (this.#held.size > 0) return;
    clearInterval(this.#look);
    this.#look = undefined;
  }

  /** The starter has handed one out. */
  redeemed({ leaseId, jobId, port, stats }: Redeemed): void {
    const held = this.#held.get(leaseId);
    this.#held.delete(leaseId);
    this.#hand(leaseId, jobId, { port });
    if (held !== undefined) this.#options.pool.redeem(held.prepared);
    this.#shut();
    const guest = this.#options.state().guests.get(leaseId);
    if (guest === undefined) return;
    this.#options.openStats(guest, stats);
    if (held?.far !== undefined) return; // its client is there, and its holder the other node's agent
    if (this.#demand !== undefined) this.#demand.atMs = this.#options.nowMs();
    this.later();
    if (guest.holder !== undefined || guest.phase !== "running") return;
    this.#claims.set(
      leaseId,
      setTimeout(() => {
        this.#claims.delete(leaseId);
        this.#options.release(leaseId);
      }, claimMs),
    );
  }

  /**
   * Resolves when what the starter has to say of a lease that it handed out was heard: where its executor counts, which can be
   * opened only while that lives. Its client may give it back sooner.
   */
  async heard(leaseId: string): Promise<void> {
    if (!this.#held.has(leaseId) || !this.#options.state().guests.has(leaseId)) return;
    await this.#options
      .starter()
      ?.unvouch(callTimeoutMs, leaseId) // it is redeemed: this is answered behind the news of it
      .catch(() => undefined);
  }

  /** The client's stream says that this lease is its. */
  claimed(leaseId: string, jobId: number, holder: number): void {
    clearTimeout(this.#claims.get(leaseId));
    this.#claims.delete(leaseId);
    this.#hand(leaseId, jobId, { holder });
  }

  #hand(leaseId: string, jobId: number, what: { readonly port: number } | { readonly holder: number }): void {
    const voucher = this.#options.state().vouchers.get(leaseId);
    // A controller knows of jobs on other nodes.
    const billing =
      voucher?.lease.billing ?? (voucher && this.#desk?.billing({ ...voucher.lease.owner, jobId }));
    this.#options.dispatch({
      type: "redeemed",
      leaseId,
      jobId,
      ...what,
      ...(billing === undefined ? {} : { billing }),
    });
  }

  /** The starter says that an executor has ended. */
  exited(name: string): void {
    for (const [leaseId, { prepared }] of [...this.#held])
      if (prepared.name === name || leaseId === name) void this.#drop(leaseId);
  }

  /** Another starter, or none: the last one's executors are gone. */
  starterChanged(): void {
    this.#refused = false;
    for (const leaseId of [...this.#held.keys()]) void this.#drop(leaseId);
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    for (const timer of this.#claims.values()) clearTimeout(timer);
    this.starterChanged();
  }
}
