/** `sublet leases` and `sublet release`: by the controller if one is named, else by the agent of this node. */
import type { Command } from "commander";
import { formatCpuList } from "../common/cpulist.ts";
import { SubletError } from "../common/errors.ts";
import { formatBytes } from "../common/units.ts";
import type { LeaseMessage } from "../rpc/messages.ts";
import { parseHostList } from "../slurm/hostlist.ts";
import { type Column, formatDuration, formatEnum, writeJson } from "./output.ts";
import { type Session, withAgent, withController } from "./session.ts";
import { addTableOptions, show, type TableOptions, viewTable } from "./table-options.ts";

export interface LeasesOptions extends TableOptions {
  readonly node?: string;
  readonly partition?: string;
  readonly state?: string;
  readonly user?: string;
}

const columns: readonly Column<LeaseMessage>[] = [
  { title: "LEASE", text: ({ id }) => id },
  { title: "NODE", text: ({ node }) => node },
  { title: "KIND", text: ({ kind }) => formatEnum(kind, "LEASE_KIND_"), spare: 3 },
  { title: "STATE", text: ({ state }) => formatEnum(state, "LEASE_STATE_") },
  {
    title: "CORES",
    text: ({ cores }) => formatCpuList(cores) || "-",
    value: ({ cores }) => cores.length,
  },
  {
    title: "MEMORY",
    text: ({ memoryBytes }) => formatBytes(memoryBytes),
    value: ({ memoryBytes }) => memoryBytes,
    align: "right",
    spare: 2,
  },
  { title: "CLASS", text: (lease) => formatEnum(lease.class, "CAPACITY_CLASS_"), spare: 6 },
  { title: "UID", text: ({ owner }) => String(owner?.uid ?? "?"), align: "right", spare: 4 },
  {
    title: "JOB",
    text: ({ owner }) => (owner === null || owner.jobId === 0 ? "-" : String(owner.jobId)),
    align: "right",
    spare: 5,
  },
  {
    title: "ENDS IN",
    text: ({ remainingMs }) => formatDuration(remainingMs),
    value: ({ remainingMs }) => remainingMs,
    align: "right",
    spare: 1,
  },
  { title: "CALLS", text: ({ invocations }) => String(invocations), align: "right", spare: 7 },
];

export function formatLeases(
  leases: readonly LeaseMessage[],
  width: number | undefined,
  options: TableOptions = { header: true },
): string {
  if (leases.length === 0) return options.header ? "No leases.\n" : "";
  return viewTable(columns, leases, width, options);
}

export async function listLeases(session: Session): Promise<LeaseMessage[]> {
  if (session.config.controller === undefined) return withAgent(session, (agent) => agent.list());
  return withController(session, async (controller) => (await controller.listLeases({})).leases);
}

/** Numbers of users, whom the options may name. @throws SubletError NOT_FOUND. */
async function uidsOf(users: string): Promise<Set<number>> {
  const found = users.split(",").map(async (user) => {
    if (/^\d{1,10}$/.test(user)) return Number(user);
    const { userInfoOf } = await import("./users.ts");
    return userInfoOf(user);
  });
  return new Set(await Promise.all(found));
}

export async function selectLeases(
  all: readonly LeaseMessage[],
  { node, partition, state, user }: Pick<LeasesOptions, "node" | "partition" | "state" | "user">,
): Promise<LeaseMessage[]> {
  const names = node === undefined ? undefined : new Set(parseHostList(node));
  const uids = user === undefined ? undefined : await uidsOf(user);
  const partitions = partition?.split(",");
  const states = state?.toLowerCase().split(",");
  return all.filter(
    (lease) =>
      (names === undefined || names.has(lease.node)) &&
      (uids === undefined || uids.has(lease.owner?.uid ?? -1)) &&
      (partitions === undefined || partitions.includes(lease.partition)) &&
      (states === undefined || states.includes(formatEnum(lease.state, "LEASE_STATE_"))),
  );
}

export async function leases(session: Session, options: LeasesOptions): Promise<void> {
  await show(
    session,
    options,
    async () => {
      const list = await selectLeases(await listLeases(session), options);
      return list.sort((a, b) => a.node.localeCompare(b.node) || a.id.localeCompare(b.id));
    },
    (list) => ({ leases: list }),
    (list) => formatLeases(list, session.output.width, options),
  );
}

export function addLeaseCommands(program: Command, session: () => Session): void {
  const command = program
    .command("leases")
    .description("live leases: yours; root and the admin group see all")
    .option("--node <hosts>", "on these nodes only, a host list: n[1-3],gpu7")
    .option("--partition <names>", "of owners whose jobs are in these partitions, with commas")
    .option("--state <states>", "in one of these states, with commas: granted, active, draining")
    .option("--user <users>", "of these users only, by name or uid, with commas");
  addTableOptions(command, columns).action((options: LeasesOptions) => leases(session(), options));
  program
    .command("release")
    .argument("<lease>", "its id, as `sublet leases` shows it")
    .description("end a lease; its executor is stopped")
    .option("--node <name>", "the node that it is on; looked up if not given")
    .action((lease: string, options: { node?: string }) => release(session(), lease, options));
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
