/**
 * Reads the lines `figure WHAT BYTES MICROSECONDS` of test/vm/rdma-guest.sh and prints a table: accesses to a region as
 * ratios to raw verbs (perftest: ib_read_lat, ib_read_bw, ib_write_bw), many at once to as many at once, and a call's
 * round trip as a ratio to fi_pingpong's over the same kind of endpoint, one per peer (msg) or one for all (rdm), in the
 * same machine. Also written to build/bench/rdma.json. fi_pingpong prints means only: so of a call, too, it takes the
 * mean of a round, and of both the median of the rounds, which are in turns. A stall of the emulated machine may be in
 * the mean of either.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { medianOf, type Row, tableText } from "../bench/table.ts";

const mostRatio = 1.15;
const samples = new Map<string, number[]>();
for await (const line of createInterface({ input: process.stdin })) {
  const [, what, bytes, us] = /^figure (\S+) (\d+) ([\d.]+)$/.exec(line) ?? [];
  if (what === undefined) continue;
  const key = `${what} ${bytes}`;
  samples.set(key, [...(samples.get(key) ?? []), Number(us)]);
}
const of = (what: string, bytes: number) => samples.get(`${what} ${bytes}`) ?? [Number.NaN];

const rows: Row[] = [64, 4096].flatMap((bytes) =>
  ["msg", "rdm"].map((kind) => ({
    what: `hot call, ${bytes} B each way, ${kind === "msg" ? "verbs;msg" : "verbs;ofi_rxm"}`,
    value: medianOf(of(`call-${kind}-mean`, bytes)),
    unit: "us",
    baseline: {
      what: `fi_pingpong -p verbs -e ${kind}`,
      value: medianOf(of(`fi_pingpong-${kind}`, bytes)),
    },
    mark: mostRatio,
  })),
);
// Medians of both: perftest's typical round trip or mean bandwidth of a round, and the median access of a round.
for (const [way, what] of [
  ["region", "over the fabric"],
  ["region-tcp", "over TCP"],
] as const)
  for (const [access, bytes] of [
    ["get", 4096],
    ["put", 10485760],
    ["get", 10485760],
    ["get-many", 4096],
  ] as const)
    rows.push({
      what: `${access === "get-many" ? "each of 32 gets at once" : access} of ${bytes} B, ${what}`,
      value: medianOf(of(`${way}-${access}`, bytes)),
      unit: "us",
      baseline: {
        what: `raw verbs, ${access === "get-many" ? "32 gets at once" : access}`,
        value: medianOf(of(`raw-${access}`, bytes)),
      },
      ...(way === "region" && access !== "get-many" ? { mark: bytes === 4096 ? 1.3 : 1.11 } : {}),
    });
mkdirSync("build/bench", { recursive: true });
writeFileSync(
  "build/bench/rdma.json",
  `${JSON.stringify({ rows, samples: Object.fromEntries(samples) }, undefined, 1)}\n`,
);
console.log(tableText("soft-RoCE in an emulated machine: round trips, medians of rounds", rows));
if (rows.some((row) => !Number.isFinite(row.value) || !Number.isFinite(row.baseline?.value))) {
  console.error("test:rdma: figures are missing");
  process.exit(1);
}
