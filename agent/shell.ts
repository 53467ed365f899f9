/**
 * Carries out what the reactor decides: the one owner of the agent's state. Events are handled one at a time, in the order
 * in which they come, also those that an effect causes; effects that take time report back with an event of their own.
 */
import { SubletError, toSubletError } from "../src/common/errors.ts";
import { logEvent } from "../src/common/log-events.ts";
import { createGuest, type GuestTree, guestDirs, guestMemoryBytes, limitGuest } from "./cgroup/guests.ts";
import type { GuestLimits } from "./cgroup/limits.ts";
import { CodeCache } from "./executor/code.ts";
import { guestMeta } from "./executor/meta.ts";
import { Pool, type PoolOptions, type Prepared } from "./executor/pool.ts";
import type { Starter, StartOrder } from "./executor/starter.ts";
import type { LeaseStats } from "./executor/stats.ts";
import { Vouchers } from "./executor/vouchers.ts";
import { LeaseSteps } from "./lease-steps.ts";
import { coresWithoutJobs } from "./reactor/draft.ts";
import type { AgentEvent, Answer, Effect } from "./reactor/events.ts";
import { nextWakeMs, react } from "./reactor/react.ts";
import { type AgentState, type Guest, initialState, type NodeSetup } from "./reactor/state.ts";
import { inTheWayOf } from "./reactor/vouchers.ts";
import { clearGuest, heldWorthBytes } from "./reclaim/clear.ts";

export interface ShellLog {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** Who wants to know. All are called after the state has changed. */
export interface ShellListener {
  onOffer?(): void;
  /** A lease is asked for; before it is decided. */
  onAsked?(): void;
  /** Events were handled that may have changed jobs or guests: called once for each run of them. */
  onChanged?(): void;
  onLease?(guest: Guest): void;
  onNotify?(holder: number, guest: Guest): void;
  /** A lease has a new end: see the effect. */
  onDraining?(guest: Guest): void;
  onEffect?(effect: Effect): void;
}

export interface ShellOptions {
  readonly setup: NodeSetup;
  readonly tree: GuestTree;
  readonly log: ShellLog;
  readonly availableBytes: () => number;
  /** What the starter must know beyond the guest itself. */
  readonly order: (guest: {
    lease: { id: string };
  }) => Pick<StartOrder, "unixPath" | "tcpAddress" | "spinUs" | "executor" | "fabric">;
  readonly startTimeoutMs: number;
  readonly stats?: LeaseStats;
  /** Executors prepared ahead of leases, under uids that the reactor does not give out. */
  readonly pool?: Pick<PoolOptions, "max" | "idleMs" | "uidFirst" | "uidCount">;
  /** Code of users that the starter may keep; 0 or undefined: none. */
  readonly codeCacheBytes?: number;
  /** Folders below which it may read code in place of being sent it. */
  readonly codeFromPaths?: readonly string[];
  readonly nowMs?: () => number;
}

type CallEvent = Extract<AgentEvent, { call: number }>;
/** An event that wants an answer, before it has a number. */
export type Ask = CallEvent extends infer E ? (E extends CallEvent ? Omit<E, "call"> : never) : never;

/** Memory is looked at again before a grant when the last look is older. */
const memoryFreshMs = 100;
const stopTimeoutMs = 5_000;
/**
 * What is on a lease's way to its client. Listeners hear of it a moment later: accounting, reports, receipts and the guard take
 * longer than granting, and its client waits for none of them.
 */
const onTheWay: ReadonlySet<AgentEvent["type"]> = new Set(["memory", "grant", "started"]);
const newsDelayMs = 2;
/** With less than this beyond the reserve, nothing is prepared ahead. */
const poolMemoryBytes = 256 * 1024 * 1024;

export class Shell {
  readonly pool: Pool;
  readonly vouchers: Vouchers;
  readonly steps = new LeaseSteps(() => this.nowMs());
  readonly code: CodeCache;
  readonly #options: ShellOptions;
  readonly #listeners: ShellListener[] = [];
  readonly #calls = new Map<
    number,
    { resolve: (answer: Answer) => void; reject: (error: SubletError) => void }
  >();
  readonly #queue: AgentEvent[] = [];
  /** What listeners have still to hear, in order. */
  #news: Effect[] = [];
  #newsTimer: NodeJS.Timeout | undefined;
  readonly #abort = new AbortController();
  #state: AgentState;
  #starter: Starter | undefined;
  #running = false;
  #nextCall = 1;
  #memoryAtMs = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;
  #wakeAtMs: number | undefined;

