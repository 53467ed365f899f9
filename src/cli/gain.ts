/** `sublet gain`: what lending has brought, against Slurm alone and against perfect packing, and what the jobs paid. */
import { type Command, InvalidArgumentError } from "commander";
import type { GainCostMessage, GainHoursMessage, GetGainResponse } from "../rpc/messages.ts";
import { type Column, formatTable, writeJson } from "./output.ts";
import { type Session, withController } from "./session.ts";

export interface GainOptions {
  readonly from?: number;
  readonly to?: number;
}

const spans = ["today", "yesterday", "7d", "30d"] as const;

/** When a day, or so many days back, begins here. @throws InvalidArgumentError. */
export function beginMs(text: string, nowMs = Date.now()): number {
  const today = new Date(nowMs).setHours(0, 0, 0, 0);
  const back = /^(\d{1,4})d$/.exec(text)?.[1];
  const days =
    text === "today" ? 0 : text === "yesterday" ? 1 : back === undefined ? undefined : Number(back);
  if (days !== undefined) return new Date(today).setDate(new Date(today).getDate() - days);
  const at = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d)?)?$/.test(text)
    ? Date.parse(text.includes("T") ? text : `${text}T00:00:00`)
    : Number.NaN;
  if (Number.isNaN(at))
    throw new InvalidArgumentError(`Expected ${spans.join(", ")}, 2026-11-25 or 2026-11-25T12:00.`);
  return at;
}

interface Row {
  readonly what: string;
  readonly cores: number | undefined;
  readonly memory: number | undefined;
}

const amount = (value: number | undefined): string =>
  value === undefined
    ? "-"
    : value.toLocaleString("en-US", { maximumFractionDigits: Math.abs(value) >= 100 ? 0 : 2 });

const columns: readonly Column<Row>[] = [
  { title: "", text: ({ what }) => what },
  { title: "CORE HOURS", text: ({ cores }) => amount(cores), align: "right" },
  { title: "GIB HOURS", text: ({ memory }) => amount(memory), align: "right", spare: 1 },
];

const names = [
  ["total", "there was"],
  ["slurmAlone", "Slurm alone: held by jobs"],
  ["perfectPacking", "perfect packing: all else"],
  ["lent", "lent"],
  ["beyondPacking", "of that, held by jobs and unused"],
] as const satisfies readonly (readonly [keyof GainHoursMessage, string])[];

/** "+1.2 % of what Slurm alone gives". */
function share(lent: number | undefined, of: number | undefined): string {
  return lent === undefined || of === undefined || of <= 0 ? "-" : `${((100 * lent) / of).toFixed(1)} %`;
}

const measured = (percent: number): string =>
  Number.isFinite(percent) ? `${percent.toFixed(2)} % of the time` : "not measured";

function costLines(cost: GainCostMessage | null): string[] {
  if (cost === null) return [];
  return [
    `The jobs paid: the guard acted ${cost.guardActions} times, ${cost.leasesReclaimed} leases were taken back for them.`,
    `  waiting for a core beside guests less alone: ${measured(cost.cpuPressurePercent)}; for memory: ${measured(cost.memoryPressurePercent)}`,
    `  nodes that lend less those held out: ${measured(cost.holdOutDifferencePercent)}`,
    `  from ${cost.receipts} receipts of jobs`,
  ];
}

const stamp = (ms: number): string =>
  new Date(ms - new Date(ms).getTimezoneOffset() * 60_000).toISOString().slice(0, 16).replace("T", " ");

export function formatGain(gain: GetGainResponse, width: number | undefined): string {
  const { coreHours, gibHours, covered, money, currency } = gain;
  const rows = names.map(([key, what]) => ({ what, cores: coreHours?.[key], memory: gibHours?.[key] }));
  const worth =
    currency === ""
      ? []
      : [`Worth ${money.toLocaleString("en-US", { maximumFractionDigits: 2 })} ${currency}.`];
  return `${[
    `${stamp(gain.fromUnixMs)} to ${stamp(gain.toUnixMs)}, watched ${(100 * covered).toFixed(0)} % of it:`,
    formatTable(columns, rows, width).trimEnd(),
    `Lent: ${share(coreHours?.lent, coreHours?.slurmAlone)} of the core hours of Slurm alone, ` +
      `${share(coreHours?.lent, coreHours?.perfectPacking)} of perfect packing's.`,
    ...worth,
    ...costLines(gain.cost),
  ].join("\n")}\n`;
}

export async function gain(session: Session, { from, to }: GainOptions): Promise<void> {
  const found = await withController(session, (controller) =>
    controller.getGain({ fromUnixMs: from ?? 0, toUnixMs: to ?? 0 }),
  );
  if (session.json)
    writeJson(session.output, found); // what is not a number is null
  else session.output.write(formatGain(found, session.output.width));
}

export function addGainCommand(program: Command, session: () => Session): void {
  const parse = (text: string): number => beginMs(text);
  program
    .command("gain")
    .description(
      "what lending brought, against Slurm alone and perfect packing, and what jobs paid (needs a controller)",
    )
    .option(
      "--from <time>",
      `${spans.join(", ")} (that day, or so many days back), or 2026-11-25T12:00; default today`,
      parse,
    )
    .option("--to <time>", "likewise, the beginning of that day; default now", parse)
    .action((options: GainOptions) => gain(session(), options));
}
