/** The marks of issue 3 as rows: from every round's figures to value, baseline, ratio and verdict. Pure. */
import { medianInterval, medianOf, pairedRatio, type Row } from "../table.ts";
import type { Times } from "./measurer.ts";

/** Every round's times by series; a round in which a series failed has `undefined` there. */
export type Rounds = ReadonlyMap<string, readonly (Times | undefined)[]>;

export interface Sleep {
  readonly cpuS: number;
  readonly wallS: number;
}

const of = (rounds: Rounds, name: string, field: "p50" | "p99" | "p999" | "perS"): number[] =>
  (rounds.get(name) ?? []).map((times) => times?.[field] ?? Number.NaN);

const middle = (values: readonly number[]) => medianOf(values.filter((value) => Number.isFinite(value)));

/** p99 and p99.9, where the series has them. */
function tails(rounds: Rounds, name: string): { p99?: number; p999?: number } {
  const [p99, p999] = [middle(of(rounds, name, "p99")), middle(of(rounds, name, "p999"))];
  return { ...(Number.isNaN(p99) ? {} : { p99 }), ...(Number.isNaN(p999) ? {} : { p999 }) };
}

/** Baselines whose tool prints means only: one stolen time slice spoils a mean, so that its best round stands for all. */
const meansOnly = new Set(["fi_tcp_64", "fi_net_64", "fi_rxm_64"]);

function floorOf(rounds: Rounds, name: string): number[] {
  const values = of(rounds, name, "p50");
  const known = values.filter((value) => Number.isFinite(value));
  return meansOnly.has(name) && known.length > 0 ? values.map(() => Math.min(...known)) : values;
}

interface Spec {
  readonly what: string;
  readonly series: string;
  readonly floor?: string;
  readonly floorName?: string;
  readonly issue?: string;
  readonly mark?: number;
  readonly least?: number;
  readonly note?: string;
}

const missing = (spec: Spec, name: string): Row => ({
  what: spec.what,
  value: Number.NaN,
  unit: "",
  ...marksOf(spec),
  broken: true,
  notShown: `${name} could not be measured`,
});

const marksOf = ({ mark, least, issue, note }: Spec) => ({
  ...(mark === undefined ? {} : { mark }),
  ...(least === undefined ? {} : { least }),
  ...(issue === undefined ? {} : { issue }),
  ...(note === undefined ? {} : { note }),
});

/** Round trip, as a ratio of medians to its baseline's. */
function trip(rounds: Rounds, spec: Spec): Row {
  const values = of(rounds, spec.series, "p50");
  if (Number.isNaN(middle(values))) return missing(spec, spec.series);
  const own = {
    what: spec.what,
    value: middle(values),
    ...tails(rounds, spec.series),
    unit: "µs",
    ...marksOf(spec),
  };
  if (spec.floor === undefined) return own;
  const floors = floorOf(rounds, spec.floor);
  if (Number.isNaN(middle(floors))) return missing(spec, spec.floor);
  const baseline = { what: spec.floorName ?? spec.floor, value: middle(floors) };
  return { ...own, baseline, ...pairedRatio(values, floors) };
}

/** p99 as a multiple of the same round's p50. */
function tail(rounds: Rounds, spec: Spec): Row {
  const [p50, p99] = [of(rounds, spec.series, "p50"), of(rounds, spec.series, "p99")];
  if (Number.isNaN(middle(p99))) return missing(spec, spec.series);
  const floorTail = spec.floor === undefined ? Number.NaN : middle(of(rounds, spec.floor, "p99"));
  const floorP50 = spec.floor === undefined ? Number.NaN : middle(of(rounds, spec.floor, "p50"));
  const note = `${spec.floorName ?? spec.floor} itself: ${(floorTail / floorP50).toFixed(1)}`;
  return {
    what: spec.what,
    value: middle(p99),
    unit: "µs",
    baseline: { what: "its own p50", value: middle(p50) },
    ...pairedRatio(p99, p50),
    ...marksOf(spec),
    ...(Number.isNaN(floorTail) ? {} : { note }),
  };
}

