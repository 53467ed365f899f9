import { dayTime } from "../lib/format.ts";
import { type Range, ranges, showRange } from "../lib/range.ts";
import { Segments } from "./basics.tsx";

export function RangeChoice(props: { range: Range }) {
  const { name, fromMs, toMs } = props.range;
  return (
    <div class="range">
      {name === undefined && (
        <span class="range-picked">
          {dayTime(fromMs)} – {dayTime(toMs)}
        </span>
      )}
      <Segments label="Time range" options={ranges} value={name} onChange={showRange} />
    </div>
  );
}
