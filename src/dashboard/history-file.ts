/**
 * history.db: the history's points in SQLite. Some MB, however long it lives: the store says which points go. Written in one
 * transaction a time, so that a process that is killed leaves what was written before.
 */
import { renameSync } from "node:fs";
import type { DatabaseSync } from "node:sqlite";
import { newPoint, type Point } from "./points.ts";

type Sqlite = typeof import("node:sqlite");

export interface StoredPoint {
  readonly stepMs: number;
  readonly atMs: number;
  /** undefined: it is to go. */
  readonly point: Point | undefined;
}

interface Row {
  readonly step_ms: number;
  readonly at_ms: number;
  readonly covered_ms: number;
  readonly vals: Uint8Array;
}

/** SQLite's CORRUPT and NOTADB; all else may pass: a disk that is full, a lock, a folder that is not there yet. */
const brokenCodes = new Set([11, 26]);

export function isBroken(thrown: unknown): boolean {
  const code = (thrown as { errcode?: unknown }).errcode;
  return typeof code === "number" && brokenCodes.has(code & 0xff);
}

/** Out of the way, for somebody to look at; one that lay there before goes. */
export function putAside(file: string): void {
  for (const part of ["", "-wal", "-shm"])
    try {
      renameSync(file + part, `${file}.unreadable${part}`);
    } catch {
      // The parts beside it are not always there.
    }
}

export class HistoryFile {
  readonly #database: DatabaseSync;

  /** @throws what SQLite says. */
  constructor(sqlite: Sqlite, file: string) {
    const database = new sqlite.DatabaseSync(file);
    try {
      database.exec(
        "pragma busy_timeout = 200; pragma journal_mode = wal; pragma synchronous = normal;" +
          "create table if not exists points (step_ms integer not null, at_ms integer not null, " +
          "covered_ms real not null, vals blob not null, primary key (step_ms, at_ms)) without rowid",
      );
    } catch (thrown) {
      database.close();
      throw thrown;
    }
    this.#database = database;
  }

  /** fields: how many values points of such a length have. */
  read(fields: (stepMs: number) => number): StoredPoint[] {
    const rows = this.#database.prepare("select step_ms, at_ms, covered_ms, vals from points").all();
    return (rows as unknown as Row[])
      .filter(({ vals }) => vals.byteLength % 8 === 0)
      .map(({ step_ms, at_ms, covered_ms, vals }) => {
        const point = newPoint(at_ms, fields(step_ms));
        point.coveredMs = covered_ms;
        const view = new DataView(vals.buffer, vals.byteOffset, vals.byteLength);
        for (let i = 0; i < Math.min(point.values.length, vals.byteLength / 8); i++)
          point.values[i] = view.getFloat64(i * 8, true);
        return { stepMs: step_ms, atMs: at_ms, point };
      });
  }

  /** All or nothing. @throws what SQLite says. */
  write(changes: Iterable<StoredPoint>): void {
    const database = this.#database;
    database.exec("begin immediate");
    try {
      const put = database.prepare("insert or replace into points values (?, ?, ?, ?)");
      const remove = database.prepare("delete from points where step_ms = ? and at_ms = ?");
      for (const { stepMs, atMs, point } of changes)
        if (point === undefined) remove.run(stepMs, atMs);
        else put.run(stepMs, atMs, point.coveredMs, bytesOf(point.values));
      database.exec("commit");
    } catch (thrown) {
      try {
        database.exec("rollback");
      } catch {
        // SQLite has taken it back already.
      }
      throw thrown;
    }
  }

  close(): void {
    try {
      this.#database.close();
    } catch {
      // A full disk: what was committed is there all the same.
    }
  }
}

function bytesOf(values: Float64Array): Uint8Array {
  const bytes = new Uint8Array(values.length * 8);
  const view = new DataView(bytes.buffer);
  values.forEach((value, i) => {
    view.setFloat64(i * 8, value, true);
  });
  return bytes;
}
