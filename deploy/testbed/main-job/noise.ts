/**
 * What functions cost the job beside them: job A says how far it is all the time, and company comes and goes while it
 * runs. So each figure with company stands beside one without, of the same run and a few seconds away, and a machine that
 * changes its speed changes both. The driver polls the same all the time, and keeps off A's core.
 *
 * Two kinds of company, on the same other core: an ordinary job that prices options by itself (what Slurm would put
 * there anyway), and the same job with a function core on A's node.
 */
import { readdirSync, readFileSync } from "node:fs";
import { SubletError } from "../../../src/common/errors.ts";
import type { Cluster } from "../cluster.ts";
import { readOr } from "../namespaces.ts";
import { pause, run } from "../shell.ts";
import { optionsRunOf, parseEvents } from "./figures.ts";
import { meltScript, optionsScript } from "./jobs.ts";

export type Company = "alone" | "job" | "functions";

/** A stretch of time in which one kind of company was there all along. Unix time. */
export interface Stretch {
  readonly company: Company;
  readonly cycle: number;
  readonly fromS: number;
  readonly toS: number;
}

export interface Progress {
  readonly unixS: number;
  readonly step: number;
}

/** CPU time that A has had, and time that it has waited for its core, by the kernel's scheduler. */
export interface Ran {
  readonly unixS: number;
  readonly cpuS: number;
  readonly waitedS: number;
}

/** Of one stretch; undefined when A said too little in it. */
export interface Step {
  /** Milliseconds for one step of A. */
  readonly wallMs: number;
  /** Of them on its core: what others cost it through caches and memory shows here. */
  readonly cpuMs: number;
  /** Of them ready to run and not on its core: something else ran there. */
  readonly waitedMs: number;
}

/** One entry a cycle. */
export type Noise = Readonly<Record<Company, readonly (Step | undefined)[]>>;

/** A's own account: when it began, then a table of steps and seconds since. */
export function progressOf(text: string): Progress[] {
  const began = Number(/^A_began_at_([0-9.]+)$/m.exec(text)?.[1] ?? Number.NaN);
  const found: Progress[] = [];
  let inTable = false;
  for (const line of text.split("\n")) {
    if (/^\s*Step\s+CPU\s*$/.test(line)) inTable = true;
    const match = /^\s*(\d+)\s+([0-9.e+-]+)\s*$/.exec(line);
    if (inTable && match !== null) found.push({ step: Number(match[1]), unixS: began + Number(match[2]) });
  }
  return found;
}

/** A step within a stretch; undefined when A said less than three times how far it was. */
export function stepOf(
  progress: readonly Progress[],
  ran: readonly Ran[],
  stretch: Stretch,
): Step | undefined {
  const inside = progress.filter(({ unixS }) => unixS >= stretch.fromS && unixS <= stretch.toS);
  const [first, last] = [inside[0], inside.at(-1)];
  if (first === undefined || last === undefined || inside.length < 3) return undefined;
  const perStep = (seconds: number) => (seconds * 1000) / (last.step - first.step);
  const rise = (field: "cpuS" | "waitedS") => at(ran, last.unixS, field) - at(ran, first.unixS, field);
  return {
    wallMs: perStep(last.unixS - first.unixS),
    cpuMs: perStep(rise("cpuS")),
    waitedMs: perStep(rise("waitedS")),
  };
}

/** Between two samples as if it had risen evenly. NaN outside of them. */
function at(ran: readonly Ran[], unixS: number, field: "cpuS" | "waitedS"): number {
  const next = ran.findIndex((sample) => sample.unixS >= unixS);
  const [before, after] = [ran[next - 1], ran[next]];
  if (before === undefined || after === undefined) return Number.NaN;
  const share = (unixS - before.unixS) / (after.unixS - before.unixS);
  return before[field] + share * (after[field] - before[field]);
}

export function noiseOf(text: string, ran: readonly Ran[], stretches: readonly Stretch[]): Noise {
  const progress = progressOf(text);
  const of = (company: Company) =>
    stretches
      .filter((stretch) => stretch.company === company)
      .sort((a, b) => a.cycle - b.cycle)
      .map((stretch) => stepOf(progress, ran, stretch));
  return { alone: of("alone"), job: of("job"), functions: of("functions") };
}

/** By how much a step takes longer with `company` than with `other` of the same cycle: median, least and most. */
export function slowdown(
  noise: Noise,
  company: Company,
  other: Company,
  field: "wallMs" | "cpuMs" = "wallMs",
): { readonly median: number; readonly least: number; readonly most: number; readonly cycles: number } {
  const ratios = noise[company]
    .flatMap((value, i) => {
      const base = noise[other][i];
      const ratio = (value?.[field] ?? Number.NaN) / (base?.[field] ?? Number.NaN);
      return Number.isFinite(ratio) ? [ratio - 1] : [];
    })
    .sort((a, b) => a - b);
  const middle = (ratios.length - 1) / 2;
  const ratioAt = (index: number) => ratios[index] ?? Number.NaN;
  return {
    median: (ratioAt(Math.floor(middle)) + ratioAt(Math.ceil(middle))) / 2,
    least: ratioAt(0),
    most: ratioAt(ratios.length - 1),
    cycles: ratios.length,
  };
}

