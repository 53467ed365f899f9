/** The span of time that a page shows: one of a few that end now, or one that was picked in a chart. In the address. */
import { useEffect, useState } from "preact/hooks";
import { setQuery, useRoute } from "./route.ts";

export const ranges = [
  { value: "1h", name: "1 h", ms: 3_600_000 },
  { value: "6h", name: "6 h", ms: 6 * 3_600_000 },
  { value: "24h", name: "24 h", ms: 24 * 3_600_000 },
  { value: "7d", name: "7 d", ms: 7 * 86_400_000 },
  { value: "30d", name: "30 d", ms: 30 * 86_400_000 },
] as const;
/** With the site's Prometheus. */
export const longRanges = [
  ...ranges,
  { value: "90d", name: "90 d", ms: 90 * 86_400_000 },
  { value: "1y", name: "1 y", ms: 365 * 86_400_000 },
] as const;
export type RangeName = (typeof longRanges)[number]["value"];

export interface Range {
  /** Undefined: picked by hand. */
  readonly name: RangeName | undefined;
  readonly fromMs: number;
  readonly toMs: number;
  readonly query: string;
}

/** Now, rounded down; changes every `everyMs`. */
export function useTick(everyMs: number): number {
  const round = () => Math.floor(Date.now() / everyMs) * everyMs;
  const [now, setNow] = useState(round);
  useEffect(() => {
    setNow(round());
    const timer = setInterval(() => !document.hidden && setNow(round()), everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return now;
}

export function useRange(standard: RangeName): Range {
  const { query } = useRoute();
  const wanted = query.get("range") ?? standard;
  const preset = longRanges.find(({ value }) => value === wanted) ?? ranges[2];
  // A picture of 600 points needs no new one before a point's worth of time is over.
  const tick = useTick(Math.max(15_000, preset.ms / 600));
  const from = Number(query.get("from"));
  const to = Number(query.get("to"));
  const picked = from > 0 && to > from;
  const toMs = picked ? to : tick + 1;
  const fromMs = picked ? from : toMs - preset.ms;
  return { name: picked ? undefined : preset.value, fromMs, toMs, query: `from=${fromMs}&to=${toMs}` };
}

export function showRange(name: RangeName): void {
  setQuery({ range: name, from: undefined, to: undefined });
}

export function showSpan(fromMs: number, toMs: number): void {
  setQuery({ from: String(Math.round(fromMs)), to: String(Math.round(toMs)) });
}
