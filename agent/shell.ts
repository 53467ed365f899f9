/**
 * Carries out what the reactor decides: the one owner of the agent's state. Events are handled one at a time, in the order
 * in which they come, also those that an effect causes; effects that take time report back with an event of their own.
 */
import { SubletError } from "../src/common/errors.ts";
import { logEvent } from "../src/common/log-events.ts";
import { guestMemoryBytes, limitGuest } from "./cgroup/guests.ts";
import { type ExecutorSettings, Executors } from "./executor/executors.ts";
import type { Starter } from "./executor/starter.ts";
import { LeaseSteps } from "./lease-steps.ts";
import type { AgentEvent, Answer, Effect } from "./reactor/events.ts";
import { nextWakeMs, react } from "./reactor/react.ts";
import { type AgentState, type Guest, initialState } from "./reactor/state.ts";
import { inTheWayOf } from "./reactor/vouchers.ts";

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

export interface ShellOptions extends ExecutorSettings {
  readonly availableBytes: () => number;
  readonly nowMs?: () => number;
}

type CallEvent = Extract<AgentEvent, { call: number }>;
/** An event that wants an answer, before it has a number. */
export type Ask = CallEvent extends infer E ? (E extends CallEvent ? Omit<E, "call"> : never) : never;

/** Memory is looked at again before a grant when the last look is older. */
const memoryFreshMs = 100;
/**
 * What is on a lease's way to its client. Listeners hear of it a moment later: accounting, reports, receipts and the guard take
 * longer than granting, and its client waits for none of them.
 */
const onTheWay: ReadonlySet<AgentEvent["type"]> = new Set(["memory", "grant", "started"]);
const newsDelayMs = 2;

export class Shell {
  readonly executors: Executors;
  readonly steps = new LeaseSteps(() => this.nowMs());
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
  #state: AgentState;
  #running = false;
  #closed = false;
  #nextCall = 1;
  #memoryAtMs = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;
  #wakeAtMs: number | undefined;

  constructor(options: ShellOptions) {
    this.#options = options;
    this.#state = initialState(options.setup);
    this.executors = new Executors(options, {
      state: () => this.#state,
      nowMs: () => this.nowMs(),
      dispatch: (event) => this.dispatch(event),
      steps: this.steps,
      release: (leaseId) => this.ask({ type: "release", leaseId, asker: { uid: 0, all: true } }),
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

  setStarter(starter: Starter | undefined): void {
    this.executors.setStarter(starter);
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
      this.executors.check();
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
    const { vouchers } = this.executors;
    const hooked = event.type === "prolog" || event.type === "step";
    if (vouchers.size > 0 && (hooked || (event.type === "grant" && inTheWayOf(this.#state, event.request))))
      await vouchers.withdraw();
    if (event.type === "release") await vouchers.heard(event.leaseId);
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
    this.#closed = true;
    this.executors.close();
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
    if (wakeAtMs === undefined || this.#closed) return;
    const delayMs = Math.min(2 ** 30, Math.max(1, Math.ceil(wakeAtMs - this.nowMs())));
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.dispatch({ type: "timer" });
    }, delayMs);
  }

  #apply(effect: Effect): void {
    switch (effect.type) {
      case "start":
        void this.executors.start(effect.guest, effect.limits);
        break;
      case "end":
        void this.executors.end(effect.leaseId);
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
}
