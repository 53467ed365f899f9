/**
 * Lease to first answer, hot and warm round trips as a job on the testbed sees them, against grpc-js and libfabric's own
 * ping-pong between the same two namespaces, taken in turns. What the bare path costs is `npm run bench:path`.
 */
import { type Latency, latenciesOf } from "../../deploy/testbed/main-job/figures.ts";
import { enter } from "../../deploy/testbed/namespaces.ts";
import { type Bed, optionsJob, whole, withBed } from "./bed.ts";
import { fiPingpong } from "./path/others.ts";
import type { Path } from "./path/stage.ts";
import { run as rpc } from "./rpc.ts";
import { medianInterval, medianOf, pairedRatio, type Row } from "./table.ts";

const providers = [
  ["tcp", "msg"],
  ["net", "rdm"],
  ["tcp;ofi_rxm", "rdm"],
] as const;

/** From n3 to n1, as the calls go. */
function pathOf(bed: Bed): Path {
  const side = (name: string) => ({
    address: bed.cluster.node(name).address,
    enter: enter(bed.cluster.layout.stateDir, name, []),
  });
  return { name: "veth", here: side("n3"), there: side("n1") };
}

const middle = (values: readonly number[]) => medianOf(values.filter((value) => !Number.isNaN(value)));

type Round = readonly Latency[];

const timesOf = (all: readonly Round[], what: string, path: string, field: "p50Us" | "p99Us" = "p50Us") =>
  all.map(
    (round) => round.find((entry) => entry.what === what && entry.path === path)?.[field] ?? Number.NaN,
  );

/** One figure of the probe; the ratio, if any, is that of each round. */
function row(
  all: readonly Round[],
  what: string,
  path: string,
  extra: { floor?: readonly number[]; floorName?: string; mark?: number; issue?: string } = {},
): Row {
  const { floor, floorName = "", ...marks } = extra;
  const values = timesOf(all, what, path);
  return {
    what: floor === undefined ? `${what}, ${path}` : `${what}, ${path}, against ${floorName}`,
    value: medianOf(values),
    p99: medianOf(timesOf(all, what, path, "p99Us")),
    unit: "µs",
    interval: medianInterval(values),
    ...marks,
    ...(floor === undefined
      ? {}
      : { baseline: { what: floorName, value: middle(floor) }, ...pairedRatio(values, floor) }),
  };
}

export async function run(progress: (message: string) => void, extent = whole): Promise<Row[]> {
  const rounds = extent.small ? 1 : 3;
  const all: Round[] = [];
  const floors = new Map<string, number[]>();
  const unary: number[] = [];
  await withBed(
    { progress },
    async (bed) => {
      for (let round = 0; round < rounds; round++) {
        progress(`round ${round + 1} of ${rounds}: from n1 to n1, from n3 to n1, fi_pingpong from n3 to n1`);
        const here = latenciesOf(await optionsJob(bed, "n1", { rounds: 0, leases: 0, probe: "n1:1" }));
        const far = latenciesOf(await optionsJob(bed, "n3", { rounds: 0, leases: 0, probe: "n1:2" }));
        all.push([...here, ...far]);
        for (const [provider, endpoint] of providers.slice(0, extent.small ? 1 : undefined)) {
          const cores = { client: 1, server: 0 };
          const oneTrip = await fiPingpong(pathOf(bed), provider, endpoint, 64, 300, cores).then(
            (times) => times.p50,
            (error: Error) => {
              progress(`fi_pingpong -p ${provider}: ${error.message}`);
              return Number.NaN;
            },
          );
          floors.set(provider, [...(floors.get(provider) ?? []), oneTrip]);
        }
        unary.push((await rpc())[0]?.value ?? Number.NaN);
      }
    },
    extent,
  );
  // The tool prints means only, and one stolen time slice spoils a mean: the best round of each stands for all.
  const known = [...floors]
    .map(([provider, values]) => ({
      provider,
      us: Math.min(...values.filter((value) => !Number.isNaN(value))),
    }))
    .filter(({ us }) => Number.isFinite(us))
    .sort((a, b) => a.us - b.us);
  const best = known[0];
  const grpc = { floor: unary, floorName: "grpc-js unary" };
  const [hot, warm, first] = ["hot round trip, 64 B", "warm round trip, 64 B", "lease to first answer"];
  return [
    row(all, first, "same node", { mark: 50_000, issue: "2" }),
    row(all, first, "across nodes", { mark: 50_000, issue: "2" }),
    row(all, hot, "same node", { mark: 3, issue: "2" }),
    row(all, hot, "same node", grpc),
    row(all, hot, "across nodes", {
      floor: all.map(() => best?.us ?? Number.NaN),
      floorName: `fi_pingpong ${best?.provider ?? "(none ran)"}`,
      mark: 1.5,
      issue: "2",
    }),
    row(all, hot, "across nodes", grpc),
    row(all, warm, "same node", grpc),
    row(all, warm, "across nodes", grpc),
    ...known.map(
      ({ provider, us }): Row => ({
        what: `fi_pingpong ${provider}, 64 B, n3 to n1: twice its mean, best round`,
        value: us,
        unit: "µs",
      }),
    ),
  ];
}