/** Bytes a second against a baseline's; `bytes` are moved by one step of each. */
function flow(rounds: Rounds, spec: Spec & { readonly bytes: number }): Row {
  const rate = (name: string) => of(rounds, name, "p50").map((us) => spec.bytes / us / 1000);
  const [values, floors] = [rate(spec.series), rate(spec.floor ?? "")];
  if (Number.isNaN(middle(values))) return missing(spec, spec.series);
  if (Number.isNaN(middle(floors))) return missing(spec, spec.floor ?? "");
  return {
    what: spec.what,
    value: middle(values),
    unit: "GB/s",
    baseline: { what: spec.floorName ?? spec.floor ?? "", value: middle(floors) },
    ...pairedRatio(values, floors),
    ...marksOf(spec),
  };
}

function rate(rounds: Rounds, spec: Spec): Row {
  const values = of(rounds, spec.series, "perS").filter((value) => Number.isFinite(value));
  if (values.length === 0) return missing(spec, spec.series);
  return {
    what: spec.what,
    value: medianOf(values),
    unit: "calls/s",
    interval: medianInterval(values),
    ...marksOf(spec),
  };
}

/** The best of several baselines; those that could not be measured do not count. */
function fastest(rounds: Rounds, names: Readonly<Record<string, string>>): { series: string; name: string } {
  const found = Object.entries(names)
    .map(([series, name]) => ({ series, name, value: middle(floorOf(rounds, series)) }))
    .filter(({ value }) => !Number.isNaN(value))
    .sort((a, b) => a.value - b.value)[0];
  return found ?? { series: Object.keys(names)[0] ?? "", name: "" };
}

const tenMib = 10 * 2 ** 20;
const mib = 2 ** 20;

function sameNode(rounds: Rounds): Row[] {
  const rows: Row[] = [];
  for (const [bytes, text] of [
    [1, "1 B"],
    [64, "64 B"],
    [4096, "4 KiB"],
  ] as const) {
    const what = `same node, hot, in place, ${text}`;
    const line = { floor: "line", floorName: "cache line", issue: "3.1" };
    rows.push(trip(rounds, { what, series: `place_${bytes}`, ...line, mark: 2 }));
    rows.push(tail(rounds, { what: `${what}: p99`, series: `place_${bytes}`, ...line, mark: 3 }));
  }
  for (const [bytes, text] of [
    [1, "1 B"],
    [64, "64 B"],
    [4096, "4 KiB"],
  ] as const)
    rows.push(
      trip(rounds, {
        what: `same node, hot, by copy, ${text}`,
        series: `call_${bytes}`,
        floor: "line",
        floorName: "cache line",
      }),
    );
  const best = fastest(rounds, { mpi_vader_1: "OpenMPI shared memory", ucx_posix_8: "UCX posix" });
  rows.push(
    trip(rounds, {
      what: "same node, hot, 1 B, against libraries",
      series: "place_1",
      floor: best.series,
      floorName: best.name,
    }),
    trip(rounds, {
      what: "same node, 64 KiB in and out by copy",
      series: "echo_64k",
      floor: "copy_64k",
      floorName: "the same copies by hand",
    }),
    trip(rounds, {
      what: "same node, 1 MiB written in place and read",
      series: "touch_1m",
      floor: "floor_touch_1m",
      floorName: "touching it",
      issue: "3.1",
      mark: 1.1,
    }),
    flow(rounds, {
      what: "same node, 1 MiB copied in and out",
      series: "both_1m",
      floor: "floor_both_1m",
      floorName: "memcpy both ways",
      bytes: 2 * mib,
      issue: "3.1",
      least: 0.8,
    }),
    trip(rounds, {
      what: "same node, 1 MiB in and out by copy",
      series: "echo_1m",
      floor: "copy_1m",
      floorName: "the same copies by hand",
    }),
    trip(rounds, {
      what: "same node, 1 MiB, against OpenMPI",
      series: "echo_1m",
      floor: "mpi_vader_1m",
      floorName: "OpenMPI shared memory",
    }),
    trip(rounds, {
      what: "same node, 10 MiB in and out by copy",
      series: "echo_10m",
      floor: "copy_10m",
      floorName: "the same copies by hand",
    }),
  );
  return rows;
}

