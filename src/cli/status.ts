/** `sublet status`: what the agent of this node offers and found. */
import { formatCpuList } from "../common/cpulist.ts";
import { formatBytes } from "../common/units.ts";
import type { LocalStatusReport } from "../rpc/messages.ts";
import { formatEnum, formatTable } from "./output.ts";
import { type Session, withAgent } from "./session.ts";
import { show, type TableOptions } from "./table-options.ts";

export function formatStatus(report: LocalStatusReport, width: number | undefined): string {
  const { offer, findings, controllerConnected } = report;
  const rows: [string, string][] = [["controller", controllerConnected ? "connected" : "not connected"]];
  if (offer === null) rows.push(["offer", "none yet"]);
  else {
    rows.unshift(["node", offer.node], ["address", offer.address]);
    rows.push(
      ["cores", `${offer.coresUsedByJobs} of ${offer.coresTotal} held by jobs`],
      [
        "memory",
        `${formatBytes(offer.memoryBytesUsedByJobs)} of ${formatBytes(offer.memoryBytesTotal)} held by jobs`,
      ],
    );
    if (offer.spare.length === 0) rows.push(["spare", "nothing"]);
    for (const spare of offer.spare)
      rows.push([
        `spare, ${formatEnum(spare.class, "CAPACITY_CLASS_")}`,
        `cores ${formatCpuList(spare.cores) || "none"}, ${formatBytes(spare.memoryBytes)}`,
      ]);
  }
  for (const [key, value] of Object.entries(findings).sort(([a], [b]) => a.localeCompare(b)))
    rows.push([key, value]);
  const columns = [
    { title: "", text: ([key]: [string, string]) => key },
    { title: "", text: ([, value]: [string, string]) => value },
  ];
  return formatTable(columns, rows, width).replace(/^\s*\n/, "");
}

export async function status(session: Session, options: Pick<TableOptions, "watch">): Promise<void> {
  await show(
    session,
    options,
    () => withAgent(session, (agent) => agent.status()),
    (report) => report,
    (report) => formatStatus(report, session.output.width),
  );
}