/** Nothing but A, until it has said often enough how far it is; the driver polls as it does when it waits for B. */
async function leaveAlone(cluster: Cluster, jobA: number): Promise<{ fromS: number; toS: number }> {
  const fromS = nowS();
  const said = async () =>
    progressOf(await cluster.outputOf(jobA)).filter(({ unixS }) => unixS >= fromS).length;
  while (nowS() < fromS + 2 || (nowS() < fromS + 30 && (await said()) < 5)) {
    await cluster.job(jobA);
    await pause(100);
  }
  return { fromS, toS: nowS() };
}

const nowS = () => Date.now() / 1000;
const small = ["--ntasks=1", "--mem=1024"];

/** Follows A's process: one small file, five times a second, whoever is beside it. */
function followA(): { readonly ran: readonly Ran[]; stop(): void } {
  const ran: Ran[] = [];
  let file: string | undefined;
  const timer = setInterval(() => {
    file ??= readdirSync("/proc")
      .filter((entry) => /^\d+$/.test(entry))
      .find((pid) => readOr(() => readFileSync(`/proc/${pid}/comm`, "utf8")).trim() === "lmp");
    const text = file === undefined ? "" : readOr(() => readFileSync(`/proc/${file}/schedstat`, "utf8"));
    const [cpu, waited] = text.split(" ").map(Number);
    if (text !== "" && cpu !== undefined && waited !== undefined)
      ran.push({ unixS: nowS(), cpuS: cpu / 1e9, waitedS: waited / 1e9 });
  }, 200);
  return { ran, stop: () => clearInterval(timer) };
}

/** Runs A on n1 with company on n3 that comes and goes. @throws SubletError when a job could not run */
export async function measureNoise(
  cluster: Cluster,
  base: string,
  settings: { readonly cycles: number; readonly progress: (message: string) => void },
): Promise<Noise> {
  const jobA = await cluster.sbatch({
    args: ["--job-name=A", "--nodelist=n1", ...small],
    script: meltScript(base, 1_000_000),
  });
  const stretches: Stretch[] = [];
  let follower: ReturnType<typeof followA> | undefined;
  const company = async (kind: "job" | "functions", cycle: number) => {
    const lend = kind === "functions" ? { leases: 1, lendNode: "n1" } : { leases: 0 };
    const id = await cluster.sbatch({
      args: ["--job-name=B", "--nodelist=n3", ...small],
      script: optionsScript(base, { rounds: 12, options: 500_000, ...lend }),
    });
    const job = await cluster.waitJob(id, 120_000);
    const ran = optionsRunOf(parseEvents(await cluster.outputOf(id)));
    if (job.state !== "COMPLETED") throw new SubletError("INTERNAL", `B ended as ${job.state}`);
    const rounds = ran.rounds
      .filter((round) => kind === "job" || round.remote > 0)
      .map((round) => round.unixS);
    const [fromS, toS] = [Math.min(...rounds), Math.max(...rounds)];
    if (rounds.length > 1) stretches.push({ company: kind, cycle, fromS, toS });
  };
  try {
    await cluster.waitState(jobA, ["RUNNING"]);
    await pause(1000); // until it computes
    follower = followA();
    await pause(300);
    for (let cycle = 0; cycle < settings.cycles; cycle++) {
      settings.progress(
        `A runs on n1, alone, then beside a job, then beside functions: ${cycle + 1} of ${settings.cycles}`,
      );
      stretches.push({ company: "alone", cycle, ...(await leaveAlone(cluster, jobA)) });
      for (const kind of cycle % 2 === 0 ? (["job", "functions"] as const) : (["functions", "job"] as const))
        await company(kind, cycle);
      await pause(500); // what the last one left behind is put away
    }
  } finally {
    follower?.stop();
    await cluster.cancelAll();
  }
  await cluster.waitJob(jobA, 30_000);
  return noiseOf(await cluster.outputOf(jobA), follower?.ran ?? [], stretches);
}

/** The driver and what it starts stay off the first core of n1, where Slurm puts A. Nothing on a machine of one core. */
export async function keepOffTheJob(cluster: Cluster): Promise<void> {
  const mine = cluster.layout.nodes.flatMap((node) => node.cpus);
  const first = cluster.layout.nodes[0]?.cpus[0];
  const others = [...new Set(mine)].filter((cpu) => cpu !== first);
  if (others.length > 0) await run(["taskset", "-a", "-c", "-p", others.join(","), `${process.pid}`]);
}
