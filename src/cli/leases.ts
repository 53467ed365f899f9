/** `sublet leases` and `sublet release`: by the controller if one is named, else by the agent of this node. */
import { formatCpuList } from "../common/cpulist.ts";
import { SubletError } from "../common/errors.ts";
import type { LeaseMessage } from "../rpc/messages.ts";
import { type Column, formatBytes, formatDuration, formatEnum, formatTable, writeJson } from "./output.ts";
import { type Session, withAgent, withController } from "./session.ts";

const columns: readonly Column<LeaseMessage>[] = [
  { title: "LEASE", text: ({ id }) => id },
  { title: "NODE", text: ({ node }) => node },
  { title: "KIND", text: ({ kind }) => formatEnum(kind, "LEASE_KIND_"), spare: 3 },
  { title: "STATE", text: ({ state }) => formatEnum(state, "LEASE_STATE_") },
  { title: "CORES", text: ({ cores }) => formatCpuList(cores) || "-" },
  { title: "MEMORY", text: ({ memoryBytes }) => formatBytes(memoryBytes), align: "right", spare: 2 },
  { title: "CLASS", text: (lease) => formatEnum(lease.class, "CAPACITY_CLASS_"), spare: 6 },
  { title: "UID", text: ({ owner }) => String(owner?.uid ?? "?"), align: "right", spare: 4 },
  {
    title: "JOB",
    text: ({ owner }) => (owner === null || owner.jobId === 0 ? "-" : String(owner.jobId)),
    align: "right",
    spare: 5,
  },
  { title: "ENDS IN", text: ({ remainingMs }) => formatDuration(remainingMs), align: "right", spare: 1 },
  { title: "CALLS", text: ({ invocations }) => String(invocations), align: "right", spare: 7 },
];

export function formatLeases(leases: readonly LeaseMessage[], width: number | undefined): string {
  if (leases.length === 0) return "No leases.\n";
  return formatTable(columns, leases, width);
}

export async function listLeases(session: Session): Promise<LeaseMessage[]> {
  if (session.config.controller === undefined) return withAgent(session, (agent) => agent.list());
  return withController(session, async (controller) => (await controller.listLeases({})).leases);
}

export async function leases(session: Session): Promise<void> {
  const list = await listLeases(session);
  list.sort((a, b) => a.node.localeCompare(b.node) || a.id.localeCompare(b.id));
  if (session.json) writeJson(session.output, { leases: list });
  else session.output.write(formatLeases(list, session.output.width));
}

/** Ends a lease. Its node is looked up unless it is named. */
export async function release(
  session: Session,
  leaseId: string,
  options: { readonly node?: string },
): Promise<void> {
  const node = options.node ?? (await listLeases(session)).find(({ id }) => id === leaseId)?.node;
  if (node === undefined)
    throw new SubletError(
      "NOT_FOUND",
      `lease ${leaseId} is not among your leases; it may have ended (see \`sublet leases\`)`,
    );
  const ended =
    session.config.controller === undefined
      ? await withAgent(session, (agent) => agent.release(leaseId, node))
      : (await withController(session, (controller) => controller.releaseLease({ leaseId, node }))).lease;
  if (session.json) writeJson(session.output, { lease: ended });
  else session.output.write(`Lease ${leaseId} on ${node} has ended.\n`);
}
