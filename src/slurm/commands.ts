/**
 * The two Slurm commands that we run, with their output pinned: whatever the site or the user set in the
 * environment (SQUEUE_FORMAT, SLURM_TIME_FORMAT, locale) must not change a byte of it.
 *
 * Nodes: `scontrol show nodes -o` is the cheapest full view. Jobs: `squeue -o` asks slurmctld for the same RPC as
 * `scontrol show jobs` does, and costs the caller a quarter; cores per node, the one thing it lacks, are known to
 * the agents from the cgroups. Each of the two also asks for the partitions: two RPCs a command (22.05, sdiag).
 */

/** What is asked of Slurm: nodes and jobs by the poller; records and comment of jobs that ended (comments.ts). */
export type Question = "nodes" | "jobs" | "records" | "comment";

export interface SlurmCommand {
  readonly question: Question;
  readonly program: string;
  readonly args: readonly string[];
  /** Requests that slurmctld serves for it. */
  readonly rpcs: number;
}

/** States in which a job holds nodes or waits for them; the finished ones would only make the answer longer. */
const jobStates = [
  "PENDING",
  "CONFIGURING",
  "RUNNING",
  "SUSPENDED",
  "STOPPED",
  "RESIZING",
  "SIGNALING",
  "STAGE_OUT",
  "COMPLETING",
  "REQUEUED",
];

/** Fields of a job in this order, then a mark by which a line that was cut is known. See jobs.ts. */
const jobFormat = "%A|%T|%u|%U|%a|%P|%h|%C|%S|%e|%N|%Y|%q|.";

export const nodesCommand: SlurmCommand = {
  question: "nodes",
  program: "scontrol",
  args: ["--all", "--oneliner", "show", "nodes"],
  rpcs: 2,
};

export const jobsCommand: SlurmCommand = {
  question: "jobs",
  program: "squeue",
  args: ["--noheader", "--all", "--sort=i", `--states=${jobStates.join(",")}`, `--format=${jobFormat}`],
  rpcs: 2,
};

/** The whole environment of the commands. Times come as seconds since 1970: no time zone, no local format. */
export function slurmEnvironment(slurmConf: string | undefined, path: string): Record<string, string> {
  return {
    PATH: path,
    LC_ALL: "C",
    SLURM_TIME_FORMAT: "%s",
    ...(slurmConf === undefined ? {} : { SLURM_CONF: slurmConf }),
  };
}
