/**
 * docs/harm.md: what guests cost the jobs beside them. The table is a run of `npm run bench:harm` that somebody put in with
 * `npm run docs:harm < build/bench/harm.json`; it is kept as harm.json beside this file, without the single runs.
 */
import { writeFileSync } from "node:fs";
import { text as readAll } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import { keptRun, type MeasuredRow, machineText, measuredRun, refuse, tableLine } from "./measured.ts";

const recordFile = fileURLToPath(new URL("harm.json", import.meta.url));

const record = measuredRun("npm run bench:harm -- --rounds 15").extend({ guardActions: z.number() });
export type HarmRecord = z.output<typeof record>;

/** @throws z.ZodError, SyntaxError: it is not what bench:harm writes. */
export function parseHarm(text: string): HarmRecord {
  return record.parse(JSON.parse(text));
}

const percent = (ratio: number | null): string =>
  ratio === null ? "" : `${ratio >= 1 ? "+" : "−"}${Math.abs((ratio - 1) * 100).toFixed(1)} %`;
const seconds = (value: number | null | undefined, unit: string): string =>
  value === null || value === undefined ? "" : `${value.toFixed(2)} ${unit}`;

/** A median that keeps its mark has shown it only where the interval does, too. */
function verdict({ mark, verdict: said, interval }: MeasuredRow): string {
  if (mark === undefined) return "";
  const beyond = said === "met" && (interval?.[1] ?? mark) > mark;
  return `≤ ${percent(mark)}: ${said}${beyond ? " by the median, not by the interval" : ""}`;
}

function line(each: MeasuredRow): string {
  const [low, high] = each.interval ?? [null, null];
  const cells = [
    each.what,
    seconds(each.baseline?.value, each.unit),
    seconds(each.value, each.unit),
    percent(each.ratio),
    low === null || high === null ? "" : `${percent(low)} to ${percent(high)}`,
    verdict(each),
    each.note ?? "",
  ];
  return tableLine(cells);
}

const neverActed =
  "The guard never acted: no signal that this machine has stayed beyond its `enter`, so the rows with it and without it differ by chance, and what " +
  "kept guests back was the kernel alone. What a guest costs through memory bandwidth the guard sees by counters only " +
  "([the guard](guard.md#counters-of-the-hardware)).";

function table(found: HarmRecord): string[] {
  const acted = `The guard acted ${found.guardActions} times at most in one agent's life.`;
  return [
    `${machineText(found)} ${found.guardActions === 0 ? neverActed : acted}`,
    "",
    "| beside the job | alone | so | change | 90 % interval | mark | |",
    "|---|---|---|---|---|---|---|",
    ...found.rows.map(line),
  ];
}

const missing = [
  "No run of a quiet machine has been put in yet. On one of yours, with nothing else on it:",
  "",
  "    npm run bench:harm -- --rounds 15",
  "    npm run docs:harm < build/bench/harm.json",
  "",
  "The first takes about three quarters of an hour; the second checks the figures and writes them here.",
];

export function harmPage(found: HarmRecord | undefined): string {
  const lines = [
    "# What it does to jobs",
    "",
    "Two real applications run again and again in one job on a core of their own: LAMMPS, which computes, and HPCC (HPL, PTRANS, STREAM,",
    "RandomAccess, FFT), of which half is bound to memory. What is beside them changes from run to run, in an order that is drawn anew",
    "each round. Runs alone, with no agent on the node, are mixed in twice a round; every figure is a ratio to those of its own round, and the",
    "first row is what two runs alone differ by: nothing below that is an effect. Where an interval reaches beyond its mark, the median keeps it",
    "and the run has not shown it: that takes more rounds, or a quieter machine.",
    "",
    "## Measured",
    "",
    ...(found === undefined ? missing : table(found)),
    "",
    "## What each row is",
    "",
    "| beside the job | what | mark |",
    "|---|---|---|",
    "| an idle agent | the node's agent and starter, no lease | ≤ 0.5 % |",
    "| an idle lease | an executor that sleeps | ≤ 0.5 % |",
    "| a guest that computes | one core busy, no memory traffic | ≤ 2 %, worst ≤ 4 % |",
    "| a guest that streams memory | as much traffic as one core makes; with the guard, and without | ≤ 5 % with the guard |",
    "| a region | another node's job reads and writes it at a rate | ≤ 5 % at 1 GB/s |",
    "| leases come and go | 50 a second | |",
    "",
    "On a machine of two cores the guest shares a core with its own client and with the benchmark, and both cores share one last-level cache and",
    "one memory channel: such a machine shows what guests cost through caches, memory and the kernel at their worst, and not what they cost on a",
    "node of many cores. There is one job of one rank on one node; how a parallel job of many nodes feels a delay on one of them is not shown.",
    "",
    "## On your own cluster",
    "",
    "- `[lending] hold_out = 0.05` in agent.toml: a share of the nodes, by lot, lends nothing; the dashboard compares the jobs on both.",
    "- Each job has a receipt: who was beside it, for how long, what the guard did, the pressure with and without guests. `sublet jobs JOBID`,",
    "  and the job's own record if the site wants that ([consent and neighbours](neighbours.md#the-receipt-of-a-job)).",
    "- `npm run bench:harm` on a node of yours, with your own kernel and caches; the policy of [the guard](guard.md#the-policy-file) is in force there.",
  ];
  return `${lines.join("\n")}\n`;
}

/** The run that was put in; undefined: none. */
export function keptHarm(): HarmRecord | undefined {
  return keptRun(recordFile, parseHarm);
}

async function main(): Promise<void> {
  if (process.stdin.isTTY === true) throw new Error("usage: npm run docs:harm < build/bench/harm.json");
  const found = parseHarm(await readAll(process.stdin));
  writeFileSync(recordFile, `${JSON.stringify(found, undefined, 2)}\n`);
  writeFileSync(fileURLToPath(new URL("../../docs/harm.md", import.meta.url)), harmPage(found));
  console.log(`docs/harm.md: ${found.rows.length} rows of ${found.machine.date}`);
}

if (import.meta.main) main().catch((thrown: unknown) => refuse("docs:harm", "bench:harm", thrown));
