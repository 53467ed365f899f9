/** The same series as a table, for who does not see the chart: 25 rows at most, made when it is opened. */
import { useState } from "preact/hooks";
import { dayTime, iso } from "../lib/format.ts";
import { Scroll } from "./basics.tsx";
import type { PlotLine } from "./plot.tsx";

const maxRows = 25;

export function PointTable(props: {
  caption: string;
  atMs: readonly number[];
  lines: readonly PlotLine[];
  value: (value: number | null) => string;
}) {
  const [open, setOpen] = useState(false);
  const step = Math.max(1, Math.ceil(props.atMs.length / maxRows));
  const rows = open ? props.atMs.map((_, index) => index).filter((index) => index % step === 0) : [];
  return (
    <details class="as-table" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>As a table</summary>
      {open && (
        <Scroll label={`${props.caption}, table`}>
          <table>
            <caption class="hidden">{props.caption}</caption>
            <thead>
              <tr>
                <th scope="col">Time</th>
                {props.lines.map(({ name }) => (
                  <th scope="col" class="num" key={name}>
                    {name}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {rows.map((index) => (
                <tr key={index}>
                  <th scope="row">
                    <time dateTime={iso(props.atMs[index] ?? 0)}>{dayTime(props.atMs[index] ?? 0)}</time>
                  </th>
                  {props.lines.map(({ name, values }) => (
                    <td class="num" key={name}>
                      {props.value(values[index] ?? null)}
                    </td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </Scroll>
      )}
    </details>
  );
}
