/** `sublet gain`: what lending has brought, against Slurm alone and against perfect packing, and what the jobs paid. */
import { type Command, InvalidArgumentError } from "commander";
import { Days, localTimeZone } from "../common/days.ts";
import type {
  GainCostMessage,
  GainHoursMessage,
  GetGainResponse,
  WaitingComparisonMessage,
  WaitingSideMessage,
} from "../rpc/messages.ts";
import { type Column, formatTable, wrap } from "./output.ts";
import { type Session, withController } from "./session.ts";
import { addWatchOption, show } from "./table-options.ts";

export interface GainOptions {
  readonly watch?: number | true;
  readonly from?: string;
  readonly to?: string;
}

const spans = ["today", "yesterday", "7d", "30d"] as const;

/** When a day, or so many days back, begins at the site. @throws InvalidArgumentError. */
export function beginMs(text: string, days: Days, nowMs: number): number {
  const today = days.dayOf(nowMs);
  const back = /^(\d{1,4})d$/.exec(text)?.[1];
  const count =
    text === "today" ? 0 : text === "yesterday" ? 1 : back === undefined ? undefined : Number(back);
  if (count !== undefined) return days.startOf(days.shift(today, -count));
  const [, day, time] = /^(\d{4}-\d\d-\d\d)(?:T(\d\d:\d\d(?::\d\d)?))?$/.exec(text) ?? [];
  const is = day !== undefined && !Number.isNaN(Date.parse(`${day}T${time ?? "00:00"}Z`));
  const at = !is ? Number.NaN : time === undefined ? days.startOf(day) : days.momentOf(`${day}T${time}`);
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

function sideText(name: string, side: WaitingSideMessage | null): string {
  if (side === null || !Number.isFinite(side.waitedPercent)) return `${name}: none was watched`;
  const nodes = side.nodes.toLocaleString("en-US", { maximumFractionDigits: 1 });
  const hours = amount(side.jobCoreHours);
  return `${name}: ${side.waitedPercent.toFixed(2)} % of ${hours} job core hours on ${nodes} nodes`;
}

const signed = (percent: number): string => `${percent < 0 ? "" : "+"}${percent.toFixed(2)}`;

/** What jobs waited for on nodes that lend, less that on those held out. */
function comparisonLines(what: string, found: WaitingComparisonMessage | null): string[] {
  const sides = [found?.lending, found?.heldOut].filter((side) =>
    Number.isFinite(side?.waitedPercent),
  ).length;
  const head = `  jobs waiting for ${what} on nodes that lend, less on nodes held out: `;
  if (found === null || sides === 0) return [`${head}not measured`];
  const { differencePercent, lowPercent, highPercent, lending, heldOut } = found;
  return [
    head +
      (Number.isFinite(differencePercent)
        ? `${signed(differencePercent)} % of their core time (95 %: ${signed(lowPercent)} to ${signed(highPercent)})`
        : sides === 2
          ? "too little data"
          : "not measured"),
    `    ${sideText("lend", lending)}; ${sideText("held out", heldOut)}`,
  ];
}

function costLines(cost: GainCostMessage | null): string[] {
  if (cost === null) return [];
  return [
    `The jobs paid: the guard acted ${cost.guardActions} times, ${cost.leasesReclaimed} leases were taken back for them.`,
    `  waiting for a core beside guests less alone: ${measured(cost.cpuPressurePercent)}; for memory: ${measured(cost.memoryPressurePercent)}`,
    ...comparisonLines("a core", cost.holdOutCpu),
    ...comparisonLines("memory", cost.holdOutMemory),
    `  from ${cost.receipts} receipts of jobs`,
  ];
}

/** Nothing, and next to nothing, are two things. */
function whole(part: number): string {
  if (part <= 0) return "nothing";
  const percent = Math.round(100 * part);
  return percent === 0 ? "less than 1 %" : `${percent} %`;
}

/** Broken at the width, if there is one; what goes on stands deeper than its beginning. */
function folded(line: string, width: number | undefined): string {
  const indent = /^ */.exec(line)?.[0] ?? "";
  const [first = "", ...rest] = wrap(line, width === undefined ? undefined : width - 2, indent).split("\n");
  return [first, ...rest.map((each) => `  ${each}`)].join("\n");
}

export function formatGain(gain: GetGainResponse, days: Days, width: number | undefined): string {
  const { coreHours, gibHours, covered, money, currency } = gain;
  const stamp = (ms: number): string => days.clockAt(ms).slice(0, 16);
  const rows = names.map(([key, what]) => ({ what, cores: coreHours?.[key], memory: gibHours?.[key] }));
  const worth =
    currency === ""
      ? []
      : [`Worth ${money.toLocaleString("en-US", { maximumFractionDigits: 2 })} ${currency}.`];
  return `${[
    `${stamp(gain.fromUnixMs)} to ${stamp(gain.toUnixMs)} (${days.timeZone}), watched ${whole(covered)} of it:`,
    formatTable(columns, rows, width).trimEnd(),
    `Lent: ${share(coreHours?.lent, coreHours?.slurmAlone)} of the core hours of Slurm alone, ` +
      `${share(coreHours?.lent, coreHours?.perfectPacking)} of perfect packing's.`,
    ...worth,
    ...costLines(gain.cost),
  ]
    .map((part) => (part.includes("\n") ? part : folded(part, width)))
    .join("\n")}\n`;
}

export async function gain(session: Session, { from, to, watch }: GainOptions): Promise<void> {
  await show(
    session,
    watch === undefined ? {} : { watch },
    () =>
      withController(session, async (controller) => {
        // A controller without accounting does not say where its days begin.
        const zone = await controller.getUsage({}).then(
          ({ timeZone }) => timeZone,
          () => localTimeZone(),
        );
        const days = new Days(zone);
        const at = (text: string | undefined): number =>
          text === undefined ? 0 : beginMs(text, days, Date.now());
        return { days, found: await controller.getGain({ fromUnixMs: at(from), toUnixMs: at(to) }) };
      }),
    ({ found }) => found, // what is not a number is null
    ({ found, days }) => formatGain(found, days, session.output.width),
  );
}

export function addGainCommand(program: Command, session: () => Session): void {
  const parse = (text: string): string => {
    beginMs(text, new Days("UTC"), 0);
    return text;
  };
  const command = program
    .command("gain")
    .description(
      "what lending brought, against Slurm alone and perfect packing, and what jobs paid (needs a controller)",
    )
    .option(
      "--from <time>",
      `${spans.join(", ")} (that day, or so many days back), or 2026-11-25T12:00, at the site's clock; default today`,
      parse,
    )
    .option("--to <time>", "likewise, the beginning of that day; default now", parse);
  addWatchOption(command).action((options: GainOptions) => gain(session(), options));
}
