/**
 * All nodes as squares on a canvas: only what is in view is drawn, at most once per frame. Tab reaches it, arrows walk over
 * it, Enter opens a node, + and - zoom; what lies under the cursor is said once the keys rest.
 */
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import type { NodeTable } from "../../api.ts";
import { bytes, cores, plural } from "../lib/format.ts";
import { layoutMap, type MapLayout, moveBy, positionAt } from "../lib/map-layout.ts";
import { isOff, lendingOf, stateOf } from "../lib/nodes.ts";
import { go } from "../lib/route.ts";
import { useStore } from "../lib/store.ts";
import { color, theme } from "../lib/theme.ts";

export type MapColor = "lent" | "spare" | "allocated" | "parts" | "lending";

const steps = 6;
const lendingColors: Readonly<Record<string, string>> = {
  on: "part-lent",
  "hold-out": "blue-3",
  shadow: "part-spare",
  drained: "warn",
  none: "part-closed",
};

export function stepNames(by: MapColor): string[] {
  if (by === "parts" || by === "lending") return [];
  const family = by === "allocated" ? "blue" : "scale";
  return Array.from({ length: steps }, (_, step) => (step === 0 ? "scale-0" : `${family}-${step}`));
}

/** 0 for nothing, then five steps of a fifth each. */
export function stepOf(share: number): number {
  return share <= 0 ? 0 : Math.min(steps - 1, 1 + Math.floor(share * (steps - 1) * 0.9999));
}

export function nodeText(table: NodeTable, index: number): string[] {
  const at = (column: readonly number[]) => column[index] ?? 0;
  return [
    `${stateOf(table, index)}, lending: ${lendingOf(table, index)}`,
    `${cores(at(table.coresAllocated))} of ${at(table.cores)} allocated`,
    `${cores(at(table.coresLent))} and ${bytes(at(table.memoryLentMib) * 2 ** 20)} lent in ${plural(at(table.leases), "lease")}`,
    `${cores(at(table.coresSpare))} and ${bytes(at(table.memorySpareMib) * 2 ** 20)} spare`,
  ];
}

interface Scene {
  readonly table: NodeTable;
  readonly shown: readonly number[];
  readonly by: MapColor;
  readonly layout: MapLayout;
  readonly top: number;
  readonly width: number;
  readonly height: number;
  readonly cursor: number;
}

/** By colour: x, y, width, height of each rectangle, one after the other. */
type Fills = Map<string, number[]>;

function fill(fills: Fills, name: string, x: number, y: number, width: number, height: number): void {
  const list = fills.get(name);
  if (list === undefined) fills.set(name, [x, y, width, height]);
  else list.push(x, y, width, height);
}

function addNode(fills: Fills, scene: Scene, index: number, x: number, y: number, size: number): void {
  const { table, by } = scene;
  const total = Math.max(1, table.cores[index] ?? 1);
  const state = stateOf(table, index);
  if (by === "lending") {
    fill(fills, lendingColors[lendingOf(table, index)] ?? "part-closed", x, y, size, size);
    return;
  }
  if (isOff(state)) {
    // A frame without content: nothing to be had here.
    fill(fills, "line-strong", x, y, size, size);
    if (size >= 4) fill(fills, "panel", x + 1, y + 1, size - 2, size - 2);
    return;
  }
  const share = (column: readonly number[]) => Math.min(1, (column[index] ?? 0) / total);
  if (by === "parts") {
    fill(fills, "scale-0", x, y, size, size);
    let bottom = y + size;
    for (const [column, name] of [
      [table.coresAllocated, "part-used"],
      [table.coresLent, "part-lent"],
      [table.coresSpare, "part-spare"],
    ] as const) {
      const high = Math.min(bottom - y, Math.round(share(column) * size));
      bottom -= high;
      if (high > 0) fill(fills, name, x, bottom, size, high);
    }
    return;
  }
  const column = { lent: table.coresLent, spare: table.coresSpare, allocated: table.coresAllocated }[by];
  fill(fills, stepNames(by)[stepOf(share(column))] ?? "scale-0", x, y, size, size);
}

