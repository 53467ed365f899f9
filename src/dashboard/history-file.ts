/**
 * The history on disk: history.db, read once at the start, written once a minute in one transaction (write-ahead log: a kill
 * or a power cut costs the last minute at most, never the file). What cannot be read is put aside and begun anew: losing it
 * costs pictures, not accounting. Without a place to write it lives in memory, and `note` says why.
 */
import { mkdirSync, renameSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { toSubletError } from "../common/errors.ts";
import { fieldNames, minutes, type Point, type Recorder, type Series, tenMinutes } from "./history.ts";

export interface HistoryFile {
  readonly kept: { readonly minutes: readonly Point[]; readonly tenMinutes: readonly Point[] };
  /** Why there is none, or what happened to the one before; "": all is well. */
  readonly note: string;
  /** Writes what changed. Gives why it could not, or "". */
  save(recorder: Recorder): string;
  close(): void;
}

const layout = `
  CREATE TABLE IF NOT EXISTS points (
    step_ms INTEGER NOT NULL, at_ms INTEGER NOT NULL, covered_ms REAL NOT NULL, sums BLOB NOT NULL,
    PRIMARY KEY (step_ms, at_ms)
  ) WITHOUT ROWID`;
/** Of PRAGMA user_version: the meaning of what is stored. */
const layoutVersion = 1;

function toPoint(row: Record<string, unknown>): Point | undefined {
  const { at_ms, covered_ms, sums } = row;
  if (typeof at_ms !== "number" || typeof covered_ms !== "number" || !(sums instanceof Uint8Array))
    return undefined;
  const bytes = new Uint8Array(fieldNames.length * 8);
  bytes.set(sums.subarray(0, bytes.length));
  const values = new Float64Array(bytes.buffer);
  if (!values.every(Number.isFinite)) return undefined;
  return { atMs: at_ms, coveredMs: covered_ms, sums: values, changed: false };
}

function open(path: string): DatabaseSync {
  const database = new DatabaseSync(path);
  try {
    database.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA busy_timeout = 1000");
    const check = database.prepare("PRAGMA quick_check(1)").get() as { quick_check: string };
    if (check.quick_check !== "ok") throw new Error(check.quick_check);
    const { user_version } = database.prepare("PRAGMA user_version").get() as { user_version: number };
    if (user_version > layoutVersion) throw new Error(`it is of a later version (${user_version})`);
    database.exec(layout);
    database.exec(`PRAGMA user_version = ${layoutVersion}`);
    return database;
  } catch (thrown) {
    database.close();
    throw thrown;
  }
}

function load(database: DatabaseSync, stepMs: number): Point[] {
  const rows = database
    .prepare("SELECT at_ms, covered_ms, sums FROM points WHERE step_ms = ? ORDER BY at_ms")
    .all(stepMs);
  return rows.flatMap((row) => toPoint(row) ?? []);
}

function saveSeries(database: DatabaseSync, series: Series): Point[] {
  const { stepMs } = series.tier;
  const put = database.prepare("INSERT OR REPLACE INTO points VALUES (?, ?, ?, ?)");
  const saved = series.points.filter(({ changed }) => changed);
  for (const { atMs, coveredMs, sums } of saved)
    put.run(stepMs, atMs, coveredMs, new Uint8Array(sums.buffer));
  database
    .prepare("DELETE FROM points WHERE step_ms = ? AND (at_ms < ? OR at_ms > ?)")
    .run(stepMs, series.points[0]?.atMs ?? 0, series.points.at(-1)?.atMs ?? 0);
  return saved;
}

const none = { minutes: [], tenMinutes: [] };

function inMemory(note: string): HistoryFile {
  return { kept: none, note, save: () => "", close: () => undefined };
}

/** stateDir undefined: in memory. Never throws. */
export function openHistory(stateDir: string | undefined): HistoryFile {
  if (stateDir === undefined) return inMemory("");
  const path = join(stateDir, "history.db");
  let database: DatabaseSync;
  let note = "";
  try {
    mkdirSync(stateDir, { recursive: true, mode: 0o750 });
    try {
      database = open(path);
    } catch (thrown) {
      const why = toSubletError(thrown).message;
      renameSync(path, `${path}.bad`);
      for (const ending of ["-wal", "-shm"]) {
        try {
          renameSync(path + ending, `${path}.bad${ending}`);
        } catch {
          // There is none.
        }
      }
      database = open(path);
      note = `${path} could not be read (${why}): it is ${path}.bad now, and a new one was begun`;
    }
  } catch (thrown) {
    return inMemory(
      `${path} cannot be written (${toSubletError(thrown).message}): history is kept in memory, until the controller ends`,
    );
  }
  const kept = { minutes: load(database, minutes.stepMs), tenMinutes: load(database, tenMinutes.stepMs) };
  let closed = false;
  return {
    kept,
    note,
    save(recorder) {
      if (closed) return "";
      try {
        database.exec("BEGIN IMMEDIATE");
        const saved = [
          ...saveSeries(database, recorder.minutes),
          ...saveSeries(database, recorder.tenMinutes),
        ];
        database.exec("COMMIT");
        for (const point of saved) point.changed = false;
        return "";
      } catch (thrown) {
        try {
          database.exec("ROLLBACK");
        } catch {
          // There was no transaction.
        }
        return toSubletError(thrown).message;
      }
    },
    close() {
      closed = true;
      database.close();
    },
  };
}
