/**
 * How long the node's capacity has been what it is. A spell begins when a batch job arrives (beside it, the rest of the
 * node is `unallocated`) or when the last one leaves (`idle`); only an arrival ends it against its guests. One that the
 * agent found at its start is older than can be known.
 */
import type { AgentState } from "../reactor/state.ts";

export interface Spell {
  readonly class: "idle" | "unallocated";
  readonly sinceMs: number;
  readonly begunSeen: boolean;
}

type Jobs = Pick<AgentState, "jobs" | "announced">;

function jobIds({ jobs, announced }: Jobs): Set<number> {
  return new Set([...jobs.keys(), ...announced.keys()]);
}

export interface Spells {
  readonly spell: Spell | undefined;
  readonly arrivals: number;
}

/** After an event. The first look at the jobs (`seen`) begins the first spell. */
export function nextSpell(before: Jobs & Spells, after: Jobs, seen: boolean, nowMs: number): Spells {
  const { spell, arrivals } = before;
  const ids = jobIds(after);
  const kind = ids.size === 0 ? "idle" : "unallocated";
  if (spell === undefined)
    return { arrivals, spell: seen ? { class: kind, sinceMs: nowMs, begunSeen: false } : undefined };
  const known = jobIds(before);
  const arrived = [...ids].filter((id) => !known.has(id)).length;
  if (arrived === 0 && kind === spell.class) return { arrivals, spell };
  return { arrivals: arrivals + arrived, spell: { class: kind, sinceMs: nowMs, begunSeen: true } };
}