function drawNames(context: CanvasRenderingContext2D, scene: Scene, fromRow: number, toRow: number): void {
  const { layout, table, shown, top } = scene;
  context.fillStyle = color("muted");
  context.textBaseline = "middle";
  context.textAlign = "right";
  const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
  context.font = `${Math.round(rem * 0.76)}px Inter, system-ui`;
  const every = Math.max(1, Math.ceil((rem * 1.25) / layout.cell));
  for (let row = Math.ceil(fromRow / every) * every; row < toRow && layout.left > 0; row += every) {
    const name = table.names[shown[row * layout.columns] ?? -1] ?? "";
    const text = name.length > 10 ? `${name.slice(0, 9)}…` : name;
    context.fillText(
      text,
      layout.left - 8,
      Math.max(rem / 2, row * layout.cell - top + layout.cell / 2),
      layout.left - 8,
    );
  }
}

export function draw(context: CanvasRenderingContext2D, scene: Scene, dots: number): void {
  const { layout, shown, top, width, height, cursor } = scene;
  context.setTransform(dots, 0, 0, dots, 0, 0);
  context.clearRect(0, 0, width, height);
  const fromRow = Math.max(0, Math.floor(top / layout.cell));
  const toRow = Math.min(layout.rows, Math.ceil((top + height) / layout.cell));
  const size = layout.cell - layout.gap;
  const fills: Fills = new Map();
  for (let position = fromRow * layout.columns; position < toRow * layout.columns; position++) {
    const index = shown[position];
    if (index === undefined) break;
    const x = layout.left + (position % layout.columns) * layout.cell;
    const y = Math.floor(position / layout.columns) * layout.cell - top;
    addNode(fills, scene, index, x, y, size);
  }
  for (const [name, rects] of fills) {
    context.fillStyle = color(name);
    context.beginPath();
    for (let at = 0; at < rects.length; at += 4)
      context.rect(rects[at] ?? 0, rects[at + 1] ?? 0, rects[at + 2] ?? 0, rects[at + 3] ?? 0);
    context.fill();
  }
  drawNames(context, scene, fromRow, toRow);
  if (cursor >= 0 && cursor < shown.length) {
    const x = layout.left + (cursor % layout.columns) * layout.cell;
    const y = Math.floor(cursor / layout.columns) * layout.cell - top;
    context.lineWidth = 2;
    context.strokeStyle = color("text");
    context.strokeRect(x - 1.5, y - 1.5, size + 3, size + 3);
  }
}

/** What the screen leaves below the filters; on a low one the page scrolls. */
function mapHeight(): number {
  const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
  return Math.max(20 * rem, innerHeight - 21 * rem);
}

export interface NodeMapProps {
  readonly table: NodeTable;
  readonly version: number;
  readonly shown: readonly number[];
  readonly by: MapColor;
  readonly zoom: number;
  readonly onZoom: (zoom: number) => void;
}

