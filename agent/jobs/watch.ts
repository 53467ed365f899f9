/**
 * Tells when the set of batch jobs on this node changes: the witness that no prolog was missed. inotify on Slurm's
 * cgroup roots, users and jobs; where a directory is not there yet, on its nearest parent. Each event leads to one new
 * scan (they come in bursts and are folded); watches are armed before directories are read, so that nothing that
 * comes in between is lost. A slow rescan is the safety net for events that the kernel dropped.
 */
import { existsSync, type FSWatcher, watch } from "node:fs";
import { basename, dirname } from "node:path";
import type { JobRoots } from "./roots.ts";
import { type SeenJob, scanJobs } from "./scan.ts";

/** A job directory without processes that is older than this is a leftover. */
const staleAfterMs = 10_000;

export interface JobWatcher {
  /** Looks now (safety net, or when a hook spoke). */
  rescan(): void;
  /** The hook said that this job begins: an older life under the same number (a requeue) does not count. */
  begun(jobId: number): void;
  /** The hook said that this job has ended: what is left of it without processes does not count. */
  ended(jobId: number): void;
  close(): void;
}

export interface JobWatchOptions {
  readonly roots: JobRoots;
  readonly nowMs: () => number;
  readonly onJobs: (jobs: readonly SeenJob[]) => void;
  readonly onProblem: (message: string) => void;
}

function nearestExisting(path: string): string {
  let dir = path;
  while (!existsSync(dir) && dirname(dir) !== dir) dir = dirname(dir);
  return dir;
}

export function watchJobs(options: JobWatchOptions): JobWatcher {
  const watches = new Map<string, FSWatcher>();
  const firstSeenMs = new Map<number, number>();
  const over = new Set<number>();
  let last = "";
  let scheduled = false;
  let closed = false;

  function disarm(path: string): void {
    watches.get(path)?.close();
    watches.delete(path);
  }

  function arm(path: string): void {
    if (watches.has(path)) return;
    try {
      const watcher = watch(path, { persistent: false }, (event, name) => {
        // The directory itself went away: its watch is dead, even if its path has come back already.
        if (event === "rename" && (name === basename(path) || !existsSync(path))) disarm(path);
        schedule();
      });
      watcher.on("error", () => {
        disarm(path);
        schedule();
      });
      watches.set(path, watcher);
    } catch (thrown) {
      // ENOENT: gone between the look and the watch; the parent's watch tells of its return.
      if (!(thrown instanceof Error && "code" in thrown && thrown.code === "ENOENT"))
        options.onProblem(`cannot watch ${path}: ${thrown instanceof Error ? thrown.message : thrown}`);
    }
  }

  function schedule(): void {
    if (scheduled || closed) return;
    scheduled = true;
    setImmediate(() => {
      scheduled = false;
      if (!closed) rescan();
    });
  }

  function isStale(jobId: number): boolean {
    const since = firstSeenMs.get(jobId);
    return over.has(jobId) || (since !== undefined && options.nowMs() - since > staleAfterMs);
  }

  function rescan(): void {
    options.roots.look();
    let seen = scanJobs(options.roots, isStale);
    // New directories were found: watch them, then look again for what came before the watch.
    for (let round = 0; round < 8; round++) {
      const wanted = new Set(seen.watch.map(nearestExisting));
      const fresh = [...wanted].filter((path) => !watches.has(path));
      for (const path of watches.keys()) if (!wanted.has(path)) disarm(path);
      for (const path of fresh) arm(path);
      if (fresh.length === 0) break;
      seen = scanJobs(options.roots, isStale);
    }
    const now = options.nowMs();
    const present = new Set(seen.jobs.map((job) => job.jobId));
    for (const job of seen.jobs) if (!firstSeenMs.has(job.jobId)) firstSeenMs.set(job.jobId, now);
    const { onDisk } = seen;
    for (const jobId of firstSeenMs.keys())
      if (!present.has(jobId) && !onDisk.has(jobId)) firstSeenMs.delete(jobId);
    for (const jobId of over) if (!onDisk.has(jobId)) over.delete(jobId);
    // Memory in use changes all the time and is no news by itself.
    const text = JSON.stringify(seen.jobs.map((job) => [job.jobId, job.cores, job.memoryLimitBytes]));
    if (text === last) return;
    last = text;
    options.onJobs(seen.jobs);
  }

  rescan();
  return {
    rescan,
    begun(jobId) {
      over.delete(jobId);
      firstSeenMs.delete(jobId);
    },
    ended(jobId) {
      over.add(jobId);
      rescan();
    },
    close() {
      closed = true;
      for (const path of [...watches.keys()]) disarm(path);
    },
  };
}
