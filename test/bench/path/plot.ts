/** The rows with a mark as a picture: each ratio as a part of its mark on one logarithmic scale, met on the left of the line. */
import { type Row, ratioOf, verdictOf } from "../table.ts";

const width = 1130;
const left = 430;
const right = 230;
const lineHeight = 22;
const top = 92;

const xml = (text: string) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

const brief = (value: number) =>
  value >= 1e6
    ? `${Number((value / 1e6).toPrecision(3))} M`
    : value >= 1e4
      ? `${Number((value / 1e3).toPrecision(3))} k`
      : `${Number(value.toPrecision(3))}`;

/** How much of its mark a figure uses: below 1 is met, whichever way the mark points. */
function useOf(row: Row, figure: number): number {
  if (row.mark !== undefined) return row.mark === 0 ? figure + 1 : figure / row.mark;
  return (row.least ?? Number.NaN) / figure;
}

export function plotSvg(title: string, subtitle: string, rows: readonly Row[]): string {
  const shown = rows.filter((row) => verdictOf(row) === "met" || verdictOf(row) === "NOT met");
  const uses = shown.map((row) => {
    const figure = ratioOf(row) ?? row.value;
    const ends = (row.interval ?? [figure, figure]).map((value) => useOf(row, value));
    return { row, use: useOf(row, figure), low: Math.min(...ends), high: Math.max(...ends) };
  });
  const low = 0.02;
  const high = Math.max(5, ...uses.map(({ high: end }) => Math.min(end, 50))) * 1.1;
  const x = (use: number) => {
    const clipped = Math.min(high, Math.max(low, use));
    return left + ((width - left - right) * Math.log(clipped / low)) / Math.log(high / low);
  };
  const height = top + shown.length * lineHeight + 40;
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="DejaVu Sans, Helvetica, Arial, sans-serif" font-size="12">`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    `<text x="20" y="28" font-size="17" font-weight="bold" fill="#1b1b1b">${xml(title)}</text>`,
    `<text x="20" y="48" fill="#555">${xml(subtitle)}</text>`,
  ];
  const bottom = top + shown.length * lineHeight;
  for (const tick of [0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50].filter((value) => value <= high)) {
    const at = x(tick).toFixed(1);
    parts.push(
      `<line x1="${at}" y1="${top - 8}" x2="${at}" y2="${bottom}" stroke="${tick === 1 ? "#1b1b1b" : "#e3e3e3"}" stroke-width="${tick === 1 ? 1.6 : 1}"/>`,
      `<text x="${at}" y="${top - 14}" text-anchor="middle" fill="${tick === 1 ? "#1b1b1b" : "#777"}">${tick === 1 ? "mark" : `${tick}×`}</text>`,
    );
  }
  for (const [i, { row, use, low: from, high: to }] of uses.entries()) {
    const y = top + i * lineHeight + lineHeight / 2;
    const colour = verdictOf(row) === "met" ? "#1f7a4d" : "#c0392b";
    const figure = ratioOf(row);
    const said = `${figure === undefined ? `${brief(row.value)} ${row.unit}` : figure.toFixed(2)} (${row.mark === undefined ? `≥ ${brief(row.least ?? 0)}` : `≤ ${row.mark}`})`;
    if (i % 2 === 1)
      parts.push(
        `<rect x="0" y="${y - lineHeight / 2}" width="${width}" height="${lineHeight}" fill="#000000" fill-opacity="0.025"/>`,
      );
    parts.push(
      `<text x="${left - 14}" y="${y + 4}" text-anchor="end" fill="#1b1b1b">${xml(row.what)}</text>`,
      `<line x1="${x(from).toFixed(1)}" y1="${y}" x2="${x(to).toFixed(1)}" y2="${y}" stroke="${colour}" stroke-opacity="0.45" stroke-width="5" stroke-linecap="round"/>`,
      `<circle cx="${x(use).toFixed(1)}" cy="${y}" r="5" fill="${colour}"/>`,
      `<text x="${width - right + 12}" y="${y + 4}" fill="${colour}">${xml(said)}</text>`,
    );
  }
  parts.push(
    `<text x="${x(1).toFixed(1)}" y="${bottom + 24}" text-anchor="middle" fill="#555">better ← share of the mark that is used; bars: 90 % interval of the median → worse</text>`,
    "</svg>",
  );
  return `${parts.join("\n")}\n`;
}
