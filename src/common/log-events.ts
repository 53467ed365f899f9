/**
 * The events that administrators look for, each with an id that never changes: MESSAGE_ID in the journal, `event` in JSON.
 * `journalctl MESSAGE_ID=...` finds them, `journalctl -x` explains them (deploy/systemd/sublet.catalog). The page
 * docs/logs.md and the catalog are generated from this table. An id belongs to its meaning: what means something else is a new one.
 */

export interface LogEvent {
  /** 128 bits, made once with `journalctl --new-id128`. */
  readonly id: string;
  readonly daemon: "agent" | "controller" | "both";
  readonly level: "info" | "warn" | "error";
  /** In a line. */
  readonly subject: string;
  /** What it means and what to do, for who sees it at night. */
  readonly about: string;
  /** What its line carries. */
  readonly fields: readonly string[];
}

export const logEvents = {
  lease_revoked: {
    id: "ae6d9b093e5211afe8e5f235f75350f4",
    daemon: "agent",
    level: "info",
    subject: "A lease was taken back",
    about:
      "The lease ended before its term: reason batch_job, a job of Slurm wants its cores or memory (this is how it should be); admin, an administrator or a changed setting; guard, a job beside it suffered. The client runs its calls elsewhere or by itself. Nothing is to be done.",
    fields: ["lease", "state", "reason", "uid", "cores", "jobs"],
  },
  executor_crashed: {
    id: "28480125de47d71e497112010045e296",
    daemon: "agent",
    level: "warn",
    subject: "The executor of a lease ended by itself",
    about:
      "It was killed (out of memory, a signal) or could not go on. The client's calls answer CRASHED or go elsewhere. Often the function's fault: see the kernel's log for the cgroup of the lease, and whether it is always the same user.",
    fields: ["lease", "state", "reason", "uid", "cores", "jobs"],
  },
  executor_not_started: {
    id: "aa8f36d05c3ba13ba2c00d0915ba6e78",
    daemon: "agent",
    level: "error",
    subject: "The executor of a lease did not start",
    about:
      "The lease was granted and then refused. If this is seen again and again nothing can be lent on this node: run `sublet doctor` there.",
    fields: ["lease", "message"],
  },
  guard_acted: {
    id: "a7374731244b3c7b925a5ee35deed942",
    daemon: "agent",
    level: "warn",
    subject: "The guard acted on a guest",
    about:
      "A batch job beside the guest suffered: the signal, its value and the threshold are in the line. Guests are throttled, frozen, then ended, and let go again when all is well. Seen often for one user, his functions are bad neighbours; seen often at all, see docs/guard.md for thresholds.",
    fields: ["lease", "signal", "value", "threshold", "jobs", "quotaPercent"],
  },
  guests_adopted: {
    id: "3faa1dba239c9ab71411865a9b064764",
    daemon: "agent",
    level: "info",
    subject: "The agent took over guests of its earlier life",
    about:
      "It was restarted (or upgraded, or had crashed) and its guests went on meanwhile. Nothing is to be done.",
    fields: ["leases"],
  },
  node_drained: {
    id: "ebd68e7182f3a4272c5f6fba8c7d05d3",
    daemon: "agent",
    level: "warn",
    subject: "This node lends nothing until resumed",
    about:
      "An administrator drained it, or a drain of an earlier life of the agent is in force. `sublet resume` ends it.",
    fields: ["uid", "why", "mode", "lost", "sinceUnixMs"],
  },
  node_resumed: {
    id: "b612b72d4da96f1fbb36f370f76c7358",
    daemon: "agent",
    level: "warn",
    subject: "This node lends again",
    about: "An administrator resumed it.",
    fields: ["uid", "lost"],
  },
  hook_timed_out: {
    id: "320f90b36b0945cd20ea7a132e44098e",
    daemon: "agent",
    level: "error",
    subject: "A hook of Slurm was not answered in time",
    about:
      "Guests were still there when the hook's time was over; the hook killed what was in their cgroups and the job started. Look for processes in state D (a dead file system), and at how long reclaims take (sublet_reclaim_seconds).",
    fields: ["job", "hook", "message"],
  },
  prolog_missed: {
    id: "256e702fd87087b02cb2e8eca624c775",
    daemon: "agent",
    level: "warn",
    subject: "A job appeared on lent capacity without a prolog",
    about:
      "Its cores were taken back when its cgroup was seen. Slurm's prolog did not call sublet-hook, or it was not answered: see Prolog= in slurm.conf and `sublet doctor`.",
    fields: ["job", "leases"],
  },
  starter_lost: {
    id: "fbde8c50fc6d70138656692ff554b67f",
    daemon: "agent",
    level: "error",
    subject: "The starter is gone, and all guests with it",
    about:
      "sublet-starter ended or was killed. Another is started; leases of this node ended as executor_lost.",
    fields: [],
  },
  controller_lost: {
    id: "ebf3a9c528fe41ce377b3ca718444ce3",
    daemon: "agent",
    level: "info",
    subject: "A controller is not heard any more",
    about:
      "Leases go on; clients of this node are served by it alone. On many nodes at once: the controller is down. On one: its network, clock or MUNGE key.",
    fields: ["controller", "why"],
  },
  agent_silent: {
    id: "8fe8d3bc00b00e4c6478d8da5ec4a2f3",
    daemon: "controller",
    level: "warn",
    subject: "An agent is not heard any more",
    about:
      "Nothing new is placed on its node. Its leases there go on until their term ends, if the node lives.",
    fields: ["node", "change"],
  },
  administrator_served: {
    id: "951ad53f41718208a8cd9ce3c9363f93",
    daemon: "controller",
    level: "warn",
    subject: "An administrator drained, resumed or reclaimed nodes",
    about: "Who, why, and on how many nodes it did not work is in the line.",
    fields: ["what", "uid", "why", "nodes", "failed"],
  },
  accounting_away: {
    id: "792f77e706628bcbc763f1364ae29536",
    daemon: "controller",
    level: "error",
    subject: "The data base of the accounting is away",
    about:
      "Leases go on. Records wait at the agents and are stored when it is back; quotas are as they were last known. See the reason in the line.",
    fields: ["place", "why"],
  },
  job_comments_failing: {
    id: "541f8b7ab3ab40179c9ee89b53f8893b",
    daemon: "controller",
    level: "warn",
    subject: "Admin comments of jobs cannot be written",
    about:
      "receipts.admin_comment is on, and sacct or sacctmgr fails: slurmdbd is away, or the controller's user is no operator there (sacctmgr add user sublet account=root adminlevel=operator). Jobs and leases are not concerned; `sublet jobs JOBID` has the receipts. Said once until it works.",
    fields: ["message"],
  },
  job_comments_work: {
    id: "066c3393e5e24d28b1551ee94798fde8",
    daemon: "controller",
    level: "info",
    subject: "Admin comments of jobs are written again",
    about: "Jobs that ended meanwhile and still wait get theirs. Nothing is to be done.",
    fields: [],
  },
  accounting_back: {
    id: "f7836fe8a1ece4b4ed3670ba56ffc563",
    daemon: "controller",
    level: "info",
    subject: "The data base of the accounting takes records",
    about: "At the start, or after it was away.",
    fields: ["place"],
  },
  config_changed: {
    id: "4b5895039f44142fedb0600e19531894",
    daemon: "both",
    level: "info",
    subject: "The configuration was read again and applied",
    about: "Which keys changed, from what to what, and where the new value comes from is in the line.",
    fields: ["changed"],
  },
  config_wants_restart: {
    id: "ff3a600911f6452510c9565c2563336e",
    daemon: "both",
    level: "warn",
    subject: "Some settings that changed want a restart",
    about: "They keep the value with which the daemon was started. Guests go on over a restart of the agent.",
    fields: ["restart"],
  },
  config_refused: {
    id: "910ab682e86a27ac6afae34d9afae8e7",
    daemon: "both",
    level: "error",
    subject: "The configuration was refused",
    about:
      "Something in the files is wrong; nothing of them was applied, and the old settings stay in force. Every complaint names its file and line. `sublet config check agent` tries without applying.",
    fields: ["reasons"],
  },
  ready: {
    id: "605142ad2de3f2b3f0e128b8d1e6e3af",
    daemon: "both",
    level: "info",
    subject: "The daemon is ready",
    about: "It serves. The line says where.",
    fields: ["node", "address", "metrics", "cores", "cgroup"],
  },
  cannot_start: {
    id: "045496000b32672a53d5375fdc9e22f5",
    daemon: "both",
    level: "error",
    subject: "The daemon cannot start",
    about:
      "The reason is in the line. Settings that are wrong end it with exit status 78, are told on standard error, and systemd does not try again. After all else it does, further and further apart, up to 50 s; `systemctl restart` does not wait.",
    fields: ["code", "message"],
  },
} as const satisfies Record<string, LogEvent>;

export type LogEventName = keyof typeof logEvents;

/** The fields of a line that is one of the events. */
export function logEvent<F extends object>(event: LogEventName, fields: F): F & { event: LogEventName } {
  return { event, ...fields };
}
