/**
 * The admin comment of jobs that ended, in Slurm's accounting (slurmdbd): read for many jobs with one sacct, written with one
 * sacctmgr a job. slurmctld is asked nothing: it refuses to change a job that has finished, and slurmdbd keeps what it is told.
 *
 * sacctmgr turns quotes into backticks and capitals into small letters (22.05), also in what was there before; so a comment that
 * holds any, or control characters, is left as it is rather than spoilt.
 */
import type { SlurmCommand } from "./commands.ts";

/** Cannot be in a comment that somebody typed. */
const divider = "\u001f";
/** Ours begins so; `sublet=share` of the job_submit function does not. */
const ours = /(^|; )sublet: /;
const maxCommentChars = 2_000;

export interface JobRecord {
  /** The accounting knows its end: nothing of slurmctld's will overwrite the comment. */
  readonly ended: boolean;
  readonly comment: string;
}

const endStates = new Set([
  "BOOT_FAIL",
  "CANCELLED",
  "COMPLETED",
  "DEADLINE",
  "FAILED",
  "NODE_FAIL",
  "OUT_OF_MEMORY",
  "PREEMPTED",
  "TIMEOUT",
]);

export function recordsCommand(jobIds: readonly number[]): SlurmCommand {
  return {
    question: "records",
    program: "sacct",
    args: [
      "--allusers",
      "--allocations",
      "--noheader",
      "--parsable2",
      `--delimiter=${divider}`,
      `--jobs=${jobIds.join(",")}`,
      // The number again at the end: a line that does not end so is not whole.
      "--format=JobIDRaw,State,AdminComment,JobIDRaw",
    ],
    rpcs: 0,
  };
}

/** By job. A line that is not whole (a comment of several lines) is left out: the job has no record then. */
export function parseRecords(text: string): Map<number, JobRecord> {
  const found = new Map<number, JobRecord>();
  for (const line of text.split("\n")) {
    const [id, state, comment, again, ...more] = line.split(divider);
    if (id === undefined || !/^\d{1,10}$/.test(id) || again !== id || more.length > 0) continue;
    // "CANCELLED by 1000", "COMPLETED+" when it is cut.
    const [word = ""] = (state ?? "").split(/[ +]/);
    found.set(Number(id), { ended: endStates.has(word), comment: comment ?? "" });
  }
  return found;
}

/** The comment with our line behind what is there; undefined: it stays as it is. */
export function mergedComment(there: string, line: string): string | undefined {
  if (ours.test(there) || /["'`A-Z\p{Cc}]/u.test(there)) return undefined;
  const merged = there === "" ? line : `${there}; ${line}`;
  return merged.length > maxCommentChars ? undefined : merged;
}

export function commentCommand(jobId: number, comment: string): SlurmCommand {
  return {
    question: "comment",
    program: "sacctmgr",
    args: [
      "--immediate",
      "--quiet",
      "modify",
      "job",
      "where",
      `jobid=${jobId}`,
      "set",
      `admincomment=${comment}`,
    ],
    rpcs: 0,
  };
}
