/**
 * What to do about guests, given what the signals say: policy, state and readings come in, actions go out. Pure.
 *
 * Each guest stands on a rung of the policy's ladder (none, throttled, more throttled, frozen), beyond which it ends (a
 * region: shrink, a function: evict). A reading that is beyond `enter` for escalate_ms takes a step up, one at
 * `leave` or better for relax_ms a step down; between the two thresholds everything stays.
 *
 *   guest's readings            step
 *   one hot for escalate_ms     up: of all guests that may be the cause, those on the lowest rung; so all are
 *                               throttled before one is frozen, and all frozen before one ends. Where a step is one
 *                               guest's: the newest, then the cheapest, and twice as many at each further step.
 *   all calm for relax_ms       down: those on the highest rung first, the oldest first
 *   neither                     none; a guest that was frozen for freeze.max_ms ends, or (where no signal may go so
 *                               far) is let down to its throttle and not frozen again for as long
 *
 * A durable region is never frozen: clients on other nodes take one that is silent for lost, and with it what they put
 * there. Where it would be, and after all ephemeral regions have ended, it is shrunk, which gives it time to move (reactor).
 * While it moves it takes no step, and nobody else ends either: what it holds comes back when it is gone.
 *
 * A guest that had to be held again soon after it was let down waits twice as long the next time. A guest that comes
 * while others are throttled is throttled at once. What has ended is forgotten, and nothing is decided about it again.
 */
import type { GuardPolicy, Rung, SignalPolicy } from "./policy.ts";
import { type ActionName, actionNames, type SignalName, signalTable } from "./table.ts";

export interface Reading {
  readonly signal: SignalName;
  /** undefined: of the whole node. */
  readonly jobId: number | undefined;
  readonly value: number;
  /** Leases that may be its cause. */
  readonly leaseIds: readonly string[];
}

export interface GuestFacts {
  readonly leaseId: string;
  readonly kind: "function" | "region";
  readonly cores: number;
  readonly memoryBytes: number;
  readonly grantedUnixMs: number;
  /** A region that is to outlive its memory. */
  readonly durable: boolean;
  /** It has begun to move out of a job's way, and will be gone within a time that the job can bear. */
  readonly moving: boolean;
}

export interface Cause {
  /** adopted: an earlier life of the agent held it, and why is not known any more. */
  readonly signal: SignalName | "adopted";
  readonly jobId: number | undefined;
  readonly value: number;
  readonly threshold: number;
}

export interface Hold {
  /** Index into the policy's rungs. */
  readonly rung: number;
  readonly changedMs: number;
  readonly frozenSinceMs: number | undefined;
  readonly calmSinceMs: number | undefined;
  /** When it was last let down; with `relapses`, how often it was held again soon after. */
  readonly relaxedMs: number;
  readonly relapses: number;
  /** Not frozen (again) before. */
  readonly unfrozenUntilMs: number;
  readonly cause: Cause | undefined;
}

export interface GuardState {
  readonly holds: ReadonlyMap<string, Hold>;
  /** Since when a signal is hot; by signal and job. */
  readonly hot: ReadonlyMap<string, number>;
  readonly escalatedMs: number;
  readonly relaxedMs: number;
  /** Guests of the next step up and down, where a step is not the whole node's. */
  readonly batchUp: number;
  readonly batchDown: number;
  readonly endedMs: number;
}

export interface GuardAction {
  readonly action: ActionName | "relax" | "thaw";
  readonly leaseId: string;
  /** The rung to be on; undefined: the lease ends. */
  readonly rung: Rung | undefined;
  readonly cause: Cause;
}

const never = Number.NEGATIVE_INFINITY;
const relapsesMax = 5;
const batchMax = 4096;

export const initialGuardState: GuardState = {
  holds: new Map(),
  hot: new Map(),
  escalatedMs: never,
  relaxedMs: never,
  batchUp: 1,
  batchDown: 1,
  endedMs: never,
};

export const freshHold: Hold = {
  rung: 0,
  changedMs: never,
  frozenSinceMs: undefined,
  calmSinceMs: undefined,
  relaxedMs: never,
  relapses: 0,
  unfrozenUntilMs: never,
  cause: undefined,
};

type Temper = "hot" | "between" | "calm";

export function temperOf(reading: Reading, { enter, leave }: SignalPolicy): Temper {
  const sign = signalTable[reading.signal].bad === "above" ? 1 : -1;
  if (sign * reading.value >= sign * enter) return "hot";
  return sign * reading.value <= sign * leave ? "calm" : "between";
}

