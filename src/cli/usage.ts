/** `sublet usage`: what was held, from the controller's accounting: by day, account and user; yours, to admins everybody's. */
import { type Command, InvalidArgumentError, Option } from "commander";
import { Days, parseDay } from "../common/days.ts";
import type { GetUsageResponse, UsageGroupName, UsageRowMessage } from "../rpc/messages.ts";
import { type Column, formatDuration } from "./output.ts";
import { type Session, withController } from "./session.ts";
import { addTableOptions, show, type TableOptions, viewTable } from "./table-options.ts";

export interface UsageOptions extends TableOptions {
  readonly from: string;
  readonly to: string;
  readonly by: readonly Group[];
  readonly account?: string;
  readonly user?: string;
  readonly csv?: true;
}

const groups = ["day", "account", "user"] as const;
type Group = (typeof groups)[number];
const wire: Readonly<Record<Group, UsageGroupName>> = {
  day: "USAGE_GROUP_DAY",
  account: "USAGE_GROUP_ACCOUNT",
  user: "USAGE_GROUP_USER",
};

const gib = 2 ** 30;
const hour = 3600;

function amount(value: number): string {
  return value === 0 || value >= 99.95 ? value.toFixed(0) : value.toFixed(value >= 9.995 ? 1 : 2);
}

const keys: Readonly<Record<Group, Column<UsageRowMessage>>> = {
  day: { title: "DAY", text: ({ day }) => day },
  account: { title: "ACCOUNT", text: ({ account }) => account || "-" },
  user: { title: "USER", text: ({ user }) => user },
};

function columnsOf(
  by: readonly Group[],
  { quotas }: Pick<GetUsageResponse, "quotas">,
): Column<UsageRowMessage>[] {
  const limits = new Map(quotas.map((quota) => [quota.account, quota]));
  return [
    ...groups.filter((group) => by.includes(group)).map((group) => keys[group]),
    { title: "LEASES", text: ({ leases }) => String(leases), align: "right", spare: 2 },
    {
      title: "CORE HOURS",
      text: ({ coreSeconds }) => amount(coreSeconds / hour),
      value: ({ coreSeconds }) => coreSeconds,
      align: "right",
    },
    {
      title: "GIB HOURS",
      text: ({ byteSeconds }) => amount(byteSeconds / gib / hour),
      value: ({ byteSeconds }) => byteSeconds,
      align: "right",
      spare: 1,
    },
    { title: "CALLS", text: ({ invocations }) => String(invocations), align: "right", spare: 3 },
    ...(quotas.length === 0
      ? []
      : [
          {
            title: "OF TODAY'S QUOTA",
            text: ({ account }: UsageRowMessage) => {
              const quota = limits.get(account);
              if (quota === undefined) return "-";
              const { usedCoreSeconds: used, limitCoreSeconds: limit } = quota;
              return limit === 0 ? "none" : `${Math.floor((100 * used) / limit)} %`;
            },
            align: "right" as const,
          },
        ]),
  ];
}

export function formatUsage(
  found: GetUsageResponse,
  by: readonly Group[],
  width: number | undefined,
  options: TableOptions = { header: true },
): string {
  const { rows, fromDay, toDay, timeZone, quotas } = found;
  const span = fromDay === toDay ? fromDay : `${fromDay} to ${toDay}`;
  const whose = found.allUsers ? "" : ", yours";
  if (!options.header) return viewTable(columnsOf(by, found), rows, width, options);
  if (rows.length === 0) return `No usage: ${span} (${timeZone})${whose}.\n`;
  const lines = [
    `Usage ${span} (days of ${timeZone})${whose}:`,
    viewTable(columnsOf(by, found), rows, width, options).trimEnd(),
  ];
  if (quotas.length > 0) lines.push(`Quotas begin again in ${formatDuration(found.quotaResetsInMs)}.`);
  if (found.truncated) lines.push("There is more: ask for fewer days, or one account.");
  return `${lines.join("\n")}\n`;
}

/** RFC 4180; a cell that a spreadsheet would take for a formula is text. */
function cell(value: string | number): string {
  if (typeof value === "number") return String(value);
  const safe = /^[=+\-@\t\r]/.test(value) && value !== "-" ? `'${value}` : value;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

export function usageCsv({ rows }: GetUsageResponse, by: readonly Group[]): string {
  const shown = groups.filter((group) => by.includes(group));
  const head = [...shown, "leases", "core_seconds", "byte_seconds", "invocations"];
  const lines = rows.map((row) => [
    ...shown.map((group) => cell(row[group])),
    ...[row.leases, row.coreSeconds, row.byteSeconds, row.invocations].map(cell),
  ]);
  return [head, ...lines].map((cells) => `${cells.join(",")}\r\n`).join("");
}

export async function usage(session: Session, options: UsageOptions): Promise<void> {
  const { from, to, by, account = "", user = "" } = options;
  const groupBy = groups.filter((group) => by.includes(group)).map((group) => wire[group]);
  await show(
    session,
    options,
    () => withController(session, (controller) => controller.getUsage({ from, to, groupBy, account, user })),
    (found) => found,
    (found) =>
      options.csv === true ? usageCsv(found, by) : formatUsage(found, by, session.output.width, options),
  );
}

/** As it was written: which day it is says the controller, whose time zone counts. @throws InvalidArgumentError. */
function dayGiven(text: string): string {
  if (text === "" || parseDay(text, "2000-01-01", new Days("UTC")) === undefined)
    throw new InvalidArgumentError("Expected 2026-11-25, today, yesterday, or 7d.");
  return text;
}

export function addUsageCommand(program: Command, session: () => Session): void {
  const command = program
    .command("usage")
    .description(
      "what was held, by the accounting: yours; root and the admin group see everybody's (needs a controller)",
    )
    .option(
      "--from <day>",
      "first day: 2026-11-25, today, yesterday, or 7d, the last 7 days",
      dayGiven,
      "today",
    )
    .option("--to <day>", "last day, the same way", dayGiven, "today")
    .addOption(
      new Option("--by <keys...>", "a row for each of them")
        .choices(groups)
        .default(["account", "user"], "account user"),
    )
    .option("--account <name>", "this account only; - is leases without one")
    .option("--user <name>", "this user only, by name or uid")
    .option("--csv", "comma-separated values, in seconds");
  addTableOptions(command, columnsOf(groups, { quotas: [] })).action((options: UsageOptions) =>
    usage(session(), options),
  );
}