function acrossNodes(rounds: Rounds): Row[] {
  const spin = (bytes: string, text: string, extra: Partial<Spec> = {}): Row =>
    trip(rounds, {
      what: `across namespaces, hot, ${text}`,
      series: `far_${bytes}`,
      floor: `spin_${bytes}`,
      floorName: "spinning TCP",
      ...extra,
    });
  const provider = fastest(rounds, {
    fi_tcp_64: "fi_pingpong tcp, best mean",
    fi_net_64: "fi_pingpong net, best mean",
    fi_rxm_64: "fi_pingpong tcp;ofi_rxm, best mean",
  });
  return [
    spin("64", "64 B", { mark: 1.2, issue: "3.2" }),
    trip(rounds, {
      what: "across namespaces, hot, 64 B, against libfabric",
      series: "far_64",
      floor: provider.series,
      floorName: provider.name,
      mark: 1,
      issue: "3.2",
    }),
    trip(rounds, {
      what: "TCP on loopback, hot, 64 B, against OpenMPI",
      series: "lo_echo_64",
      floor: "mpi_tcp_64",
      floorName: "OpenMPI tcp",
      mark: 1,
      issue: "3.2",
    }),
    trip(rounds, {
      what: "TCP on loopback, hot, 64 B",
      series: "lo_echo_64",
      floor: "lo_spin_64",
      floorName: "spinning TCP",
    }),
    trip(rounds, {
      what: "across namespaces, hot, 64 B, against UCX on loopback",
      series: "far_64",
      floor: "ucx_tcp_64",
      floorName: "UCX tcp",
    }),
    trip(rounds, {
      what: "across namespaces, hot, 64 B, against gRPC on loopback",
      series: "far_64",
      floor: "grpc_64",
      floorName: "grpc-js unary",
    }),
    spin("4096", "4 KiB"),
    spin("65536", "64 KiB"),
    spin("1m", "1 MiB"),
    flow(rounds, {
      what: "across namespaces, 10 MiB of arguments",
      series: "far_in_10m",
      floor: "stream_in_10m",
      floorName: "raw stream",
      bytes: tenMib,
      issue: "3.2",
      least: 0.9,
    }),
    flow(rounds, {
      what: "across namespaces, 10 MiB of result",
      series: "far_out_10m",
      floor: "stream_out_10m",
      floorName: "raw stream",
      bytes: tenMib,
      issue: "3.2",
      least: 0.9,
    }),
  ];
}

function asleep(rounds: Rounds, sleep: Sleep): Row[] {
  const futex = { floor: "futex_spin", floorName: "futex, client polls", issue: "3.4" };
  const tcp = { floor: "wake_64", floorName: "TCP, client polls", issue: "3.4" };
  return [
    trip(rounds, { what: "same node, warm", series: "warm_ring", ...futex, mark: 1.2 }),
    tail(rounds, { what: "same node, warm: p99", series: "warm_ring", ...futex, mark: 3 }),
    trip(rounds, { what: "across namespaces, warm, 64 B", series: "far_warm_64", ...tcp, mark: 1.2 }),
    tail(rounds, { what: "across namespaces, warm, 64 B: p99", series: "far_warm_64", ...tcp, mark: 3 }),
    trip(rounds, {
      what: "a function that calls another lease, 64 B",
      series: "nested_64",
      floor: "alone_64",
      floorName: "that lease called by the client",
      issue: "3.8",
    }),
    trip(rounds, { what: "floor: futex, both sleep", series: "futex" }),
    trip(rounds, { what: "floor: blocking TCP on loopback, 64 B", series: "lo_block_64" }),
    trip(rounds, { what: "floor: blocking TCP across namespaces, 64 B", series: "block_64" }),
    {
      what: `a sleeping worker and its executor, over ${sleep.wallS.toFixed(0)} s`,
      value: Math.round((sleep.cpuS / sleep.wallS) * 1e5) / 1e3,
      unit: "% of a core",
      mark: 0.05,
      issue: "3.4",
      note: `${(sleep.cpuS * 1e3).toFixed(3)} ms of CPU time; 0.0 % is below 0.05`,
    },
  ];
}

