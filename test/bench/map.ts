/**
 * sublet_map: a random-access and a streaming workload, unmodified, on local memory, on a region across network
 * namespaces with a cache a quarter of the data's size, and on memory that swaps under a cgroup limit of that size.
 *
 * All three take turns. A step of the random workload is 64 accesses, so the seldom slow ones are in its median, too. Where swapon is
 * refused, a mapped file under the same limit stands in for swap, and the table says so.
 */
import { join } from "node:path";
import { whole } from "./bed.ts";
import { openLimits } from "./limits.ts";
import { type Measurer, type Order, startMeasurer } from "./path/measurer.ts";
import { native, openStage, root } from "./path/stage.ts";
import { medianOf, pairedRatio, type Row } from "./table.ts";

/** The program itself, beside the cache; the limit of the one that swaps is so much larger, too. */
const overheadMib = 8;

const workloads: readonly (Order & { readonly what: string; readonly per: number; readonly unit: string })[] =
  [
    { name: "random", bytes: 0, count: 60, what: "random reads of 8 B", per: 64, unit: "µs" },
    { name: "random", bytes: 0, count: 60, depth: 2, what: "random updates of 8 B", per: 64, unit: "µs" },
    { name: "stream", bytes: 4 << 20, count: 40, what: "streaming reads, 1 MiB", per: 4, unit: "µs" },
    {
      name: "stream",
      bytes: 4 << 20,
      count: 16,
      depth: 2,
      what: "streaming updates, 1 MiB",
      per: 4,
      unit: "µs",
    },
  ];

async function measure(
  measurers: Readonly<Record<string, Measurer>>,
  progress: (message: string) => void,
  beside: () => Promise<void>,
  rounds: number,
): Promise<Map<string, number[]>> {
  const times = new Map<string, number[]>();
  for (let round = 0; round < rounds; round++) {
    progress(`round ${round + 1} of ${rounds}`);
    await beside();
    for (const workload of workloads) {
      const names = Object.keys(measurers);
      for (const name of round % 2 === 0 ? names : names.toReversed()) {
        const { p50 = Number.NaN, p99 = Number.NaN } = (await measurers[name]?.measure(workload)) ?? {};
        const key = `${workload.what} ${name}`;
        times.set(key, [...(times.get(key) ?? []), p50 / workload.per]);
        times.set(`${key} p99`, [...(times.get(`${key} p99`) ?? []), p99 / workload.per]);
      }
    }
  }
  return times;
}

export async function run(progress: (message: string) => void, extent = whole): Promise<Row[]> {
  const rounds = extent.small ? 1 : 5;
  const [dataMib, cacheMib] = extent.small ? [48, 24] : [256, 64];
  const program = join(native, "bin/sublet-map-bench");
  const folder = join(root, "build/bench");
  const limits = await openLimits(folder, (cacheMib + overheadMib) << 20, (dataMib + 64) << 20);
  const measurers: Record<string, Measurer> = {};
  try {
    const stage = await openStage();
    try {
      const { socket } = await stage.regionPlace({ path: stage.veth, shared: false, mib: dataMib });
      measurers.local = startMeasurer("local memory", [program, "local", `${dataMib}`]);
      measurers.map = startMeasurer(
        "sublet_map",
        [...stage.veth.here.enter, program, "map", `${dataMib}`, `${cacheMib}`],
        { SUBLET_AGENT_SOCKET: socket },
      );
      const words =
        limits.swaps === true ? ["local", `${dataMib}`] : ["file", `${dataMib}`, join(folder, "map.data")];
      if (limits.swaps !== true) progress(`swapon is refused (${limits.swaps}): a mapped file stands in`);
      measurers.swap = startMeasurer("local swap", [...limits.enter, program, ...words]);
      const floor = stage.floor(stage.veth);
      const raw: number[] = [];
      const times = await measure(
        measurers,
        progress,
        async () => {
          raw.push((await floor.measure({ name: "wake_out", bytes: 4096, count: 500 })).p50);
        },
        rounds,
      );
      return [...rowsOf(times, limits.swaps === true), missRow(times, raw, 1 - cacheMib / dataMib)];
    } finally {
      for (const measurer of Object.values(measurers)) await measurer.close();
      await stage.close();
    }
  } finally {
    await limits.close();
  }
}

function rowsOf(times: ReadonlyMap<string, number[]>, swaps: boolean): Row[] {
  const rows: Row[] = [];
  for (const { what, unit } of workloads) {
    const [map, swap, local] = ["map", "swap", "local"].map((name) => times.get(`${what} ${name}`) ?? []);
    if (map === undefined || swap === undefined || local === undefined) continue;
    const baseline = swaps ? "local swap" : "mapped file, in place of swap";
    rows.push(
      {
        what,
        value: medianOf(map),
        p99: medianOf(times.get(`${what} map p99`) ?? []),
        unit,
        baseline: { what: baseline, value: medianOf(swap) },
        ...pairedRatio(map, swap),
        mark: 0.2,
        issue: "3.7",
      },
      { what, value: medianOf(map), unit, baseline: { what: "local memory", value: medianOf(local) } },
    );
  }
  return rows;
}

/** Without locality all but the cached share of accesses miss, and a miss is a round trip to a sleeping server. */
function missRow(times: ReadonlyMap<string, number[]>, raw: readonly number[], share: number): Row {
  const misses = (times.get("random reads of 8 B map") ?? []).map((value) => value / share);
  return {
    what: "a random read that misses",
    value: medianOf(misses),
    unit: "µs",
    baseline: { what: "raw TCP, 4 KiB, server asleep", value: medianOf(raw) },
    ...pairedRatio(misses, raw),
  };
}
