/** The list of jobs: each one's receipts of all nodes in one row. */
import { formatBytes } from "../common/units.ts";
import type { LocalReceipts, PressureMessage, ReceiptMessage } from "../rpc/messages.ts";
import { type Column, formatDuration, wrap } from "./output.ts";
import { type TableOptions, viewTable } from "./table-options.ts";

/** A job over its nodes; a job that ran again on a node has both lives in it. */
export interface JobRow {
  readonly jobId: number;
  /** Of its owner; 0: root, or not known. */
  readonly uid: number;
  readonly nodes: readonly string[];
  readonly fromUnixMs: number;
  readonly toUnixMs: number;
  readonly running: boolean;
  readonly guests: number;
  readonly coreSeconds: number;
  readonly byteSeconds: number;
  readonly guardActions: number;
  /** Percent of the time that was waited for a core, without guests and with them; null: never so, or not measured. */
  readonly cpuAlonePercent: number | null;
  readonly cpuBesidePercent: number | null;
}

function cpuPercent(spans: readonly (PressureMessage | null)[]): number | null {
  const watched = spans.filter((span) => span !== null && span.watchedMs > 0);
  const sum = (key: "watchedMs" | "cpuUs"): number =>
    watched.reduce((all, span) => all + (span?.[key] ?? 0), 0);
  const watchedMs = sum("watchedMs");
  return watchedMs === 0 ? null : sum("cpuUs") / 10 / watchedMs;
}

function rowOf(jobId: number, receipts: readonly ReceiptMessage[]): JobRow {
  const guests = receipts.flatMap((receipt) => receipt.guests);
  const sum = (key: "leases" | "coreSeconds" | "byteSeconds"): number =>
    guests.reduce((all, guest) => all + guest[key], 0);
  return {
    jobId,
    uid: receipts.find(({ uid }) => uid !== 0)?.uid ?? 0,
    nodes: [...new Set(receipts.map(({ node }) => node))],
    fromUnixMs: Math.min(...receipts.map(({ fromUnixMs }) => fromUnixMs)),
    toUnixMs: Math.max(...receipts.map(({ toUnixMs }) => toUnixMs)),
    running: receipts.some(({ ended }) => !ended),
    guests: sum("leases"),
    coreSeconds: sum("coreSeconds"),
    byteSeconds: sum("byteSeconds"),
    guardActions: receipts.flatMap(({ actions }) => actions).reduce((all, { count }) => all + count, 0),
    cpuAlonePercent: cpuPercent(receipts.map(({ alone }) => alone)),
    cpuBesidePercent: cpuPercent(receipts.map(({ beside }) => beside)),
  };
}

/** The newest first. */
export function jobRows(receipts: readonly ReceiptMessage[]): JobRow[] {
  const byJob = new Map<number, ReceiptMessage[]>();
  for (const receipt of receipts) {
    const list = byJob.get(receipt.jobId);
    if (list === undefined) byJob.set(receipt.jobId, [receipt]);
    else list.push(receipt);
  }
  return [...byJob].map(([jobId, list]) => rowOf(jobId, list)).sort((a, b) => b.toUnixMs - a.toUnixMs);
}

const percent = (value: number | null): string => (value === null ? "-" : `${value.toFixed(2)} %`);
const stamp = (ms: number): string =>
  new Date(ms - new Date(ms).getTimezoneOffset() * 60_000).toISOString().slice(5, 16).replace("T", " ");

export const jobColumns: readonly Column<JobRow>[] = [
  { title: "JOB", text: ({ jobId }) => String(jobId), align: "right" },
  { title: "UID", text: ({ uid }) => String(uid || "-"), align: "right", spare: 6 },
  { title: "STATE", text: ({ running }) => (running ? "running" : "ended"), spare: 4 },
  {
    title: "BEGAN",
    text: ({ fromUnixMs }) => stamp(fromUnixMs),
    value: ({ fromUnixMs }) => fromUnixMs,
    spare: 7,
  },
  {
    title: "TOOK",
    text: ({ fromUnixMs, toUnixMs }) => formatDuration(Math.max(0, toUnixMs - fromUnixMs)),
    value: ({ fromUnixMs, toUnixMs }) => toUnixMs - fromUnixMs,
    align: "right",
    spare: 5,
  },
  { title: "NODES", text: ({ nodes }) => String(nodes.length), align: "right" },
  { title: "GUESTS", text: ({ guests }) => String(guests), align: "right" },
  {
    title: "CORE SECONDS",
    text: ({ coreSeconds }) => coreSeconds.toFixed(1),
    value: ({ coreSeconds }) => coreSeconds,
    align: "right",
  },
  {
    title: "MEMORY",
    text: ({ byteSeconds }) => `${formatBytes(byteSeconds)}·s`,
    value: ({ byteSeconds }) => byteSeconds,
    align: "right",
    spare: 3,
  },
  { title: "GUARD", text: ({ guardActions }) => String(guardActions), align: "right", spare: 2 },
  {
    title: "WAIT ALONE",
    text: ({ cpuAlonePercent }) => percent(cpuAlonePercent),
    value: ({ cpuAlonePercent }) => cpuAlonePercent ?? -1,
    align: "right",
    spare: 1,
  },
  {
    title: "WAIT BESIDE",
    text: ({ cpuBesidePercent }) => percent(cpuBesidePercent),
    value: ({ cpuBesidePercent }) => cpuBesidePercent ?? -1,
    align: "right",
    spare: 1,
  },
];

export function formatJobs(
  { receipts, leftOut }: LocalReceipts,
  width: number | undefined,
  options: TableOptions,
): string {
  const table = viewTable(jobColumns, jobRows(receipts), width, options);
  if (!options.header) return receipts.length === 0 ? "" : table;
  const more = leftOut === 0 ? "" : `${leftOut} receipts did not fit: ask the controller (--controller).\n`;
  if (receipts.length === 0)
    return "No jobs: none of yours ran on nodes with Sublet since the daemons began (root sees all).\n";
  const legend =
    "GUARD: what the guard did to guests. WAIT: of the time, how much the job waited for a core, without guests and with.";
  return `${table}${more}${wrap(legend, width, "")}\n`;
}
