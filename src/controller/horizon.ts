/**
 * Learns from the spells that agents report how long capacity lasts, and keeps account of how well its word held. Changes in
 * place; time comes in. Soft state like all here: after a restart it learns anew, and agents go on with the model
 * that they have until there is a better one.
 *
 * A spell whose beginning nobody saw teaches nothing: its age is not known. One that ended otherwise than by a job (the last
 * job left; the agent fell silent) teaches as far as it was watched.
 *
 * Nodes of one class: the same partitions and the same class of capacity. Beyond `maxClasses` all others are one.
 */
import {
  ageEdgesMs,
  dayBlock,
  fade,
  type Hazards,
  hazardsOf,
  learnSpell,
  newFacts,
  type SpellFacts,
} from "../capacity/survival.ts";
import type { HorizonModelMessage, SpellMessage } from "../rpc/messages.ts";

export interface SpellReport {
  readonly node: string;
  readonly partitions: readonly string[];
  readonly spell: SpellMessage | null;
  /** As the agent offers it; 0 = unknown. */
  readonly horizonMs: number;
}

/** What became of a horizon that an offer stated: the capacity lasted, or a job came before. */
export type Outcome = "kept" | "broken";

interface Watched {
  spell: SpellMessage;
  atMs: number;
  /** Age up to which the spell was said to last; undefined: nothing was said yet. */
  promisedAgeMs: number | undefined;
}

export interface HorizonLearner {
  readonly facts: SpellFacts;
  readonly watched: Map<string, Watched>;
  confidence: number;
  /** By partitions, as of builtAtMs. */
  readonly models: Map<string, HorizonModelMessage | null>;
  /** Rises when models were built anew. */
  version: number;
  builtAtMs: number;
}

const maxClasses = 256;
const halfLifeMs = 7 * 86_400_000;
const rebuildMs = 600_000;
const hourMs = 3_600_000;
/** No spell is older, whatever an agent says. */
const maxAgeMs = 366 * 86_400_000;

export function newLearner(confidence: number, nowMs: number): HorizonLearner {
  return {
    facts: newFacts(),
    watched: new Map(),
    confidence,
    models: new Map(),
    version: 0,
    builtAtMs: nowMs,
  };
}

/** From now on; agents are told with their next report. */
export function setConfidence(learner: HorizonLearner, confidence: number): void {
  if (learner.confidence === confidence) return;
  learner.confidence = confidence;
  learner.models.clear();
  learner.version += 1;
}

function partitionsKey(partitions: readonly string[]): string {
  return [...partitions].sort().join(",");
}

function nodeClass(learner: HorizonLearner, spellClass: string, partitions: readonly string[]): string {
  const name = `${spellClass} ${partitionsKey(partitions)}`;
  const { classes } = learner.facts;
  return classes.has(name) || classes.size < maxClasses ? name : `${spellClass} other`;
}

/** An agent reported. Gives what became of the horizon it stated earlier, if that is decided now. */
export function onSpell(
  learner: HorizonLearner,
  report: SpellReport,
  nowMs: number,
  unixMs: number,
): Outcome | undefined {
  const { node, spell } = report;
  const before = learner.watched.get(node);
  if (spell === null || !(spell.ageMs >= 0 && spell.ageMs <= maxAgeMs)) {
    learner.watched.delete(node);
    return undefined;
  }
  // A restarted agent counts from zero.
  if (before === undefined || spell.arrivals < before.spell.arrivals) {
    watch(learner, report, spell, nowMs, undefined);
    return undefined;
  }
  const arrived = spell.arrivals > before.spell.arrivals;
  const goesOn = !arrived && spell.class === before.spell.class;
  // The age that the earlier spell reached: now if it goes on, else when the present one began.
  const elapsedMs = Math.max(0, nowMs - before.atMs - (goesOn ? 0 : spell.ageMs));
  const reachedMs = goesOn ? Math.max(before.spell.ageMs, spell.ageMs) : before.spell.ageMs + elapsedMs;
  if (before.spell.begunSeen)
    learnSpell(
      learner.facts,
      nodeClass(learner, before.spell.class, report.partitions),
      dayBlock(unixMs),
      before.spell.ageMs,
      reachedMs,
      arrived,
    );
  const promised = before.promisedAgeMs;
  const outcome =
    promised === undefined
      ? undefined
      : reachedMs >= promised
        ? ("kept" as const)
        : arrived
          ? ("broken" as const)
          : undefined;
  const decided = outcome !== undefined || !goesOn;
  watch(learner, report, spell, nowMs, decided ? undefined : promised);
  return outcome;
}

function watch(
  learner: HorizonLearner,
  { node, horizonMs }: SpellReport,
  spell: SpellMessage,
  nowMs: number,
  promised: number | undefined,
): void {
  const promisedAgeMs = promised ?? (horizonMs > 0 ? spell.ageMs + horizonMs : undefined);
  learner.watched.set(node, { spell, atMs: nowMs, promisedAgeMs });
}

/** Its agent is silent: nobody knows what becomes of the spell. */
export function onSpellLost(learner: HorizonLearner, node: string): void {
  learner.watched.delete(node);
}

/** Call about once a second. */
export function onLearnerTick(learner: HorizonLearner, nowMs: number): void {
  const elapsedMs = nowMs - learner.builtAtMs;
  if (elapsedMs < rebuildMs) return;
  fade(learner.facts, elapsedMs, halfLifeMs);
  learner.builtAtMs = nowMs;
  learner.models.clear();
  learner.version += 1;
}

/** For agents of nodes with these partitions; null: too little is known. */
export function horizonModel(
  learner: HorizonLearner,
  partitions: readonly string[],
): HorizonModelMessage | null {
  const key = partitionsKey(partitions);
  const known = learner.models.get(key);
  if (known !== undefined) return known;
  const tables = (["CAPACITY_CLASS_IDLE", "CAPACITY_CLASS_UNALLOCATED"] as const).flatMap((name) => {
    const hazards: Hazards | undefined = hazardsOf(learner.facts, nodeClass(learner, name, partitions));
    return hazards === undefined
      ? []
      : [{ class: name, arrivalsPerHour: hazards.flat().map((hazard) => hazard * hourMs) }];
  });
  const model =
    tables.length === 0 ? null : { tables, confidence: learner.confidence, ageEdgesMs: [...ageEdgesMs] };
  if (learner.models.size < maxClasses) learner.models.set(key, model);
  return model;
}
