/**
 * THE poller: the one place from which this cluster's slurmctld is asked. One command at a time, each with a
 * deadline; the last good snapshot stays, and says how old it is, whatever happens to slurmctld.
 *
 * Back-off (nextDelayMs): failures double the pause up to five minutes, with jitter, so that a restarted slurmctld
 * is not met by everybody at once. A slow answer stretches it too: we never keep slurmctld busy for more than a
 * tenth of the time. Slurm's clients wait and retry by themselves when the site limits RPCs and only say so on
 * stderr: that counts as a failure for the pause, while the answer is used.
 */
import { SubletError, toSubletError } from "../common/errors.ts";
import { jobsCommand, nodesCommand, type SlurmCommand } from "./commands.ts";
import { type ClusterSnapshot, makeSnapshot } from "./snapshot.ts";

export interface CommandOutput {
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs one command; rejects on a non-zero exit, on the deadline, and when the signal fires. */
export type CommandRunner = (
  command: SlurmCommand,
  options: { timeoutMs: number; signal: AbortSignal },
) => Promise<CommandOutput>;

export interface PollerClock {
  /** Monotonic. */
  nowMs(): number;
  unixMs(): number;
  /** Resolves after the time, or at once when the signal fires. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
  /** 0 (inclusive) to 1. */
  random(): number;
}

/** How a poll went. `limited`: Slurm's rate limit held us up, the answer is good. */
export type PollOutcome = "ok" | "slow" | "limited" | "timeout" | "failed" | "garbage";

export interface PollReport {
  readonly outcome: PollOutcome;
  readonly tookMs: number;
  readonly nextInMs: number;
  readonly error: SubletError | undefined;
}

export interface PollerOptions {
  readonly runner: CommandRunner;
  readonly clock: PollerClock;
  readonly intervalMs: number;
  /** Per command. */
  readonly timeoutMs: number;
  readonly maxDelayMs: number;
  /** After each poll, good or bad. */
  readonly onPoll?: (report: PollReport, snapshot: ClusterSnapshot | undefined) => void;
  /** Before each command: what slurmctld is asked because of us. */
  readonly onRpcs?: (command: SlurmCommand) => void;
}

export interface Poller {
  /** The last good snapshot. */
  snapshot(): ClusterSnapshot | undefined;
  /** How old it is; undefined without one. */
  ageMs(): number | undefined;
  /** Polls until the signal fires; returns when no command is left running. */
  run(signal: AbortSignal): Promise<void>;
  /** One poll now. Not while `run` is on its way. */
  pollOnce(signal: AbortSignal): Promise<PollReport>;
}

export const maxPollDelayMs = 5 * 60_000;

/** At most this part of the time goes into polls. */
const busyShare = 0.1;

const jitter = 0.2;

/** Pause until the next poll. `failures`: how many in a row went wrong or were rate-limited. */
export function nextDelayMs(
  options: { intervalMs: number; maxDelayMs: number },
  failures: number,
  tookMs: number,
  random: number,
): number {
  if (failures === 0) return Math.min(Math.max(options.intervalMs, tookMs / busyShare), options.maxDelayMs);
  // Waiting for an answer that did not come kept nobody busy: one that stood still for a moment is not left alone for minutes.
  const doubled = options.intervalMs * 2 ** Math.min(failures, 16);
  const backedOff = Math.min(Math.max(doubled, tookMs), options.maxDelayMs);
  return Math.min(options.maxDelayMs, backedOff * (1 - jitter + 2 * jitter * random));
}

const limitedPattern = /rate.?limit/i;

export function createPoller(options: PollerOptions): Poller {
  const { clock } = options;
  let latest: ClusterSnapshot | undefined;
  let failures = 0;

  async function ask(command: SlurmCommand, signal: AbortSignal): Promise<CommandOutput> {
    options.onRpcs?.(command);
    return options.runner(command, { timeoutMs: options.timeoutMs, signal });
  }

  async function pollOnce(signal: AbortSignal): Promise<PollReport> {
    const startedMs = clock.nowMs();
    const startedUnixMs = clock.unixMs();
    let outcome: PollOutcome = "ok";
    let error: SubletError | undefined;
    try {
      const nodes = await ask(nodesCommand, signal);
      const jobs = await ask(jobsCommand, signal);
      latest = readTexts(nodes.stdout, jobs.stdout, startedMs, startedUnixMs);
      if (limitedPattern.test(nodes.stderr) || limitedPattern.test(jobs.stderr)) outcome = "limited";
    } catch (thrown) {
      error = toSubletError(thrown);
      outcome = error.details.garbage === 1 ? "garbage" : outcomeOf(error);
    }
    const tookMs = clock.nowMs() - startedMs;
    failures = outcome === "ok" ? 0 : failures + 1;
    if (outcome === "ok" && tookMs > options.intervalMs * busyShare) outcome = "slow";
    const nextInMs = nextDelayMs(options, failures, tookMs, clock.random());
    const report = { outcome, tookMs, nextInMs, error };
    if (!signal.aborted) options.onPoll?.(report, latest);
    return report;
  }

  return {
    snapshot: () => latest,
    ageMs: () => (latest === undefined ? undefined : Math.max(0, clock.nowMs() - latest.takenAtMs)),
    pollOnce,
    async run(signal) {
      while (!signal.aborted) {
        const { nextInMs } = await pollOnce(signal);
        if (!signal.aborted) await clock.sleep(nextInMs, signal);
      }
    },
  };
}

function readTexts(nodes: string, jobs: string, atMs: number, atUnixMs: number): ClusterSnapshot {
  try {
    return makeSnapshot({ nodes, jobs }, atMs, atUnixMs);
  } catch (thrown) {
    throw new SubletError("INTERNAL", toSubletError(thrown).message, {
      cause: thrown,
      details: { garbage: 1 },
    });
  }
}

function outcomeOf(error: SubletError): PollOutcome {
  if (error.code === "DEADLINE_EXCEEDED") return "timeout";
  return limitedPattern.test(error.message) ? "limited" : "failed";
}
