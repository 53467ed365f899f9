/** Asks Slurm's accounting for what ran; see history.ts. Answers are read line by line: a site's two weeks may be a gigabyte. */
import { createReadStream } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { createInterface } from "node:readline";
import { ExecaError, execa } from "execa";
import { SubletError } from "../common/errors.ts";
import { slurmEnvironment } from "./commands.ts";
import {
  eventArgs,
  type HistoryJob,
  type HistoryNode,
  parseEvents,
  parseSinfo,
  SacctParser,
  sacctArgs,
  sinfoArgs,
} from "./history.ts";

/** What one question may take; sacct of a day is slow where slurmdbd is. */
const timeoutMs = 600_000;
const dayMs = 86_400_000;

export interface HistorySource {
  readonly fromMs: number;
  readonly toMs: number;
  readonly partition: string | undefined;
  readonly steps: boolean;
  /** Recorded answers in place of the commands. */
  readonly sinfoFile: string | undefined;
  readonly sacctFile: string | undefined;
}

export interface HistoryFound {
  readonly jobs: number;
  readonly skipped: number;
  readonly garbage: number;
  /** undefined: the site does not tell. */
  readonly down: ReturnType<typeof parseEvents> | undefined;
}

function environment(): Record<string, string> {
  const env = slurmEnvironment(process.env.SLURM_CONF, process.env.PATH ?? "/usr/bin:/bin");
  return process.env.TZ === undefined ? env : { ...env, TZ: process.env.TZ };
}

const options = { extendEnv: false, stdin: "ignore", timeout: timeoutMs, killSignal: "SIGKILL" } as const;

function why(program: string, thrown: unknown): SubletError {
  if (thrown instanceof SubletError) return thrown;
  if (!(thrown instanceof ExecaError)) return new SubletError("INTERNAL", `${program}: ${String(thrown)}`);
  if (thrown.code === "ENOENT")
    return new SubletError(
      "FAILED_PRECONDITION",
      `${program} is not in PATH: run this on a login node, or give recorded answers (--sinfo, --sacct) or a trace (--trace)`,
    );
  if (thrown.timedOut)
    return new SubletError(
      "DEADLINE_EXCEEDED",
      `${program} took longer than 10 minutes: ask for a shorter span`,
    );
  const said = String(thrown.stderr ?? "")
    .trim()
    .slice(0, 300);
  return new SubletError(
    "UNAVAILABLE",
    `${program} failed: run this where Slurm's commands work, or give recorded answers (--sinfo, --sacct); it said: ` +
      (said === "" ? thrown.shortMessage : said),
  );
}

export async function readNodes(source: HistorySource): Promise<HistoryNode[]> {
  const { sinfoFile, partition } = source;
  let text: string;
  if (sinfoFile !== undefined) text = await readFile(sinfoFile, "utf8");
  else
    try {
      text = (await execa("sinfo", [...sinfoArgs], { ...options, env: environment(), maxBuffer: 1 << 28 }))
        .stdout;
    } catch (thrown) {
      throw why("sinfo", thrown);
    }
  const nodes = parseSinfo(text).filter(
    ({ partitions }) => partition === undefined || partitions.includes(partition),
  );
  if (nodes.length === 0)
    throw new SubletError(
      "NOT_FOUND",
      partition === undefined ? "sinfo names no node" : `no node is in partition ${partition}`,
    );
  return nodes;
}

/** From the first to the last end of a job in a recorded answer: what it surely tells of. */
export async function spanOfRecord(sacctFile: string): Promise<{ fromMs: number; toMs: number }> {
  const parser = new SacctParser();
  let fromMs = Number.POSITIVE_INFINITY;
  let toMs = Number.NEGATIVE_INFINITY;
  const see = (job: HistoryJob | undefined): void => {
    if (job?.endMs === undefined) return;
    fromMs = Math.min(fromMs, job.endMs);
    toMs = Math.max(toMs, job.endMs);
  };
  const input = createReadStream(sacctFile);
  for await (const line of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY }))
    see(parser.take(line));
  see(parser.end());
  if (!(toMs > fromMs))
    throw new SubletError(
      "INVALID_ARGUMENT",
      `${sacctFile}: fewer than two jobs that ended: say --from and --to`,
    );
  return { fromMs, toMs };
}

/** Gives every job once. @param progress days done, of all */
export async function readJobs(
  source: HistorySource,
  take: (job: HistoryJob) => void,
  progress: (done: number, of: number) => void,
): Promise<HistoryFound> {
  const parser = new SacctParser();
  let jobs = 0;
  const pass = (job: HistoryJob | undefined, untilMs: number, last: boolean): void => {
    if (job === undefined) return;
    // Told for every day that it touches; counted on the day of its end.
    const endMs = job.endMs ?? Number.POSITIVE_INFINITY;
    if (endMs >= untilMs && !last) return;
    jobs++;
    take(job);
  };
  if (source.sacctFile !== undefined) {
    const { size } = await stat(source.sacctFile);
    const input = createReadStream(source.sacctFile);
    let lines = 0;
    for await (const line of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
      pass(parser.take(line), source.toMs, true);
      if (++lines % 50_000 === 0) progress(input.bytesRead, size);
    }
    pass(parser.end(), source.toMs, true);
    return { jobs, skipped: parser.skipped, garbage: parser.garbage, down: undefined };
  }
  const days = Math.ceil((source.toMs - source.fromMs) / dayMs);
  for (let day = 0; day < days; day++) {
    progress(day, days);
    const fromMs = source.fromMs + day * dayMs;
    const untilMs = Math.min(source.toMs, fromMs + dayMs);
    const last = day === days - 1;
    const passOne = (job: HistoryJob | undefined): void => {
      if (job?.endMs === undefined || job.endMs >= fromMs) pass(job, untilMs, last);
    };
    const sacct = execa("sacct", sacctArgs(fromMs, untilMs, source.steps, source.partition), {
      ...options,
      env: environment(),
      buffer: { stdout: false, stderr: true },
    });
    try {
      for await (const line of sacct) passOne(parser.take(line));
      await sacct;
    } catch (thrown) {
      throw why("sacct", thrown);
    }
    passOne(parser.end());
  }
  return { jobs, skipped: parser.skipped, garbage: parser.garbage, down: await readDown(source) };
}

async function readDown({ fromMs, toMs }: HistorySource): Promise<HistoryFound["down"]> {
  try {
    const { stdout } = await execa("sacctmgr", eventArgs(fromMs, toMs), { ...options, env: environment() });
    return parseEvents(stdout, toMs);
  } catch {
    return undefined;
  }
}