/** How far a reading is from its threshold: 1 is at it, more is worse. */
export function severity(reading: Reading, { enter }: SignalPolicy): number {
  const { value } = reading;
  const ratio = signalTable[reading.signal].bad === "above" ? value / enter : enter / Math.max(value, 1e-9);
  return Number.isFinite(ratio) ? ratio : 1;
}

/** What the readings say about one guest. */
interface Verdict {
  readonly temper: Temper;
  /** The hot reading that may go furthest, and of those the worst. */
  readonly cause: Cause | undefined;
  readonly hotSinceMs: number | undefined;
  readonly strongest: ActionName;
}

const strength = (action: ActionName): number => actionNames.indexOf(action);
const ends = (action: ActionName): boolean => strength(action) >= strength("shrink");
const keyOf = (reading: Reading): string => `${reading.signal} ${reading.jobId ?? "node"}`;

/** A step that a guest may take next. */
interface Step {
  readonly facts: GuestFacts;
  readonly hold: Hold;
  readonly cause: Cause;
}

class Decision {
  readonly policy: GuardPolicy;
  readonly nowMs: number;
  readonly guests: ReadonlyMap<string, GuestFacts>;
  readonly holds: Map<string, Hold>;
  readonly hot: Map<string, number>;
  readonly actions: GuardAction[] = [];
  readonly verdicts: Map<string, Verdict>;

  constructor(
    policy: GuardPolicy,
    before: GuardState,
    guests: readonly GuestFacts[],
    readings: readonly Reading[],
    nowMs: number,
  ) {
    this.policy = policy;
    this.nowMs = nowMs;
    this.guests = new Map(guests.map((guest) => [guest.leaseId, guest]));
    const used = readings.filter((reading) => policy.signals[reading.signal].use);
    this.hot = new Map(
      used
        .filter((reading) => temperOf(reading, policy.signals[reading.signal]) === "hot")
        .map((reading) => [keyOf(reading), before.hot.get(keyOf(reading)) ?? nowMs]),
    );
    this.verdicts = new Map(guests.map(({ leaseId }) => [leaseId, this.#verdict(leaseId, used)]));
    this.holds = new Map(guests.map(({ leaseId }) => [leaseId, this.#hold(leaseId, before)]));
  }

  #verdict(leaseId: string, readings: readonly Reading[]): Verdict {
    let temper: Temper = "calm";
    let cause: Cause | undefined;
    let hotSinceMs: number | undefined;
    let strongest: ActionName = "throttle";
    let worst = never;
    for (const reading of readings) {
      if (!reading.leaseIds.includes(leaseId)) continue;
      const signal = this.policy.signals[reading.signal];
      const found = temperOf(reading, signal);
      if (found === "between" && temper === "calm") temper = "between";
      if (found !== "hot") continue;
      temper = "hot";
      const since = this.hot.get(keyOf(reading)) ?? this.nowMs;
      hotSinceMs = Math.min(hotSinceMs ?? since, since);
      const weight = strength(signal.strongest) * 1e6 + Math.min(999_999, severity(reading, signal));
      if (weight <= worst) continue;
      worst = weight;
      strongest = signal.strongest;
      cause = {
        signal: reading.signal,
        jobId: reading.jobId,
        value: reading.value,
        threshold: signal.enter,
      };
    }
    return { temper, cause, hotSinceMs, strongest };
  }

  #hold(leaseId: string, before: GuardState): Hold {
    const moving = this.guests.get(leaseId)?.moving === true;
    const hold = moving ? freshHold : (before.holds.get(leaseId) ?? freshHold);
    const calm = this.verdicts.get(leaseId)?.temper === "calm";
    return {
      ...hold,
      // A policy that is read again may have fewer rungs.
      rung: Math.min(hold.rung, this.policy.rungs.length - 1),
      calmSinceMs: calm ? (hold.calmSinceMs ?? this.nowMs) : undefined,
    };
  }

  #at(rung: number): Rung {
    return this.policy.rungs[rung] as Rung;
  }

  get #top(): number {
    return this.policy.rungs.length - 1;
  }

  /** What the step up from a rung is called for a guest. */
  #stepUp({ facts, hold }: Pick<Step, "facts" | "hold">): ActionName {
    const last = facts.kind === "region" ? "shrink" : "evict";
    if (hold.rung >= this.#top) return last;
    const { action } = this.#at(hold.rung + 1);
    if (action === "freeze" && facts.durable) return last;
    return action === "none" ? "throttle" : action;
  }

  /** Every guest whose readings ask for a step up, and who may take one now. */
  #candidates(): Step[] {
    const { escalateMs } = this.policy;
    const steps: Step[] = [];
    for (const [leaseId, facts] of this.guests) {
      const hold = this.holds.get(leaseId) ?? freshHold;
      const verdict = this.verdicts.get(leaseId);
      if (facts.moving || verdict?.cause === undefined || verdict.hotSinceMs === undefined) continue;
      if (this.nowMs - verdict.hotSinceMs < escalateMs || this.nowMs - hold.changedMs < escalateMs) continue;
      const action = this.#stepUp({ facts, hold });
      if (strength(action) > strength(verdict.strongest)) continue;
      if (strength(action) >= strength("freeze") && this.nowMs < hold.unfrozenUntilMs) continue;
      steps.push({ facts, hold, cause: verdict.cause });
    }
    return steps;
  }

  #up(step: Step): void {
    const { facts, hold, cause } = step;
    const action = this.#stepUp(step);
    if (ends(action)) {
      this.#end(step, action);
      return;
    }
    const rung = this.#at(hold.rung + 1);
    const soon = this.nowMs - hold.relaxedMs < this.policy.relapseMs;
    this.holds.set(facts.leaseId, {
      ...hold,
      rung: hold.rung + 1,
      changedMs: this.nowMs,
      frozenSinceMs: rung.action === "freeze" ? this.nowMs : undefined,
      calmSinceMs: undefined,
      relapses: soon && hold.relaxedMs > never ? Math.min(relapsesMax, hold.relapses + 1) : 0,
      relaxedMs: never,
      cause,
    });
    this.actions.push({ action, leaseId: facts.leaseId, rung, cause });
  }

