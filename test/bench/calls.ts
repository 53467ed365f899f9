/** Lease to first answer, hot and warm round trips as a job sees them, against grpc-js and the raw transport. */
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { latenciesOf } from "../../deploy/testbed/main-job/figures.ts";
import { optionsJob, withBed } from "./bed.ts";
import { run as rpc } from "./rpc.ts";
import { medianOf, type Row } from "./table.ts";

const pathBench = fileURLToPath(new URL("../../build/native/bin/sublet-path-bench", import.meta.url));

const marks: Readonly<Record<string, number>> = {
  "lease to first answer, same node": 50_000,
  "lease to first answer, across nodes": 50_000,
  "hot round trip, 64 B, same node": 3,
};

export async function run(progress: (message: string) => void): Promise<Row[]> {
  const [unary] = await rpc();
  const rows: Row[] = [];
  if (existsSync(pathBench)) {
    progress("the bare data path and its floors");
    console.log(execFileSync(pathBench, { encoding: "utf8", timeout: 180_000 }));
  }
  await withBed({ progress }, async (bed) => {
    for (const [node, probe] of [
      ["n1", "n1:1"],
      ["n3", "n1:2"],
    ] as const) {
      const rounds = [];
      for (let round = 0; round < 3; round++) {
        progress(`from ${node} to ${probe}, round ${round + 1}`);
        rounds.push(latenciesOf(await optionsJob(bed, node, { rounds: 0, leases: 0, probe })));
      }
      for (const [i, first] of (rounds[0] ?? []).entries()) {
        const what = `${first.what}, ${first.path}`;
        const mark = marks[what];
        const call = first.what.includes("round trip") && unary !== undefined;
        rows.push({
          what,
          value: medianOf(rounds.map((round) => round[i]?.p50Us ?? Number.NaN)),
          p99: medianOf(rounds.map((round) => round[i]?.p99Us ?? Number.NaN)),
          unit: "µs",
          ...(call ? { baseline: { what: "grpc-js unary", value: unary.value } } : {}),
          ...(mark === undefined || call ? {} : { mark }),
        });
      }
    }
  });
  return rows;
}
