/**
 * Executors that were started before anybody asked: forked, in a cgroup and a sandbox of their own under a uid of their own,
 * waiting for their order. A lease that gets one waits for neither fork, mounts nor exec. What is not known beforehand
 * (cores, limits, owner, token, the name of its socket) is bound when it is handed out, before any user code is there.
 *
 * As many are kept as leases for functions were started within `idleMs`, at most `max`; none when nobody leases. They
 * weigh nothing against a job: a prolog, a job on their cores, short memory or a lost starter ends them all at once, and
 * no hook waits for them (they sleep, and hold some MiB). The starter ends them with our connection: nothing survives a
 * restart, and the cgroups that an earlier life left are found without an executor and removed (adopt.ts).
 *
 * The cgroup of one that was handed out keeps the name it was made with: tree.names tells it by the lease.
 */
import { randomBytes } from "node:crypto";
import { toSubletError } from "../../src/common/errors.ts";
import { createGuest, type GuestTree } from "../cgroup/guests.ts";
import type { GuestLimits } from "../cgroup/limits.ts";
import { clearGuest } from "../reclaim/clear.ts";

/** An executor without a lease. */
export interface Prepared {
  readonly name: string;
  readonly uid: number;
  readonly cores: readonly number[];
  /** Where its executor listens already. */
  readonly port: number;
  /** What its cgroup was given; undefined: neither cgroup nor executor is there yet, see place(). */
  readonly limits: GuestLimits | undefined;
}

export interface PoolOptions {
  readonly tree: GuestTree;
  /** 0: no pool; may be changed, see setMax. */
  readonly max: number;
  readonly idleMs: number;
  /** Uids that nobody else gives out. */
  readonly uidFirst: number;
  readonly uidCount: number;
  readonly mems: string;
  /** Of the node: v1 lets a limit be lowered in the order in which it was set, but not raised, and no user code is there. */
  readonly memoryBytes: number;
  readonly nowMs: () => number;
  /** Has the starter prepare one; rejects when there is no starter. */
  readonly prepare: (prepared: Prepared, cgroups: readonly string[]) => Promise<{ port: number }>;
  readonly stop: (name: string) => Promise<void>;
  /** Cores that a prepared executor may sleep on; none: there shall be no pool now. */
  readonly cores: () => readonly number[];
  readonly onProblem: (message: string) => void;
  /** One more is ready. */
  readonly onReady?: () => void;
}

const fillDelayMs = 20;
/** Starts that are remembered: as many as a pool may be large. */
const maxStarts = 64;
const stuckMs = 5_000;
/** Leases that are granted ahead without an executor. */
const maxPlaces = 2;

export class Pool {
  readonly #options: PoolOptions;
  #max: number;
  readonly #names: Map<string, string>;
  readonly #ready: Prepared[] = [];
  /** By uid: from its choice until its cgroup is gone. */
  readonly #taken = new Map<number, string>();
  #starts: number[] = [];
  #filling: Prepared | undefined;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;
  /** Those that were lent to vouchers: ready all the same. */
  readonly #lent = new Set<Prepared>();
  hits = 0;
  misses = 0;
  redeemed = 0;

  constructor(options: PoolOptions) {
    this.#options = options;
    this.#max = options.max;
    this.#names = options.tree.names ?? new Map();
  }

  get size(): number {
    return this.#ready.length + [...this.#lent].filter(({ limits }) => limits !== undefined).length;
  }

  /** Whether there may be prepared executors now. */
  get open(): boolean {
    return this.#options.cores().length > 0;
  }

