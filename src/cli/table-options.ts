/**
 * What every table takes, in the words that users of squeue and sinfo know: --no-header, --sort, --format, --watch. Columns
 * are named by their titles in lower case, blanks as "-": "spare-cores".
 */
import { type Command, InvalidArgumentError } from "commander";
import { nearestWord } from "../config/nearest.ts";
import { type Column, formatTable, type Output, writeJson } from "./output.ts";
import type { Session } from "./session.ts";

export interface SortKey {
  readonly name: string;
  readonly reverse: boolean;
}

export interface TableOptions {
  readonly header: boolean;
  readonly sort?: readonly SortKey[];
  readonly format?: readonly string[];
  /** Seconds; true: the usual. */
  readonly watch?: number | true;
}

const plain: TableOptions = { header: true };
const watchSeconds = 2;
const maxWatchSeconds = 86_400;

export function columnName({ title }: { readonly title: string }): string {
  return title.toLowerCase().replaceAll(" ", "-");
}

function known(text: string, names: readonly string[]): string {
  const name = text.trim().toLowerCase().replaceAll(/[ _]/g, "-");
  if (names.includes(name)) return name;
  const meant = nearestWord(name, names);
  throw new InvalidArgumentError(
    `There is no column "${text}"${meant === undefined ? `: there are ${names.join(", ")}` : `; did you mean ${meant}?`}`,
  );
}

/** Adds the options; wrong columns are wrong usage, and the right one is named. */
export function addTableOptions<Row>(command: Command, columns: readonly Column<Row>[]): Command {
  const names = columns.map(columnName);
  const listed = names.join(", ");
  command
    .option("--no-header", "leave out the line of titles, and what stands below the table")
    .option("--sort <columns>", "by these columns, with commas; -column: falling", (text: string) =>
      text.split(",").map((each) => {
        const reverse = each.startsWith("-");
        return { name: known(each.replace(/^[+-]/, ""), names), reverse };
      }),
    )
    .option("--format <columns>", `these columns in this order, with commas: ${listed}`, (text: string) =>
      text.split(",").map((each) => known(each, names)),
    );
  return addWatchOption(command);
}

/** For what is no table, or one whose rows and columns say themselves what they are. */
export function addWatchOption(command: Command): Command {
  return command.option(
    "--watch [seconds]",
    `again and again, every ${watchSeconds} s if not said`,
    (text: string) => {
      const value = Number(text);
      if (!(value >= 0.1 && value <= maxWatchSeconds))
        throw new InvalidArgumentError(`Expected seconds from 0.1 to ${maxWatchSeconds}.`);
      return value;
    },
  );
}

/** Made when it is needed: help and completion start without it. */
let collator: Intl.Collator | undefined;

function compare<Row>(column: Column<Row>, a: Row, b: Row): number {
  if (column.value !== undefined) return column.value(a) - column.value(b);
  collator ??= new Intl.Collator("en", { numeric: true });
  return collator.compare(column.text(a), column.text(b));
}

export function sortRows<Row>(
  columns: readonly Column<Row>[],
  rows: readonly Row[],
  sort: readonly SortKey[],
): Row[] {
  const keys = sort.flatMap(({ name, reverse }) => {
    const column = columns.find((each) => columnName(each) === name);
    return column === undefined ? [] : [{ column, sign: reverse ? -1 : 1 }];
  });
  return [...rows].sort((a, b) => {
    for (const { column, sign } of keys) {
      const order = sign * compare(column, a, b);
      if (order !== 0) return order;
    }
    return 0;
  });
}

/** The table as the options want it. Columns that were asked for by name are not left out, only cut. */
export function viewTable<Row>(
  columns: readonly Column<Row>[],
  rows: readonly Row[],
  width: number | undefined,
  options: TableOptions = plain,
): string {
  const sorted = options.sort === undefined ? rows : sortRows(columns, rows, options.sort);
  const shown = options.format?.flatMap((name) => {
    const column = columns.find((each) => columnName(each) === name);
    if (column === undefined) return [];
    const { spare: _, ...rest } = column;
    return [rest];
  });
  return formatTable(shown ?? columns, sorted, width, options.header);
}

/** One picture of `text` over the one before: only the lines that changed are written, so that nothing flickers. */
export function repaint(before: readonly string[], lines: readonly string[]): string {
  let written = "";
  for (const [row, line] of lines.entries())
    if (before[row] !== line) written += `\u001b[${row + 1};1H${line}\u001b[K`;
  if (before.length > lines.length) written += `\u001b[${lines.length + 1};1H\u001b[J`;
  return written;
}

function stopped(signal: AbortSignal, ms: number): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
    if (signal.aborted) done();
  });
}

function paint(output: Output, text: string, before: readonly string[]): string[] {
  const rows = output.height ?? 24;
  const lines = text.replace(/\n$/, "").split("\n");
  const shown =
    lines.length <= rows ? lines : [...lines.slice(0, rows - 1), `(${lines.length - rows + 1} more lines)`];
  output.write(repaint(before, shown));
  return shown;
}

/**
 * Fetches and shows once, or until Ctrl-C: on a terminal in place, into a pipe one after the other, as JSON one document
 * a line. An error ends it, but for a daemon that is away for a while in the middle.
 */
export async function show<T>(
  session: Session,
  options: Pick<TableOptions, "watch">,
  fetch: () => Promise<T>,
  json: (found: T) => unknown,
  text: (found: T) => string,
): Promise<void> {
  const { output } = session;
  if (options.watch === undefined) {
    const found = await fetch();
    if (session.json) writeJson(output, json(found));
    else output.write(text(found));
    return;
  }
  const everyMs = (options.watch === true ? watchSeconds : options.watch) * 1000;
  const end = new AbortController();
  const onSignal = (): void => end.abort();
  process.once("SIGINT", onSignal);
  process.once("SIGTERM", onSignal);
  let before: string[] = [];
  const inPlace = output.width !== undefined && !session.json;
  try {
    for (let first = true; !end.signal.aborted; first = false) {
      const startMs = performance.now();
      let picture: string;
      try {
        const found = await fetch();
        picture = session.json ? `${JSON.stringify(json(found))}\n` : text(found);
      } catch (thrown) {
        if (first || !inPlace) throw thrown;
        picture = `${thrown instanceof Error ? thrown.message : String(thrown)}; asked again.\n`;
      }
      if (inPlace) {
        if (first) output.write("\u001b[2J");
        before = paint(output, picture, before);
      } else output.write(first || session.json ? picture : `\n${picture}`);
      await stopped(end.signal, Math.max(0, everyMs - (performance.now() - startMs)));
    }
  } finally {
    process.removeListener("SIGINT", onSignal);
    process.removeListener("SIGTERM", onSignal);
    if (inPlace) output.write(`\u001b[${before.length + 1};1H`);
  }
}
