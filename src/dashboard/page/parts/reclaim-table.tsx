import { useState } from "preact/hooks";
import type { ReclaimRow } from "../../api.ts";
import { number, span } from "../lib/format.ts";
import { Link, Time } from "./basics.tsx";
import { type Column, DataTable, type Sort } from "./data-table.tsx";

/** Words of the agent, agent/offer/counters.ts. */
const causes: Readonly<Record<string, string>> = {
  prolog: "a job that starts",
  step: "a step of a job",
  cgroup: "a job, seen by its cgroup",
  use: "a job that uses its own again",
  admin: "an administrator",
};

const columns: readonly Column<ReclaimRow>[] = [
  { key: "atMs", title: "When", width: "9rem", cell: ({ atMs }) => <Time ms={atMs} /> },
  { key: "node", title: "Node", width: "8rem", cell: ({ node }) => <Link to={["nodes", node]}>{node}</Link> },
  { key: "durationMs", title: "Took", width: "6rem", num: true, cell: ({ durationMs }) => span(durationMs) },
  { key: "leases", title: "Leases", width: "5rem", num: true, cell: ({ leases }) => number(leases) },
  {
    key: "cause",
    title: "For",
    width: "18rem",
    cell: ({ cause }) => <span title={cause}>{causes[cause] ?? cause}</span>,
  },
];

export function ReclaimTable(props: { rows: readonly ReclaimRow[]; without?: string }) {
  const [sort, setSort] = useState<Sort>({ by: "atMs", down: true });
  const key = sort.by as keyof ReclaimRow;
  const sign = sort.down ? -1 : 1;
  const rows = [...props.rows].sort((a, b) => (a[key] < b[key] ? -sign : a[key] > b[key] ? sign : 0));
  return (
    <DataTable
      label="Reclaims"
      columns={columns.filter((column) => column.key !== props.without)}
      rows={rows}
      rowKey={(row) => `${row.atMs} ${row.node} ${row.durationMs} ${row.leases}`}
      sort={sort}
      onSort={setSort}
      short
    />
  );
}
