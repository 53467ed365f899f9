/**
 * `npm run bench [-- NAME...]`: the benchmarks, one after the other; a table on stdout, JSON in build/bench/NAME.json.
 * Every figure stands beside a baseline of the same run: machines are shared and noisy, ratios last longer.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { jsonRows, type Row, summaryText, tableText } from "./table.ts";

interface Benchmark {
  readonly about: string;
  readonly load: () => Promise<{ run: (progress: (message: string) => void) => Promise<Row[]> }>;
}

const benchmarks: Readonly<Record<string, Benchmark>> = {
  rpc: { about: "grpc-js unary, what users would pick instead", load: () => import("./rpc.ts") },
  calls: { about: "lease, hot and warm calls on the testbed", load: () => import("./calls.ts") },
  regions: {
    about: "atomics, lists, strides against raw round trips; an idle region",
    load: () => import("./regions.ts"),
  },
  map: { about: "regions as pointers against swap on a disk", load: () => import("./map.ts") },
  reclaim: { about: "reclaim against the floor of kill and rmdir", load: () => import("./reclaim.ts") },
  cold: { about: "lease to first answer, cold and from the pool", load: () => import("./cold.ts") },
  idle: { about: "what an agent costs its node when nothing happens", load: () => import("./idle.ts") },
  horizon: { about: "leases cut short with and without horizons", load: () => import("./horizon.ts") },
  jobstart: { about: "added start time of a job", load: () => import("./jobstart.ts") },
};

const wanted = process.argv.slice(2);
if (wanted.includes("--help") || wanted.some((name) => benchmarks[name] === undefined)) {
  console.error("usage: npm run bench [-- NAME...]");
  for (const [name, { about }] of Object.entries(benchmarks)) console.error(`  ${name.padEnd(10)} ${about}`);
  process.exit(wanted.includes("--help") ? 0 : 2);
}
const folder = fileURLToPath(new URL("../../build/bench/", import.meta.url));
mkdirSync(folder, { recursive: true });
let failed = false;
for (const [name, { about, load }] of Object.entries(benchmarks)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  const progress = (message: string) => process.stderr.write(`${name}: ${message}\n`);
  try {
    progress(about);
    const rows = await (await load()).run(progress);
    writeFileSync(`${folder}${name}.json`, `${JSON.stringify(jsonRows(rows), undefined, 2)}\n`);
    console.log(`${tableText(`${name}: ${about}`, rows)}\n  ${summaryText(rows)}\n`);
  } catch (error) {
    failed = true;
    console.error(`${name} failed: ${error instanceof Error ? error.message : String(error)}`);
  }
}
process.exit(failed ? 1 : 0);
