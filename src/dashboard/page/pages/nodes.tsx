/** All nodes: a map to see them at once, a table to compare them. Filters and view are in the address. */
import { useEffect, useMemo, useState } from "preact/hooks";
import type { NodeTable } from "../../api.ts";
import { Actions, type Target } from "../admin/actions.tsx";
import { bytes, cores, number, percent, plural } from "../lib/format.ts";
import { readNodes, useNodes } from "../lib/node-store.ts";
import {
  filterNodes,
  lendingOf,
  type NodeColumn,
  type NodeFilter,
  sortNodes,
  stateOf,
  sumNodes,
} from "../lib/nodes.ts";
import { setQuery, useRoute } from "../lib/route.ts";
import { Content, Empty, Link, Segments } from "../parts/basics.tsx";
import { type Column, DataTable, parseSort, sortText } from "../parts/data-table.tsx";
import { MapLegend } from "../parts/map-legend.tsx";
import { type MapColor, NodeMap } from "../parts/node-map.tsx";

/** Whom an action is about: all, whole partitions, or the nodes that are shown. */
function targetOf(table: NodeTable, filter: NodeFilter, shown: readonly number[]): Target {
  const { name, partition, state, lending } = filter;
  const leases = sumNodes(table, shown, "leases");
  const what = plural(shown.length, "node");
  if (name || state || lending)
    return { request: { nodes: shown.map((at) => table.names[at] ?? "") }, what, leases };
  return partition
    ? { request: { partitions: [partition] }, what: `${what} of ${partition}`, leases }
    : { request: { all: true }, what: `all ${what}`, leases };
}

type View = "map" | "table";
const colors: readonly { value: MapColor; name: string }[] = [
  { value: "lent", name: "Lent" },
  { value: "spare", name: "Spare" },
  { value: "allocated", name: "Allocated" },
  { value: "parts", name: "All parts" },
  { value: "lending", name: "Lending" },
];

function Choice(props: {
  label: string;
  value: string;
  options: readonly string[];
  onChange: (value: string) => void;
}) {
  return (
    <label class="field">
      <span>{props.label}</span>
      <select value={props.value} onChange={(event) => props.onChange(event.currentTarget.value)}>
        <option value="">All</option>
        {props.options.map((option) => (
          <option key={option} value={option}>
            {option}
          </option>
        ))}
      </select>
    </label>
  );
}

function Filters(props: { table: NodeTable; filter: NodeFilter }) {
  const { table, filter } = props;
  const [name, setName] = useState(filter.name);
  useEffect(() => {
    const timer = setTimeout(() => setQuery({ name: name || undefined }), 150);
    return () => clearTimeout(timer);
  }, [name]);
  const set = (key: string) => (value: string) => setQuery({ [key]: value || undefined });
  return (
    <search class="filters">
      <label class="field">
        <span>Name</span>
        <input
          type="search"
          value={name}
          placeholder="n12 or n1*"
          spellcheck={false}
          onInput={(event) => setName(event.currentTarget.value)}
        />
      </label>
      <Choice
        label="Partition"
        value={filter.partition}
        options={table.partitionNames}
        onChange={set("partition")}
      />
      <Choice
        label="Slurm's state"
        value={filter.state}
        options={table.slurmStates}
        onChange={set("state")}
      />
      <Choice label="Lending" value={filter.lending} options={table.lendings} onChange={set("lending")} />
    </search>
  );
}

/** What is shown, in one sentence; told to a screen reader when a filter changed it, not with every event. */
function Summed(props: { table: NodeTable; shown: readonly number[] }) {
  const { table, shown } = props;
  const [said, setSaid] = useState("");
  const count = `${number(shown.length)} of ${number(table.names.length)} nodes`;
  useEffect(() => {
    const timer = setTimeout(() => setSaid(`${count} shown`), 800);
    return () => clearTimeout(timer);
  }, [count]);
  const total = sumNodes(table, shown, "cores");
  const lent = sumNodes(table, shown, "coresLent");
  const spare = sumNodes(table, shown, "coresSpare");
  return (
    <>
      <p class="summed">
        <strong>{count}</strong> <span>{cores(total)}</span>{" "}
        <span>
          {number(lent)} lent ({percent(lent / Math.max(1, total))})
        </span>{" "}
        <span>{number(spare)} spare</span>{" "}
        <span>{bytes(sumNodes(table, shown, "memoryLentMib") * 2 ** 20)} memory lent</span>
      </p>
      <p class="hidden" role="status">
        {said}
      </p>
    </>
  );
}

