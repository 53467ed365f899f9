/**
 * The sums of a job's receipts into its admin comment, once the job is over everywhere. Best effort and out of everybody's
 * way: no hook and no epilog waits for it, slurmctld is not asked, and slurmdbd sees one sacct per round and one sacctmgr per
 * job that had guests, at most as many in a minute as is configured.
 *
 *   receipt of a job's end ──settleMs──► due ──round──► sacct: has it ended? ──► written once
 *                                         ▲                     │ not yet, or a command failed
 *                                         └──── later, some times
 *
 * A comment that has our line is never written again: a controller that starts anew hears of receipts that it wrote before,
 * and so does a second controller. While commands fail, rounds become rarer (to five minutes); that is said once, and once when it works again.
 */
import type { Logger } from "pino";
import { toSubletError } from "../common/errors.ts";
import { logEvent } from "../common/log-events.ts";
import type { ReceiptsConfig } from "../config/receipts.ts";
import type { ControllerMetrics } from "../metrics/controller.ts";
import type { ReceiptMessage } from "../rpc/messages.ts";
import { summaryOf } from "../rpc/summary.ts";
import {
  commentCommand,
  type JobRecord,
  mergedComment,
  parseRecords,
  recordsCommand,
} from "../slurm/comments.ts";
import type { CommandRunner } from "../slurm/poller.ts";

/** A job ends on its nodes within seconds; the last of them tell what the first could not know. */
const settleMs = 15_000;
const roundMs = 10_000;
const failedPauseMaxMs = 5 * 60_000;
const commandTimeoutMs = 30_000;
const triesMax = 5;
const waitingMax = 10_000;
/** What ended longer ago is left alone: a controller that starts is told of it again. */
const staleMs = 60 * 60_000;

export interface JobCommentsOptions {
  /** As it is in force now. */
  readonly config: () => ReceiptsConfig;
  readonly runner: CommandRunner;
  readonly receiptsOf: (jobId: number) => readonly ReceiptMessage[];
  /** Monotonic. */
  readonly nowMs: () => number;
  readonly unixMs: () => number;
  readonly log: Pick<Logger, "info" | "warn">;
  readonly metrics: Pick<ControllerMetrics, "jobComments">;
}

export type CommentOutcome = "written" | "kept" | "failed" | "dropped";

interface Waiting {
  readonly dueMs: number;
  readonly tries: number;
}

export class JobComments {
  readonly #options: JobCommentsOptions;
  readonly #waiting = new Map<number, Waiting>();
  readonly #stop = new AbortController();
  #round: Promise<void> | undefined;
  #nextRoundMs = Number.NEGATIVE_INFINITY;
  #failures = 0;

  constructor(options: JobCommentsOptions) {
    this.#options = options;
    for (const outcome of ["written", "kept", "failed", "dropped"])
      options.metrics.jobComments.inc({ outcome }, 0);
  }

  /** Receipts that were not known before. */
  told(receipts: readonly ReceiptMessage[]): void {
    const { config, nowMs, unixMs } = this.#options;
    if (!config().adminComment) return;
    for (const { jobId, ended, guests, toUnixMs } of receipts) {
      if (!ended || guests.length === 0 || unixMs() - toUnixMs > staleMs) continue;
      this.#waiting.delete(jobId);
      this.#waiting.set(jobId, { dueMs: nowMs() + settleMs, tries: 0 });
    }
    for (const jobId of this.#waiting.keys()) {
      if (this.#waiting.size <= waitingMax) break;
      this.#waiting.delete(jobId);
      this.#count("dropped");
    }
  }

  /** For the controller's tick of a second. */
  tick(): void {
    const { config, nowMs } = this.#options;
    const { adminComment, adminCommentsPerMinute } = config();
    if (!adminComment) this.#waiting.clear();
    if (this.#round !== undefined || nowMs() < this.#nextRoundMs || this.#stop.signal.aborted) return;
    const most = Math.max(1, Math.floor((adminCommentsPerMinute * roundMs) / 60_000));
    const due = [...this.#waiting].filter(([, { dueMs }]) => dueMs <= nowMs()).slice(0, most);
    if (due.length === 0) return;
    this.#nextRoundMs = nowMs() + Math.max(roundMs, (due.length * 60_000) / adminCommentsPerMinute);
    this.#round = this.#write(due.map(([jobId]) => jobId)).finally(() => {
      this.#round = undefined;
    });
  }

  /** Waits for what is under way, which is ended. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#round;
  }

  async #write(jobIds: readonly number[]): Promise<void> {
    const { runner } = this.#options;
    const options = { timeoutMs: commandTimeoutMs, signal: this.#stop.signal };
    let jobId = 0;
    try {
      const records = parseRecords((await runner(recordsCommand(jobIds), options)).stdout);
      for (jobId of jobIds) await this.#writeOne(jobId, records.get(jobId), options);
      this.#worked();
    } catch (thrown) {
      if (this.#stop.signal.aborted) return;
      this.#failed(toSubletError(thrown).message);
      // sacct asks for all of them: none is to blame.
      if (jobId !== 0) this.#later(jobId, "failed");
    }
  }

  async #writeOne(
    jobId: number,
    record: JobRecord | undefined,
    options: Parameters<CommandRunner>[1],
  ): Promise<void> {
    const waiting = this.#waiting.get(jobId);
    if (waiting === undefined || waiting.dueMs > this.#options.nowMs()) return; // It ran again meanwhile.
    if (record?.ended !== true) {
      this.#later(jobId, "dropped");
      return;
    }
    const comment = mergedComment(record.comment, summaryOf(this.#options.receiptsOf(jobId)));
    if (comment !== undefined) await this.#options.runner(commentCommand(jobId, comment), options);
    this.#waiting.delete(jobId);
    this.#count(comment === undefined ? "kept" : "written");
  }

  /** Another time, or, after some, never: then it counts as `outcome`. */
  #later(jobId: number, outcome: CommentOutcome): void {
    const tries = (this.#waiting.get(jobId)?.tries ?? 0) + 1;
    this.#waiting.delete(jobId);
    if (tries < triesMax)
      this.#waiting.set(jobId, { dueMs: this.#options.nowMs() + tries * settleMs, tries });
    else this.#count(outcome);
  }

  #worked(): void {
    if (this.#failures > 0)
      this.#options.log.info(logEvent("job_comments_work", {}), "admin comments of jobs are written again");
    this.#failures = 0;
  }

  #failed(message: string): void {
    const { nowMs, log } = this.#options;
    this.#failures += 1;
    this.#nextRoundMs = nowMs() + Math.min(failedPauseMaxMs, roundMs * 2 ** Math.min(this.#failures, 16));
    if (this.#failures === 1)
      log.warn(
        logEvent("job_comments_failing", { message }),
        "admin comments of jobs cannot be written; said once until they can",
      );
  }

  #count(outcome: CommentOutcome): void {
    this.#options.metrics.jobComments.inc({ outcome });
  }
}
