/** `sublet jobs JOBID`: what guests cost a job, node by node; to its owner and admins. */
import { SubletError } from "../common/errors.ts";
import type { LocalReceipts, PressureMessage, ReceiptGuestMessage, ReceiptMessage } from "../rpc/messages.ts";
import { type Column, formatBytes, formatDuration, formatEnum, formatTable, writeJson } from "./output.ts";
import { type Session, withAgent, withController } from "./session.ts";

const columns: readonly Column<ReceiptGuestMessage>[] = [
  { title: "LEASE", text: ({ leaseId, leases }) => leaseId || `${leases} more` },
  { title: "UID", text: ({ uid }) => String(uid || "-"), align: "right" },
  { title: "KIND", text: ({ kind }) => formatEnum(kind, "LEASE_KIND_") || "-", spare: 2 },
  { title: "CLASS", text: (guest) => formatEnum(guest.class, "CAPACITY_CLASS_") || "-", spare: 1 },
  { title: "CORE SECONDS", text: ({ coreSeconds }) => coreSeconds.toFixed(1), align: "right" },
  { title: "MEMORY", text: ({ byteSeconds }) => `${formatBytes(byteSeconds)}·s`, align: "right" },
];

/** "1.5 %": of the time, somebody waited. */
function percent(us: number, durationMs: number): string {
  return durationMs === 0 ? "-" : `${((us / 1000 / durationMs) * 100).toFixed(2)} %`;
}

function pressureText(what: string, pressure: PressureMessage | null): string {
  if (pressure === null || pressure.durationMs === 0) return `${what}: never`;
  const { durationMs, cpuUs, memoryUs, ioUs } = pressure;
  const parts = [
    `cpu ${percent(cpuUs, durationMs)}`,
    `memory ${percent(memoryUs, durationMs)}`,
    `io ${percent(ioUs, durationMs)}`,
  ];
  return `${what} (${formatDuration(durationMs)}): ${parts.join(", ")}`;
}

const consentText: Readonly<Record<string, string>> = {
  CONSENT_SHARE: "shares what it does not use",
  CONSENT_NO: "wants no neighbours",
  CONSENT_UNSPECIFIED: "was not asked",
};

function formatReceipt(receipt: ReceiptMessage, width: number | undefined): string {
  const { jobId, node, fromUnixMs, toUnixMs, ended, guests, actions, pressureOf } = receipt;
  const time = formatDuration(Math.max(0, toUnixMs - fromUnixMs));
  const lines = [
    `Job ${jobId} on ${node}: ${time}${ended ? "" : " so far"}, ${consentText[receipt.consent] ?? "?"}.`,
  ];
  if (guests.length === 0) lines.push("No guest was there.");
  else lines.push(formatTable(columns, guests, width).trimEnd());
  const acted = actions.map(({ action, count }) => `${action} ${count}×`).join(", ");
  if (guests.length > 0) lines.push(`Guard: ${acted || "did nothing"}.`);
  if (pressureOf === "") lines.push("Pressure: this kernel measures none.");
  else {
    lines.push(
      `Pressure of the ${pressureOf === "job" ? "job's cgroup" : "whole node"}, time in which some task waited:`,
    );
    lines.push(`  ${pressureText("without guests", receipt.alone)}`);
    lines.push(`  ${pressureText("with guests", receipt.beside)}`);
  }
  return `${lines.join("\n")}\n`;
}

export function formatReceipts(found: LocalReceipts, width: number | undefined): string {
  const { receipts, leftOut } = found;
  const text = receipts.map((receipt) => formatReceipt(receipt, width)).join("\n");
  return leftOut === 0 ? text : `${text}\n${leftOut} more nodes: ask the controller (--controller).\n`;
}

/** One line for the job's record in Slurm: sums over all nodes. No quotes, no blanks at its ends, below 200 characters. */
export function summaryOf(receipts: readonly ReceiptMessage[]): string {
  const guests = receipts.flatMap((receipt) => receipt.guests);
  const leases = guests.reduce((sum, guest) => sum + guest.leases, 0);
  if (leases === 0) return "sublet: no guests";
  const coreSeconds = guests.reduce((sum, guest) => sum + guest.coreSeconds, 0);
  const byteSeconds = guests.reduce((sum, guest) => sum + guest.byteSeconds, 0);
  const acted = receipts.flatMap(({ actions }) => actions).reduce((sum, { count }) => sum + count, 0);
  const cpu = (of: (receipt: ReceiptMessage) => PressureMessage | null): string => {
    const spans = receipts.flatMap((receipt) => of(receipt) ?? []);
    const sum = (key: keyof PressureMessage): number => spans.reduce((all, span) => all + span[key], 0);
    return percent(sum("cpuUs"), sum("durationMs"));
  };
  return (
    `sublet: ${leases} ${leases === 1 ? "guest" : "guests"}, ${coreSeconds.toFixed(1)} core s, ` +
    `${formatBytes(byteSeconds)} s, guard acted ${acted} times, ` +
    `cpu pressure ${cpu(({ alone }) => alone)} without and ${cpu(({ beside }) => beside)} with guests`
  );
}

export interface JobsOptions {
  readonly summary?: true;
}

export async function jobs(session: Session, jobId: number, options: JobsOptions = {}): Promise<void> {
  const found: LocalReceipts =
    session.config.controller === undefined
      ? await withAgent(session, (agent) => agent.job(jobId))
      : await withController(session, async (controller) => ({
          receipts: (await controller.listReceipts({ jobId })).receipts,
          leftOut: 0,
        }));
  if (found.receipts.length === 0)
    throw new SubletError(
      "NOT_FOUND",
      `no receipt of job ${jobId} is known here: it did not run since the daemons began, is forgotten, or is not yours`,
    );
  if (options.summary === true) session.output.write(`${summaryOf(found.receipts)}\n`);
  else if (session.json) writeJson(session.output, found);
  else session.output.write(formatReceipts(found, session.output.width));
}
