/** Durations as a distribution: a bar per bin, with its count as text for who does not see it. */
import type { Reclaims } from "../../api.ts";
import { number, percent, span } from "../lib/format.ts";
import { Empty, Stat } from "./basics.tsx";

export function binName(edges: readonly number[], index: number): string {
  const from = edges[index - 1];
  const to = edges[index];
  if (to === undefined) return `over ${span(from ?? 0)}`;
  return from === undefined ? `up to ${span(to)}` : `${span(from)} to ${span(to)}`;
}

export function Histogram(props: { reclaims: Reclaims }) {
  const { counts, edgesMs, count, p50Ms, p99Ms, maxMs } = props.reclaims;
  if (count === 0)
    return (
      <Empty title="No reclaims in this span">
        A reclaim takes capacity back for a job, or for an administrator.
      </Empty>
    );
  const highest = Math.max(1, ...counts);
  return (
    <>
      <dl class="stats">
        <Stat name="Reclaims" value={number(count)} />
        <Stat name="Median" value={span(p50Ms)} />
        <Stat name="99th percentile" value={span(p99Ms)} />
        <Stat name="Longest" value={span(maxMs)} />
      </dl>
      <ul class="histogram" aria-label="Reclaims by duration">
        {counts.map((value, index) => (
          <li
            key={index}
            title={`${binName(edgesMs, index)}: ${number(value)} (${percent(value / count, 1)})`}
          >
            <span class="hidden">
              {binName(edgesMs, index)}: {number(value)}
            </span>
            <span class="bar-count" aria-hidden="true">
              {value > 0 ? number(value) : ""}
            </span>
            <span class="bar" aria-hidden="true" style={{ "--share": value / highest }} />
            <span class="bar-name" aria-hidden="true">
              {index < edgesMs.length ? `≤ ${span(edgesMs[index])}` : "more"}
            </span>
          </li>
        ))}
      </ul>
    </>
  );
}