  #end({ facts, cause }: Step, action: ActionName): void {
    this.holds.delete(facts.leaseId);
    this.actions.push({ action, leaseId: facts.leaseId, rung: undefined, cause });
  }

  #down(facts: GuestFacts, hold: Hold, cause: Cause, to: number): void {
    const rung = this.#at(to);
    this.holds.set(facts.leaseId, {
      ...hold,
      rung: to,
      changedMs: this.nowMs,
      frozenSinceMs: undefined,
      relaxedMs: this.nowMs,
    });
    const action = this.#at(hold.rung).action === "freeze" ? "thaw" : "relax";
    this.actions.push({ action, leaseId: facts.leaseId, rung, cause });
  }

  /** Newcomers: what the others are throttled to already, they are too, without a step of their own. */
  #catchUp(steps: readonly Step[]): Set<string> {
    const done = new Set<string>();
    if (this.policy.throttleScope !== "node") return done;
    const held = [...this.holds.values()].some((hold) => hold.rung > 0);
    if (!held) return done;
    for (const step of steps)
      if (step.hold.changedMs === never && this.#stepUp(step) === "throttle") {
        done.add(step.facts.leaseId);
        this.#up(step);
      }
    return done;
  }

  escalate(before: GuardState): Pick<GuardState, "escalatedMs" | "batchUp"> {
    const all = this.#candidates();
    const caught = this.#catchUp(all);
    const moving = [...this.guests.values()].some((facts) => facts.moving);
    const steps = all.filter(
      (step) => !caught.has(step.facts.leaseId) && !(moving && ends(this.#stepUp(step))),
    );
    const resting = this.nowMs - before.escalatedMs < this.policy.escalateMs;
    const batchUp = this.hot.size === 0 ? 1 : before.batchUp;
    if (steps.length === 0) return { escalatedMs: moving ? this.nowMs : before.escalatedMs, batchUp };
    if (resting) return { escalatedMs: before.escalatedMs, batchUp };
    const lowest = Math.min(...steps.map((step) => this.#order(step)));
    const next = steps.filter((step) => this.#order(step) === lowest).sort(newestCheapestFirst);
    const [first] = next;
    const scope = first === undefined ? "node" : this.#scopeOf(this.#stepUp(first));
    const taken = scope === "node" ? next : next.slice(0, batchUp);
    for (const step of taken) this.#up(step);
    return {
      escalatedMs: this.nowMs,
      batchUp: scope === "node" ? batchUp : Math.min(batchMax, 2 * batchUp),
    };
  }

  /** Rungs first; at their top, ephemeral regions before durable ones, and these before functions. */
  #order(step: Step): number {
    const action = this.#stepUp(step);
    if (!ends(action)) return step.hold.rung;
    return this.#top + (action === "evict" ? 2 : step.facts.durable ? 1 : 0);
  }

  #scopeOf(action: ActionName): "node" | "guest" {
    if (action === "throttle") return this.policy.throttleScope;
    return action === "freeze" ? this.policy.freezeScope : "guest";
  }

  relax(before: GuardState): Pick<GuardState, "relaxedMs" | "batchDown"> {
    const { relaxMs } = this.policy;
    const held = [...this.guests.values()]
      .map((facts) => ({ facts, hold: this.holds.get(facts.leaseId) ?? freshHold }))
      .filter(({ hold }) => hold.rung > 0);
    if (held.length === 0) return { relaxedMs: before.relaxedMs, batchDown: 1 };
    const ready = held.filter(({ hold }) => {
      const waitMs = relaxMs * 2 ** hold.relapses;
      const calm = hold.calmSinceMs !== undefined && this.nowMs - hold.calmSinceMs >= waitMs;
      return calm && this.nowMs - hold.changedMs >= waitMs;
    });
    if (ready.length === 0 || this.nowMs - before.relaxedMs < relaxMs)
      return { relaxedMs: before.relaxedMs, batchDown: this.hot.size > 0 ? 1 : before.batchDown };
    const highest = Math.max(...ready.map(({ hold }) => hold.rung));
    const next = ready
      .filter(({ hold }) => hold.rung === highest)
      .sort((a, b) => a.facts.grantedUnixMs - b.facts.grantedUnixMs);
    const { action } = this.#at(highest);
    const scope = action === "freeze" ? this.policy.freezeScope : this.policy.throttleScope;
    const taken = scope === "node" ? next : next.slice(0, before.batchDown);
    for (const { facts, hold } of taken) this.#down(facts, hold, hold.cause ?? unknownCause, hold.rung - 1);
    return { relaxedMs: this.nowMs, batchDown: Math.min(batchMax, 2 * before.batchDown) };
  }

  /** Nothing stays frozen for ever, whatever the signals say. */
  thawOrEnd(): void {
    const { freezeMaxMs } = this.policy;
    for (const [leaseId, hold] of [...this.holds]) {
      const facts = this.guests.get(leaseId);
      const verdict = this.verdicts.get(leaseId);
      if (facts === undefined || hold.frozenSinceMs === undefined) continue;
      if (this.nowMs - hold.frozenSinceMs < freezeMaxMs || verdict?.temper === "calm") continue;
      const cause = verdict?.cause ?? hold.cause ?? unknownCause;
      const action = this.#stepUp({ facts, hold });
      const { signal } = cause;
      const strongest = signal === "adopted" ? "evict" : this.policy.signals[signal].strongest;
      if (strength(action) <= strength(strongest)) this.#end({ facts, hold, cause }, action);
      else {
        const patient = { ...hold, unfrozenUntilMs: this.nowMs + freezeMaxMs };
        this.#down(facts, patient, cause, hold.rung - 1);
      }
    }
  }
}

const unknownCause: Cause = { signal: "adopted", jobId: undefined, value: 0, threshold: 0 };

function newestCheapestFirst(a: Step, b: Step): number {
  return (
    b.facts.grantedUnixMs - a.facts.grantedUnixMs ||
    a.facts.cores - b.facts.cores ||
    a.facts.memoryBytes - b.facts.memoryBytes ||
    a.facts.leaseId.localeCompare(b.facts.leaseId)
  );
}

export interface Decided {
  readonly state: GuardState;
  readonly actions: readonly GuardAction[];
}

export function decide(
  policy: GuardPolicy,
  before: GuardState,
  guests: readonly GuestFacts[],
  readings: readonly Reading[],
  nowMs: number,
): Decided {
  const decision = new Decision(policy, before, guests, readings, nowMs);
  const up = decision.escalate(before);
  const down = decision.relax(before);
  decision.thawOrEnd();
  const { actions, holds, hot } = decision;
  const ended = actions.some(({ rung }) => rung === undefined);
  return {
    actions,
    state: { holds, hot, ...up, ...down, endedMs: ended ? nowMs : before.endedMs },
  };
}

/** Whether the node should lend nothing new: somebody is frozen, or was ended a while ago. */
export function closedBy(policy: GuardPolicy, state: GuardState, nowMs: number): boolean {
  const frozen = [...state.holds.values()].some((hold) => hold.frozenSinceMs !== undefined);
  return frozen || nowMs - state.endedMs < policy.closedMs;
}
