/**
 * Reads the jobs as `jobsCommand` prints them: one line a job, fourteen fields divided by `|`, the last one a dot.
 * No field is free text of a user; a line that does not fit is an error, since half a list of jobs looks like
 * spare capacity.
 */
import { SubletError } from "../common/errors.ts";
import { parseHostList } from "./hostlist.ts";

/** `holding`: suspended, completing and the like; it still has its nodes. */
export type JobState = "pending" | "running" | "holding";

/** Whom else the job lets onto its nodes. `exclusive` is a promise to its owner. */
export type JobSharing = "exclusive" | "user" | "group" | "cores" | "oversubscribe";

export interface SlurmJob {
  readonly id: number;
  readonly state: JobState;
  readonly user: string;
  readonly uid: number;
  readonly account: string | undefined;
  readonly partitions: readonly string[];
  readonly sharing: JobSharing;
  readonly cores: number;
  /** Actual start, or for a pending job the planned one; undefined when Slurm has not planned it. */
  readonly startUnixMs: number | undefined;
  /** By the job's time limit. */
  readonly endUnixMs: number | undefined;
  /** Nodes that it holds. */
  readonly nodes: readonly string[];
  /** Nodes that Slurm has in mind for a pending job. */
  readonly plannedNodes: readonly string[];
  readonly qos: string | undefined;
}

const fieldCount = 14;

/** Meaning of squeue's %h. Newer words (TOPO, whatever comes) are read as exclusive: in doubt nothing is lent. */
const sharingOf: Readonly<Record<string, JobSharing>> = {
  NO: "exclusive",
  EXCLUSIVE: "exclusive",
  USER: "user",
  MCS: "group",
  OK: "cores",
  YES: "oversubscribe",
};

const absent = new Set(["", "(null)", "N/A", "NONE", "Unknown"]);

/** Parses the whole output. @throws SubletError INTERNAL when a line is not one of ours, or is cut. */
export function parseJobs(text: string): SlurmJob[] {
  if (text !== "" && !text.endsWith("\n"))
    throw new SubletError("INTERNAL", "squeue: the output is cut (no end of line at its end)");
  return text
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map(parseJob);
}

function parseJob(line: string): SlurmJob {
  const bad = (why: string): SubletError =>
    new SubletError("INTERNAL", `squeue: ${why} in: ${JSON.stringify(line.slice(0, 160))}`);
  const fields = line.split("|");
  if (fields.length !== fieldCount || fields[fieldCount - 1] !== ".")
    throw bad(`${fields.length} fields, not ${fieldCount}`);
  const [id, state, user, uid, account, partitions, sharing, cores, start, end, nodes, planned, qos] =
    fields as string[] as [...Repeat13];
  const number = (name: string, value: string): number => {
    if (!/^\d{1,10}$/.test(value)) throw bad(`${name} ${JSON.stringify(value)} is not a number`);
    return Number(value);
  };
  const time = (name: string, value: string): number | undefined =>
    absent.has(value) ? undefined : number(name, value) * 1000;
  const hosts = (value: string): string[] => (absent.has(value) ? [] : parseHostList(value));
  return {
    id: number("job id", id),
    state: jobStateOf(state),
    user,
    uid: number("uid", uid),
    account: absent.has(account) ? undefined : account,
    partitions: partitions.split(",").filter((name) => name !== ""),
    sharing: sharingOf[sharing] ?? "exclusive",
    cores: number("cores", cores),
    startUnixMs: time("start", start),
    endUnixMs: time("end", end),
    nodes: hosts(nodes),
    plannedNodes: hosts(planned),
    qos: absent.has(qos) ? undefined : qos,
  };
}

type Repeat13 = [
  string,
  string,
  string,
  string,
  string,
  string,
  string,
  string,
  string,
  string,
  string,
  string,
  string,
];

/** Slurm's word for a job's state in ours. What we do not know may hold nodes. */
export function jobStateOf(text: string): JobState {
  if (text === "PENDING" || text === "REQUEUED") return "pending";
  return text === "RUNNING" ? "running" : "holding";
}
