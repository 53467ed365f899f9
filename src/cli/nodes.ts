/** `sublet nodes`: what Slurm has given away, and what is spare and lent, node by node. */
import type { Command } from "commander";
import { SubletError } from "../common/errors.ts";
import { formatBytes } from "../common/units.ts";
import { nearestWord } from "../config/nearest.ts";
import type { ControllerClient } from "../rpc/client.ts";
import type { ListNodesResponse, NodeStatusMessage, OfferMessage } from "../rpc/messages.ts";
import { nodesFromColumns } from "../rpc/node-columns.ts";
import { parseHostList } from "../slurm/hostlist.ts";
import { type Column, formatDuration, formatEnum, wrap } from "./output.ts";
import { type Session, withController } from "./session.ts";
import { addTableOptions, show, type TableOptions, viewTable } from "./table-options.ts";

export interface NodesOptions extends TableOptions {
  readonly node?: string;
  readonly partition?: string;
  readonly state?: string;
}

const maxRemembered = 1_000;

/** The same function, which need not find the words for the same value again: nodes are alike. */
function remembering<T>(text: (value: T) => string): (value: T) => string {
  const known = new Map<T, string>();
  return (value) => {
    let found = known.get(value);
    if (found === undefined) {
      if (known.size >= maxRemembered) known.clear();
      found = text(value);
      known.set(value, found);
    }
    return found;
  };
}

const size = remembering(formatBytes);
const className = remembering((name: string) => formatEnum(name, "CAPACITY_CLASS_"));

function spareCores(offer: OfferMessage | null): string {
  if (offer === null) return "no agent";
  if (offer.lending === "LENDING_DRAINED") return "drained";
  if (offer.lending === "LENDING_SHADOW") return `shadow (${coresByClass(offer.shadowSpare)})`;
  if (offer.lending === "LENDING_HOLD_OUT") return `held out (${coresByClass(offer.shadowSpare)})`;
  return coresByClass(offer.spare);
}

function coresByClass(spare: OfferMessage["spare"]): string {
  let text = "";
  for (const { cores, class: name } of spare)
    if (cores.length > 0) text += `${text === "" ? "" : " + "}${cores.length} ${className(name)}`;
  return text || "0";
}

function spareMemory(offer: OfferMessage | null): string {
  return offer === null ? "" : size(spareBytes(offer));
}

export function spareCount(offer: OfferMessage | null): number {
  let count = 0;
  if (offer !== null) for (const { cores } of offer.spare) count += cores.length;
  return count;
}

function spareBytes(offer: OfferMessage | null): number {
  let sum = 0;
  if (offer !== null) for (const { memoryBytes } of offer.spare) sum += memoryBytes;
  return sum;
}

const columns: readonly Column<NodeStatusMessage>[] = [
  { title: "NODE", text: ({ node }) => node },
  { title: "STATE", text: ({ slurmState }) => slurmState || "?" },
  {
    title: "CORES",
    text: (node) => `${node.slurmAllocCores}/${node.slurmCores}`,
    value: ({ slurmAllocCores }) => slurmAllocCores,
    align: "right",
    spare: 2,
  },
  {
    title: "MEMORY",
    text: (node) => `${size(node.slurmAllocMemoryBytes)} of ${size(node.slurmMemoryBytes)}`,
    value: ({ slurmAllocMemoryBytes }) => slurmAllocMemoryBytes,
    align: "right",
    spare: 4,
  },
  {
    title: "SPARE CORES",
    text: ({ offer }) => spareCores(offer),
    value: ({ offer }) => (offer === null ? -1 : spareCount(offer)),
  },
  {
    title: "SPARE MEMORY",
    text: ({ offer }) => spareMemory(offer),
    value: ({ offer }) => spareBytes(offer),
    align: "right",
  },
  {
    title: "LASTS",
    text: ({ offer }) =>
      offer === null ? "" : offer.horizonMs === 0 ? "?" : formatDuration(offer.horizonMs),
    value: ({ offer }) => offer?.horizonMs ?? -1,
    align: "right",
    spare: 6,
  },
  { title: "LEASES", text: ({ leases }) => String(leases), align: "right", spare: 1 },
  {
    title: "LENT",
    text: (node) =>
      `${node.leasedCores} ${node.leasedCores === 1 ? "core" : "cores"}, ${size(node.leasedMemoryBytes)}`,
    value: ({ leasedCores }) => leasedCores,
    spare: 3,
  },
  {
    title: "HEARD",
    text: ({ offer, offerAgeMs }) => (offer === null ? "" : `${formatDuration(offerAgeMs)} ago`),
    value: ({ offer, offerAgeMs }) => (offer === null ? -1 : offerAgeMs),
    align: "right",
    spare: 5,
  },
];

