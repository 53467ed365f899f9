/**
 * docs/speed.md: what calls, leases and regions take. The tables are a run of `npm run bench:path` that somebody put in with
 * `npm run docs:speed < build/bench/path.json`; it is kept as speed.json beside this file, without the single rounds.
 */
import { writeFileSync } from "node:fs";
import { text as readAll } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import type { z } from "zod";
import { keptRun, type MeasuredRow, machineText, measuredRun, refuse, tableLine } from "./measured.ts";

const recordFile = fileURLToPath(new URL("speed.json", import.meta.url));

const record = measuredRun("npm run bench:path");
export type SpeedRecord = z.output<typeof record>;

/** By what a row's mark is about; in the order of the page. */
const subjects: Readonly<Record<string, string>> = {
  "3.1": "Calls on the same node",
  "3.2": "Calls across nodes, TCP",
  "3.4": "Calls that wake a sleeping worker",
  "3.5": "Many calls at once",
  "3.6": "From the request for a lease to the first answer",
  "3.7": "Regions",
};

/** @throws z.ZodError, SyntaxError: it is not what bench:path writes. */
export function parseSpeed(text: string): SpeedRecord {
  return record.parse(JSON.parse(text));
}

function number(value: number): string {
  if (value === 0) return "0";
  if (value >= 1e6) return `${(value / 1e6).toFixed(2)} M`;
  if (value >= 1e4) return `${(value / 1e3).toFixed(1)} k`;
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}

const larger: Readonly<Record<string, string>> = { ns: "µs", µs: "ms", ms: "s" };

/** 21,400 µs are 21.4 ms. */
function withUnit(value: number | null | undefined, unit: string): string {
  if (value === null || value === undefined) return "";
  const next = larger[unit];
  return value >= 1e4 && next !== undefined ? withUnit(value / 1e3, next) : `${number(value)} ${unit}`.trim();
}

/** Of the ratio where there is one, else of the value. */
function intervalOf({ interval, ratio, unit }: MeasuredRow): string {
  const [low, high] = interval ?? [null, null];
  if (low === null || high === null) return "";
  return ratio === null
    ? `${withUnit(low, unit)} to ${withUnit(high, unit)}`
    : `${low.toFixed(2)} to ${high.toFixed(2)}`;
}

function markOf({ mark, least, markOn, baseline, unit, verdict }: MeasuredRow): string {
  const bound = mark ?? least;
  if (bound === undefined) return "";
  const of = baseline === undefined || markOn === "value" ? ` ${unit}`.trimEnd() : " times";
  const [size, prefix] =
    bound >= 1e6 ? [bound / 1e6, " M"] : bound >= 1e4 ? [bound / 1e3, " k"] : [bound, ""];
  return `${mark === undefined ? "≥" : "≤"} ${size}${prefix}${of}: ${verdict}`;
}

function line(row: MeasuredRow): string {
  return tableLine([
    row.what,
    withUnit(row.value, row.unit),
    withUnit(row.p99, row.unit),
    row.baseline === undefined ? "" : `${row.baseline.what}: ${withUnit(row.baseline.value, row.unit)}`,
    row.ratio === null ? "" : row.ratio.toFixed(2),
    intervalOf(row),
    markOf(row),
    [row.notShown, row.note].filter((each) => each !== undefined).join("; "),
  ]);
}

function tables({ rows }: SpeedRecord): string[] {
  const named = Object.entries(subjects).map(
    ([mark, title]) => [title, rows.filter(({ issue }) => issue === mark)] as const,
  );
  const others = rows.filter(({ issue }) => subjects[issue ?? ""] === undefined);
  return [...named, ["Beside them", others] as const].flatMap(([title, found]) =>
    found.length === 0
      ? []
      : [
          `### ${title}`,
          "",
          "| | median | p99 | baseline of the same run | ratio | 90 % interval | mark | |",
          "|---|---|---|---|---|---|---|---|",
          ...found.map(line),
          "",
        ],
  );
}

const missing = [
  "No run of a quiet machine has been put in yet. On one of yours, with nothing else on it:",
  "",
  "    npm run bench:path",
  "    npm run docs:speed < build/bench/path.json",
  "",
  "The first takes about a quarter of an hour; the second checks the figures and writes them here.",
  "",
];

export function speedPage(found: SpeedRecord | undefined): string {
  const lines = [
    "# How fast it is",
    "",
    "Every figure stands beside what a user would take instead, or beside what the machine itself can do, measured in the same run in turns:",
    "machines are shared and noisy, so the ratios are what lasts. The client has core 0 to itself, the other side core 1; two network namespaces",
    "stand for two nodes. RDMA has [a page of its own](fabric.md).",
    "",
    "*From the request for a lease*: *cold* starts the executor when it is asked for (`pool_max = 0`), *from the pool* finds one prepared. The client asks",
    "for the same again and again, so most of its leases were *granted ahead*, before it asked ([`grant_ahead`](sysadmin.md)); how many stands beside the figure.",
    "A first lease is not: what it waits for the agent or a controller comes on top.",
    "",
    "## Measured",
    "",
    ...(found === undefined ? missing : [machineText(found), "", ...tables(found)]),
    "## On your own machine",
    "",
    "`npm run bench:path` makes these tables, a plot and JSON in build/bench (`--quick`: a minute, shows that all works). A mark that is not met is",
    "told and is no failure; `--strict` makes it one. What a page of the machine's own memory, a wake-up or a round trip over its network takes",
    "bounds what is possible on it: look at the baselines first. Three times Redis across namespaces, and a random access in a fifth of the time",
    "of a swap's, are marks that a bare socket does not meet either where its stream and its round trip, above, say so.",
  ];
  return `${lines.join("\n")}\n`;
}

/** The run that was put in; undefined: none. */
export function keptSpeed(): SpeedRecord | undefined {
  return keptRun(recordFile, parseSpeed);
}

async function main(): Promise<void> {
  if (process.stdin.isTTY === true) throw new Error("usage: npm run docs:speed < build/bench/path.json");
  const found = parseSpeed(await readAll(process.stdin));
  writeFileSync(recordFile, `${JSON.stringify(found, undefined, 2)}\n`);
  writeFileSync(fileURLToPath(new URL("../../docs/speed.md", import.meta.url)), speedPage(found));
  console.log(`docs/speed.md: ${found.rows.length} rows of ${found.machine.date}`);
}

if (import.meta.main) main().catch((thrown: unknown) => refuse("docs:speed", "bench:path", thrown));
