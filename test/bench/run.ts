/**
 * `npm run bench [-- NAME...]`: the benchmarks, one after the other; a table on stdout, JSON in build/bench/NAME.json.
 * Every figure stands beside a baseline of the same run: machines are shared and noisy, ratios last longer.
 *
 * `npm run bench -- smoke` runs the least of each on one testbed: what it shows is that they run. bench:path has --quick.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type Extent, whole, withBed } from "./bed.ts";
import { hook, placeHooks } from "./jobstart.ts";
import { jsonRows, type Row, summaryText, tableText } from "./table.ts";

interface Benchmark {
  readonly about: string;
  readonly load: () => Promise<{
    run: (progress: (message: string) => void, extent?: Extent) => Promise<Row[]>;
  }>;
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
  page: {
    about: "the dashboard with 10,000 nodes: first visit, live update",
    load: () => import("./page.ts"),
  },
  dashboard: {
    about: "what 50 viewers of the dashboard cost the controller, 10,000 nodes",
    load: () => import("./dashboard.ts"),
  },
  cli: { about: "commands at 10,000 nodes, from start to end", load: () => import("./cli.ts") },
  estimate: { about: "an estimate over a million jobs", load: () => import("./estimate.ts") },
  "off-switch": {
    about: "a drain of all over 1,000 fake agents, and after a restart",
    load: () => import("./off-switch.ts"),
  },
  jobstart: { about: "added start time of a job", load: () => import("./jobstart.ts") },
};

const wanted = process.argv.slice(2);
const smoke = wanted.includes("smoke");
if (wanted.includes("--help") || wanted.some((name) => name !== "smoke" && benchmarks[name] === undefined)) {
  console.error("usage: npm run bench [-- NAME... | -- smoke [NAME...]]");
  for (const [name, { about }] of Object.entries(benchmarks)) console.error(`  ${name.padEnd(10)} ${about}`);
  process.exit(wanted.includes("--help") ? 0 : 2);
}
const folder = fileURLToPath(new URL("../../build/bench/", import.meta.url));
mkdirSync(folder, { recursive: true });

/** Runs those that are wanted; false when one failed. */
async function runAll(extent: Extent): Promise<boolean> {
  const names = wanted.filter((name) => name !== "smoke");
  let good = true;
  for (const [name, { about, load }] of Object.entries(benchmarks)) {
    if (names.length > 0 && !names.includes(name)) continue;
    const progress = (message: string) => process.stderr.write(`${name}: ${message}\n`);
    const began = performance.now();
    try {
      progress(about);
      const rows = await (await load()).run(progress, extent);
      if (extent.small) {
        const empty = rows.filter(({ value }) => !Number.isFinite(value));
        if (rows.length === 0 || empty.length > 0)
          throw new Error(`no value for ${empty.map(({ what }) => what).join("; ")}`);
        console.log(`${name}: ${rows.length} rows in ${((performance.now() - began) / 1000).toFixed(1)} s`);
        continue;
      }
      writeFileSync(`${folder}${name}.json`, `${JSON.stringify(jsonRows(rows), undefined, 2)}\n`);
      console.log(`${tableText(`${name}: ${about}`, rows)}\n  ${summaryText(rows)}\n`);
    } catch (error) {
      good = false;
      console.error(`${name} failed: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  return good;
}

const good = smoke
  ? await withBed({ hook }, async (bed) => {
      placeHooks(bed);
      return await runAll({ small: true, bed });
    })
  : await runAll(whole);
process.exit(good ? 0 : 1);