export function NodeMap(props: NodeMapProps) {
  const { table, shown, by, zoom, version } = props;
  const box = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const [room, setRoom] = useState({ width: 0, height: 0 });
  const [cursor, setCursor] = useState(-1);
  const [focused, setFocused] = useState(false);
  const [said, setSaid] = useState("");
  const look = useStore(theme);
  const left = room.width > 560 ? 76 : 0;
  const layout = layoutMap(shown.length, room.width, room.height, left, zoom);
  const size = { width: room.width, height: Math.min(room.height, layout.height) };
  const scene = useRef<() => void>(() => {});
  const pending = useRef(0);

  useLayoutEffect(() => {
    const element = box.current;
    if (element === null) return;
    const measure = () => setRoom({ width: element.clientWidth, height: mapHeight() });
    measure();
    const watch = new ResizeObserver(measure);
    watch.observe(element);
    addEventListener("resize", measure);
    return () => {
      watch.disconnect();
      removeEventListener("resize", measure);
    };
  }, []);

  scene.current = () => {
    pending.current = 0;
    const context = canvas.current?.getContext("2d");
    const top = box.current?.scrollTop ?? 0;
    if (!context || size.width === 0) return;
    draw(context, { table, shown, by, layout, top, ...size, cursor }, devicePixelRatio);
  };
  const schedule = () => {
    if (pending.current === 0) pending.current = requestAnimationFrame(() => scene.current());
  };
  useEffect(schedule, [version, shown, by, zoom, room, cursor, look]);
  useEffect(() => () => cancelAnimationFrame(pending.current), []);

  const name = table.names[shown[cursor] ?? -1];
  const facts = name === undefined ? [] : nodeText(table, shown[cursor] ?? -1);
  useEffect(() => {
    // Said once the keys rest, and only to who walks by keys.
    if (!focused || name === undefined) return;
    const timer = setTimeout(() => setSaid(`${name}: ${facts.join("; ")}`), 250);
    return () => clearTimeout(timer);
  }, [focused, name]);

  const point = (event: { clientX: number; clientY: number }) => {
    const rect = canvas.current?.getBoundingClientRect();
    if (rect === undefined) return -1;
    const y = event.clientY - rect.top + (box.current?.scrollTop ?? 0);
    return positionAt(layout, shown.length, event.clientX - rect.left, y);
  };
  const open = (position: number) => {
    const index = shown[position];
    if (index !== undefined) go(["nodes", table.names[index] ?? ""]);
  };
  const key = (event: KeyboardEvent) => {
    if (event.key === "+" || event.key === "-") props.onZoom(zoom + (event.key === "+" ? 1 : -1));
    else if (event.key === "Enter") open(cursor);
    else if (event.key === "Escape") setCursor(-1);
    else {
      const next = moveBy(layout, shown.length, Math.max(0, cursor), event.key);
      if (next === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
      const wanted = cursor < 0 ? 0 : next;
      setCursor(wanted);
      const y = Math.floor(wanted / layout.columns) * layout.cell;
      const view = box.current;
      if (view !== null && (y < view.scrollTop || y + layout.cell > view.scrollTop + view.clientHeight))
        view.scrollTop = y - view.clientHeight / 2;
    }
    event.preventDefault();
  };
  const tipX = layout.left + (Math.max(0, cursor) % layout.columns) * layout.cell;
  const tipY = Math.floor(Math.max(0, cursor) / layout.columns) * layout.cell - (box.current?.scrollTop ?? 0);
  return (
    <div class="map">
      <div
        class="map-box"
        ref={box}
        style={{ height: `${Math.max(24, size.height)}px` }}
        role="application"
        aria-roledescription="node map"
        aria-label={`Map of ${plural(shown.length, "node")}`}
        aria-describedby="map-keys"
        // biome-ignore lint/a11y/noNoninteractiveTabindex: an application in WAI-ARIA's sense takes keys
        tabIndex={0}
        onKeyDown={key}
        onFocus={() => {
          setFocused(true);
          if (cursor < 0) setCursor(0);
        }}
        onBlur={() => {
          setFocused(false);
          setCursor(-1);
          setSaid("");
        }}
        onScroll={schedule}
        onPointerMove={(event) => setCursor(point(event))}
        onPointerLeave={() => !focused && setCursor(-1)}
        onClick={(event) => open(point(event))}
      >
        <canvas
          ref={canvas}
          width={Math.round(size.width * devicePixelRatio)}
          height={Math.round(size.height * devicePixelRatio)}
          style={{ width: `${size.width}px`, height: `${size.height}px` }}
        />
        <div class="map-space" style={{ height: `${Math.max(0, layout.height - size.height)}px` }} />
      </div>
      {name !== undefined && (
        <div
          class="tip"
          aria-hidden="true"
          style={{
            left: `${Math.min(tipX + layout.cell + 10, Math.max(0, size.width - 290))}px`,
            top: `${tipY + layout.cell + 10}px`,
          }}
        >
          <strong>{name}</strong>
          {facts.map((line) => (
            <span key={line}>{line}</span>
          ))}
        </div>
      )}
      <p id="map-keys" class="hidden">
        Arrow keys move from node to node, Enter opens it, plus and minus zoom. The same nodes are in the
        table view.
      </p>
      <p class="hidden" role="status">
        {said}
      </p>
    </div>
  );
}
