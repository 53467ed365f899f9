/**
 * The file in which an agent keeps what it has to tell: lines of JSON, appended. What is written survives the agent at once
 * and the machine after `syncMs`. Writing never holds up anybody: it is done by libuv's threads, one write at a time, and
 * what cannot be written (disk full, no such folder) is given up and tried again later, as a whole file.
 *
 * A line that was cut off by the end of the machine is the last one, since the next life begins with a new file, which takes
 * the place of the old one in one step; so does a file that has grown beyond what it is worth.
 */
import { type FileHandle, open, readFile, rename, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { toSubletError } from "../../src/common/errors.ts";

export interface SpoolOptions {
  readonly path: string;
  /** All that the file has to say now: lines, each with its end. */
  readonly snapshot: () => string;
  /** Told when it changes. */
  readonly onState: (ok: boolean, why: string) => void;
  readonly nowMs?: () => number;
  readonly syncMs?: number;
  readonly retryMs?: number;
}

/** A file below this is not worth a new one. */
const smallBytes = 256 * 1024;
const closeTimeoutMs = 1_000;
/** Lines that wait for a disk that does not answer. */
const maxQueued = 100_000;

export class Spool {
  readonly #options: SpoolOptions;
  readonly #nowMs: () => number;
  #handle: FileHandle | undefined;
  #queue: { readonly line: string; readonly done: () => void }[] = [];
  #running: Promise<void> | undefined;
  /** The file is to be written anew. */
  #renew = true;
  #unsynced = false;
  #syncTimer: NodeJS.Timeout | undefined;
  #retryAtMs = Number.NEGATIVE_INFINITY;
  #ok: boolean | undefined;
  #compactAtBytes = smallBytes;
  bytes = 0;

  constructor(options: SpoolOptions) {
    this.#options = options;
    this.#nowMs = options.nowMs ?? (() => performance.now());
  }

  /** False while nothing can be written. */
  get ok(): boolean {
    return this.#ok !== false;
  }

  /** `done` is called when it is written, or given up. */
  append(line: string, done: () => void = () => undefined): void {
    if (this.#queue.length >= maxQueued) {
      this.#fail(new Error("the disk does not answer"));
      done();
      return;
    }
    this.#queue.push({ line: `${line}\n`, done });
    this.#go();
  }

  #go(): void {
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
      if (this.#queue.length > 0) this.#go();
    });
  }

  async #run(): Promise<void> {
    while (this.#queue.length > 0) {
      // Callers that come in the same turn of the loop are written together.
      await Promise.resolve();
      if (this.#renew && this.#nowMs() < this.#retryAtMs) {
        this.#giveUp();
        return;
      }
      try {
        if (this.#renew || this.bytes > this.#compactAtBytes) await this.#rewrite();
        else await this.#write();
        this.#say(true, "");
      } catch (thrown) {
        this.#fail(thrown);
      }
    }
  }

  async #write(): Promise<void> {
    const batch = this.#queue;
    this.#queue = [];
    const text = batch.map(({ line }) => line).join("");
    try {
      await this.#handle?.appendFile(text);
    } finally {
      for (const { done } of batch) done();
    }
    this.bytes += text.length;
    this.#syncSoon();
  }

  /** What waits is in the snapshot already. */
  async #rewrite(): Promise<void> {
    const { path, snapshot } = this.#options;
    const batch = this.#queue;
    this.#queue = [];
    const text = snapshot();
    try {
      const fresh = await open(`${path}.new`, "w", 0o600);
      try {
        await fresh.appendFile(text);
        await fresh.datasync();
        await rename(`${path}.new`, path);
      } catch (thrown) {
        await fresh.close();
        throw thrown;
      }
      await this.#handle?.close();
      this.#handle = fresh;
      this.#renew = false;
      this.bytes = text.length;
      this.#compactAtBytes = Math.max(smallBytes, 2 * text.length);
      await syncFolder(dirname(path));
    } finally {
      for (const { done } of batch) done();
    }
  }

  #syncSoon(): void {
    this.#unsynced = true;
    this.#syncTimer ??= setTimeout(() => {
      this.#syncTimer = undefined;
      void this.#sync();
    }, this.#options.syncMs ?? 1_000).unref();
  }

  async #sync(): Promise<void> {
    if (!this.#unsynced) return;
    this.#unsynced = false;
    try {
      await this.#handle?.datasync();
    } catch (thrown) {
      this.#fail(thrown);
    }
  }

  #say(ok: boolean, why: string): void {
    if (ok === this.#ok || (ok && this.#ok === undefined)) {
      this.#ok = ok;
      return;
    }
    this.#ok = ok;
    this.#options.onState(ok, why);
  }

  #fail(thrown: unknown): void {
    this.#renew = true;
    this.#retryAtMs = this.#nowMs() + (this.#options.retryMs ?? 30_000);
    this.#giveUp();
    this.#say(false, toSubletError(thrown).message);
  }

  #giveUp(): void {
    const given = this.#queue;
    this.#queue = [];
    for (const { done } of given) done();
  }

  /** Writes what waits, as far as that is soon done. */
  async close(): Promise<void> {
    clearTimeout(this.#syncTimer);
    const finish = async (): Promise<void> => {
      await this.#running;
      await this.#sync();
      await this.#handle?.close();
    };
    await within(finish(), closeTimeoutMs).catch(() => undefined); // What is not written is made up for by the next life.
  }
}

async function within<T>(work: Promise<T>, timeoutMs: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
  });
  return await Promise.race([work, late]).finally(() => clearTimeout(timer));
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** The lines of the file as far as they are whole; undefined: it is not there. Rejects when it cannot be read, or in time. */
export async function readSpool(
  path: string,
  maxBytes: number,
  timeoutMs = 2_000,
): Promise<string[] | undefined> {
  const read = async (): Promise<string[] | undefined> => {
    try {
      const { size } = await stat(path);
      if (size > maxBytes) throw new Error(`${path} has ${size} bytes: more than it may have`);
      const lines = (await readFile(path, "utf8")).split("\n");
      lines.pop(); // What is behind the last end of a line was cut off.
      return lines;
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code === "ENOENT") return undefined;
      throw thrown;
    }
  };
  return await within(read(), timeoutMs);
}
