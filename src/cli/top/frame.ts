/** One picture of `sublet top`: what the cluster is at a moment, as lines that fit the terminal. Pure. */

import { formatBytes } from "../../common/units.ts";
import type { Shares } from "../../dashboard/api.ts";
import { addShares, noShares, sharesOf } from "../../dashboard/shares.ts";
import type {
  GetGainResponse,
  LeaseMessage,
  ListNodesResponse,
  NodeStatusMessage,
  OfferMessage,
  ReclaimTimesMessage,
} from "../../rpc/messages.ts";
import { type Column, formatDuration, formatTable } from "../output.ts";

export interface Cluster {
  readonly controller: string;
  readonly found: ListNodesResponse;
  readonly leases: readonly LeaseMessage[];
  /** Of today; undefined: this controller keeps no history. */
  readonly gain: GetGainResponse | undefined;
  /** Of the last hour; undefined: not known (an older controller, or one without history). */
  readonly reclaims: ReclaimTimesMessage | undefined;
  /** Why the picture is an old one. */
  readonly stale: string | undefined;
}

export interface View {
  readonly sort: SortName;
  readonly reverse: boolean;
  readonly search: string;
  /** The search is being typed. */
  readonly typing: boolean;
  readonly top: number;
  readonly help: boolean;
  readonly paused: boolean;
}

export const firstView: View = {
  sort: "node",
  reverse: false,
  search: "",
  typing: false,
  top: 0,
  help: false,
  paused: false,
};

export interface Size {
  readonly width: number;
  /** undefined: as many lines as there are. */
  readonly height: number | undefined;
  readonly colour: boolean;
}

const cores = (offer: OfferMessage | null): number =>
  offer?.spare.reduce((sum, spare) => sum + spare.cores.length, 0) ?? 0;
const bytes = (offer: OfferMessage | null): number =>
  offer?.spare.reduce((sum, spare) => sum + spare.memoryBytes, 0) ?? 0;

function lends({ offer }: NodeStatusMessage): string {
  if (offer === null) return "no agent";
  return offer.lending.replace("LENDING_", "").toLowerCase().replaceAll("_", " ");
}

type NodeColumn = Column<NodeStatusMessage> & { readonly value: (node: NodeStatusMessage) => number };

/** In the order of the screen; the name alone sorts as the controller did. */
const numbers = {
  allocated: {
    title: "ALLOC",
    text: (node) => `${node.slurmAllocCores}/${node.slurmCores}`,
    value: (node) => node.slurmAllocCores,
    align: "right",
    spare: 3,
  },
  lent: {
    title: "LENT",
    text: (node) => String(node.leasedCores),
    value: (node) => node.leasedCores,
    align: "right",
  },
  spare: {
    title: "SPARE",
    text: ({ offer }) => String(cores(offer)),
    value: ({ offer }) => cores(offer),
    align: "right",
  },
  memory: {
    title: "SPARE MEM",
    text: ({ offer }) => formatBytes(bytes(offer)),
    value: ({ offer }) => bytes(offer),
    align: "right",
    spare: 2,
  },
  leases: {
    title: "LEASES",
    text: ({ leases }) => String(leases),
    value: ({ leases }) => leases,
    align: "right",
    spare: 1,
  },
  heard: {
    title: "HEARD",
    text: ({ offer, offerAgeMs }) => (offer === null ? "-" : formatDuration(offerAgeMs)),
    value: ({ offer, offerAgeMs }) => (offer === null ? Number.MAX_VALUE : offerAgeMs),
    align: "right",
    spare: 4,
  },
} as const satisfies Readonly<Record<string, NodeColumn>>;

export type SortName = "node" | keyof typeof numbers;
export const sortNames: readonly SortName[] = ["node", ...(Object.keys(numbers) as (keyof typeof numbers)[])];

