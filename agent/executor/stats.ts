/**
 * What executors have counted (functions/wire/stats_layout.h): one page per lease, memory that the starter made and that
 * the guest can write but not resize. It is opened once by way of /proc and read when somebody asks; no call of a
 * client ever waits for that. What a lease has counted stays in the totals when it ends; the page is read once more
 * after its last process is gone.
 *
 * A guest may write what it likes: numbers never fall, and each grows by what a worker can do in the time at most.
 * Totals begin with the agent's life; pages of adopted guests are read from their start.
 */
import { closeSync, constants, openSync, readSync } from "node:fs";
import { outcomes } from "../../src/common/outcomes.ts";

const magic = 0x59424c53;
const version = 1;
const headerBytes = 4096;
const workerBytes = 1024;
const outcomesAt = 0;
const runAt = 320;
const answerAt = 672;
export const bucketCount = 44;
/** Of one worker: more than any can answer. */
const callsPerSecondMax = 50e6;

/** Sums over workers. Buckets: [i] holds calls of 2^i to 2^(i+1) - 1 ns. */
export interface Counts {
  readonly outcomes: number[];
  inBytes: number;
  outBytes: number;
  runNs: number;
  answerNs: number;
  polledNs: number;
  sleeps: number;
  restarts: number;
  readonly run: number[];
  readonly answer: number[];
}

type Single = Exclude<keyof Counts, "outcomes" | "run" | "answer">;
const singles: readonly (readonly [Single, number])[] = [
  ["inBytes", 256],
  ["outBytes", 264],
  ["runNs", 272],
  ["answerNs", 280],
  ["polledNs", 288],
  ["sleeps", 296],
  ["restarts", 304],
];

export function noCounts(): Counts {
  return {
    outcomes: outcomes.map(() => 0),
    inBytes: 0,
    outBytes: 0,
    runNs: 0,
    answerNs: 0,
    polledNs: 0,
    sleeps: 0,
    restarts: 0,
    run: Array<number>(bucketCount).fill(0),
    answer: Array<number>(bucketCount).fill(0),
  };
}

/** Adds up the workers of one page; undefined when it is none (yet). */
export function readPage(page: Buffer): Counts | undefined {
  if (page.length < headerBytes || page.readUInt32LE(0) !== magic || page.readUInt16LE(4) !== version)
    return undefined;
  const counts = noCounts();
  const workers = Math.min(page.readUInt16LE(6), Math.floor((page.length - headerBytes) / workerBytes));
  for (let worker = 0; worker < workers; worker++) {
    const at = headerBytes + worker * workerBytes;
    const number = (offset: number): number => Number(page.readBigUInt64LE(at + offset));
    for (const index of counts.outcomes.keys())
      counts.outcomes[index] = (counts.outcomes[index] ?? 0) + number(outcomesAt + 8 * index);
    for (const [name, offset] of singles) counts[name] += number(offset);
    for (let index = 0; index < bucketCount; index++) {
      counts.run[index] = (counts.run[index] ?? 0) + number(runAt + 8 * index);
      counts.answer[index] = (counts.answer[index] ?? 0) + number(answerAt + 8 * index);
    }
  }
  return counts;
}

/** `to` becomes what `read` says, unless that fell or rose by more than can be. */
function follow(to: Counts, read: Counts, seconds: number, workers: number): void {
  const calls = seconds * workers * callsPerSecondMax;
  const ns = seconds * workers * 1.1e9;
  const next = (before: number, now: number, most: number): number =>
    now >= before && now - before <= most ? now : before;
  const list = (before: number[], now: readonly number[]): void => {
    for (const [index, value] of now.entries()) before[index] = next(before[index] ?? 0, value, calls);
  };
  list(to.outcomes, read.outcomes);
  list(to.run, read.run);
  list(to.answer, read.answer);
  to.inBytes = next(to.inBytes, read.inBytes, seconds * workers * 1e12);
  to.outBytes = next(to.outBytes, read.outBytes, seconds * workers * 1e12);
  to.runNs = next(to.runNs, read.runNs, ns);
  to.answerNs = next(to.answerNs, read.answerNs, 64 * ns); // Calls wait side by side.
  to.polledNs = next(to.polledNs, read.polledNs, ns);
  to.sleeps = next(to.sleeps, read.sleeps, calls);
  to.restarts = next(to.restarts, read.restarts, calls);
}

function addTo(sum: Counts, part: Counts): void {
  const list = (to: number[], from: readonly number[]): void => {
    for (const [index, value] of from.entries()) to[index] = (to[index] ?? 0) + value;
  };
  list(sum.outcomes, part.outcomes);
  list(sum.run, part.run);
  list(sum.answer, part.answer);
  for (const [name] of singles) sum[name] += part[name];
}

interface Page {
  readonly fd: number;
  readonly buffer: Buffer;
  readonly workers: number;
  readonly counts: Counts;
  /** Up to when `counts` speaks. */
  readAtMs: number;
}

export interface LeaseStats {
  /** The page of a lease; a path that is none of the starter's is ignored. */
  open(leaseId: string, path: string | undefined, workers: number, startedAtMs: number): void;
  /** Its last process is gone. */
  close(leaseId: string): void;
  /** Calls that a lease has answered, in whatever way. */
  invocations(leaseId: string): number;
  /** Of all leases, the ended ones too. */
  totals(): Counts;
}

export function leaseStats(nowMs: () => number): LeaseStats {
  const pages = new Map<string, Page>();
  const ended = noCounts();

  function update(page: Page): void {
    const now = nowMs();
    if (readSync(page.fd, page.buffer, 0, page.buffer.length, 0) !== page.buffer.length) return;
    const read = readPage(page.buffer);
    // Never below a second, so that two clocks need not agree to a hair.
    if (read !== undefined)
      follow(page.counts, read, Math.max(1, (now - page.readAtMs) / 1000 + 1), page.workers);
    page.readAtMs = now;
  }

  return {
    open(leaseId, path, workers, startedAtMs) {
      if (path === undefined || !/^\/proc\/\d+\/fd\/\d+$/.test(path) || workers < 1 || pages.has(leaseId))
        return;
      try {
        pages.set(leaseId, {
          fd: openSync(path, constants.O_RDONLY | constants.O_NONBLOCK),
          buffer: Buffer.alloc(headerBytes + Math.min(64, workers) * workerBytes),
          workers,
          counts: noCounts(),
          readAtMs: startedAtMs,
        });
      } catch {
        // The starter is gone already, and the guest with it.
      }
    },
    close(leaseId) {
      const page = pages.get(leaseId);
      if (page === undefined) return;
      pages.delete(leaseId);
      update(page);
      addTo(ended, page.counts);
      closeSync(page.fd);
    },
    invocations(leaseId) {
      const page = pages.get(leaseId);
      if (page === undefined) return 0;
      update(page);
      return page.counts.outcomes.reduce((sum, count) => sum + count, 0);
    },
    totals() {
      const sum = noCounts();
      addTo(sum, ended);
      for (const page of pages.values()) {
        update(page);
        addTo(sum, page.counts);
      }
      return sum;
    },
  };
}