  constructor(options: ShellOptions) {
    this.#options = options;
    this.#state = initialState(options.setup);
    this.pool = new Pool({
      ...(options.pool ?? { max: 0, idleMs: 0, uidFirst: 0, uidCount: 0 }),
      tree: options.tree,
      mems: options.setup.mems,
      memoryBytes: options.setup.memoryBytes,
      nowMs: () => this.nowMs(),
      prepare: (prepared, cgroups) => this.#prepare(prepared, cgroups),
      stop: async (name) => this.#starter?.stop(name, stopTimeoutMs),
      cores: () => this.#poolCores(),
      onProblem: (message) => options.log.warn({}, message),
      onReady: () => this.vouchers.later(),
    });
    this.vouchers = new Vouchers({
      pool: this.pool,
      state: () => this.#state,
      nowMs: () => this.nowMs(),
      dispatch: (event) => this.dispatch(event),
      starter: () => this.#starter,
      limit: (leaseId, limits, prepared) => this.#limitPrepared(leaseId, limits, prepared),
      order: (guest, limits, { name }) =>
        this.#orderOf(
          guest,
          limits,
          guestDirs(options.tree, guest.lease.id),
          name === guest.lease.id ? undefined : name,
        ),
      release: (leaseId) => void this.#releaseUnclaimed(leaseId),
      openStats: (guest, path) => this.#openStatsNow(guest, path),
      onProblem: (message) => options.log.warn({}, message),
    });
    this.code = new CodeCache({
      maxBytes: options.codeCacheBytes ?? 0,
      paths: options.codeFromPaths ?? [],
      tell: async (limits) => this.#starter?.code(limits, stopTimeoutMs),
      tellPaths: async (paths) => this.#starter?.paths(paths, stopTimeoutMs),
      open: () => this.#poolCores().length > 0,
      onProblem: (message) => options.log.warn({}, message),
    });
  }

  get state(): AgentState {
    return this.#state;
  }

  nowMs(): number {
    return this.#options.nowMs?.() ?? performance.now();
  }

  listen(listener: ShellListener): void {
    this.#listeners.push(listener);
  }

  get starter(): Starter | undefined {
    return this.#starter;
  }

  setStarter(starter: Starter | undefined): void {
    this.#starter = starter;
    this.vouchers.starterChanged();
    this.code.setConnected(starter !== undefined);
    this.dispatch({ type: "starter", up: starter !== undefined });
  }

  /**
   * Handles an event; what it sets off is handled before this returns, unless an event is being handled already. Listeners
   * hear of effects in their order: see onTheWay.
   */
  dispatch(event: AgentEvent): void {
    this.#queue.push(event);
    if (!this.#running) this.#run();
  }

  #run(): void {
    this.#running = true;
    let later = true;
    try {
      for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) {
        const waits = onTheWay.has(next.type);
        if (!waits) this.#tellNews();
        later &&= waits;
        const reaction = react(this.#state, next, this.nowMs(), Date.now());
        this.#state = reaction.state;
        for (const effect of reaction.effects) {
          this.#apply(effect);
          if (waits) this.#news.push(effect);
          else this.#tell(effect);
        }
      }
    } finally {
      this.#running = false;
      if (later) this.#newsTimer ??= setTimeout(() => this.#changed(), newsDelayMs);
      else this.#changed();
      this.#arm();
      this.pool.check();
      this.vouchers.check();
      this.code.check();
    }
  }

  /** Listeners hear now what they were to hear a moment later. */
  settle(): void {
    if (this.#newsTimer !== undefined) this.#changed();
  }

  #tell(effect: Effect): void {
    for (const listener of this.#listeners) {
      listener.onEffect?.(effect);
      if (effect.type === "offer") listener.onOffer?.();
      if (effect.type === "lease") listener.onLease?.(effect.guest);
      if (effect.type === "draining") listener.onDraining?.(effect.guest);
      if (effect.type === "notify") listener.onNotify?.(effect.holder, effect.guest);
    }
  }