const words: readonly Column<NodeStatusMessage>[] = [
  { title: "NODE", text: ({ node }) => node },
  { title: "SLURM", text: ({ slurmState }) => slurmState || "?" },
  { title: "LENDING", text: lends },
];

/** Those that the search finds (by name, state, lending or partition), sorted: numbers fall, names rise. */
export function listed(nodes: readonly NodeStatusMessage[], view: View): NodeStatusMessage[] {
  const wanted = view.search.toLowerCase();
  const text = (node: NodeStatusMessage): string =>
    [node.node, node.slurmState, lends(node), ...node.partitions].join(" ").toLowerCase();
  const found = wanted === "" ? [...nodes] : nodes.filter((node) => text(node).includes(wanted));
  if (view.sort !== "node") {
    const { value } = numbers[view.sort];
    found.sort((a, b) => value(b) - value(a));
  }
  return view.reverse ? found.reverse() : found;
}

const shares = [
  { key: "used", label: "used", mark: "#", colour: 34 },
  { key: "heldUnused", label: "held unused", mark: "=", colour: 36 },
  { key: "lent", label: "lent", mark: "+", colour: 32 },
  { key: "spare", label: "spare", mark: ".", colour: 33 },
  { key: "closed", label: "closed", mark: " ", colour: 90 },
] as const;

/** Of shared capacity, which jobs hold and do not use, by node. */
function lentShared(leases: readonly LeaseMessage[]): Map<string, { cores: number; bytes: number }> {
  const byNode = new Map<string, { cores: number; bytes: number }>();
  for (const lease of leases) {
    if (lease.class !== "CAPACITY_CLASS_SHARED") continue;
    const sum = byNode.get(lease.node) ?? { cores: 0, bytes: 0 };
    byNode.set(lease.node, {
      cores: sum.cores + lease.cores.length,
      bytes: sum.bytes + lease.memoryBytes,
    });
  }
  return byNode;
}

/** What jobs hold and do not use is known as far as it is lent or offered. */
function told(total: number, allocated: number, lent: number, shared: number, spare: number, held: number) {
  const used = Math.max(0, allocated - shared - held);
  return { total, allocated, used, lent, lentShared: Math.min(shared, lent), spare, spareShared: held };
}

function sums({ found, leases }: Cluster): { cores: Shares; memory: Shares } {
  const sum = { cores: noShares(), memory: noShares() };
  const beyond = lentShared(leases);
  for (const node of found.nodes) {
    const { offer } = node;
    const held = offer?.spare.filter((spare) => spare.class === "CAPACITY_CLASS_SHARED") ?? [];
    const shared = beyond.get(node.node) ?? { cores: 0, bytes: 0 };
    const heldCores = held.reduce((all, spare) => all + spare.cores.length, 0);
    const heldBytes = held.reduce((all, spare) => all + spare.memoryBytes, 0);
    const allCores = node.slurmCores || (offer?.coresTotal ?? 0);
    const allBytes = node.slurmMemoryBytes || (offer?.memoryBytesTotal ?? 0);
    addShares(
      sum.cores,
      sharesOf(told(allCores, node.slurmAllocCores, node.leasedCores, shared.cores, cores(offer), heldCores)),
    );
    addShares(
      sum.memory,
      sharesOf(
        told(
          allBytes,
          node.slurmAllocMemoryBytes,
          node.leasedMemoryBytes,
          shared.bytes,
          bytes(offer),
          heldBytes,
        ),
      ),
    );
  }
  return sum;
}

/** The shares as so many cells: at least one for what there is, exactly `width` in all. */
export function barCells(amounts: Pick<Shares, (typeof shares)[number]["key"]>, width: number): number[] {
  const values = shares.map(({ key }) => Math.max(0, amounts[key]));
  const total = values.reduce((sum, value) => sum + value, 0);
  if (total === 0) return values.map((_, index) => (index === values.length - 1 ? width : 0));
  const cells = values.map((value) => (value === 0 ? 0 : Math.max(1, Math.floor((value / total) * width))));
  const most = (): number => cells.indexOf(Math.max(...cells));
  for (let left = width - cells.reduce((sum, cell) => sum + cell, 0); left !== 0; left -= Math.sign(left)) {
    const at = most();
    cells[at] = (cells[at] ?? 0) + Math.sign(left);
  }
  return cells;
}

