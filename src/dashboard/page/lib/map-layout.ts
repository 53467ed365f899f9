/** Where each node lies on the map: rows of equal squares, as large as lets all be seen, times the zoom. Free of the DOM. */

export interface MapLayout {
  readonly cell: number;
  readonly gap: number;
  readonly columns: number;
  readonly rows: number;
  readonly left: number;
  readonly height: number;
}

const minCell = 3;
const maxCell = 64;

/** Full tens read better down the left edge. */
function niceColumns(most: number): number {
  return most >= 20 ? Math.floor(most / 10) * 10 : Math.max(1, most);
}

export function layoutMap(
  count: number,
  width: number,
  height: number,
  left: number,
  zoom: number,
): MapLayout {
  const room = Math.max(1, width - left);
  let fit = maxCell;
  while (fit > minCell && Math.ceil(count / niceColumns(Math.floor(room / fit))) * fit > height) fit--;
  const cell = Math.max(minCell, Math.min(Math.max(maxCell, fit), Math.round(fit * 1.5 ** zoom)));
  const columns = niceColumns(Math.floor(room / cell));
  const rows = Math.ceil(count / columns);
  return {
    cell,
    gap: cell >= 5 ? Math.max(1, Math.round(cell / 9)) : 0,
    columns,
    rows,
    left,
    height: rows * cell,
  };
}

/** Which position in the list lies at a point; -1 for none. */
export function positionAt(layout: MapLayout, count: number, x: number, y: number): number {
  const column = Math.floor((x - layout.left) / layout.cell);
  const row = Math.floor(y / layout.cell);
  if (column < 0 || column >= layout.columns || row < 0) return -1;
  const position = row * layout.columns + column;
  return position < count ? position : -1;
}

/** Where a key leads from a position. Undefined: not a key of the map. */
export function moveBy(layout: MapLayout, count: number, position: number, key: string): number | undefined {
  const page = layout.columns * 10;
  const steps: Readonly<Record<string, number>> = {
    ArrowLeft: position - 1,
    ArrowRight: position + 1,
    ArrowUp: position - layout.columns,
    ArrowDown: position + layout.columns,
    PageUp: position - page,
    PageDown: position + page,
    Home: 0,
    End: count - 1,
  };
  const wanted = steps[key];
  if (wanted === undefined) return undefined;
  const off = wanted < 0 || wanted >= count;
  if (off && (key === "ArrowUp" || key === "ArrowDown")) return position;
  return Math.max(0, Math.min(count - 1, wanted));
}
