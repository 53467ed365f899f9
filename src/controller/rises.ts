/** By how much the counters of agents rose from report to report, over their lives. */
import type { NodeCountersMessage, OfferMessage } from "../rpc/messages.ts";

type Sum = Exclude<keyof NodeCountersMessage, "outcomes">;

export interface Rise {
  readonly rise: (name: Sum) => number;
  /** By status number. */
  readonly outcomes: () => readonly number[];
}

export class Rises {
  /** Last counters of each node, and of which life of its agent. */
  readonly #last = new Map<string, { readonly epoch: number; readonly counters: NodeCountersMessage }>();

  /** undefined for the first report: what an agent counted before we knew it is not of our time. */
  of(offer: OfferMessage, counters: NodeCountersMessage): Rise | undefined {
    const before = this.#last.get(offer.node);
    this.#last.set(offer.node, { epoch: offer.epochUnixMs, counters });
    if (before === undefined) return undefined;
    const then = before.epoch === offer.epochUnixMs ? before.counters : undefined;
    const by = (now: number, last: number | undefined): number => Math.max(0, now - (last ?? 0));
    return {
      rise: (name) => by(counters[name], then?.[name]),
      outcomes: () => counters.outcomes.map((count, i) => by(count, then?.outcomes[i])),
    };
  }
}
