/**
 * uPlot in a panel: lines or stacked areas over time. Reached by Tab as a slider (left, right, Home, End move along the
 * points, a screen reader hears the values); pointer and key both tell `onPoint`, so that a legend shows the values.
 * Dragging picks a span. Colours come from the style sheet and follow the theme.
 */
import { useEffect, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { dayTime } from "../lib/format.ts";
import { useStore } from "../lib/store.ts";
import { color, theme } from "../lib/theme.ts";

export interface PlotLine {
  readonly name: string;
  /** Name of a colour of the style sheet. */
  readonly color: string;
  readonly values: readonly (number | null)[];
}

export interface PlotProps {
  readonly label: string;
  readonly atMs: readonly number[];
  readonly lines: readonly PlotLine[];
  readonly stacked: boolean;
  readonly axis: (value: number) => string;
  readonly value: (value: number | null) => string;
  /** Steps that the axis may take; else uPlot's. */
  readonly steps?: readonly number[];
  readonly onPoint?: (index: number | null) => void;
  readonly onSpan?: (fromMs: number, toMs: number) => void;
  /** Plots of one key share their cursor. */
  readonly syncKey?: string;
  readonly height?: number;
  /** Top of the scale; else the largest value. */
  readonly max?: number;
}

/** Cumulated from the first line up; the last is the outline of all. A gap in one is a gap in all above it. */
export function stack(lines: readonly PlotLine[]): (number | null)[][] {
  const sums: (number | null)[][] = [];
  for (const [index, { values }] of lines.entries()) {
    const below = sums[index - 1];
    sums.push(
      values.map((value, at) => {
        const base = below === undefined ? 0 : (below[at] ?? null);
        return value === null || base === null ? null : base + value;
      }),
    );
  }
  return sums;
}

const hour = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const date = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });

function timeLabels(
  _: uPlot,
  splits: number[],
  _axis: number,
  _space: number,
  stepSeconds: number,
): string[] {
  return splits.map((seconds) => {
    const at = new Date(seconds * 1000);
    const midnight = at.getHours() === 0 && at.getMinutes() === 0;
    return stepSeconds >= 86_400 || midnight ? date.format(at) : hour.format(at);
  });
}

function options(props: PlotProps, width: number, height: number): uPlot.Options {
  const font = `${Math.round(parseFloat(getComputedStyle(document.documentElement).fontSize) * 0.8)}px Inter, system-ui`;
  const axis = { stroke: color("muted"), font, ticks: { show: false } };
  const grid = { stroke: color("grid"), width: 1 };
  const edge = color("panel");
  const lines = props.stacked ? [...props.lines].reverse() : props.lines;
  return {
    width,
    height,
    padding: [8, 22, 0, 0],
    pxAlign: 0,
    legend: { show: false },
    cursor: {
      y: false,
      points: { show: !props.stacked, size: 7 },
      drag: { x: props.onSpan !== undefined, y: false, setScale: false },
      ...(props.syncKey === undefined ? {} : { sync: { key: props.syncKey, setSeries: false } }),
    },
    select: { show: props.onSpan !== undefined, left: 0, top: 0, width: 0, height: 0 },
    scales: {
      y: { range: (_, _min, max) => [0, props.max ?? (max > 0 ? max * 1.05 : 1)] },
    },
    axes: [
      { ...axis, grid: { show: false }, values: timeLabels, space: 70, gap: 9, size: 28 },
      {
        ...axis,
        grid,
        size: (_, values) => Math.max(0, ...(values ?? []).map((text) => text.length)) * 7.5 + 14,
        values: (_, splits) => splits.map(props.axis),
        space: 36,
        ...(props.steps === undefined ? {} : { incrs: [...props.steps] }),
      },
    ],
    series: [
      {},
      ...lines.map((line) => ({
        label: line.name,
        stroke: props.stacked ? edge : color(line.color),
        width: props.stacked ? 1 : 1.75,
        points: { show: false },
        ...(props.stacked ? { fill: color(line.color) } : {}),
      })),
    ],
    hooks: {
      setCursor: [(plot) => props.onPoint?.(plot.cursor.idx ?? null)],
      setSelect: [
        (plot) => {
          const { left, width: wide } = plot.select;
          if (wide > 8)
            props.onSpan?.(plot.posToVal(left, "x") * 1000, plot.posToVal(left + wide, "x") * 1000);
          plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
        },
      ],
    },
  };
}

function dataOf(props: PlotProps): uPlot.AlignedData {
  const columns = props.stacked ? stack(props.lines).reverse() : props.lines.map(({ values }) => [...values]);
  return [props.atMs.map((ms) => ms / 1000), ...columns] as uPlot.AlignedData;
}

function pointText(props: PlotProps, index: number): string {
  const values = props.lines.map(({ name, values: all }) => `${name} ${props.value(all[index] ?? null)}`);
  return `${dayTime(props.atMs[index] ?? 0)}: ${values.join(", ")}`;
}

export function Plot(props: PlotProps) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | undefined>(undefined);
  const current = useRef(props);
  current.current = props;
  const shown = useStore(theme);
  const last = Math.max(0, props.atMs.length - 1);
  const [at, setAt] = useState<number | null>(null);
  const point = Math.min(at ?? last, last);

  // Made anew when what it looks like changes; data alone is put into it.
  useEffect(() => {
    const element = box.current;
    if (element === null) return;
    const live: PlotProps = {
      ...current.current,
      axis: (value) => current.current.axis(value),
      onPoint: (index) => current.current.onPoint?.(index),
    };
    const size = () => ({ width: element.clientWidth, height: element.clientHeight });
    const { width, height } = size();
    const made = new uPlot(options(live, width, height), dataOf(current.current), element);
    plot.current = made;
    const watch = new ResizeObserver(() => {
      const { width: wide, height: high } = size();
      if (wide !== made.width || high !== made.height) made.setSize({ width: wide, height: high });
    });
    watch.observe(element);
    return () => {
      watch.disconnect();
      made.destroy();
      plot.current = undefined;
    };
  }, [shown, props.stacked, props.lines.map(({ name }) => name).join(), props.max]);
  useEffect(() => plot.current?.setData(dataOf(props)), [props.atMs, props.lines]);

  const move = (event: KeyboardEvent) => {
    const big = Math.max(1, Math.round(last / 20));
    const steps: Record<string, number> = {
      ArrowLeft: point - 1,
      ArrowRight: point + 1,
      PageDown: point - big,
      PageUp: point + big,
      Home: 0,
      End: last,
    };
    const wanted = steps[event.key];
    if (wanted === undefined) return;
    event.preventDefault();
    const next = Math.max(0, Math.min(last, wanted));
    setAt(next);
    const made = plot.current;
    if (made !== undefined)
      made.setCursor({ left: made.valToPos((props.atMs[next] ?? 0) / 1000, "x"), top: made.bbox.height / 2 });
    props.onPoint?.(next);
  };
  return (
    <div
      class="plot"
      style={{ height: `${props.height ?? 15}rem` }}
      ref={box}
      role="slider"
      tabIndex={0}
      aria-label={props.label}
      aria-valuemin={0}
      aria-valuemax={last}
      aria-valuenow={point}
      aria-valuetext={props.atMs.length > 0 ? pointText(props, point) : "nothing recorded"}
      onKeyDown={move}
      onBlur={() => {
        setAt(null);
        plot.current?.setCursor({ left: -10, top: -10 });
        props.onPoint?.(null);
      }}
    />
  );
}
