/**
 * How long this node's capacity is likely to last, by what the controllers have learned from all nodes. Each controller's
 * model replaces the one before, whoever sent it: they watch the same cluster. It outlives the controller's connection.
 */
import {
  ageEdgesMs,
  binCount,
  dayBlock,
  dayBlocks,
  type Hazards,
  horizonMs,
} from "../../src/capacity/survival.ts";
import { classFromWire } from "../../src/rpc/convert.ts";
import type { HorizonModelMessage } from "../../src/rpc/messages.ts";
import type { Spell } from "./spell.ts";

const hourMs = 3_600_000;

export interface Horizon {
  /** Takes over a model; one of another shape or with numbers that are none changes nothing. */
  learn(model: HorizonModelMessage): void;
  /** 0: nobody knows. */
  ofSpell(spell: Spell | undefined, nowMs: number, unixMs: number): number;
}

/** Undefined: not a table of ours. */
function hazardsOf(arrivalsPerHour: readonly number[]): Hazards | undefined {
  if (arrivalsPerHour.length !== dayBlocks * binCount) return undefined;
  if (arrivalsPerHour.some((rate) => !(Number.isFinite(rate) && rate >= 0))) return undefined;
  return Array.from({ length: dayBlocks }, (_, block) =>
    arrivalsPerHour.slice(block * binCount, (block + 1) * binCount).map((rate) => rate / hourMs),
  );
}

export function horizon(): Horizon {
  let confidence = 0;
  let tables = new Map<string, Hazards>();
  return {
    learn(model) {
      if (!(model.confidence > 0 && model.confidence < 1)) return;
      if (model.ageEdgesMs.join() !== ageEdgesMs.join()) return;
      const next = new Map<string, Hazards>();
      for (const table of model.tables) {
        const hazards = hazardsOf(table.arrivalsPerHour);
        if (hazards === undefined) return;
        next.set(classFromWire(table.class), hazards);
      }
      confidence = model.confidence;
      tables = next;
    },
    ofSpell(spell, nowMs, unixMs) {
      const hazards = spell === undefined ? undefined : tables.get(spell.class);
      if (spell === undefined || hazards === undefined) return 0;
      return horizonMs(hazards, dayBlock(unixMs), Math.max(0, nowMs - spell.sinceMs), confidence);
    },
  };
}