function painted(text: string, code: number, { colour }: Size): string {
  return colour ? `\u001b[${code}m${text}\u001b[0m` : text;
}

function bar(label: string, amounts: Shares, total: string, size: Size): string {
  const width = Math.max(1, size.width - label.length - total.length - 4);
  const cells = barCells(amounts, width);
  const parts = shares.map(({ mark, colour }, index) =>
    painted(mark.repeat(cells[index] ?? 0), colour, size),
  );
  return `${label} [${parts.join("")}] ${total}`;
}

function legend(amounts: Shares, text: (value: number) => string, size: Size): string {
  const whole = Math.max(1, amounts.total);
  const indent = "       ";
  let line = indent;
  let length = line.length;
  for (const { key, label, mark, colour } of shares) {
    const value = amounts[key];
    const name = `${mark === " " ? "" : mark} ${label}`.trim();
    const percent = `${Math.round((100 * value) / whole)}%`;
    const long = `${name} ${text(value)} (${percent})  `;
    const part = size.width < 100 ? `${name} ${percent}  ` : long;
    if (length + part.trimEnd().length > size.width) break;
    line += painted(part, colour, size);
    length += part.length;
  }
  return line.trimEnd();
}

const count = (value: number): string => value.toLocaleString("en-US", { maximumFractionDigits: 0 });
const clip = (text: string, width: number): string =>
  text.length <= width ? text : `${text.slice(0, Math.max(0, width - 1))}…`;

function notices({ found, stale }: Cluster): string[] {
  const silent = found.nodes.filter(({ offer }) => offer === null).length;
  const drained = found.nodes.filter(({ offer }) => offer?.lending === "LENDING_DRAINED").length;
  return [
    ...(stale === undefined ? [] : [`! ${stale}: this picture is an old one`]),
    ...(found.snapshotValid ? [] : ["! Slurm has not answered yet: what jobs hold is not known"]),
    ...(silent === 0 ? [] : [`! ${count(silent)} nodes have no agent that reports (search: no agent)`]),
    ...(drained === 0 ? [] : [`! ${count(drained)} nodes are drained (search: drained)`]),
  ];
}

function leaseLine(leases: readonly LeaseMessage[]): string {
  const kind = (name: string): number => leases.filter((lease) => lease.kind === `LEASE_KIND_${name}`).length;
  const draining = leases.filter(({ state }) => state === "LEASE_STATE_DRAINING").length;
  const calls = leases.reduce((sum, { invocations }) => sum + invocations, 0);
  return (
    `leases ${count(leases.length)}: ${count(kind("FUNCTION"))} functions, ${count(kind("REGION"))} regions, ` +
    `${count(draining)} draining; ${count(calls)} calls in them`
  );
}

function gainLines({ gain }: Cluster): string[] {
  const won = gain?.coreHours;
  if (gain === undefined || won === null || won === undefined) return [];
  const worth = gain.currency === "" ? "" : `, ${count(gain.money)} ${gain.currency}`;
  return [
    `lent today ${count(won.lent)} core hours, ${count(gain.gibHours?.lent ?? 0)} GiB hours${worth}; ` +
      `${count(gain.cost?.leasesReclaimed ?? 0)} leases taken back, the guard acted ${count(gain.cost?.guardActions ?? 0)} times`,
  ];
}

const ms = (us: number): string => (us < 9_950 ? (us / 1000).toFixed(1) : count(us / 1000));

