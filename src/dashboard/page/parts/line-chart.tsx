/** Lines over time with what goes with them: the same as a table, dragging for a span, a word where nothing is recorded. */
import type { History } from "../../api.ts";
import { compact, isDrawn, noHistory, number } from "../lib/format.ts";
import { showSpan } from "../lib/range.ts";
import { Empty } from "./basics.tsx";
import { Plot, type PlotLine } from "./plot.tsx";
import { PointTable } from "./point-table.tsx";

export function LineChart(props: {
  label: string;
  history: History;
  lines: readonly PlotLine[];
  height: number;
  onPoint?: (index: number | null) => void;
}) {
  const { label, lines } = props;
  const { atMs } = props.history;
  if (!lines.some(({ values }) => isDrawn(values))) return <Empty title={noHistory(props.history)} />;
  return (
    <>
      <Plot
        label={label}
        atMs={atMs}
        lines={lines}
        stacked={false}
        axis={compact}
        value={number}
        onSpan={showSpan}
        height={props.height}
        {...(props.onPoint === undefined ? {} : { onPoint: props.onPoint })}
      />
      <PointTable caption={label} atMs={atMs} lines={lines} value={number} />
    </>
  );
}
