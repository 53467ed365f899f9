/**
 * `sublet jobs`: jobs that had guests beside them, or might have; `sublet jobs JOBID`: what guests cost one, node by node.
 * To a job's owner and admins.
 */
import { SubletError } from "../common/errors.ts";
import { formatBytes } from "../common/units.ts";
import type { LocalReceipts, PressureMessage, ReceiptGuestMessage, ReceiptMessage } from "../rpc/messages.ts";
import { stalled, summaryOf } from "../rpc/summary.ts";
import { formatJobs, jobRows } from "./job-list.ts";
import { type Column, formatDuration, formatEnum, formatTable } from "./output.ts";
import { type Session, withAgent, withController } from "./session.ts";
import { show, type TableOptions } from "./table-options.ts";

const columns: readonly Column<ReceiptGuestMessage>[] = [
  { title: "LEASE", text: ({ leaseId, leases }) => leaseId || `${leases} more` },
  { title: "UID", text: ({ uid }) => String(uid || "-"), align: "right" },
  { title: "KIND", text: ({ kind }) => formatEnum(kind, "LEASE_KIND_") || "-", spare: 2 },
  { title: "CLASS", text: (guest) => formatEnum(guest.class, "CAPACITY_CLASS_") || "-", spare: 1 },
  { title: "CORE SECONDS", text: ({ coreSeconds }) => coreSeconds.toFixed(1), align: "right" },
  { title: "MEMORY", text: ({ byteSeconds }) => `${formatBytes(byteSeconds)}·s`, align: "right" },
];

function pressureText(what: string, pressure: PressureMessage | null): string {
  if (pressure === null || pressure.durationMs === 0) return `${what}: never`;
  const { durationMs, cpuUs, memoryUs, ioUs, watchedMs, memoryWatchedMs } = pressure;
  const parts = [
    `cpu ${stalled(cpuUs, watchedMs)}`,
    `memory ${stalled(memoryUs, memoryWatchedMs)}`,
    `io ${stalled(ioUs, memoryWatchedMs)}`,
  ];
  return `${what} (${formatDuration(durationMs)}): ${parts.join(", ")}`;
}

const consentText: Readonly<Record<string, string>> = {
  CONSENT_SHARE: "shares what it does not use",
  CONSENT_NO: "wants no neighbours",
  CONSENT_UNSPECIFIED: "its owner said nothing about neighbours",
};

/** By what it is told; anything else is the whole node's, of an agent of an older version. */
const waitingText: Readonly<Record<string, string>> = {
  job: "Waiting, the pressure of the job's cgroup, time in which some task waited:",
  tasks:
    "Waiting of the job's tasks for its cores, as part of the time (this kernel tells of no job's memory):",
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
  const measure = waitingText[pressureOf];
  if (measure === undefined) lines.push("Waiting: not measured.");
  else {
    lines.push(measure);
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

export interface JobsOptions extends TableOptions {
  readonly summary?: true;
}

/** jobId 0: of all jobs. */
async function receiptsOf(session: Session, jobId: number): Promise<LocalReceipts> {
  if (session.config.controller === undefined) return withAgent(session, (agent) => agent.job(jobId));
  return withController(session, async (controller) => ({
    receipts: (await controller.listReceipts({ jobId })).receipts,
    leftOut: 0,
  }));
}

async function oneJob(session: Session, jobId: number, options: JobsOptions): Promise<void> {
  await show(
    session,
    options,
    async () => {
      const found = await receiptsOf(session, jobId);
      if (found.receipts.length === 0)
        throw new SubletError(
          "NOT_FOUND",
          `no receipt of job ${jobId} is known here: it did not run since the daemons began, is forgotten, or is not yours`,
        );
      return found;
    },
    (found) => found,
    (found) =>
      options.summary === true
        ? `${summaryOf(found.receipts)}\n`
        : formatReceipts(found, session.output.width),
  );
}

export async function jobs(
  session: Session,
  jobId: number | undefined,
  options: JobsOptions = { header: true },
): Promise<void> {
  if (jobId !== undefined) return oneJob(session, jobId, options);
  await show(
    session,
    options,
    () => receiptsOf(session, 0),
    (found) => ({ jobs: jobRows(found.receipts), leftOut: found.leftOut }),
    (found) => formatJobs(found, session.output.width, options),
  );
}