function nodeColumns(table: NodeTable): Column<number>[] {
  const plain = (key: NodeColumn & keyof NodeTable, title: string, width: string): Column<number> => ({
    key,
    title,
    width,
    num: true,
    cell: (index) => number((table[key] as number[])[index]),
  });
  const memory = (key: "memoryMib" | "memoryLentMib" | "memorySpareMib", title: string): Column<number> => ({
    key,
    title,
    width: "7.5rem",
    num: true,
    cell: (index) => bytes((table[key][index] ?? 0) * 2 ** 20),
  });
  return [
    {
      key: "name",
      title: "Node",
      width: "9rem",
      cell: (index) => <Link to={["nodes", table.names[index] ?? ""]}>{table.names[index]}</Link>,
    },
    {
      key: "state",
      title: "Slurm's state",
      width: "9rem",
      cell: (index) => <State word={stateOf(table, index)} />,
    },
    { key: "lending", title: "Lending", width: "6.5rem", cell: (index) => lendingOf(table, index) },
    {
      key: "partition",
      title: "Partitions",
      width: "8rem",
      sorts: false,
      cell: (index) => (table.partitions[index] ?? []).map((each) => table.partitionNames[each]).join(", "),
    },
    plain("cores", "Cores", "5rem"),
    plain("coresAllocated", "Allocated", "6.5rem"),
    plain("coresLent", "Lent", "5rem"),
    plain("coresSpare", "Spare", "5rem"),
    memory("memoryMib", "Memory"),
    memory("memoryLentMib", "Memory lent"),
    memory("memorySpareMib", "Memory spare"),
    plain("leases", "Leases", "5.5rem"),
  ];
}

export function State(props: { word: string }) {
  const bad = /DOWN|FAIL|DRAIN|NOT_RESPONDING/i.test(props.word);
  return <span class={bad ? "word-warn" : ""}>{props.word}</span>;
}

function Body(props: { table: NodeTable; version: number }) {
  const { table, version } = props;
  const { query } = useRoute();
  const view: View = query.get("view") === "table" ? "table" : "map";
  const by = colors.find(({ value }) => value === query.get("color"))?.value ?? "lent";
  const zoom = Math.max(0, Math.min(6, Number(query.get("zoom")) || 0));
  const sort = parseSort(query.get("sort"), { by: "name", down: false });
  const filter: NodeFilter = {
    name: query.get("name") ?? "",
    partition: query.get("partition") ?? "",
    state: query.get("state") ?? "",
    lending: query.get("lending") ?? "",
  };
  const shown = useMemo(
    () => filterNodes(table, filter),
    [table, version, filter.name, filter.partition, filter.state, filter.lending],
  );
  const rows = useMemo(
    () => (view === "table" ? sortNodes(table, shown, sort.by as NodeColumn, sort.down) : shown),
    [table, version, shown, view, sort.by, sort.down],
  );
  const columns = useMemo(() => nodeColumns(table), [table]);
  const setZoom = (next: number) => setQuery({ zoom: next > 0 ? String(Math.min(6, next)) : undefined });
  return (
    <>
      <Filters table={table} filter={filter} />
      <div class="bar">
        <Summed table={table} shown={shown} />
        {shown.length > 0 && (
          <Actions target={targetOf(table, filter, shown)} verbs={["drain", "resume", "reclaim"]} />
        )}
        <Segments<View>
          label="View"
          value={view}
          options={[
            { value: "map", name: "Map" },
            { value: "table", name: "Table" },
          ]}
          onChange={(value) => setQuery({ view: value === "map" ? undefined : value })}
        />
      </div>
      <section class="panel" aria-label={view === "map" ? "Node map" : "Node table"}>
        {shown.length === 0 ? (
          <Empty title={table.names.length === 0 ? "No node is known yet" : "No node matches"}>
            {table.names.length === 0
              ? "Nodes come with the controller's first answer from slurmctld."
              : "Take a filter out to see more."}
          </Empty>
        ) : view === "map" ? (
          <>
            <div class="bar">
              <Segments
                label="Colour by"
                value={by}
                options={colors}
                onChange={(value) => setQuery({ color: value })}
              />
              <div class="zoom">
                <button type="button" class="button" onClick={() => setZoom(zoom - 1)} disabled={zoom === 0}>
                  <span aria-hidden="true">−</span>
                  <span class="hidden">Smaller squares</span>
                </button>
                <button type="button" class="button" onClick={() => setZoom(zoom + 1)} disabled={zoom === 6}>
                  <span aria-hidden="true">+</span>
                  <span class="hidden">Larger squares</span>
                </button>
              </div>
            </div>
            <NodeMap table={table} version={version} shown={shown} by={by} zoom={zoom} onZoom={setZoom} />
            <MapLegend by={by} />
          </>
        ) : (
          <DataTable
            label="Nodes"
            columns={columns}
            rows={rows}
            rowKey={(index) => index}
            sort={sort}
            onSort={(next) => setQuery({ sort: sortText(next) })}
          />
        )}
      </section>
    </>
  );
}

export function NodesPage() {
  const { table, error, version } = useNodes();
  return (
    <>
      <div class="page-head">
        <h1>Nodes</h1>
      </div>
      <Content of={{ data: table, error, reload: readNodes }} what="Nodes" rows={8}>
        {(data) => <Body table={data} version={version} />}
      </Content>
    </>
  );
}
