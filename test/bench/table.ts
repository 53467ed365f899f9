/** What a benchmark returns, as a table for people and JSON for machines. */
export interface Row {
  /** What was measured, e.g. "hot round trip, 64 B". */
  readonly what: string;
  /** The measured median, in `unit`. */
  readonly value: number;
  readonly p99?: number;
  readonly unit: string;
  /** What it is compared with, measured in the same run. */
  readonly baseline?: { readonly what: string; readonly value: number };
  /** The mark on the ratio (or, without a baseline, on the value), if one was set. */
  readonly mark?: number;
}

export function ratioOf(row: Row): number | undefined {
  return row.baseline === undefined ? undefined : row.value / row.baseline.value;
}

const short = (value: number) =>
  value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);

export function tableText(title: string, rows: readonly Row[]): string {
  const cells = rows.map((row) => {
    const ratio = ratioOf(row);
    const held = row.mark === undefined ? undefined : (ratio ?? row.value) <= row.mark;
    return [
      row.what,
      `${short(row.value)} ${row.unit}`,
      row.p99 === undefined ? "" : `${short(row.p99)} ${row.unit}`,
      row.baseline === undefined ? "" : `${row.baseline.what}: ${short(row.baseline.value)} ${row.unit}`,
      ratio === undefined ? "" : ratio.toFixed(2),
      row.mark === undefined
        ? ""
        : `${held ? "within" : "ABOVE"} ${row.mark}${ratio === undefined ? ` ${row.unit}` : ""}`,
    ];
  });
  const all = [["", "median", "p99", "baseline of the same run", "ratio", "mark"], ...cells];
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

export function medianOf(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

export function percentileOf(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}
