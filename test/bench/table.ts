/**
 * What a benchmark returns, as a table for people and JSON for machines; the statistics that all benchmarks share.
 *
 * Machines are shared and noisy: the figure that lasts is the ratio to a baseline of the same run. Where a thing and its
 * baseline were measured in several rounds that took turns, the ratio is the median of the rounds' ratios, with the
 * order-statistic interval of that median beside it.
 */
export interface Row {
  /** What was measured, e.g. "hot round trip, 64 B". */
  readonly what: string;
  /** The measured median, in `unit`; NaN when it was not measured (see notShown). */
  readonly value: number;
  readonly p99?: number;
  readonly p999?: number;
  readonly unit: string;
  /** What it is compared with, measured in the same run. */
  readonly baseline?: { readonly what: string; readonly value: number };
  /** Set where rounds took turns; else value / baseline. */
  readonly ratio?: number;
  /** Of the ratio or, without a baseline, of the value. */
  readonly interval?: Interval;
  /** At most this ratio (or, without a baseline, this value). */
  readonly mark?: number;
  /** At least this ratio (or value). */
  readonly least?: number;
  /** Set where the mark is on the value although a baseline is shown. */
  readonly markOn?: "value";
  /** Whose mark it is, e.g. "3.1". */
  readonly issue?: string;
  /** Why it was not measured. `broken`: it should have been, and the benchmark fails. */
  readonly notShown?: string;
  readonly broken?: boolean;
  readonly note?: string;
}

export type Interval = readonly [low: number, high: number];
export type Verdict = "met" | "NOT met" | "not shown here" | "not measured" | "";

export function ratioOf(row: Row): number | undefined {
  return row.ratio ?? (row.baseline === undefined ? undefined : row.value / row.baseline.value);
}

/** The ratio that the mark is on; undefined: it is on the value. */
const markedRatio = (row: Row): number | undefined => (row.markOn === "value" ? undefined : ratioOf(row));

const hasMark = (row: Row): boolean => row.mark !== undefined || row.least !== undefined;

export function verdictOf(row: Row): Verdict {
  if (row.notShown !== undefined) return row.broken ? "not measured" : "not shown here";
  if (!hasMark(row)) return "";
  const figure = markedRatio(row) ?? row.value;
  return figure <= (row.mark ?? Number.POSITIVE_INFINITY) && figure >= (row.least ?? Number.NEGATIVE_INFINITY)
    ? "met"
    : "NOT met";
}

export function medianOf(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  if (sorted.length === 0) return Number.NaN;
  const upper = sorted[Math.floor(middle)] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? Number.NaN)) / 2;
}

export function percentileOf(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

/**
 * The narrowest interval of order statistics that holds the median with at least `confidence`, whatever the
 * distribution; all values when there are too few for that.
 */
export function medianInterval(values: readonly number[], confidence = 0.9): Interval {
  const sorted = [...values].sort((a, b) => a - b);
  const count = sorted.length;
  let tail = 0; // P(fewer than `skip` values lie below the median), fair coins
  let term = 0.5 ** count;
  let skip = 0;
  for (let i = 0; i < Math.floor(count / 2); i++) {
    tail += term;
    if (1 - 2 * tail < confidence) break;
    skip = i;
    term = (term * (count - i)) / (i + 1);
  }
  return [sorted[skip] ?? Number.NaN, sorted[count - 1 - skip] ?? Number.NaN];
}

/** The median of the rounds' ratios and its interval. Rounds without both are left out. */
export function pairedRatio(
  values: readonly number[],
  baselines: readonly number[],
): { readonly ratio: number; readonly interval: Interval } {
  const ratios = values.flatMap((value, i) => {
    const ratio = value / (baselines[i] ?? Number.NaN);
    return Number.isFinite(ratio) ? [ratio] : [];
  });
  return { ratio: medianOf(ratios), interval: medianInterval(ratios) };
}

const short = (value: number) =>
  value >= 1e6
    ? `${(value / 1e6).toFixed(2)} M`
    : value >= 1e4
      ? `${(value / 1e3).toFixed(1)} k`
      : value >= 100
        ? value.toFixed(0)
        : value >= 10
          ? value.toFixed(1)
          : value.toFixed(2);

const withUnit = (value: number | undefined, unit: string) =>
  value === undefined || Number.isNaN(value) ? "" : `${short(value)} ${unit}`;

function markText(row: Row): string {
  const unit = markedRatio(row) === undefined && row.unit !== "" ? ` ${row.unit}` : "";
  if (row.mark !== undefined) return `≤ ${row.mark}${unit}`;
  return row.least === undefined ? "" : `≥ ${row.least}${unit}`;
}

function cellsOf(row: Row): string[] {
  const ratio = ratioOf(row);
  const figure = ratio === undefined ? "" : ratio.toFixed(2);
  const range = row.interval === undefined ? "" : `${short(row.interval[0])} to ${short(row.interval[1])}`;
  const said = [verdictOf(row), markText(row), row.issue === undefined ? "" : `(issue ${row.issue})`];
  return [
    row.what,
    withUnit(row.value, row.unit),
    withUnit(row.p99, row.unit),
    withUnit(row.p999, row.unit),
    row.baseline === undefined ? "" : `${row.baseline.what}: ${withUnit(row.baseline.value, row.unit)}`,
    figure,
    range,
    [...said, row.notShown === undefined ? "" : `: ${row.notShown}`, row.note ?? ""]
      .filter((part) => part !== "")
      .join(" "),
  ];
}

/** Columns that no row fills are left out. */
export function tableText(title: string, rows: readonly Row[]): string {
  const heads = ["", "median", "p99", "p99.9", "baseline of the same run", "ratio", "90 % interval", "mark"];
  const cells = rows.map(cellsOf);
  const used = heads.map((_, i) => cells.some((line) => line[i] !== ""));
  const all = [heads, ...cells].map((line) => line.filter((_, i) => used[i]));
  const widths = all[0]?.map((_, i) => Math.max(...all.map((line) => line[i]?.length ?? 0))) ?? [];
  return [
    title,
    ...all.map(
      (line) =>
        `  ${line
          .map((cell, i) => cell.padEnd(widths[i] ?? 0))
          .join("  ")
          .trimEnd()}`,
    ),
  ].join("\n");
}

/** "marks met: 12; NOT met: 1 (…); not shown here: 2 (…)"; "no marks" where no row has one. */
export function summaryText(rows: readonly Row[]): string {
  const of = (verdict: Verdict) => rows.filter((row) => verdictOf(row) === verdict);
  const parts = rows.some(hasMark) ? [`marks met: ${of("met").length}`] : [];
  for (const verdict of ["NOT met", "not measured", "not shown here"] as const) {
    const found = of(verdict);
    if (found.length > 0)
      parts.push(`${verdict}: ${found.length} (${found.map((row) => row.what).join("; ")})`);
  }
  return parts.length === 0 ? "no marks" : parts.join("; ");
}

/** What goes into a JSON file: rows with ratio and verdict spelled out. */
export function jsonRows(rows: readonly Row[]): readonly object[] {
  return rows.map((row) => ({ ...row, ratio: ratioOf(row) ?? null, verdict: verdictOf(row) }));
}
