/** One resource: how much of it is lent now, where the rest is, and how that went over time. */
import { useMemo, useState } from "preact/hooks";
import type { History, Shares } from "../../api.ts";
import { dayTime, isDrawn, noHistory, percent } from "../lib/format.ts";
import { showSpan } from "../lib/range.ts";
import { type Part, parts } from "../lib/shares.ts";
import { Link, Panel, Swatch } from "./basics.tsx";
import { Plot, type PlotLine } from "./plot.tsx";
import { PointTable } from "./point-table.tsx";

/** One bar, split; what it says is in the legend beside it. */
export function ShareBar(props: { shares: Record<Part, number>; tall?: boolean }) {
  const sum = parts.reduce((all, { key }) => all + props.shares[key], 0) || 1;
  return (
    <div class={props.tall ? "share-bar tall" : "share-bar"} aria-hidden="true">
      {parts.map(
        ({ key }) =>
          props.shares[key] > 0 && (
            <span key={key} class={`part-${key}`} style={{ flexGrow: props.shares[key] / sum }} />
          ),
      )}
    </div>
  );
}

function Legend(props: {
  values: Partial<Record<Part, number | null>>;
  text: (value: number | null) => string;
  when: string;
}) {
  const known = parts.map(({ key }) => props.values[key] ?? null);
  const sum = known.reduce<number>((all, value) => all + (value ?? 0), 0);
  return (
    <table class="legend">
      <caption>{props.when}</caption>
      <thead class="hidden">
        <tr>
          <th scope="col">Part</th>
          <th scope="col">Amount</th>
          <th scope="col">Share</th>
        </tr>
      </thead>
      <tbody>
        {parts.map(({ key, name, about }, index) => (
          <tr key={key}>
            <th scope="row" title={about}>
              <Swatch part={key} />
              {name}
            </th>
            <td class="num">{props.text(known[index] ?? null)}</td>
            <td class="num muted">{sum > 0 ? percent((known[index] ?? 0) / sum) : ""}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

export function SharesPanel(props: {
  title: string;
  now: Shares | undefined;
  history: History | undefined;
  series: "cores" | "memoryBytes";
  text: (value: number | null) => string;
  axis: (value: number) => string;
  steps?: readonly number[];
}) {
  const [point, setPoint] = useState<number | null>(null);
  const { history, now, series } = props;
  const lines = useMemo<PlotLine[]>(
    () =>
      history === undefined
        ? []
        : parts.map(({ key, name }) => ({ name, color: `part-${key}`, values: history[series][key] })),
    [history, series],
  );
  const top = useMemo(
    () => Math.max(0, ...(history?.[series].total ?? []).map((value) => value ?? 0)),
    [history, series],
  );
  // Before Slurm or an agent has said anything there is nothing to share out.
  const drawn = top > 0 && isDrawn(history?.[series].total ?? []);
  const atMs = point === null ? undefined : history?.atMs[point];
  const values: Partial<Record<Part, number | null>> =
    atMs === undefined || point === null || history === undefined
      ? (now ?? {})
      : Object.fromEntries(parts.map(({ key }) => [key, history[series][key][point] ?? null]));
  return (
    <Panel title={props.title} class="shares">
      <p class="headline">
        <strong>{props.text(now?.lent ?? null)}</strong> lent of {props.text(now?.total ?? null)}
        {now !== undefined && now.total > 0 && (
          <span class="muted"> · {percent(now.lent / now.total, 1)}</span>
        )}
      </p>
      {now && <ShareBar shares={now} />}
      <div class="plot-and-legend">
        {history === undefined ? (
          <div class="plot plot-wait" aria-hidden="true" />
        ) : drawn ? (
          <Plot
            label={`${props.title} over time`}
            atMs={history.atMs}
            lines={lines}
            stacked
            axis={props.axis}
            value={props.text}
            onPoint={setPoint}
            onSpan={showSpan}
            syncKey="overview"
            max={top}
            {...(props.steps === undefined ? {} : { steps: props.steps })}
          />
        ) : (
          <p class="plot plot-none">{noHistory(history)}</p>
        )}
        <div class="legend-side">
          <Legend values={values} text={props.text} when={atMs === undefined ? "Now" : dayTime(atMs)} />
          <p class="note">
            <Link to={["about"]}>What these are</Link>
          </p>
        </div>
      </div>
      {history && drawn && (
        <PointTable
          caption={`${props.title} over time`}
          atMs={history.atMs}
          lines={lines}
          value={props.text}
        />
      )}
    </Panel>
  );
}