/** The table and a line on how fresh it is. */
export function formatNodes(
  response: ListNodesResponse,
  width: number | undefined,
  options: TableOptions = { header: true },
  all: readonly NodeStatusMessage[] = [],
): string {
  const { nodes, snapshotAgeMs, snapshotValid } = response;
  const table = viewTable(columns, nodes, width, options);
  if (!options.header) return table;
  const age = snapshotValid
    ? `Slurm was asked ${formatDuration(snapshotAgeMs)} ago.`
    : "Slurm has not answered yet: its columns are not known.";
  const unknown = nodes.some(({ offer }) => offer !== null && offer.horizonMs === 0);
  const notes =
    nodes.length === 0
      ? noneText(all)
      : `${age} CORES and MEMORY: given to jobs, of all.` +
        ` LASTS: how long what is spare is likely to stay${unknown ? "; ?: too little was seen to say" : ""}.`;
  return `${table}${wrap(notes, width, "")}\n`;
}

function words(text: string | undefined): string[] | undefined {
  return text
    ?.split(",")
    .map((word) => word.trim().toLowerCase())
    .filter((word) => word !== "");
}

/** What `--state` goes by: Slurm's word, and what the agent does. */
function statesOf({ slurmState, offer }: NodeStatusMessage): string[] {
  const slurm = slurmState.toLowerCase().split(/[^a-z_]+/);
  if (offer === null) return [...slurm, "no-agent"];
  const lending = offer.lending.replace("LENDING_", "").toLowerCase().replaceAll("_", "-");
  return [...slurm, lending === "on" ? "lending" : lending];
}

/** Whoever mistyped a state or a partition sees what there is. */
function noneText(all: readonly NodeStatusMessage[]): string {
  const listed = (found: readonly string[]): string =>
    [...new Set(found)]
      .filter((word) => word !== "")
      .sort()
      .join(", ");
  if (all.length === 0) return "No node matches.";
  return `No node matches. States of all nodes: ${listed(all.flatMap(statesOf))}; partitions: ${listed(all.flatMap(({ partitions }) => partitions))}.`;
}

/** @throws SubletError NOT_FOUND when a node is named that nobody knows, with the one that may be meant. */
export function selectNodes(
  all: readonly NodeStatusMessage[],
  { node, partition, state }: Pick<NodesOptions, "node" | "partition" | "state">,
): NodeStatusMessage[] {
  const names = node === undefined ? undefined : new Set(parseHostList(node));
  if (names !== undefined) {
    const known = all.map((each) => each.node);
    const have = new Set(known);
    const strange = [...names].filter((name) => !have.has(name));
    if (strange.length > 0) {
      const meant = nearestWord(strange[0] ?? "", known);
      throw new SubletError(
        "NOT_FOUND",
        `no node ${strange.slice(0, 5).join(", ")}${strange.length > 5 ? ", ..." : ""}: neither Slurm nor an agent names it` +
          (meant === undefined ? "" : `; did you mean ${meant}?`),
      );
    }
  }
  const partitions = partition?.split(",");
  const states = words(state);
  return all.filter(
    (each) =>
      (names === undefined || names.has(each.node)) &&
      (partitions === undefined || each.partitions.some((name) => partitions.includes(name))) &&
      (states === undefined || statesOf(each).some((word) => states.includes(word))),
  );
}

/** All nodes; brief: without the numbers of cores, fast. */
export async function listNodes(
  controller: Pick<ControllerClient, "listNodes">,
  brief: boolean,
): Promise<ListNodesResponse> {
  const { columns, ...response } = await controller.listNodes({ columns: brief });
  return { ...response, columns: null, nodes: columns === null ? response.nodes : nodesFromColumns(columns) };
}

export async function nodes(session: Session, options: NodesOptions): Promise<void> {
  let all: readonly NodeStatusMessage[] = [];
  await show(
    session,
    options,
    async () => {
      // Whoever asks for JSON wants everything; a table does not need the numbers of cores.
      const response = await withController(session, (controller) => listNodes(controller, !session.json));
      all = response.nodes;
      return { ...response, nodes: selectNodes(all, options) };
    },
    ({ columns: _, ...response }) => response,
    (response) => formatNodes(response, session.output.width, options, all),
  );
}

export function addNodesCommand(program: Command, session: () => Session): void {
  const command = program
    .command("nodes")
    .description("nodes with what Slurm gave to jobs, what is spare and what is lent (needs a controller)")
    .option("--node <hosts>", "these nodes only, a host list: n[1-3],gpu7")
    .option("--partition <names>", "nodes of these partitions only, with commas")
    .option(
      "--state <states>",
      "in one of these states, with commas: Slurm's (idle, mixed, down), lending, shadow, hold-out, drained, no-agent",
    );
  addTableOptions(command, columns).action((options: NodesOptions) => nodes(session(), options));
}
