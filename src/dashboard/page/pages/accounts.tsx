/** Who used what was lent: by Slurm account and user, beside what the account may use. */
import { useMemo } from "preact/hooks";
import type { AccountRow } from "../../api.ts";
import { number, percent, place } from "../lib/format.ts";
import { useLoad } from "../lib/load.ts";
import { useTick } from "../lib/range.ts";
import { setQuery, useRoute } from "../lib/route.ts";
import { useStore } from "../lib/store.ts";
import { summary } from "../lib/stream.ts";
import { Content, Empty, Panel, Segments, Stat } from "../parts/basics.tsx";
import { type Column, DataTable, parseSort, type Sort, sortText } from "../parts/data-table.tsx";

const coreHours = (row: AccountRow) => row.coreSeconds / 3600;
const gibHours = (row: AccountRow) => row.byteSeconds / 3600 / 2 ** 30;
const quotaShare = (row: AccountRow) =>
  row.quotaCoreSeconds === null
    ? null
    : row.quotaCoreSeconds > 0
      ? row.usedTodayCoreSeconds / row.quotaCoreSeconds
      : 1;

function Quota(props: { row: AccountRow }) {
  const share = quotaShare(props.row);
  if (share === null) return <span class="muted">no quota</span>;
  const width = `${Math.min(1, share) * 100}%`;
  return (
    <span
      class="quota"
      title={`${number(props.row.usedTodayCoreSeconds / 3600)} of ${number((props.row.quotaCoreSeconds ?? 0) / 3600)} core-hours`}
    >
      <span class="quota-bar" aria-hidden="true">
        <span class={share >= 0.9 ? "full" : ""} style={{ width }} />
      </span>
      {percent(share)}
    </span>
  );
}

const values: Readonly<Record<string, (row: AccountRow) => string | number>> = {
  account: (row) => row.account,
  user: (row) => row.user,
  leases: (row) => row.leases,
  cores: coreHours,
  memory: gibHours,
  invocations: (row) => row.invocations,
  quota: (row) => quotaShare(row) ?? -1,
};

const columns: readonly Column<AccountRow>[] = [
  {
    key: "account",
    title: "Account",
    width: "10rem",
    cell: ({ account }) => account || <span class="muted">none</span>,
  },
  { key: "user", title: "User", width: "9rem", cell: ({ user }) => user },
  { key: "leases", title: "Leases", width: "6rem", num: true, cell: ({ leases }) => number(leases) },
  { key: "cores", title: "Core-hours", width: "8rem", num: true, cell: (row) => number(coreHours(row)) },
  { key: "memory", title: "GiB-hours", width: "8rem", num: true, cell: (row) => number(gibHours(row)) },
  {
    key: "invocations",
    title: "Invocations",
    width: "9rem",
    num: true,
    cell: ({ invocations }) => number(invocations),
  },
  { key: "quota", title: "Quota used today", width: "11rem", num: true, cell: (row) => <Quota row={row} /> },
];

function sorted(rows: readonly AccountRow[], { by, down }: Sort): AccountRow[] {
  const value = values[by] ?? coreHours;
  const sign = down ? -1 : 1;
  return [...rows].sort((a, b) => {
    const [x, y] = [value(a), value(b)];
    return x < y ? -sign : x > y ? sign : 0;
  });
}

function Table(props: { rows: readonly AccountRow[] }) {
  const { query } = useRoute();
  const sort = parseSort(query.get("sort"), { by: "cores", down: true });
  const rows = useMemo(() => sorted(props.rows, sort), [props.rows, sort.by, sort.down]);
  const sum = (of: (row: AccountRow) => number) => props.rows.reduce((all, row) => all + of(row), 0);
  return (
    <>
      <dl class="stats">
        <Stat name="Accounts" value={number(new Set(props.rows.map(({ account }) => account)).size)} />
        <Stat name="Core-hours" value={number(sum(coreHours))} />
        <Stat name="GiB-hours" value={number(sum(gibHours))} />
        <Stat name="Invocations" value={number(sum((row) => row.invocations))} />
      </dl>
      <DataTable
        label="Accounts"
        columns={columns}
        rows={rows}
        rowKey={(row) => `${row.account}\0${row.user}`}
        sort={sort}
        onSort={(next) => setQuery({ sort: sortText(next) })}
        short
      />
    </>
  );
}

const spans = [
  { value: "today", name: "Today", days: 1 },
  { value: "7d", name: "7 days", days: 7 },
  { value: "30d", name: "30 days", days: 30 },
] as const;

/** Whole days of the site, today with them: the accounting keeps sums by day. */
function useDays(): { name: (typeof spans)[number]["value"]; path: string; about: string } {
  const wanted = useRoute().query.get("days");
  const zone = useStore(summary)?.timeZone;
  const { value: name, days } = spans.find(({ value }) => value === wanted) ?? spans[2];
  const toMs = useTick(60_000) + 1;
  const fromMs = toMs - 1 - (days - 1) * 86_400_000;
  const where = zone === undefined ? "" : `, ${place(zone)}`;
  const about = days === 1 ? `Since midnight${where}` : `The last ${days} days, today among them${where}`;
  return { name, path: `accounts?from=${fromMs}&to=${toMs}`, about };
}

export function AccountsPage() {
  const { name, path, about } = useDays();
  const accounts = useLoad<AccountRow[]>(path);
  return (
    <>
      <div class="page-head">
        <h1>Accounts</h1>
        <Segments
          label="Days"
          options={spans}
          value={name}
          onChange={(days) => setQuery({ days: days === "30d" ? undefined : days })}
        />
      </div>
      <Panel title="Use by account and user" about={about}>
        <Content of={accounts} what="Accounts">
          {(rows) =>
            rows.length === 0 ? (
              <Empty title="Nothing is accounted in these days">
                Leases are accounted as they end, and every five minutes while they last. Only when{" "}
                <code>accounting.enabled</code> is off, or the data base is away, is nothing kept; the
                overview tells of the latter.
              </Empty>
            ) : (
              <Table rows={rows} />
            )
          }
        </Content>
      </Panel>
    </>
  );
}
