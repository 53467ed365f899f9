/** Text for people: tables that fit the terminal, sizes and times in words. Programs take --json. */
import type { SubletError } from "../common/errors.ts";

/** Where a command writes, and how wide that is. */
export interface Output {
  write(text: string): void;
  writeBytes(bytes: Buffer): void;
  error(text: string): void;
  /** Columns of the terminal; undefined when there is none: then nothing is cut. */
  readonly width: number | undefined;
  /** Its lines. */
  readonly height?: number | undefined;
  /** Errors go to a terminal: a line there may be written over. */
  readonly live?: boolean;
}

export interface Column<Row> {
  readonly title: string;
  readonly text: (row: Row) => string;
  /** To sort by; without one the text is, as a person counts. */
  readonly value?: (row: Row) => number;
  readonly align?: "right";
  /** Left out first when the terminal is narrow: the highest goes first; columns without it stay. */
  readonly spare?: number;
}

const gap = "  ";
const minColumn = 6;

function cut(text: string, width: number): string {
  return text.length <= width ? text : `${text.slice(0, Math.max(0, width - 1))}…`;
}

/** Control characters would let a name from the wire rewrite the terminal. All at once: there may be 100,000 cells. */
function printable(cells: readonly string[]): readonly string[] {
  return /\p{Cc}/u.test(cells.join("")) ? cells.map((text) => text.replace(/\p{Cc}/gu, "?")) : cells;
}

/** A column as it is shown. */
interface Shown {
  readonly cells: readonly string[];
  readonly width: number;
  readonly right: boolean;
}

/** One text from all cells and what is between them: it is put together once, not line by line. */
function aligned(columns: readonly Shown[], rows: number): string {
  const blanks: string[] = [];
  const parts: string[] = [];
  for (let row = 0; row < rows; row++) {
    // What is blank at the end of a line is left out.
    let last = columns.length - 1;
    while (last >= 0 && columns[last]?.cells[row]?.trimEnd() === "") last--;
    for (let index = 0; index <= last; index++) {
      const { cells, width, right } = columns[index] as Shown;
      const whole = cells[row] ?? "";
      const text = whole.length > width ? cut(whole, width) : whole;
      const room = width - text.length;
      blanks[room] ??= " ".repeat(room);
      const blank = blanks[room];
      if (index > 0) parts.push(gap);
      if (right) parts.push(blank);
      if (index === last) parts.push(text.trimEnd());
      else if (right) parts.push(text);
      else parts.push(text, blank);
    }
    parts.push("\n");
  }
  return parts.join("");
}

/** Lines of a table; columns are left out, then cut, until it fits. */
export function formatTable<Row>(
  columns: readonly Column<Row>[],
  rows: readonly Row[],
  width: number | undefined,
  header = true,
): string {
  const cells = columns.map(({ title, text }) => {
    const texts = header ? [title] : [];
    for (const row of rows) texts.push(text(row));
    return printable(texts);
  });
  const widths = cells.map((texts) => {
    let most = 0;
    for (const { length } of texts) if (length > most) most = length;
    return most;
  });
  let shown = columns.map((_, index) => index);
  const total = (): number =>
    shown.reduce((sum, index) => sum + (widths[index] ?? 0), 0) + gap.length * (shown.length - 1);
  const left: string[] = [];
  if (width !== undefined) {
    const leaveOut = [...shown]
      .filter((index) => columns[index]?.spare !== undefined)
      .sort((a, b) => (columns[b]?.spare ?? 0) - (columns[a]?.spare ?? 0));
    for (const index of leaveOut) {
      if (total() <= width) break;
      shown = shown.filter((each) => each !== index);
      left.push(columns[index]?.title ?? "");
    }
    while (total() > width) {
      const widest = shown.reduce((best, index) =>
        (widths[index] ?? 0) > (widths[best] ?? 0) ? index : best,
      );
      const now = widths[widest] ?? 0;
      if (now <= minColumn) break;
      widths[widest] = Math.max(minColumn, now - (total() - width));
    }
  }
  const table = aligned(
    shown.map((index) => ({
      cells: cells[index] ?? [],
      width: widths[index] ?? 0,
      right: columns[index]?.align === "right",
    })),
    rows.length + (header ? 1 : 0),
  );
  if (left.length === 0 || !header) return table;
  return `${table}${cut(`(narrow terminal: no room for ${left.join(", ")})`, Math.max(width ?? 0, 20))}\n`;
}

/** Text broken at spaces to the width, if there is one; every line starts with the indent. */
export function wrap(text: string, width: number | undefined, indent: string): string {
  const limit = Math.max(20, (width ?? Number.POSITIVE_INFINITY) - indent.length);
  const lines: string[] = [];
  let line = "";
  for (const word of text.trim().split(/\s+/)) {
    if (line !== "" && line.length + 1 + word.length > limit) {
      lines.push(line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  lines.push(line);
  return lines.map((each) => `${indent}${each}`).join("\n");
}

const asciiOf: Readonly<Record<string, string>> = {
  "…": "~",
  "×": "x",
  "·": "*",
  µ: "u",
  "–": "-",
  "−": "-",
};

/** For a terminal that shows nothing else: as wide as it was, so that tables stay. */
export function inAscii(text: string): string {
  return text.replace(/[^\0-\x7f]/gu, (character) => asciiOf[character] ?? "?");
}

/** "58 s", "1 h 5 min": the two largest units. */
export function formatDuration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return seconds % 60 === 0 ? `${minutes} min` : `${minutes} min ${seconds % 60} s`;
  const hours = Math.floor(minutes / 60);
  return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`;
}

/** "LEASE_STATE_ACTIVE" as "active". */
export function formatEnum(name: string, prefix: string): string {
  const text = name.startsWith(prefix) ? name.slice(prefix.length) : name;
  return text === "UNSPECIFIED" ? "" : text.toLowerCase().replaceAll("_", " ");
}

export function writeJson(output: Output, value: unknown): void {
  output.write(`${JSON.stringify(value, undefined, 2)}\n`);
}

export function writeError(output: Output, error: SubletError, json: boolean): void {
  if (json) writeJson(output, { error: { code: error.code, message: error.message, ...error.details } });
  else output.error(`sublet: ${error.message}\n`);
}
