/**
 * Says how much code of users the starter may keep on this node (functions/launch/code.h), and reads what it has counted.
 *
 * It weighs nothing against a job, as prepared executors do: what is kept goes when a prolog comes, when memory is short,
 * when nothing is lent, and with our connection. A lease that finds nothing is sent its code, that is all.
 */
import { closeSync, openSync, readSync } from "node:fs";
import { toSubletError } from "../../src/common/errors.ts";

export interface CodeLimits {
  /** Of all users; one may have half. */
  readonly maxBytes: number;
  readonly maxEntries: number;
  /** Throws out what there is. */
  readonly drop: boolean;
}

/** The first two are of now, the others rise while the starter lives. */
export interface CodeFigures {
  readonly bytes: number;
  readonly libraries: number;
  readonly hits: number;
  readonly misses: number;
  readonly kept: number;
  readonly refused: number;
  readonly evicted: number;
  readonly paths: number;
  readonly unread: number;
}

export interface CodeCacheOptions {
  readonly maxBytes: number;
  /** Folders below which code may be read in place of being sent. */
  readonly paths: readonly string[];
  readonly tellPaths: (paths: readonly string[]) => Promise<void>;
  /** Tells the starter; where its figures can be read, or undefined when they cannot. */
  readonly tell: (limits: CodeLimits) => Promise<string | undefined>;
  /** May anything be kept now? */
  readonly open: () => boolean;
  readonly onProblem: (message: string) => void;
}

const maxEntries = 64;
const figureCount = 9;

function parseFigures(page: Buffer): CodeFigures {
  const [
    bytes = 0,
    libraries = 0,
    hits = 0,
    misses = 0,
    kept = 0,
    refused = 0,
    evicted = 0,
    paths = 0,
    unread = 0,
  ] = Array.from({ length: figureCount }, (_, index) => Number(page.readBigUInt64LE(8 * index)));
  return { bytes, libraries, hits, misses, kept, refused, evicted, paths, unread };
}

export class CodeCache {
  readonly #options: CodeCacheOptions;
  #maxBytes: number;
  #connected = false;
  /** What the starter was told last, by this connection. */
  #told: number | undefined;
  #paths: readonly string[];
  /** The same of folders; one that was told nothing reads below none. undefined: it may not have heard. */
  #toldPaths: readonly string[] | undefined = [];
  #file: number | undefined;

  constructor(options: CodeCacheOptions) {
    this.#options = options;
    this.#maxBytes = options.maxBytes;
    this.#paths = options.paths;
  }

  /** The configuration was read again. */
  setMax(maxBytes: number): void {
    this.#maxBytes = maxBytes;
    this.check();
  }

  /** The configuration was read again. */
  setPaths(paths: readonly string[]): void {
    this.#paths = paths;
    this.check();
  }

  /** A starter is there, that has been told nothing yet, or there is none. */
  setConnected(connected: boolean): void {
    this.#connected = connected;
    this.#told = undefined;
    this.#toldPaths = [];
    this.#forgetFile();
    this.check();
  }

  /** The node's state may have changed. */
  check(): void {
    if (!this.#connected) return;
    if (this.#paths.join("\n") !== this.#toldPaths?.join("\n")) {
      this.#toldPaths = this.#paths;
      void this.#tellPaths(this.#paths);
    }
    const maxBytes = this.#maxBytes > 0 && this.#options.open() ? this.#maxBytes : 0;
    if (maxBytes === this.#told) return;
    this.#told = maxBytes;
    void this.#tell(maxBytes);
  }

  /** Undefined when no starter counts. */
  figures(): CodeFigures | undefined {
    if (this.#file === undefined) return undefined;
    const page = Buffer.alloc(8 * figureCount);
    return readSync(this.#file, page, 0, page.length, 0) === page.length ? parseFigures(page) : undefined;
  }

  close(): void {
    this.#connected = false;
    this.#forgetFile();
  }

  async #tellPaths(paths: readonly string[]): Promise<void> {
    try {
      await this.#options.tellPaths(paths);
    } catch (thrown) {
      const { code, message } = toSubletError(thrown);
      if (code === "UNAVAILABLE") return; // it is gone: the next is told anew
      this.#options.onProblem(`the starter was not told which folders are shared: ${message}`);
      // One of an earlier version reads below none, whatever it is told; any other is told again by the next event.
      if (code !== "INTERNAL" && this.#toldPaths === paths) this.#toldPaths = undefined;
    }
  }

  async #tell(maxBytes: number): Promise<void> {
    const closed = maxBytes === 0;
    let path: string | undefined;
    try {
      path = await this.#options.tell({ maxBytes, maxEntries: closed ? 0 : maxEntries, drop: closed });
    } catch (thrown) {
      const { code, message } = toSubletError(thrown);
      // It is of an earlier version, or gone: the next is told anew.
      if (code === "INTERNAL" || code === "UNAVAILABLE") return;
      this.#options.onProblem(`the starter was not told how much code to keep: ${message}`);
      if (this.#told === maxBytes) this.#told = undefined; // the next event tells it again
      return;
    }
    try {
      if (path !== undefined && this.#connected && this.#file === undefined) this.#file = openSync(path, "r");
    } catch (thrown) {
      this.#options.onProblem(`what code is kept cannot be counted: ${toSubletError(thrown).message}`);
    }
  }

  #forgetFile(): void {
    if (this.#file !== undefined) closeSync(this.#file);
    this.#file = undefined;
  }
}