  /** What listeners set off meanwhile is handled after all have heard all: see #changed. */
  #tellNews(): void {
    const running = this.#running;
    this.#running = true;
    try {
      for (const effect of this.#news.splice(0)) this.#tell(effect);
    } finally {
      this.#running = running;
    }
  }

  #changed(): void {
    clearTimeout(this.#newsTimer);
    this.#newsTimer = undefined;
    this.#tellNews();
    if (!this.#running && this.#queue.length > 0) this.#run();
    for (const listener of this.#listeners) listener.onChanged?.();
  }

  /** Handles an event that wants an answer. Rejects with a SubletError. */
  async ask(event: Ask): Promise<Answer> {
    const hooked = event.type === "prolog" || event.type === "step";
    if (
      this.vouchers.size > 0 &&
      (hooked || (event.type === "grant" && inTheWayOf(this.#state, event.request)))
    )
      await this.vouchers.withdraw();
    if (event.type === "release") await this.vouchers.heard(event.leaseId);
    return this.#askNow(event);
  }

  #askNow(event: Ask): Promise<Answer> {
    if (event.type === "grant") {
      this.steps.begin(event.leaseId);
      this.sampleMemory(memoryFreshMs);
      for (const listener of this.#listeners) listener.onAsked?.();
    }
    const call = this.#nextCall++;
    const answered = new Promise<Answer>((resolve, reject) => {
      this.#calls.set(call, { resolve, reject });
      this.dispatch({ ...event, call });
    });
    if (event.type === "grant")
      answered.then(
        () => this.#tellWay(event.leaseId),
        () => this.steps.end(event.leaseId),
      );
    return answered;
  }

  #tellWay(leaseId: string): void {
    this.steps.mark(leaseId, "answer");
    const tookMs = this.steps.end(leaseId);
    if (tookMs !== undefined) this.#options.log.debug({ lease: leaseId, tookMs }, "lease answered");
  }

  /** Reads what memory is available and what guests use, unless that was done within `freshMs`. */
  sampleMemory(freshMs = 0): void {
    const now = this.nowMs();
    if (now - this.#memoryAtMs < freshMs) return;
    this.#memoryAtMs = now;
    const touchedBytes = new Map<string, number>();
    for (const [id, guest] of this.#state.guests)
      if (guest.phase === "running") touchedBytes.set(id, guestMemoryBytes(this.#options.tree, id) ?? 0);
    this.dispatch({ type: "memory", availableBytes: this.#options.availableBytes(), touchedBytes });
  }

  /** Stops timers and waits. Guests stay. */
  close(): void {
    this.settle();
    this.#abort.abort();
    this.vouchers.close();
    this.pool.close();
    this.code.close();
    clearTimeout(this.#timer);
    for (const { reject } of this.#calls.values())
      reject(new SubletError("UNAVAILABLE", "the agent is ending"));
    this.#calls.clear();
  }

  #arm(): void {
    const wakeAtMs = nextWakeMs(this.#state);
    if (wakeAtMs === this.#wakeAtMs && this.#timer !== undefined) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#wakeAtMs = wakeAtMs;
    if (wakeAtMs === undefined || this.#abort.signal.aborted) return;
    const delayMs = Math.min(2 ** 30, Math.max(1, Math.ceil(wakeAtMs - this.nowMs())));
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.dispatch({ type: "timer" });
    }, delayMs);
  }

  #apply(effect: Effect): void {
    switch (effect.type) {
      case "start":
        void this.#start(effect.guest, effect.limits);
        break;
      case "end":
        void this.#end(effect.leaseId);
        break;
      case "limit": {
        const alarms = limitGuest(this.#options.tree, effect.leaseId, effect.limits);
        if (alarms.length > 0)
          this.#options.log.error({ lease: effect.leaseId, alarms }, "limits did not take");
        break;
      }
      case "answer":
        this.#calls.get(effect.call)?.resolve(effect.answer);
        this.#calls.delete(effect.call);
        break;
      case "refuse":
        this.#calls.get(effect.call)?.reject(effect.error);
        this.#calls.delete(effect.call);
        break;
      case "missed":
        this.#options.log.warn(
          logEvent("prolog_missed", { job: effect.jobId, leases: effect.leases }),
          "a job appeared on lent capacity without a prolog: taken back now; is sublet-hook in slurm.conf?",
        );
        break;
      case "unshared":
        this.#options.log.info({ leases: effect.leases }, "a job uses what it shared, or does not consent");
        break;
      case "ended":
        this.#logEnd(effect.guest);
        break;
      case "ready":
      case "offer":
      case "lease":
      case "notify":
      case "draining":
        break;
    }
  }

  /** Leases come and go by the thousand: only those that were taken, or that crashed, are worth a line to anybody. */
  #logEnd({ lease }: Guest): void {
    const { log } = this.#options;
    const { id, state, reason, owner, cores } = lease;
    const fields = { lease: id, state, reason, uid: owner.uid, cores: cores.length };
    // That it did not start was told.
    if (state !== "REVOKED" || reason === "start_failed") {
      log.debug(fields, "lease ended");
      return;
    }
    const { jobs, announced } = this.#state;
    const beside = [...jobs.values()].filter((job) => job.cores?.some((core) => cores.includes(core)));
    const named = { ...fields, jobs: [...beside.map(({ jobId }) => jobId), ...announced.keys()] };
    if (reason === "executor_lost") log.warn(logEvent("executor_crashed", named), "lease ended");
    else log.info(logEvent("lease_revoked", named), "lease ended");
  }

  async #start(guest: Guest, limits: GuestLimits): Promise<void> {
    const { lease } = guest;
    this.steps.mark(lease.id, "decide");
    try {
      if (this.#starter === undefined)
        throw new SubletError("UNAVAILABLE", "sublet-starter is not connected");
      const prepared = lease.kind === "function" ? this.pool.take(lease.id) : undefined;
      if (prepared !== undefined && (await this.#handOut(guest, limits, prepared))) return;
      const order = this.#orderOf(guest, limits, createGuest(this.#options.tree, lease.id, limits));
      this.steps.mark(lease.id, "cgroup");
      const { port, stats } = await this.#starter.start(order, this.#options.startTimeoutMs);
      this.steps.mark(lease.id, "starter");
      this.dispatch({ type: "started", leaseId: lease.id, port });
      this.#openStats(guest, stats);
    } catch (thrown) {
      const { message } = toSubletError(thrown);
      // One that was taken back meanwhile is meant to fail.
      if (this.#state.guests.get(lease.id)?.phase === "starting")
        this.#options.log.error(
          logEvent("executor_not_started", { lease: lease.id, message }),
          "executor did not start",
        );
      this.dispatch({ type: "start_failed", leaseId: lease.id, message });
    }
  }

  #orderOf(guest: Guest, limits: GuestLimits, cgroups: readonly string[], name?: string): StartOrder {
    const { lease } = guest;
    return {
      ...this.#options.order(guest),
      leaseId: lease.id,
      uid: guest.uid,
      gid: guest.uid,
      cgroups,
      kind: lease.kind,
      cores: lease.cores,
      ownerUid: lease.owner.uid,
      memoryBytes: lease.memoryBytes,
      pidsMax: limits.pidsMax,
      token: guest.token,
      meta: guestMeta(guest, name),
      ...(name === undefined ? {} : { pool: name }),
    };
  }

  /** After its client has its answer. */
  #openStats(guest: Guest, path: string | undefined): void {
    setImmediate(() => this.#openStatsNow(guest, path));
  }

  #openStatsNow({ lease, startedAtMs }: Guest, path: string | undefined): void {
    if (!this.#state.guests.has(lease.id)) return; // It is gone already.
    this.#options.stats?.open(lease.id, path, lease.cores.length, startedAtMs);
  }

  /** Binds a prepared executor to a lease that starts. False: start one as if there were none. @throws when it is over. */
  async #handOut(guest: Guest, limits: GuestLimits, prepared: Prepared): Promise<boolean> {
    const { tree, log, startTimeoutMs } = this.#options;
    const { id } = guest.lease;
    try {
      this.#limitPrepared(id, limits, prepared);
      this.steps.mark(id, "cgroup");
      const order = this.#orderOf(
        { ...guest, uid: prepared.uid },
        limits,
        guestDirs(tree, id),
        prepared.name,
      );
      const begun = await this.#starter?.start(order, startTimeoutMs);
      if (begun === undefined) throw new SubletError("UNAVAILABLE", "sublet-starter is not connected");
      this.steps.mark(id, "starter");
      this.dispatch({ type: "started", leaseId: id, port: begun.port, uid: prepared.uid });
      this.#openStats(guest, begun.stats);
      return true;
    } catch (thrown) {
      if (this.#state.guests.get(id)?.phase !== "starting") throw thrown; // its end sees to the executor
      log.warn({ lease: id, message: toSubletError(thrown).message }, "prepared executor is of no use");
      void this.pool.discard(id, prepared);
      return false;
    }
  }

  #limitPrepared(leaseId: string, limits: GuestLimits, prepared: Prepared): void {
    const { tree } = this.#options;
    if (prepared.limits === undefined) return void createGuest(tree, leaseId, limits);
    const alarms = limitGuest(tree, leaseId, limits, prepared.limits);
    if (alarms.length > 0) throw new SubletError("INTERNAL", alarms.join("; "));
  }

  /** Its client has gone while it was handed out, or its stream was cut. */
  async #releaseUnclaimed(leaseId: string): Promise<void> {
    if (this.#state.guests.get(leaseId)?.holder !== undefined) return;
    try {
      await this.ask({ type: "release", leaseId, asker: { uid: 0, all: true } });
      this.#options.log.info({ lease: leaseId }, "a lease that nobody holds was given back");
    } catch {
      // It has ended by itself.
    }
  }

  async #prepare(prepared: Prepared, cgroups: readonly string[]): Promise<{ port: number }> {
    if (this.#starter === undefined) throw new SubletError("UNAVAILABLE", "sublet-starter is not connected");
    const { name, uid } = prepared;
    const order: StartOrder = {
      ...this.#options.order({ lease: { id: name } }),
      leaseId: name,
      uid,
      gid: uid,
      cgroups,
      kind: "function",
      cores: prepared.cores,
      ownerUid: 0,
      memoryBytes: this.#options.setup.memoryBytes,
      pidsMax: 1,
      token: "0".repeat(64),
      meta: "",
    };
    return this.#starter.prepare(order, this.#options.startTimeoutMs);
  }

  /** Where prepared executors may sleep, and code be kept: nowhere while a job comes, or memory is short, or nothing is lent at all. */
  #poolCores(): readonly number[] {
    const { adopted, starterUp, leaving, drain, lending, announced, waits, memoryAvailableBytes, setup } =
      this.#state;
    const short = memoryAvailableBytes < setup.reserveMemoryBytes + poolMemoryBytes;
    const hooked = [...waits.values()].some((wait) => wait.kind === "hook");
    const closed = leaving || drain !== undefined || lending !== "on";
    if (!adopted || !starterUp || closed || announced.size > 0 || hooked || short) return [];
    return coresWithoutJobs(this.#state);
  }

  async #end(leaseId: string): Promise<void> {
    const { tree, log, setup } = this.#options;
    const starter = this.#starter;
    try {
      const cleared = await clearGuest(tree, leaseId, {
        signal: this.#abort.signal,
        stop: starter === undefined ? undefined : () => starter.stop(leaseId, stopTimeoutMs),
        cores: coresWithoutJobs(this.#state),
        stuckAfterMs: setup.hookTimeoutMs,
        onStuck: (pids) =>
          log.error({ lease: leaseId, pids }, "guest does not end: look for processes in state D"),
      });
      if (cleared.heldBytes > heldWorthBytes)
        log.error(
          { lease: leaseId, bytes: cleared.heldBytes },
          "memory is not returned: a process on this node still maps the region of an ended guest",
        );
    } catch (thrown) {
      log.error({ lease: leaseId, message: toSubletError(thrown).message }, "guest is not gone");
      return; // Its capacity stays taken: nobody may use what it still may.
    }
    this.#options.stats?.close(leaseId);
    this.dispatch({ type: "guest_gone", leaseId });
    this.pool.gone(leaseId);
  }
}
