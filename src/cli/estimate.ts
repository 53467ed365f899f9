/** `sublet estimate`: what would this site gain? Needs nothing installed: Slurm's own commands, a record, or a trace. */
import { access, constants, readFile, stat, writeFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { getSystemErrorMessage } from "node:util";
import { SubletError } from "../common/errors.ts";
import { longestHoldMs, parseCounts, type Reading, timelinesOf } from "../estimate/counts.ts";
import { type Estimate, type EstimateInput, estimate as makeEstimate } from "../estimate/estimate.ts";
import { HistoryCollector } from "../estimate/history.ts";
import { binWords, estimatePage, number, percent, words } from "../estimate/page.ts";
import { readJobs, readNodes, spanOfRecord } from "../slurm/accounting.ts";
import { type Column, formatTable, type Output, wrap, writeJson } from "./output.ts";
import type { Session } from "./session.ts";

export interface EstimateOptions {
  readonly from?: string;
  readonly to?: string;
  readonly partition?: string;
  readonly memoryUse?: boolean;
  readonly sacct?: string;
  readonly sinfo?: string;
  readonly trace?: string;
  readonly coresPerNode?: number;
  readonly gibPerNode?: number;
  readonly terms: readonly number[];
  readonly leaseCores: number;
  readonly leaseMibPerCore: number;
  readonly html?: string;
  readonly price?: number;
  readonly currency: string;
}

const dayMs = 86_400_000;
const defaultDays = 14;

export async function estimate(session: Session, options: EstimateOptions): Promise<void> {
  const progress = progressLine(session.output);
  // What cannot be written is said before a minute of reading, not after.
  if (options.html !== undefined) await checkWritable(options.html);
  const input = options.trace === undefined ? await fromSlurm(options, progress) : await fromTrace(options);
  const found = await makeEstimate(input, progress);
  progress("", 0, 0);
  const price =
    options.price === undefined ? undefined : { perCoreHour: options.price, currency: options.currency };
  if (options.html !== undefined)
    await writeFile(options.html, estimatePage(found, price, commandOf(options)), { mode: 0o644 });
  if (session.json) writeJson(session.output, found);
  else session.output.write(formatEstimate(found, options, session.output.width));
}

/** The file, or the folder where it will be. */
async function checkWritable(path: string): Promise<void> {
  const there = await stat(path).catch(() => undefined);
  try {
    if (there?.isDirectory()) throw new Error("it is a folder");
    await access(there === undefined ? dirname(resolve(path)) : path, constants.W_OK);
  } catch (thrown) {
    throw new SubletError("INVALID_ARGUMENT", `--html: cannot write ${path}: ${reasonOf(thrown)}`, {
      cause: thrown,
    });
  }
}

/** One line on the terminal that is written over; "" ends it. Nothing where nobody looks. */
function progressLine(output: Output): (what: string, done: number, of: number) => void {
  const beginMs = performance.now();
  let shownMs = 0;
  let shown = false;
  return (what, done, of) => {
    const nowMs = performance.now();
    if (what === "") {
      if (shown) output.error("\r\u001b[K");
      return;
    }
    if (output.width === undefined || nowMs - beginMs < 1000 || nowMs - shownMs < 200) return;
    shownMs = nowMs;
    shown = true;
    const part = of > 0 ? ` ${Math.floor((100 * done) / of)} %` : "";
    output.error(`\r\u001b[K${what}${part}`);
  };
}

async function fromTrace(options: EstimateOptions): Promise<EstimateInput> {
  const { coresPerNode, gibPerNode, trace } = options;
  if (coresPerNode === undefined || gibPerNode === undefined)
    throw new SubletError(
      "INVALID_ARGUMENT",
      "a trace counts nodes: say what one is with --cores-per-node and --gib-per-node",
    );
  const samples = parseCounts(await readText(trace ?? ""));
  const [first, last] = [samples[0], samples.at(-1)];
  if (first === undefined || last === undefined) throw new SubletError("INTERNAL", "a trace without samples");
  const size = { cores: coresPerNode, memoryMib: gibPerNode * 1024 };
  const holdMs = longestHoldMs(samples);
  let heldGibHours = 0;
  let unwatchedMs = 0;
  samples.forEach((sample, i) => {
    const stepMs = (samples[i + 1]?.atMs ?? sample.atMs) - sample.atMs;
    unwatchedMs += Math.max(0, stepMs - holdMs);
    const gib = (sample.idle + sample.allocated) * gibPerNode;
    heldGibHours += ((sample.heldFreeMemory ?? 0) * gib * Math.min(stepMs, holdMs)) / 3_600_000;
  });
  const readings: Reading[] = ["oldest first", "newest first"];
  return {
    source: trace ?? "",
    fromMs: first.atMs,
    toMs: last.atMs,
    jobs: 0,
    readings: readings.map((name) => ({ name, timelines: timelinesOf(samples, size, name) })),
    heldUnusedCoreHours: undefined,
    heldUnusedGibHours: first.heldFreeMemory === undefined ? undefined : heldGibHours,
    notes: [
      "The trace counts nodes and does not name them. It is read twice: the node that has been idle longest is taken first, or the one that became idle last. Nodes that came and went between two samples do not show, so true holes are shorter.",
      `All nodes are taken to have ${coresPerNode} cores and ${gibPerNode} GiB.`,
      ...(unwatchedMs > 0
        ? [`For ${number(unwatchedMs / 3_600_000)} hours nothing was sampled; nothing is claimed for them.`]
        : []),
    ],
    ...leaseShape(options),
  };
}

async function fromSlurm(
  options: EstimateOptions,
  progress: (what: string, done: number, of: number) => void,
): Promise<EstimateInput> {
  const spanned = options.from !== undefined && options.to !== undefined;
  const record = options.sacct === undefined || spanned ? undefined : await spanOfRecord(options.sacct);
  const toMs = timeOption("--to", options.to) ?? record?.toMs ?? Date.now();
  const fromMs = timeOption("--from", options.from) ?? record?.fromMs ?? toMs - defaultDays * dayMs;
  if (!(toMs > fromMs)) throw new SubletError("INVALID_ARGUMENT", "--from must be before --to");
  const source = {
    fromMs,
    toMs,
    partition: options.partition,
    steps: options.memoryUse === true,
    sinfoFile: options.sinfo,
    sacctFile: options.sacct,
  };
  const nodes = await readNodes(source);
  const out = nodes.filter(({ state }) => /^(down|drain|fail|maint|unknown|power|future)/.test(state));
  const collector = new HistoryCollector(nodes, fromMs, toMs);
  let firstMs = toMs;
  const found = await readJobs(
    source,
    (job) => {
      firstMs = Math.min(firstMs, job.startMs);
      collector.job(job);
    },
    (done, of) => progress("reading Slurm's accounting", done, of),
  );
  if (found.jobs === 0)
    throw new SubletError(
      "NOT_FOUND",
      "the accounting tells of no job in this span: does this site keep one, and may you see others' jobs (PrivateData in slurm.conf)?",
    );
  // Without a record of outages, nodes that are out now are taken to have been out all the time.
  const down = found.down ?? out.map(({ node }) => ({ node, startMs: fromMs, endMs: toMs }));
  for (const span of down) collector.down(span);
  const held = collector.heldUnused();
  return {
    source: options.sacct ?? "Slurm's accounting",
    fromMs,
    toMs,
    jobs: found.jobs,
    readings: [{ name: "as recorded", timelines: collector.timelines() }],
    heldUnusedCoreHours: held.coreHours,
    heldUnusedGibHours: held.gibHours,
    notes: [
      "Slurm's accounting gives a job's cores and memory as sums; they are spread evenly over its nodes.",
      found.down === undefined
        ? `Outages are not recorded here: ${out.length} nodes that are out now count as out all the time, and the rest as up.`
        : `Nodes were out ${found.down.length} times; that time is not spare.`,
      ...(firstMs - fromMs > 0.02 * (toMs - fromMs)
        ? [
            `The first job began at ${new Date(firstMs).toISOString()}; all before it counts as spare. If the accounting begins there, say --from.`,
          ]
        : []),
      ...(collector.unknownNodes > 0
        ? [
            `${collector.unknownNodes} times a job ran on a node that sinfo does not name now; those are left out.`,
          ]
        : []),
      ...(found.garbage > 0
        ? [`${found.garbage} lines of the accounting made no sense and are left out.`]
        : []),
      ...(record !== undefined
        ? ["The span is that of the jobs' ends in the record; --from and --to say it better."]
        : []),
    ],
    ...leaseShape(options),
  };
}

function leaseShape({ terms, leaseCores, leaseMibPerCore }: EstimateOptions) {
  return { termsS: terms.map((minutes) => minutes * 60), leaseCores, leaseMibPerCore };
}

/** "14d", "2026-10-01", "2026-10-01T12:00". */
function timeOption(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const ago = /^(\d{1,4})d$/.exec(text);
  if (ago !== null) return Date.now() - Number(ago[1]) * dayMs;
  const ms = /^\d{4}-\d\d-\d\d$/.test(text) ? Date.parse(`${text}T00:00:00`) : Date.parse(text);
  if (Number.isNaN(ms))
    throw new SubletError(
      "INVALID_ARGUMENT",
      `${name}: ${JSON.stringify(text)} is neither a date nor days ago (14d)`,
    );
  return ms;
}

/** "no such file or directory" of what Node says with code, call and path around it. */
function reasonOf(thrown: unknown): string {
  const { errno, message } = thrown as NodeJS.ErrnoException;
  return errno === undefined ? message : getSystemErrorMessage(errno);
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (thrown) {
    throw new SubletError("INVALID_ARGUMENT", `cannot read ${path}: ${reasonOf(thrown)}`, {
      cause: thrown,
    });
  }
}

function commandOf(options: EstimateOptions): string {
  const parts = ["sublet estimate"];
  const names = ["from", "to", "partition", "sacct", "sinfo", "trace", "coresPerNode", "gibPerNode"] as const;
  for (const name of names) {
    const value = options[name];
    if (value !== undefined) parts.push(`--${name.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)} ${value}`);
  }
  return [...parts, `--terms ${options.terms.join(",")}`, `--lease-cores ${options.leaseCores}`].join(" ");
}

interface HoleRow {
  readonly length: string;
  readonly coreHours: number;
  readonly share: number;
  readonly gibHours: number;
  readonly count: number;
}

const holeColumns: readonly Column<HoleRow>[] = [
  { title: "HOLES", text: ({ length }) => length },
  { title: "CORE-HOURS", text: ({ coreHours }) => number(coreHours), align: "right" },
  { title: "SHARE", text: ({ share }) => percent(share), align: "right" },
  { title: "GIB-HOURS", text: ({ gibHours }) => number(gibHours), align: "right", spare: 2 },
  { title: "COUNT", text: ({ count }) => number(count), align: "right", spare: 1 },
];

const termColumns: readonly Column<Estimate["readings"][number]["terms"][number]>[] = [
  { title: "TERM", text: ({ termS }) => words(termS) },
  { title: "FITS", text: ({ fits }) => percent(fits), align: "right", spare: 2 },
  { title: "CAUGHT", text: ({ caught }) => percent(caught), align: "right" },
  { title: "CORE-HOURS", text: ({ caughtCoreHours }) => number(caughtCoreHours), align: "right" },
  { title: "LOST", text: ({ lost }) => percent(lost), align: "right" },
  { title: "CUT SHORT", text: ({ cutPercent }) => `${cutPercent.toFixed(1)} %`, align: "right" },
  { title: "LEASES/H", text: ({ leasesPerHour }) => number(leasesPerHour), align: "right", spare: 1 },
];

export function formatEstimate(
  found: Estimate,
  { html, price, currency }: Pick<EstimateOptions, "html" | "price" | "currency">,
  width: number | undefined,
): string {
  const days = (found.toMs - found.fromMs) / dayMs;
  const { coreHours: cores, gibHours: memory } = found;
  const held = (value: number | null, total: number): string =>
    value === null ? "" : `, held and not used ${percent(value / total)}`;
  const spare = cores.idle + cores.unallocated;
  const caught = found.readings[0]?.terms[0];
  const parts = [
    `${found.source}: ${number(days)} days, ${number(found.nodes)} nodes, ${number(found.cores)} cores, ${number(found.memoryGib)} GiB${found.jobs > 0 ? `, ${number(found.jobs)} jobs` : ""}\n\n`,
    `Cores   idle nodes ${percent(cores.idle / cores.total)}, beside jobs ${percent(cores.unallocated / cores.total)}${held(cores.heldUnused, cores.total)} of ${number(cores.total)} core-hours\n`,
    `Memory  idle nodes ${percent(memory.idle / memory.total)}, beside jobs ${percent(memory.unallocated / memory.total)}${held(memory.heldUnused, memory.total)} of ${number(memory.total)} GiB-hours\n`,
  ];
  for (const reading of found.readings) {
    parts.push(found.readings.length > 1 ? `\nRead ${reading.name}:\n\n` : "\n");
    const rows = reading.holes.map((hole, i) => ({
      ...hole,
      length: binWords(found.holeEdgesS, i),
      share: spare === 0 ? 0 : hole.coreHours / spare,
    }));
    parts.push(formatTable(holeColumns, rows, width), "\n", formatTable(termColumns, reading.terms, width));
  }
  if (caught !== undefined) {
    const perDay = caught.caughtCoreHours / days;
    const money = price === undefined ? "" : ` = ${number(perDay * price)} ${currency}`;
    parts.push(
      `\nHad somebody always wanted them, leases of ${words(caught.termS)} would have caught ${number(perDay)} core-hours a day${money}: ${number(perDay / 24)} more cores.\n`,
    );
  }
  for (const note of found.notes) parts.push(`${wrap(note, width, "  ").replace(/^ {2}/, "- ")}\n`);
  if (html !== undefined) parts.push(`The page is in ${html}\n`);
  return parts.join("");
}
