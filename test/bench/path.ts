/**
 * `npm run bench:path`: the data path against the baselines of the same run; a table, build/bench/path.json and a plot.
 * `npm run docs:speed < build/bench/path.json` puts the figures into docs/speed.md.
 *
 * Every thing and every baseline is measured once a round, in turns, the order turning too; client on core 0, the other
 * side on core 1. A missed mark is reported and no failure (--strict makes it one); what could not be measured is.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { dirname, join } from "node:path";
import { Command } from "commander";
import { attempt } from "../../deploy/testbed/shell.ts";
import { thisMachine } from "./machine.ts";
import type { Times } from "./path/measurer.ts";
import { plotSvg } from "./path/plot.ts";
import { countingRow, crowdRow, pathRows, type Sleep, withTailMarks } from "./path/rows.ts";
import { openSeries } from "./path/series.ts";
import { cpuSeconds, native, openStage, root } from "./path/stage.ts";
import { jsonRows, type Row, summaryText, tableText, verdictOf } from "./table.ts";

const command = new Command("npm run bench:path --")
  .description("Measures the data path against its baselines. Needs root, two cores and about five minutes.")
  .option("--rounds <n>", "rounds; each measures everything once", "7")
  .option("--quick", "two short rounds, about a minute: shows that all works, not how fast it is")
  .option("--out <folder>", "where path.json and path.svg go", join(root, "build/bench"))
  .option("--json <file>", "the JSON file, if it is to go elsewhere")
  .option("--strict", "exit status 1 also when a mark was missed")
  .parse();
const flags = command.opts<{
  rounds: string;
  quick?: boolean;
  out: string;
  json?: string;
  strict?: boolean;
}>();
const count = flags.quick ? 2 : Number(flags.rounds);
if (!Number.isSafeInteger(count) || count < 1 || count > 100)
  command.error(`--rounds wants a number from 1 to 100, not ${flags.rounds}`);
if (availableParallelism() < 2) command.error("the data path needs two cores: one for each side");
if (process.getuid?.() !== 0)
  command.error("only root can make the network namespaces that stand for two nodes");

const machine = thisMachine();
const startedMs = performance.now();
const progress = (message: string) =>
  process.stderr.write(`${((performance.now() - startedMs) / 1000).toFixed(1).padStart(6)} s  ${message}\n`);

async function measureAll(): Promise<{ rounds: Map<string, (Times | undefined)[]>; sleep: Sleep }> {
  const stage = await openStage();
  const rounds = new Map<string, (Times | undefined)[]>();
  const sleep = { cpuS: 0, wallS: 0 };
  const failed = new Set<string>();
  const benches = await openSeries(stage, flags.quick === true).catch(async (error: unknown) => {
    await stage.close();
    throw error;
  });
  try {
    for (let round = 0; round < count; round++) {
      progress(`round ${round + 1} of ${count}`);
      const order = round % 2 === 0 ? benches.series : benches.series.toReversed();
      for (const { name, measure } of order) {
        const [cpuS, wallMs] = [cpuSeconds(benches.sleeperPid), performance.now()];
        const times = await measure().catch((error: unknown) => {
          if (!failed.has(name))
            progress(`${name}: ${error instanceof Error ? error.message : String(error)}`);
          failed.add(name);
          return undefined;
        });
        rounds.set(name, [...(rounds.get(name) ?? []), times]);
        if (!benches.asleepDuring.has(name)) continue;
        sleep.cpuS += cpuSeconds(benches.sleeperPid) - cpuS;
        sleep.wallS += (performance.now() - wallMs) / 1000;
      }
    }
  } finally {
    await benches.close();
    await stage.close();
  }
  return { rounds, sleep };
}

/** Runs a native test that prints a figure; what it said, if it held. */
async function saidBy(test: string, ...words: readonly string[]): Promise<string | undefined> {
  progress(`the figure of ${test}`);
  return await attempt([join(native, "bin", test), ...words], { timeoutMs: 90_000 }).then(
    ({ stdout, stderr, exitCode }) => (exitCode === 0 ? `${stdout}${stderr}` : undefined),
    () => undefined,
  );
}

/** Marks that a benchmark of its own measures: those of `npm run bench` with this name, in the long form only. */
const elsewhere = [
  { name: "cold", issue: "3.6", what: "lease to first answer, cold and from the warm pool" },
  { name: "map", issue: "3.7", what: "sublet_map against local swap" },
] as const;

async function othersRows(): Promise<Row[]> {
  const found: Row[] = [];
  for (const { name, issue, what } of elsewhere) {
    const absent = { what, value: Number.NaN, unit: "", issue };
    if (flags.quick) {
      const notShown = `not in the quick form; npm run bench -- ${name} measures it`;
      found.push({ ...absent, notShown });
      continue;
    }
    progress(`${name}: ${what}`);
    try {
      const module = (await import(new URL(`./${name}.ts`, import.meta.url).href)) as {
        run: (progress: (message: string) => void) => Promise<Row[]>;
      };
      const rows = await module.run((message) => progress(`${name}: ${message}`));
      found.push(...withTailMarks(rows.map((row) => ({ issue, ...row }))));
    } catch (error) {
      const notShown = `npm run bench -- ${name}: ${error instanceof Error ? error.message : String(error)}`;
      found.push({ ...absent, broken: true, notShown: notShown.split("\n")[0] ?? notShown });
    }
  }
  return found;
}

const { rounds, sleep } = await measureAll();
const rows = [
  countingRow(await saidBy("client_count_test", join(native, "test/native/client/counting.so"))),
  crowdRow(await saidBy("crowd_test")),
  ...pathRows(rounds, sleep, availableParallelism()),
  ...(await othersRows()),
];
const jsonFile = flags.json ?? join(flags.out, "path.json");
const plotFile = join(flags.out, "path.svg");
for (const folder of [dirname(jsonFile), flags.out]) mkdirSync(folder, { recursive: true });
const report = {
  machine,
  rounds: count,
  quick: flags.quick === true,
  rows: jsonRows(rows),
  series: Object.fromEntries(rounds),
};
writeFileSync(jsonFile, `${JSON.stringify(report, undefined, 2)}\n`);
const subtitle = `${machine.model}, ${machine.cores} cores, Linux ${machine.kernel}; ${count} rounds${flags.quick ? " (quick)" : ""}`;
writeFileSync(plotFile, plotSvg("Sublet: the data path against its marks", subtitle, rows));
console.log(
  `${tableText(`The data path (${subtitle})`, rows)}\n\n${summaryText(rows)}\n${jsonFile}\n${plotFile}`,
);
const broken = rows.some((row) => verdictOf(row) === "not measured");
const missed = rows.some((row) => verdictOf(row) === "NOT met");
process.exitCode = broken || (flags.strict && missed) ? 1 : 0;