function reclaimLines({ reclaims }: Cluster): string[] {
  if (reclaims === undefined) return [];
  const { count: number, p50Us, p99Us, maxUs } = reclaims;
  if (number === 0) return ["reclaims in the last hour: none"];
  const times =
    maxUs === 0 ? "not measured" : `p50 ${ms(p50Us)} ms, p99 ${ms(p99Us)} ms, longest ${ms(maxUs)} ms`;
  return [`reclaims in the last hour: ${count(number)}; ${times}`];
}

export const helpLines: readonly string[] = [
  "sublet top: keys",
  "",
  "  q, Ctrl-C          quit",
  "  up down j k        one node; PgUp PgDn a page; Home End g G first and last",
  "  /                  search by name, Slurm's state, lending, partition; Enter keeps it, Esc ends it",
  "  < >                sort by the column to the left or right",
  "  N P L S M          sort by name, allocated cores, lent cores, spare cores, spare memory",
  "  r                  the other way round",
  "  space              hold the picture, go on",
  "  h ?                this page",
  "",
  "  bars: # used by jobs   = held by jobs, unused   + lent   . spare   blank: closed (down, drained, reserved)",
];

/** Lines above the list, so that keys know how long a page is. */
export function frame(
  cluster: Cluster,
  view: View,
  size: Size,
  clock: string,
): { lines: string[]; page: number } {
  const { width, height } = size;
  if (view.help) return { lines: helpLines.map((line) => clip(line, width)).slice(0, height), page: 1 };
  const { nodes, snapshotAgeMs, snapshotValid } = cluster.found;
  const sum = sums(cluster);
  const age = snapshotValid ? `, Slurm asked ${formatDuration(snapshotAgeMs)} ago` : "";
  const [allCores, allBytes] = [count(sum.cores.total), formatBytes(sum.memory.total)];
  const wide = Math.max(allCores.length, allBytes.length);
  const head = [
    clip(
      `sublet top ${clock}  ${cluster.controller}  ${count(nodes.length)} nodes${age}${view.paused ? "  HELD" : ""}`,
      width,
    ),
    bar("cores ", sum.cores, allCores.padStart(wide), size),
    legend(sum.cores, count, size),
    bar("memory", sum.memory, allBytes.padStart(wide), size),
    legend(sum.memory, formatBytes, size),
    clip(leaseLine(cluster.leases), width),
    ...[...gainLines(cluster), ...reclaimLines(cluster)].map((line) => clip(line, width)),
    ...notices(cluster).map((text) => painted(clip(text, width), 31, size)),
  ];
  const rows = listed(nodes, view);
  const room = height === undefined ? rows.length : Math.max(1, height - head.length - 2);
  const top = Math.max(0, Math.min(view.top, rows.length - room));
  const columns = [...words, ...Object.values(numbers)];
  const sorted = view.sort === "node" ? "NODE" : numbers[view.sort].title;
  const marked = columns.map((column) =>
    column.title === sorted ? { ...column, title: `${column.title}${view.reverse ? "^" : "v"}` } : column,
  );
  const table = formatTable(marked, rows.slice(top, top + room), width)
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("(narrow terminal"));
  const titles = clip(table[0] ?? "", width).padEnd(width);
  const shown =
    rows.length === 0
      ? "no node is found"
      : `${count(top + 1)}-${count(Math.min(top + room, rows.length))} of ${count(rows.length)}`;
  const search = view.typing
    ? `search: ${view.search}_`
    : view.search === ""
      ? ""
      : `search: ${view.search}  `;
  const foot = view.typing ? search : `${search}${shown}   q quit  h help  / search  < > sort  r reverse`;
  const title = size.colour ? `\u001b[7m${titles}\u001b[0m` : titles.trimEnd();
  const lines = [...head, title, ...table.slice(1)];
  if (height !== undefined) {
    while (lines.length < height - 1) lines.push("");
    lines.push(clip(foot, width));
  }
  return { lines: height === undefined ? lines : lines.slice(0, height), page: room };
}
