/** Everything that `bench:path` measures, by name; each is one figure a round. Baselines and ours stand side by side. */

import type { Measurer, Order, Times } from "./measurer.ts";
import { fiPingpong, grpc, startMpi, startRedis, ucx } from "./others.ts";
import type { Stage } from "./stage.ts";

export interface Series {
  readonly name: string;
  readonly measure: () => Promise<Times>;
}

export interface Benches {
  readonly series: readonly Series[];
  /** Of the executor that nobody calls while other tools run. */
  readonly sleeperPid: number;
  /** Names of series during which that executor sleeps. */
  readonly asleepDuring: ReadonlySet<string>;
  close(): Promise<void>;
}

const kib = 1024;
const mib = 1024 * kib;

export async function openSeries(stage: Stage, quick: boolean): Promise<Benches> {
  const share = quick ? 0.25 : 1;
  const series: Series[] = [];
  const add = (measurer: Measurer, entries: Readonly<Record<string, Order>>) => {
    for (const [name, order] of Object.entries(entries))
      series.push({
        name,
        measure: () => measurer.measure({ ...order, count: Math.max(5, Math.round(order.count * share)) }),
      });
  };
  const { loopback, veth } = stage;
  const small = { spinUs: 2000, slots: 4, bytes: 10 * mib };
  const hot = await stage.function({ ...small, path: loopback, shared: true });
  const warm = await stage.function({ ...small, spinUs: 0, path: loopback, shared: true });
  const many = await stage.function({
    spinUs: 2000,
    slots: 32,
    bytes: 4 * kib,
    path: loopback,
    shared: true,
  });
  const near = await stage.function({ ...small, path: loopback, shared: false });
  const far = await stage.function({ ...small, path: veth, shared: false });
  const farWarm = await stage.function({ ...small, spinUs: 0, path: veth, shared: false });
  const farMany = await stage.function({
    spinUs: 2000,
    slots: 32,
    bytes: 4 * kib,
    path: veth,
    shared: false,
  });
  const [region, farRegion] = [
    await stage.region({ path: loopback, shared: true, mib: 16 }),
    await stage.region({ path: veth, shared: false, mib: 16 }),
  ];
  const nested = await stage.nested(loopback);
  const floor = stage.floor(loopback);
  const farFloor = stage.floor(veth);
  const redis = await startRedis(stage, loopback);
  const farRedis = await startRedis(stage, veth);
  const [vader, mpiTcp] = [startMpi("vader"), startMpi("tcp")];

  const tenMib = { bytes: 10 * mib, count: 24 };
  const oneMib = { bytes: mib, count: 300 };
  const slept = { count: 600, pauseUs: 100 };
  add(floor, { line: { name: "line", bytes: 0, count: 20_000 } });
  for (const bytes of [1, 64, 4096])
    add(hot.measurer, { [`place_${bytes}`]: { name: "place", bytes, count: 20_000 } });
  for (const bytes of [1, 64, 4096])
    add(hot.measurer, { [`call_${bytes}`]: { name: "call", bytes, count: 20_000 } });
  add(vader, { mpi_vader_1: { name: "pingpong", bytes: 1, count: 5000 } });
  add(hot.measurer, { echo_64k: { name: "echo", bytes: 64 * kib, count: 2000 } });
  add(floor, { copy_64k: { name: "copy", bytes: 64 * kib, count: 2000 } });
  add(hot.measurer, { touch_1m: { name: "touch", ...oneMib } });
  add(floor, { floor_touch_1m: { name: "touch", ...oneMib } });
  add(hot.measurer, { both_1m: { name: "both", ...oneMib } });
  add(floor, { floor_both_1m: { name: "memcpy_both", ...oneMib } });
  add(hot.measurer, { echo_1m: { name: "echo", ...oneMib } });
  add(floor, { copy_1m: { name: "copy", ...oneMib } });
  add(vader, { mpi_vader_1m: { name: "pingpong", ...oneMib } });
  add(hot.measurer, { echo_10m: { name: "echo", ...tenMib } });
  add(floor, { copy_10m: { name: "copy", ...tenMib } });
  add(many.measurer, { rate_ring: { name: "rate", bytes: 0, count: 10_000, depth: 32 } });

  add(floor, { futex: { name: "futex", bytes: 0, ...slept } });
  add(floor, { futex_spin: { name: "futex_spin", bytes: 0, ...slept } });
  add(warm.measurer, { warm_ring: { name: "place", bytes: 1, ...slept } });

  add(floor, { lo_spin_64: { name: "tcp_spin", bytes: 64, count: 5000 } });
  add(near.measurer, { lo_echo_64: { name: "echo", bytes: 64, count: 5000 } });
  add(mpiTcp, { mpi_tcp_64: { name: "pingpong", bytes: 64, count: 3000 } });
  add(floor, { lo_block_64: { name: "tcp_block", bytes: 64, ...slept } });

  for (const bytes of [64, 4096, 65536]) {
    add(farFloor, { [`spin_${bytes}`]: { name: "tcp_spin", bytes, count: bytes > 9999 ? 1000 : 5000 } });
    add(far.measurer, { [`far_${bytes}`]: { name: "echo", bytes, count: bytes > 9999 ? 1000 : 5000 } });
  }
  add(farFloor, { spin_1m: { name: "tcp_spin", ...oneMib, count: 100 } });
  add(far.measurer, { far_1m: { name: "echo", ...oneMib, count: 100 } });
  add(farFloor, { stream_in_10m: { name: "tcp_in", ...tenMib } });
  add(far.measurer, { far_in_10m: { name: "call", ...tenMib } });
  add(farFloor, { stream_out_10m: { name: "tcp_out", ...tenMib } });
  add(far.measurer, { far_out_10m: { name: "out", ...tenMib } });
  add(farMany.measurer, { rate_tcp: { name: "rate", bytes: 0, count: 1000, depth: 32 } });
  add(farFloor, { wake_64: { name: "tcp_wake", bytes: 64, ...slept } });
  add(farWarm.measurer, { far_warm_64: { name: "echo", bytes: 64, ...slept } });
  add(farFloor, { block_64: { name: "tcp_block", bytes: 64, ...slept } });

  const numbers = { bytes: 64, count: 2000 };
  add(nested, { nested_64: { name: "nested", ...numbers } });
  add(nested, { alone_64: { name: "alone", ...numbers } });

  add(region, { memcpy_get_4k: { name: "memcpy_get", bytes: 4 * kib, count: 5000 } });
  add(region, { get_4k: { name: "get", bytes: 4 * kib, count: 5000 } });
  add(region, { put_4k: { name: "put", bytes: 4 * kib, count: 5000 } });
  add(region, { memcpy_get_10m: { name: "memcpy_get", ...tenMib } });
  add(region, { get_10m: { name: "get", ...tenMib } });
  add(region, { memcpy_put_10m: { name: "memcpy_put", ...tenMib } });
  add(region, { put_10m: { name: "put", ...tenMib } });
  add(farFloor, { raw_get_4k: { name: "wake_out", bytes: 4 * kib, count: 1000 } });
  add(farRegion, { far_get_4k: { name: "get", bytes: 4 * kib, count: 1000 } });
  add(farFloor, { raw_put_4k: { name: "wake_in", bytes: 4 * kib, count: 1000 } });
  add(farRegion, { far_put_4k: { name: "put", bytes: 4 * kib, count: 1000 } });
  add(farFloor, { raw_get_10m: { name: "wake_out", ...tenMib } });
  add(farRegion, { far_get_10m: { name: "get", ...tenMib } });
  add(farFloor, { raw_put_10m: { name: "wake_in", ...tenMib } });
  add(farRegion, { far_put_10m: { name: "put", ...tenMib } });
  const ours = new Set(series.map(({ name }) => name));

  for (const [prefix, measurer] of [
    ["redis", redis],
    ["far_redis", farRedis],
  ] as const)
    add(measurer, {
      [`${prefix}_get_4k`]: { name: "get", bytes: 4 * kib, count: 1000 },
      [`${prefix}_put_4k`]: { name: "set", bytes: 4 * kib, count: 1000 },
      [`${prefix}_get_10m`]: { name: "get", ...tenMib },
      [`${prefix}_put_10m`]: { name: "set", ...tenMib },
    });
  const tool = (name: string, measure: () => Promise<Times>) => series.push({ name, measure });
  const loops = quick ? 500 : 2000;
  tool("fi_tcp_64", () => fiPingpong(veth, "tcp", "msg", 64, 300));
  tool("fi_net_64", () => fiPingpong(veth, "net", "rdm", 64, 300));
  tool("fi_rxm_64", () => fiPingpong(veth, "tcp;ofi_rxm", "rdm", 64, 300));
  tool("ucx_posix_8", () => ucx("posix,self", 8, loops * 5));
  tool("ucx_tcp_64", () => ucx("tcp,self", 64, loops));
  tool("grpc_64", () => grpc(loops / 2));
  return {
    series,
    sleeperPid: warm.pid,
    asleepDuring: new Set(series.map(({ name }) => name).filter((name) => !ours.has(name))),
    async close() {
      for (const measurer of [redis, farRedis, vader, mpiTcp]) await measurer.close();
    },
  };
}
