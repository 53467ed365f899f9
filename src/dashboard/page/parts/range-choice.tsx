import type { History } from "../../api.ts";
import { dayTime } from "../lib/format.ts";
import { longRanges, type Range, ranges, showRange } from "../lib/range.ts";
import { Segments } from "./basics.tsx";

/** long: what is older than the controller's own history can be had. */
export function RangeChoice(props: { range: Range; long?: boolean | undefined }) {
  const { name, fromMs, toMs } = props.range;
  return (
    <div class="range">
      {name === undefined && (
        <span class="range-picked">
          {dayTime(fromMs)} – {dayTime(toMs)}
        </span>
      )}
      <Segments
        label="Time range"
        options={props.long ? longRanges : ranges}
        value={name}
        onChange={showRange}
      />
    </div>
  );
}

/** Where a history comes from, when it is not the controller's alone. */
export function Before(props: { history: History | undefined }) {
  const before = props.history?.before;
  if (before === undefined) return null;
  const { toMs, trouble } = before;
  return (
    <p class={`notice ${trouble === null ? "notice-info" : "notice-warn"}`} role="status">
      <strong>{trouble === null ? "Note" : "Warning"}</strong>
      <span>
        {trouble === null
          ? `Before ${dayTime(toMs)} the figures are Prometheus's: what jobs hold and do not use counts as used there.`
          : `Before ${dayTime(toMs)} the figures come from Prometheus, and some are missing. ${trouble}`}
      </span>
    </p>
  );
}
