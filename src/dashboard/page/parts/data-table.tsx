/**
 * A table of any length: only the rows in view are in the document, the rest is said by aria-rowcount and two spacers.
 * Headers sort. It scrolls in itself, both ways, by keys too.
 */
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { Scroll } from "./basics.tsx";

export interface Column<Row> {
  readonly key: string;
  readonly title: string;
  /** CSS width. */
  readonly width: string;
  readonly num?: boolean;
  readonly sorts?: boolean;
  readonly cell: (row: Row) => ComponentChildren;
}

export interface Sort {
  readonly by: string;
  readonly down: boolean;
}

/** "cores" up, "-cores" down: as it stands in the address. */
export function parseSort(text: string | undefined, standard: Sort): Sort {
  if (!text) return standard;
  return text.startsWith("-") ? { by: text.slice(1), down: true } : { by: text, down: false };
}

export function sortText({ by, down }: Sort): string {
  return down ? `-${by}` : by;
}

const rowRem = 2.15;
const spareRows = 8;

export interface DataTableProps<Row> {
  readonly label: string;
  readonly columns: readonly Column<Row>[];
  readonly rows: readonly Row[];
  readonly rowKey: (row: Row) => string | number;
  readonly sort: Sort;
  /** Numbers begin with the largest. */
  readonly onSort: (sort: Sort) => void;
  /** As high as its rows need, up to a bound. */
  readonly short?: boolean;
  readonly onRow?: (row: Row | undefined) => void;
}

function Head<Row>(props: { column: Column<Row>; sort: Sort; onSort: (sort: Sort) => void }) {
  const { column, sort } = props;
  const active = sort.by === column.key;
  const order = active ? (sort.down ? "descending" : "ascending") : "none";
  const next = { by: column.key, down: active ? !sort.down : column.num === true };
  return (
    <th
      scope="col"
      class={column.num ? "num" : ""}
      style={{ width: column.width }}
      {...(column.sorts === false ? {} : { "aria-sort": order })}
    >
      {column.sorts === false ? (
        column.title
      ) : (
        <button type="button" class={`sort ${active ? "sort-on" : ""}`} onClick={() => props.onSort(next)}>
          {column.title}
          <span aria-hidden="true">{active ? (sort.down ? " ↓" : " ↑") : ""}</span>
        </button>
      )}
    </th>
  );
}

export function DataTable<Row>(props: DataTableProps<Row>) {
  const { columns, rows } = props;
  const box = useRef<HTMLDivElement>(null);
  const [view, setView] = useState({ top: 0, height: 800, rem: 16 });
  useEffect(() => {
    const scroller = box.current?.querySelector<HTMLElement>(".scroll");
    if (!scroller) return;
    const read = () =>
      setView({
        top: scroller.scrollTop,
        height: scroller.clientHeight,
        rem: parseFloat(getComputedStyle(document.documentElement).fontSize),
      });
    read();
    scroller.addEventListener("scroll", read, { passive: true });
    const watch = new ResizeObserver(read);
    watch.observe(scroller);
    return () => {
      scroller.removeEventListener("scroll", read);
      watch.disconnect();
    };
  }, []);
  const rowHeight = rowRem * view.rem;
  const from = Math.max(0, Math.min(rows.length - 1, Math.floor(view.top / rowHeight)) - spareRows);
  const to = Math.min(rows.length, Math.ceil((view.top + view.height) / rowHeight) + spareRows);
  const space = (count: number, key: string) =>
    count > 0 && (
      // biome-ignore lint/a11y/noAriaHiddenOnFocusable: an empty row takes no focus
      <tr key={key} aria-hidden="true" class="space">
        <td colSpan={columns.length} style={{ height: `${count * rowRem}rem` }} />
      </tr>
    );
  return (
    <div class="data" ref={box}>
      <Scroll label={`${props.label}, table`} class={`data-scroll ${props.short ? "short" : ""}`}>
        <table aria-rowcount={rows.length + 1} aria-label={props.label}>
          <thead>
            <tr aria-rowindex={1}>
              {columns.map((column) => (
                <Head key={column.key} column={column} sort={props.sort} onSort={props.onSort} />
              ))}
            </tr>
          </thead>
          <tbody>
            {space(from, "above")}
            {rows.slice(from, to).map((row, at) => (
              <tr
                key={props.rowKey(row)}
                aria-rowindex={from + at + 2}
                onPointerEnter={() => props.onRow?.(row)}
                onPointerLeave={() => props.onRow?.(undefined)}
              >
                {columns.map((column, index) =>
                  index === 0 ? (
                    <th scope="row" key={column.key}>
                      {column.cell(row)}
                    </th>
                  ) : (
                    <td key={column.key} class={column.num ? "num" : ""}>
                      {column.cell(row)}
                    </td>
                  ),
                )}
              </tr>
            ))}
            {space(rows.length - to, "below")}
          </tbody>
        </table>
      </Scroll>
    </div>
  );
}
