/** Leases as rows; the same columns on every page. */
import type { LeaseRow } from "../../api.ts";
import { bytes, number, span, word } from "../lib/format.ts";
import { Link, Time } from "./basics.tsx";
import { type Column, DataTable, type Sort } from "./data-table.tsx";

const values: Readonly<Record<string, (lease: LeaseRow) => string | number>> = {
  id: (lease) => lease.id,
  kind: (lease) => lease.kind,
  state: (lease) => lease.state,
  node: (lease) => lease.node,
  user: (lease) => lease.user,
  account: (lease) => lease.account,
  job: (lease) => lease.jobId,
  cores: (lease) => lease.cores,
  memory: (lease) => lease.memoryBytes,
  granted: (lease) => lease.grantedAtMs,
  remaining: (lease) => lease.remainingMs,
  invocations: (lease) => lease.invocations,
};

export function sortLeases(leases: readonly LeaseRow[], { by, down }: Sort): LeaseRow[] {
  const value = values[by] ?? values.granted;
  if (value === undefined) return [...leases];
  const sign = down ? -1 : 1;
  return [...leases].sort((a, b) => {
    const [x, y] = [value(a), value(b)];
    return (x < y ? -sign : x > y ? sign : 0) || (a.id < b.id ? -1 : 1);
  });
}

const columns: readonly Column<LeaseRow>[] = [
  { key: "id", title: "Lease", width: "7.4rem", cell: ({ id }) => <code title={id}>{id.slice(0, 12)}</code> },
  { key: "kind", title: "Kind", width: "4.8rem", cell: ({ kind }) => word(kind) },
  {
    key: "state",
    title: "State",
    width: "5.2rem",
    cell: ({ state, reason }) => (
      <span class={/DRAINING|REVOKED/.test(state) ? "word-warn" : ""} title={word(reason)}>
        {word(state)}
      </span>
    ),
  },
  {
    key: "node",
    title: "Node",
    width: "6.5rem",
    cell: ({ node }) => <Link to={["nodes", node]}>{node}</Link>,
  },
  {
    key: "user",
    title: "User",
    width: "5.8rem",
    cell: ({ user, uid }) => <span title={`uid ${uid}`}>{user || uid}</span>,
  },
  { key: "account", title: "Account", width: "5.8rem", cell: ({ account }) => account },
  { key: "job", title: "Job", width: "5.4rem", num: true, cell: ({ jobId }) => (jobId > 0 ? jobId : "") },
  { key: "cores", title: "Cores", width: "4rem", num: true, cell: ({ cores }) => number(cores) },
  {
    key: "memory",
    title: "Memory",
    width: "5.6rem",
    num: true,
    cell: ({ memoryBytes }) => bytes(memoryBytes),
  },
  {
    key: "granted",
    title: "Since",
    width: "7.4rem",
    num: true,
    cell: ({ grantedAtMs }) => <Time ms={grantedAtMs} />,
  },
  {
    key: "remaining",
    title: "Left",
    width: "6.3rem",
    num: true,
    cell: ({ remainingMs }) => span(remainingMs),
  },
  {
    key: "invocations",
    title: "Invocations",
    width: "7rem",
    num: true,
    cell: ({ kind, invocations }) => (kind === "region" ? "" : number(invocations)),
  },
];

export function LeaseTable(props: {
  label: string;
  leases: readonly LeaseRow[];
  sort: Sort;
  onSort: (sort: Sort) => void;
  onRow?: (lease: LeaseRow | undefined) => void;
  without?: readonly string[];
  first?: readonly Column<LeaseRow>[];
  short?: boolean;
}) {
  const shown = columns.filter(({ key }) => !props.without?.includes(key));
  return (
    <DataTable
      label={props.label}
      columns={[...(props.first ?? []), ...shown]}
      rows={sortLeases(props.leases, props.sort)}
      rowKey={({ id }) => id}
      sort={props.sort}
      onSort={props.onSort}
      {...(props.short === undefined ? {} : { short: props.short })}
      {...(props.onRow === undefined ? {} : { onRow: props.onRow })}
    />
  );
}