function regions(rounds: Rounds): Row[] {
  const rows: Row[] = [];
  const bulk = { bytes: tenMib, issue: "3.7", least: 0.9 };
  for (const verb of ["get", "put"] as const)
    rows.push(
      flow(rounds, {
        what: `region ${verb} 10 MiB, same node`,
        series: `${verb}_10m`,
        floor: `memcpy_${verb}_10m`,
        floorName: "memcpy between the same pages",
        ...bulk,
      }),
      flow(rounds, {
        what: `region ${verb} 10 MiB, across namespaces`,
        series: `far_${verb}_10m`,
        floor: `raw_${verb}_10m`,
        floorName: "raw stream",
        ...bulk,
      }),
    );
  rows.push(
    trip(rounds, {
      what: "region get 4 KiB, across namespaces",
      series: "far_get_4k",
      floor: "raw_get_4k",
      floorName: "raw round trip",
      mark: 1.3,
      issue: "3.7",
    }),
    trip(rounds, {
      what: "region put 4 KiB, across namespaces",
      series: "far_put_4k",
      floor: "raw_put_4k",
      floorName: "raw round trip",
    }),
    trip(rounds, {
      what: "region get 4 KiB, same node",
      series: "get_4k",
      floor: "memcpy_get_4k",
      floorName: "memcpy between the same pages",
    }),
  );
  for (const [path, where] of [
    ["", "same node"],
    ["far_", "across namespaces"],
  ] as const)
    for (const [size, bytes, text] of [
      ["4k", 4096, "4 KiB"],
      ["10m", tenMib, "10 MiB"],
    ] as const)
      for (const verb of ["get", "put"] as const)
        rows.push(
          flow(rounds, {
            what: `region ${verb} ${text}, ${where}, against Redis`,
            series: `${path}${verb}_${size}`,
            floor: `${path}redis_${verb}_${size}`,
            floorName: "Redis",
            bytes,
            least: 3,
            issue: "3.7",
          }),
        );
  return rows;
}

const notShown = (issue: string, what: string, reason: string): Row => ({
  what,
  value: Number.NaN,
  unit: "",
  issue,
  notShown: reason,
});

/** Issue 3 marks the p99 of a cold lease as well: 15 ms. */
export function withTailMarks(rows: readonly Row[]): Row[] {
  return rows.flatMap((row) =>
    row.issue === "3.6" && row.mark === 5 && row.p99 !== undefined
      ? [row, { what: `${row.what}: p99`, value: row.p99, unit: row.unit, issue: row.issue, mark: 15 }]
      : [row],
  );
}

/** What the counting test said: "100 of 119 times 1000 calls: no system call, no lock, no allocation in ...". */
export function countingRow(said: string | undefined): Row {
  const match = /(\d+) of (\d+) times (\d+) calls: no system call/.exec(said ?? "");
  const row = {
    what: "system calls, locks and allocations of a hot call, both sides",
    unit: "",
    issue: "3.1",
    mark: 0,
  };
  return match === null
    ? { ...row, value: Number.NaN, broken: true, notShown: "client_count_test could not be run" }
    : {
        ...row,
        value: 0,
        note: `counted in ${match[1]} batches of ${match[3]} calls; ${Number(match[2]) - Number(match[1])} more lost their core`,
      };
}

/** What the test of a crowd said: "1000 clients, 20 calls each: median 5.0 ms, slowest 9.0 ms, 300 k calls a second". */
export function crowdRow(said: string | undefined): Row {
  const match =
    /(\d+) clients, (\d+) calls each: median ([\d.]+) ms, slowest ([\d.]+) ms, (\d+) k calls/.exec(
      said ?? "",
    );
  const row = { what: "1,000 TCP clients of one worker: answers lost", unit: "", issue: "3.2", mark: 0 };
  if (match === null)
    return { ...row, value: Number.NaN, broken: true, notShown: "crowd_test could not be run" };
  const [, clients, calls, median, slowest, rate] = match;
  const note = `${clients} clients, ${calls} calls each, ${rate} k calls/s; the slowest was done after ${(Number(slowest) / Number(median)).toFixed(2)} times the median`;
  return { ...row, value: 0, note };
}

/** All rows that these figures give. */
export function pathRows(rounds: Rounds, sleep: Sleep, cores: number): Row[] {
  return [
    ...sameNode(rounds),
    ...acrossNodes(rounds),
    ...asleep(rounds, sleep),
    rate(rounds, {
      what: "empty calls, same node, 32 in flight",
      series: "rate_ring",
      issue: "3.5",
      least: 1_500_000,
    }),
    rate(rounds, {
      what: "empty calls, TCP across namespaces, 32 in flight",
      series: "rate_tcp",
      issue: "3.5",
      least: 150_000,
    }),
    notShown(
      "3.5",
      "a client thread drives 64 workers",
      `a worker polls a core of its own and this machine has ${cores}; the tests do it with sleeping workers`,
    ),
    ...regions(rounds),
    notShown(
      "3.7",
      "GiB in huge pages",
      "needs huge pages set aside on the node; npm run bench -- regions says whether there are any",
    ),
  ];
}
