/**
 * The guard: looks at the signals while guests are beside jobs, decides (decide.ts), and holds guests back through their
 * cgroups. Ending a lease is the reactor's: the guard only says which.
 *
 * No guest beside a job: no timer, no reads. Otherwise one look per interval, more often while a signal is hot or a
 * guest is held, at once when the kernel tells of memory pressure (trigger.ts), and never so often that the guard itself costs more than its budget.
 *
 * What it holds is in the kernel's files, not in a file of its own. An agent that dies leaves its guests as they are; the
 * next one reads from their cgroups who is throttled or frozen, and goes on or lets go from there. A guest that is
 * frozen is never a job's cgroup: all paths come from the tree of guests.
 */
import { toSubletError } from "../../src/common/errors.ts";
import { logEvent } from "../../src/common/log-events.ts";
import { isDurable } from "../../src/common/nouns.ts";
import { type GuardMetrics, guardMetrics } from "../../src/metrics/guard.ts";
import type { Registry } from "../../src/metrics/registry.ts";
import type { GuestTree } from "../cgroup/guests.ts";
import { settleRoot } from "../cgroup/priority.ts";
import { freezeGuest, guestFrost, guestQuotaCores, holdQuota } from "../cgroup/throttle.ts";
import type { AgentLog } from "../log.ts";
import type { AgentEvent } from "../reactor/events.ts";
import type { AgentState, Guest } from "../reactor/state.ts";
import type { ShellListener } from "../shell.ts";
import {
  closedBy,
  decide,
  freshHold,
  type GuardAction,
  type GuardState,
  type Hold,
  initialGuardState,
  type Reading,
  severity,
} from "./decide.ts";
import type { GuardPolicy } from "./policy.ts";
import type { Scene, Signals } from "./signals.ts";
import type { SignalName } from "./table.ts";
import { type PressureTrigger, watchPressure } from "./trigger.ts";

/** What the guard wants of the agent's shell. */
export interface GuardShell {
  readonly state: AgentState;
  nowMs(): number;
  dispatch(event: AgentEvent): void;
  listen(listener: ShellListener): void;
}

/** One action as it was done; `jobIds` are the batch jobs that were beside the guest. */
export interface GuardNote {
  readonly action: GuardAction["action"];
  readonly signal: GuardAction["cause"]["signal"];
  readonly leaseId: string;
  readonly jobIds: readonly number[];
  readonly value: number;
  readonly threshold: number;
}

export interface GuardOptions {
  readonly shell: GuardShell;
  readonly tree: GuestTree;
  readonly signals: Signals;
  readonly policy: GuardPolicy;
  readonly registry: Registry;
  readonly log: AgentLog;
}

const memoryPressure = "/proc/pressure/memory";

/** Cores' worth of CPU time of a guest that nobody holds: see limitsFor. */
const fullQuota = (guest: Guest): number => Math.max(1, guest.lease.cores.length);

/** How long the kernel's alarm is kept armed with nothing to look at. */
const restMs = 30_000;

/** Out of a job's way: the reactor bounds for how long. An administrator may give hours. */
const isMoving = ({ lease }: Guest): boolean =>
  isDurable(lease) && lease.state === "DRAINING" && lease.reason !== "admin";

export class Guard {
  readonly #options: GuardOptions;
  readonly #metrics: GuardMetrics;
  readonly #listeners: ((note: GuardNote) => void)[] = [];
  #policyRefused = false;
  #policy: GuardPolicy;
  #state: GuardState = initialGuardState;
  #timer: NodeJS.Timeout | undefined;
  #intervalMs = 0;
  #costMs = 0;
  #lookedMs = Number.NEGATIVE_INFINITY;
  #trigger: PressureTrigger | undefined;
  #restTimer: NodeJS.Timeout | undefined;
  #closed = false;
  #ended = false;

