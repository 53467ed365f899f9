/**
 * Regions beyond put and get (those stand in `npm run bench:path`, beside memcpy, raw TCP and Redis): atomics, lists,
 * strides and many accesses at once, each against the round trip of a raw TCP connection whose server sleeps, in turns;
 * and what an idle region costs its lender over a minute.
 */
import { join } from "node:path";
import { pause } from "../../deploy/testbed/shell.ts";
import { whole } from "./bed.ts";
import { type Measurer, type Order, startMeasurer, type Times } from "./path/measurer.ts";
import { cpuSeconds, native, openStage, type Stage } from "./path/stage.ts";
import { medianOf, pairedRatio, type Row } from "./table.ts";

const mib = 1024;

interface Thing {
  readonly what: string;
  readonly order: Order;
  /** The raw round trip beside it: bytes of its answer. */
  readonly raw: number;
  readonly mark?: number;
}

const far: readonly Thing[] = [
  { what: "get 4 KiB", order: { name: "get", bytes: 4096, count: 500 }, raw: 4096, mark: 1.3 },
  { what: "atomic add", order: { name: "add", bytes: 8, count: 500 }, raw: 8, mark: 1.3 },
  { what: "compare and swap", order: { name: "swap", bytes: 8, count: 500 }, raw: 8, mark: 1.3 },
  {
    what: "column: 512 blocks of 8 B, a page apart",
    order: { name: "column", bytes: 4096, count: 500 },
    raw: 4096,
  },
  {
    what: "list: 64 scattered pieces of 64 B",
    order: { name: "list", bytes: 4096, count: 500 },
    raw: 4096,
  },
  { what: "the same pieces one by one", order: { name: "singles", bytes: 4096, count: 30 }, raw: 4096 },
  {
    what: "64 gets of 64 B begun together",
    order: { name: "many", bytes: 64, count: 200, depth: 64 },
    raw: 4096,
  },
];

const here: readonly (readonly [what: string, order: Order])[] = [
  ["get 4 KiB", { name: "get", bytes: 4096, count: 5000 }],
  ["atomic add", { name: "add", bytes: 8, count: 5000 }],
  ["compare and swap", { name: "swap", bytes: 8, count: 5000 }],
  ["column: 512 blocks of 8 B, a page apart", { name: "column", bytes: 4096, count: 2000 }],
  ["list: 64 scattered pieces of 64 B", { name: "list", bytes: 4096, count: 2000 }],
];

export async function run(progress: (message: string) => void, extent = whole): Promise<Row[]> {
  const stage = await openStage();
  const measurers: Measurer[] = [];
  const program = join(native, "bin/sublet-region-bench");
  const start = (argv: readonly string[], socket: string): Measurer => {
    const measurer = startMeasurer("sublet-region-bench", argv, { SUBLET_AGENT_SOCKET: socket });
    measurers.push(measurer);
    return measurer;
  };
  try {
    const lender = await stage.regionPlace({ path: stage.veth, shared: false, mib });
    const away = start([...stage.veth.here.enter, program, `${mib}`], lender.socket);
    const beside = await stage.regionPlace({ path: stage.loopback, shared: true, mib });
    const near = start([program, `${mib}`], beside.socket);
    const rows = [...(await farRows(stage, away, progress, extent.small ? 1 : 5)), ...(await nearRows(near))];
    return [...rows, await idleRow(lender.pid, away, progress, extent.small ? 500 : 60_000)];
  } finally {
    for (const measurer of measurers) await measurer.close();
    await stage.close();
  }
}

async function farRows(
  stage: Stage,
  away: Measurer,
  progress: (message: string) => void,
  rounds: number,
): Promise<Row[]> {
  const floor = stage.floor(stage.veth);
  const taken = new Map<Thing, { mine: Times[]; raw: Times[] }>(
    far.map((thing) => [thing, { mine: [], raw: [] }]),
  );
  for (let round = 0; round < rounds; round++) {
    progress(`round ${round + 1} of ${rounds}`);
    for (const [thing, { mine, raw }] of taken) {
      mine.push(await away.measure(thing.order));
      raw.push(await floor.measure({ name: "wake_out", bytes: thing.raw, count: 500 }));
    }
  }
  return [...taken].map(([thing, { mine, raw }]) => {
    const [values, floors] = [mine.map((times) => times.p50), raw.map((times) => times.p50)];
    return {
      what: `${thing.what}, across namespaces`,
      value: medianOf(values),
      p99: medianOf(mine.map((times) => times.p99)),
      unit: "µs",
      baseline: { what: "raw TCP round trip", value: medianOf(floors) },
      ...pairedRatio(values, floors),
      ...(thing.mark === undefined ? {} : { mark: thing.mark, issue: "3.7" }),
    };
  });
}

async function nearRows(near: Measurer): Promise<Row[]> {
  const rows: Row[] = [];
  for (const [what, order] of here) {
    const times = await near.measure(order);
    rows.push({ what: `${what}, same node`, value: times.p50, p99: times.p99, unit: "µs" });
  }
  return rows;
}

/** With a client connected that does nothing. */
async function idleRow(
  pid: number,
  away: Measurer,
  progress: (message: string) => void,
  idleMs: number,
): Promise<Row> {
  await away.measure({ name: "get", bytes: 4096, count: 10 });
  progress(`idle for ${idleMs / 1000} s`);
  await pause(1000);
  const [before, began] = [cpuSeconds(pid), performance.now()];
  await pause(idleMs);
  const share = ((cpuSeconds(pid) - before) / ((performance.now() - began) / 1000)) * 100;
  return {
    what: "an idle region server with a client, of one core",
    value: share,
    unit: "%",
    mark: 0.05,
    issue: "3.7",
  };
}