  /** The configuration was read again. */
  setMax(max: number): void {
    this.#max = max;
    if (this.#starts.length > 0 || this.#ready.length > 0) this.#later(fillDelayMs);
  }

  /** For a lease that starts now: one that is ready, or undefined. */
  take(leaseId: string): Prepared | undefined {
    if (this.#max === 0) return undefined;
    this.#starts.push(this.#options.nowMs());
    this.#later(fillDelayMs);
    const prepared = this.#ready.shift();
    if (prepared === undefined) this.misses += 1;
    else {
      this.hits += 1;
      this.#names.set(leaseId, prepared.name);
    }
    return prepared;
  }

  /**
   * One for a lease that is granted ahead. At most half of all, so that other requests find some, too; and one more for
   * clients on other nodes, whose requests take longest.
   */
  lend(leaseId: string, far = false): Prepared | undefined {
    if (this.#lent.size >= Math.ceil(this.size / 2) + Number(far)) return undefined;
    const prepared = this.#ready.shift();
    if (prepared === undefined) return undefined;
    this.#lent.add(prepared);
    this.#names.set(leaseId, prepared.name);
    return prepared;
  }

  /** The same where no executors are kept: a uid, for one that is started when the lease is asked for. */
  place(leaseId: string): Prepared | undefined {
    const uid = this.#max === 0 && this.#lent.size < maxPlaces ? this.#freeUid() : undefined;
    if (uid === undefined) return undefined;
    const prepared = { name: leaseId, uid, cores: [], port: 0, limits: undefined };
    this.#taken.set(uid, leaseId);
    this.#lent.add(prepared);
    return prepared;
  }

  /** It was not used: the next may have it. */
  giveBack(leaseId: string, prepared: Prepared): void {
    if (!this.#lent.delete(prepared)) return;
    this.#names.delete(leaseId);
    if (prepared.limits === undefined) this.#taken.delete(prepared.uid);
    else this.#ready.unshift(prepared);
    this.check();
  }

  /** The lease that it was lent for runs. */
  redeem(prepared: Prepared): void {
    if (!this.#lent.delete(prepared)) return;
    this.redeemed += 1;
    this.#starts.push(this.#options.nowMs());
    this.#later(fillDelayMs);
  }

  /** It could not be handed out: it ends, and the lease has no cgroup of this name any more. */
  async discard(leaseId: string, prepared: Prepared): Promise<void> {
    this.#names.delete(leaseId);
    this.#lent.delete(prepared);
    this.#later(fillDelayMs);
    await this.#end(prepared);
  }

  /** The guest of a lease is gone, wherever it came from. */
  gone(leaseId: string): void {
    const name = this.#names.get(leaseId) ?? leaseId;
    this.#names.delete(leaseId);
    for (const [uid, holder] of this.#taken) if (holder === name) this.#taken.delete(uid);
  }

  /** A guest of an earlier life holds this uid. `name`: its cgroup's. */
  adopt(uid: number, name: string): void {
    this.#taken.set(uid, name);
  }

  /** The starter says that one has ended. */
  exited(name: string): void {
    const index = this.#ready.findIndex((prepared) => prepared.name === name);
    for (const prepared of index < 0 ? [] : this.#ready.splice(index, 1)) void this.#end(prepared);
  }

  /** The node's state has changed: ends all when they are in the way. */
  check(): void {
    if (this.#ready.length === 0) return;
    const cores = new Set(this.#options.cores());
    if (this.#ready.some((prepared) => !prepared.cores.every((core) => cores.has(core)))) this.drain();
  }

  drain(): void {
    for (const prepared of this.#ready.splice(0)) void this.#end(prepared);
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.drain();
  }

  async #end({ name, uid }: Prepared): Promise<void> {
    try {
      const stop = (): Promise<void> => this.#options.stop(name);
      await clearGuest(this.#options.tree, name, { stop, stuckAfterMs: stuckMs });
      this.#taken.delete(uid);
    } catch (thrown) {
      this.#options.onProblem(`prepared executor ${name} does not end: ${toSubletError(thrown).message}`);
    }
  }

  /** How many are wanted: demand of the last `idleMs`. */
  #target(): number {
    const since = this.#options.nowMs() - this.#options.idleMs;
    this.#starts = this.#starts.filter((at) => at > since).slice(-maxStarts);
    return Math.min(this.#max, this.#starts.length);
  }

  #later(delayMs: number): void {
    if (this.#closed) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#fit(), delayMs);
  }

  /** Makes the pool fit the demand, one executor at a time; looks again when the oldest demand is too old. */
  async #fit(): Promise<void> {
    if (this.#filling !== undefined) return this.#later(fillDelayMs);
    const cores = this.#options.cores();
    const target = this.#target();
    for (const prepared of this.#ready.splice(Math.max(0, target - this.#lent.size)))
      void this.#end(prepared);
    const uid = cores.length > 0 && this.size < target ? this.#freeUid() : undefined;
    const [oldest] = this.#starts;
    if (oldest !== undefined)
      this.#later(Math.max(fillDelayMs, oldest + this.#options.idleMs - this.#options.nowMs()) + 1);
    if (uid === undefined) return;
    const limits: GuestLimits = {
      cores,
      mems: this.#options.mems,
      cpuQuotaCores: 1,
      memoryBytes: this.#options.memoryBytes,
      pidsMax: 80,
    };
    let prepared = { name: `pool-${randomBytes(9).toString("base64url")}`, uid, cores, limits, port: 0 };
    this.#filling = prepared;
    this.#taken.set(uid, prepared.name);
    try {
      const dirs = createGuest(this.#options.tree, prepared.name, limits);
      prepared = { ...prepared, ...(await this.#options.prepare(prepared, dirs)) };
      if (this.#closed) return void (await this.#end(prepared));
      this.#ready.push(prepared);
      this.check(); // what came meanwhile
      this.#later(1);
      this.#options.onReady?.();
    } catch (thrown) {
      this.#options.onProblem(`no executor could be prepared: ${toSubletError(thrown).message}`);
      await this.#end(prepared);
    } finally {
      this.#filling = undefined;
    }
  }

  #freeUid(): number | undefined {
    const { uidFirst, uidCount } = this.#options;
    for (let uid = uidFirst; uid < uidFirst + uidCount; uid++) if (!this.#taken.has(uid)) return uid;
    return undefined;
  }
}