  constructor(options: GuardOptions) {
    this.#options = options;
    this.#policy = options.policy;
    this.#metrics = guardMetrics(options.registry, () => this.#show());
    this.#tellLacking();
    this.#adopt();
    options.shell.listen({
      onEffect: (effect) => {
        if (effect.type === "draining" && isMoving(effect.guest)) this.#letMove(effect.guest);
        if (effect.type === "ready" || effect.type === "offer") this.check();
      },
    });
    this.check();
  }

  get policy(): GuardPolicy {
    return this.#policy;
  }

  /** Who wants to know of every action, e.g. for the receipts of jobs. */
  onAction(listener: (note: GuardNote) => void): void {
    this.#listeners.push(listener);
  }

  /** Guests or jobs may have come or gone. */
  check(): void {
    if (this.#ended || this.#timer !== undefined || !this.#wanted()) return;
    this.#options.signals.reset();
    const { use, enter } = this.#policy.signals.node_memory_pressure;
    clearTimeout(this.#restTimer);
    if (use) this.#trigger ??= watchPressure(memoryPressure, enter, () => this.#pressed());
    this.#look();
  }

  /** For the agent's slow tick. */
  tick(): void {
    this.check();
    if (this.#ended || this.#timer !== undefined) return;
    const { signals, shell } = this.#options;
    const jobs =
      this.#policy.mode === "off" ? [] : [...shell.state.jobs.values()].filter((job) => job.present);
    if (jobs.length > 0 && this.#guests().length > 0) return;
    signals.alone(this.#policy, jobs, shell.nowMs());
    this.#tellLacking();
  }

  /** Of what the policy asks for and this machine has not, once. */
  #tellLacking(): void {
    const { signals, log } = this.#options;
    const lacking = signals.lacking(this.#policy);
    if (lacking !== undefined) log.warn({ lacking }, "guard: signals that the policy asks for are not here");
  }

  /** The kernel says that memory is short: look now. */
  #pressed(): void {
    const sinceMs = this.#options.shell.nowMs() - this.#lookedMs;
    if (this.#timer === undefined || sinceMs < this.#policy.intervalFastMs) return;
    clearTimeout(this.#timer);
    this.#look();
  }

  /** Nothing to look at. The kernel's alarm stays for a while: to close it makes this thread wait for all cores. */
  #rest(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#trigger === undefined) return;
    clearTimeout(this.#restTimer);
    this.#restTimer = setTimeout(() => this.#disarm(), restMs).unref();
  }

  #disarm(): void {
    clearTimeout(this.#restTimer);
    this.#trigger?.close();
    this.#trigger = undefined;
  }

  /** The last policy that was read could not be taken. */
  get policyRefused(): boolean {
    return this.#policyRefused;
  }

  /** A policy was read that cannot be taken: the one in force stays. */
  refused(message: string): void {
    this.#policyRefused = true;
    this.#metrics.reloads.inc({ outcome: "refused" });
    this.#options.log.error({ reasons: message.split("\n") }, "guard policy refused: the old one stays");
  }

  /** From now on by this policy. */
  take(policy: GuardPolicy): void {
    const { log, tree } = this.#options;
    this.#policy = policy;
    this.#policyRefused = false;
    this.#metrics.reloads.inc({ outcome: "taken" });
    log.info({ mode: this.#policy.mode }, "guard policy taken");
    if (this.#policy.mode !== "act") this.#letAllGo();
    if (tree.priority !== undefined) {
      tree.priority.wanted = this.#policy.cpuPriority;
      tree.priority.quotaCores = this.#policy.guestQuotaCores;
      for (const guest of this.#guests()) {
        const { id } = guest.lease;
        this.#alarm("quota", holdQuota(tree, id, fullQuota(guest), tree.holds?.get(id)));
      }
    }
    this.#alarm("priority", settleRoot(tree));
    this.#rest();
    this.#disarm(); // its threshold may be another one
    this.#tellLacking();
    this.check();
  }

  close(): void {
    this.#ended = true;
    this.#options.signals.close();
    this.#rest();
    this.#disarm();
  }

  /** Running guests: those that start or end are the reactor's alone. */
  #guests(): Guest[] {
    return [...this.#options.shell.state.guests.values()].filter((guest) => guest.phase === "running");
  }

  #wanted(): boolean {
    if (this.#policy.mode === "off") return false;
    if (this.#state.holds.size > 0 && [...this.#state.holds.values()].some((hold) => hold.rung > 0))
      return true;
    const { jobs } = this.#options.shell.state;
    return this.#closed || (this.#guests().length > 0 && [...jobs.values()].some((job) => job.present));
  }

  /** What an earlier life held. */
  #adopt(): void {
    const { tree, shell, log } = this.#options;
    const holds = new Map<string, Hold>();
    const top = this.#policy.rungs.length - 1;
    for (const guest of this.#guests()) {
      const { id } = guest.lease;
      const quotaCores = guestQuotaCores(tree, id) ?? Number.POSITIVE_INFINITY;
      const percent = (100 * quotaCores) / fullQuota(guest);
      const frozen = (guestFrost(tree, id) ?? "thawed") !== "thawed";
      if (!frozen && percent > 99.5) continue;
      const nearest = this.#policy.rungs.findIndex((rung) => rung.quotaPercent <= percent + 0.5);
      const stays = frozen && !isDurable(guest.lease);
      if (frozen && !stays) this.#alarm("thaw", freezeGuest(tree, id, false));
      const rung = stays ? top : Math.min(top - 1, nearest < 0 ? top - 1 : nearest);
      const nowMs = shell.nowMs();
      holds.set(id, { ...freshHold, rung, changedMs: nowMs, frozenSinceMs: stays ? nowMs : undefined });
      log.warn({ lease: id, frozen, quotaCores }, "guard: an earlier life of the agent held this guest back");
    }
    this.#state = { ...this.#state, holds };
    if (this.#policy.mode !== "act") this.#letAllGo();
  }

  #letAllGo(): void {
    const { tree } = this.#options;
    for (const guest of this.#guests()) {
      const hold = this.#state.holds.get(guest.lease.id);
      if (hold === undefined || hold.rung === 0) continue;
      this.#alarm("thaw", freezeGuest(tree, guest.lease.id, false));
      this.#alarm("relax", holdQuota(tree, guest.lease.id, fullQuota(guest), undefined));
    }
    this.#state = initialGuardState;
    this.#close(false);
  }

  #look(): void {
    this.#timer = undefined;
    if (this.#ended) return;
    const before = process.threadCpuUsage();
    try {
      this.#sampleAndAct();
    } catch (thrown) {
      this.#metrics.alarms.inc();
      this.#options.log.error(
        { message: toSubletError(thrown).message },
        "guard: cannot look at its signals",
      );
    }
    const used = process.threadCpuUsage(before);
    const ms = (used.user + used.system) / 1000;
    this.#metrics.cpuSeconds.inc(ms / 1000);
    // The first looks pay for code that is not compiled yet: a mean forgets them.
    this.#costMs = this.#costMs === 0 ? ms : 0.8 * this.#costMs + 0.2 * ms;
    this.#arm();
  }

  #arm(): void {
    if (this.#ended || !this.#wanted()) {
      this.#rest();
      this.#intervalMs = 0;
      return;
    }
    const { intervalMs, intervalFastMs, costMaxPercent } = this.#policy;
    const busy = this.#state.hot.size > 0 || [...this.#state.holds.values()].some((hold) => hold.rung > 0);
    const affordableMs = (100 * this.#costMs) / costMaxPercent;
    this.#intervalMs = Math.max(busy ? intervalFastMs : intervalMs, affordableMs);
    this.#timer = setTimeout(() => this.#look(), this.#intervalMs);
  }

  #sampleAndAct(): void {
    const { shell, signals } = this.#options;
    const nowMs = shell.nowMs();
    this.#lookedMs = nowMs;
    const guests = this.#guests();
    const scene: Scene = {
      nowMs,
      jobs: [...shell.state.jobs.values()].filter((job) => job.present),
      guests: guests.map(({ lease, cores }) => ({
        leaseId: lease.id,
        cores,
        held: (this.#state.holds.get(lease.id)?.rung ?? 0) > 0,
      })),
    };
    const readings = scene.jobs.length === 0 ? [] : signals.sample(this.#policy, scene);
    this.#metrics.samples.inc();
    this.#tellLacking();
    this.#showReadings(readings);
    const facts = guests.map((guest) => ({
      leaseId: guest.lease.id,
      kind: guest.lease.kind,
      cores: guest.lease.cores.length,
      memoryBytes: guest.lease.memoryBytes,
      grantedUnixMs: guest.grantedUnixMs,
      durable: isDurable(guest.lease),
      moving: isMoving(guest),
    }));
    const { state, actions } = decide(this.#policy, this.#state, facts, readings, nowMs);
    this.#state = state;
    for (const action of actions) this.#act(action);
    this.#close(this.#policy.mode === "act" && closedBy(this.#policy, state, nowMs));
  }

  /** Whether the node lends nothing new. */
  #close(closed: boolean): void {
    if (closed === this.#closed) return;
    this.#closed = closed;
    this.#options.shell.dispatch({ type: "guard", leaseIds: [], closed });
  }

  #act({ action, leaseId, rung, cause }: GuardAction): void {
    const { tree, shell, log } = this.#options;
    const guest = shell.state.guests.get(leaseId);
    if (guest === undefined) return;
    const jobIds = [...shell.state.jobs.values()].filter((job) => job.present).map((job) => job.jobId);
    const { signal, value, threshold } = cause;
    const watching = this.#policy.mode === "watch";
    const fields = { lease: leaseId, signal, value: Math.round(value * 100) / 100, threshold, jobs: jobIds };
    log.warn(
      logEvent("guard_acted", { ...fields, quotaPercent: rung?.quotaPercent }),
      `guard: ${watching ? "would " : ""}${action}`,
    );
    this.#metrics.actions.inc({ action });
    for (const listener of this.#listeners) listener({ action, signal, leaseId, jobIds, value, threshold });
    if (watching) return;
    if (rung === undefined) {
      shell.dispatch({ type: "guard", leaseIds: [leaseId], closed: this.#closed });
      return;
    }
    const alarms = freezeGuest(tree, leaseId, rung.action === "freeze");
    const full = fullQuota(guest);
    const held = rung.action === "none" ? undefined : (full * rung.quotaPercent) / 100;
    this.#alarm(action, [...alarms, ...holdQuota(tree, leaseId, full, held)]);
  }

  /** The sooner it has moved, the sooner the job has its memory back: whatever it was held to, it runs. */
  #letMove(guest: Guest): void {
    const { tree } = this.#options;
    const { id } = guest.lease;
    if (tree.holds?.has(id) === true) this.#alarm("relax", holdQuota(tree, id, fullQuota(guest), undefined));
  }

  #alarm(action: string, alarms: readonly string[]): void {
    if (alarms.length === 0) return;
    this.#metrics.alarms.inc();
    this.#options.log.error({ action, alarms }, "guard: the kernel did not take it");
  }

  #showReadings(readings: readonly Reading[]): void {
    const worst = new Map<SignalName, number>();
    for (const reading of readings) {
      const ratio = severity(reading, this.#policy.signals[reading.signal]);
      worst.set(reading.signal, Math.max(ratio, worst.get(reading.signal) ?? 0));
    }
    this.#metrics.signals.reset();
    for (const [signal, ratio] of worst) this.#metrics.signals.set({ signal }, ratio);
  }

  #show(): void {
    const holds = [...this.#state.holds.values()];
    const frozen = holds.filter((hold) => hold.frozenSinceMs !== undefined).length;
    this.#metrics.guests.set({ state: "frozen" }, frozen);
    this.#metrics.guests.set({ state: "throttled" }, holds.filter((hold) => hold.rung > 0).length - frozen);
    this.#metrics.intervalSeconds.set(this.#intervalMs / 1000);
  }
}
