/** `sublet nodes`: what Slurm has given away, and what is spare and lent, node by node. */
import type { ListNodesResponse, NodeStatusMessage, OfferMessage } from "../rpc/messages.ts";
import { type Column, formatBytes, formatDuration, formatEnum, formatTable, writeJson } from "./output.ts";
import { type Session, withController } from "./session.ts";

function spareCores(offer: OfferMessage | null): string {
  if (offer === null) return "no agent";
  if (offer.lending === "LENDING_DRAINED") return "drained";
  if (offer.lending === "LENDING_SHADOW") return `shadow (${coresByClass(offer.shadowSpare)})`;
  if (offer.lending === "LENDING_HOLD_OUT") return `held out (${coresByClass(offer.shadowSpare)})`;
  return coresByClass(offer.spare);
}

function coresByClass(spare: OfferMessage["spare"]): string {
  const parts = spare
    .filter(({ cores }) => cores.length > 0)
    .map(({ cores, class: name }) => `${cores.length} ${formatEnum(name, "CAPACITY_CLASS_")}`);
  return parts.length === 0 ? "0" : parts.join(" + ");
}

function spareMemory(offer: OfferMessage | null): string {
  return offer === null ? "" : formatBytes(offer.spare.reduce((sum, spare) => sum + spare.memoryBytes, 0));
}

const columns: readonly Column<NodeStatusMessage>[] = [
  { title: "NODE", text: ({ node }) => node },
  { title: "STATE", text: ({ slurmState }) => slurmState || "?" },
  { title: "CORES", text: (node) => `${node.slurmAllocCores}/${node.slurmCores}`, align: "right", spare: 2 },
  {
    title: "MEMORY",
    text: (node) => `${formatBytes(node.slurmAllocMemoryBytes)} of ${formatBytes(node.slurmMemoryBytes)}`,
    align: "right",
    spare: 4,
  },
  { title: "SPARE CORES", text: ({ offer }) => spareCores(offer) },
  { title: "SPARE MEMORY", text: ({ offer }) => spareMemory(offer), align: "right" },
  {
    title: "LASTS",
    text: ({ offer }) =>
      offer === null ? "" : offer.horizonMs === 0 ? "?" : formatDuration(offer.horizonMs),
    align: "right",
    spare: 6,
  },
  { title: "LEASES", text: ({ leases }) => String(leases), align: "right", spare: 1 },
  {
    title: "LENT",
    text: (node) =>
      `${node.leasedCores} ${node.leasedCores === 1 ? "core" : "cores"}, ${formatBytes(node.leasedMemoryBytes)}`,
    spare: 3,
  },
  {
    title: "HEARD",
    text: ({ offer, offerAgeMs }) => (offer === null ? "" : `${formatDuration(offerAgeMs)} ago`),
    align: "right",
    spare: 5,
  },
];

/** The table and a line on how fresh it is. */
export function formatNodes(response: ListNodesResponse, width: number | undefined): string {
  const { nodes, snapshotAgeMs, snapshotValid } = response;
  const age = snapshotValid
    ? `Slurm was asked ${formatDuration(snapshotAgeMs)} ago.`
    : "Slurm has not answered yet: its columns are not known.";
  return `${formatTable(columns, nodes, width)}${age} CORES and MEMORY: given to jobs, of all.\n`;
}

export async function nodes(session: Session): Promise<void> {
  const response = await withController(session, (controller) => controller.listNodes({}));
  if (session.json) writeJson(session.output, response);
  else session.output.write(formatNodes(response, session.output.width));
}
