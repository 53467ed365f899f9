/**
 * Keeps the history: points of a minute for 48 hours, of ten minutes for 31 days, in memory and in history.db, where a
 * controller finds them again. Losing the file costs pictures and nothing else: one that cannot be read is put aside.
 *
 * Clocks: a point belongs to the wall clock's minute in which it was taken; how long a sample stood is measured on the
 * monotonic clock. A wall clock that steps back adds to points that are there; one that steps forward leaves a gap. A sample
 * stands for 30 s at most: what passed while the machine slept was not watched. How much is kept is a number of points, not
 * an age: a clock that says 2036 for a minute costs no month; its points go once the clock is right again.
 */
import { existsSync, renameSync } from "node:fs";
import type { DatabaseSync as Database } from "node:sqlite";
import { addPoint, addSample, fieldNames, newPoint, type Point, type Sample } from "./points.ts";
import type { Totals } from "./source.ts";

const minuteMs = 60_000;
const longestStandMs = 30_000;
/** Further ahead than any clock that is merely set right. */
const futureMs = 24 * 60 * minuteMs;

export interface Resolution {
  readonly stepMs: number;
  readonly keepMs: number;
}

export const resolutions: readonly [Resolution, Resolution] = [
  { stepMs: minuteMs, keepMs: 48 * 60 * minuteMs },
  { stepMs: 10 * minuteMs, keepMs: 31 * 24 * 60 * minuteMs },
];

export interface HistoryOptions {
  /** undefined: in memory only. */
  readonly file: string | undefined;
  readonly onTrouble: (why: string) => void;
}

export class HistoryStore {
  readonly #levels = resolutions.map((resolution) => ({ resolution, points: new Map<number, Point>() }));
  #database: Database | undefined;
  readonly #onTrouble: (why: string) => void;
  #last: { readonly totals: Totals; readonly atMs: number } | undefined;
  readonly #unsaved = new Set<string>();

  private constructor(onTrouble: (why: string) => void) {
    this.#onTrouble = onTrouble;
  }

  static async open({ file, onTrouble }: HistoryOptions): Promise<HistoryStore> {
    const store = new HistoryStore(onTrouble);
    if (file !== undefined) await store.#open(file);
    return store;
  }

  async #open(file: string): Promise<void> {
    const { DatabaseSync } = await import("node:sqlite");
    for (const attempt of ["as it is", "anew"]) {
      try {
        const database = new DatabaseSync(file);
        database.exec(
          "pragma journal_mode = wal; pragma synchronous = normal; pragma busy_timeout = 200;" +
            "create table if not exists points (step_ms integer not null, at_ms integer not null, " +
            "covered_ms real not null, vals blob not null, primary key (step_ms, at_ms)) without rowid",
        );
        const rows = database.prepare("select step_ms, at_ms, covered_ms, vals from points").all();
        for (const row of rows) this.#load(row as unknown as Row);
        this.#database = database;
        return;
      } catch (thrown) {
        this.#onTrouble(`history.db: ${(thrown as Error).message} (${attempt})`);
        if (attempt === "anew" || !existsSync(file)) return;
        try {
          renameSync(file, `${file}.unreadable`);
        } catch {
          return;
        }
      }
    }
  }

  #load({ step_ms, at_ms, covered_ms, vals }: Row): void {
    const level = this.#levels.find(({ resolution }) => resolution.stepMs === step_ms);
    if (level === undefined || vals.byteLength % 8 !== 0) return;
    const point = newPoint(at_ms);
    point.coveredMs = covered_ms;
    const view = new DataView(vals.buffer, vals.byteOffset, vals.byteLength);
    for (let i = 0; i < Math.min(fieldNames.length, vals.byteLength / 8); i++)
      point.values[i] = view.getFloat64(i * 8, true);
    level.points.set(at_ms, point);
  }

  /** Call every ten seconds or so. nowMs: monotonic. */
  add(sample: Sample, unixMs: number, nowMs: number): void {
    const last = this.#last;
    this.#last = { totals: sample.totals, atMs: nowMs };
    // The first one after a start tells where the counters stand.
    if (last === undefined) return;
    const lengthMs = Math.min(longestStandMs, Math.max(0, nowMs - last.atMs));
    const added = newPoint(unixMs);
    addSample(added, sample, last.totals, lengthMs);
    for (const { resolution, points } of this.#levels) {
      const atMs = Math.floor(unixMs / resolution.stepMs) * resolution.stepMs;
      const point = points.get(atMs) ?? newPoint(atMs);
      addPoint(point, added);
      points.set(atMs, point);
      this.#touched(resolution, atMs);
      // A new point may be one too many.
      if (point.coveredMs === added.coveredMs) this.#drop(resolution, points, unixMs);
    }
  }

  #drop(resolution: Resolution, points: Map<number, Point>, unixMs: number): void {
    const ascending = [...points.keys()].sort((a, b) => a - b);
    const future = ascending.filter((atMs) => atMs > unixMs + futureMs);
    const kept = ascending.length - future.length;
    const old = ascending.slice(0, Math.max(0, kept - resolution.keepMs / resolution.stepMs));
    for (const atMs of [...future, ...old]) {
      points.delete(atMs);
      this.#touched(resolution, atMs);
    }
  }

  #touched({ stepMs }: Resolution, atMs: number): void {
    if (this.#database !== undefined) this.#unsaved.add(`${stepMs} ${atMs}`);
  }

  /** Writes what changed. Call once a minute and at the end. */
  save(): void {
    const database = this.#database;
    if (database === undefined || this.#unsaved.size === 0) return;
    try {
      database.exec("begin immediate");
      const put = database.prepare("insert or replace into points values (?, ?, ?, ?)");
      const remove = database.prepare("delete from points where step_ms = ? and at_ms = ?");
      for (const key of this.#unsaved) {
        const [stepMs = 0, atMs = 0] = key.split(" ").map(Number);
        const level = this.#levels.find(({ resolution }) => resolution.stepMs === stepMs);
        const point = level?.points.get(atMs);
        if (point === undefined) remove.run(stepMs, atMs);
        else put.run(stepMs, atMs, point.coveredMs, bytesOf(point.values));
      }
      database.exec("commit");
      this.#unsaved.clear();
    } catch (thrown) {
      try {
        database.exec("rollback");
      } catch {
        // There was no transaction.
      }
      this.#onTrouble(`history.db: ${(thrown as Error).message}`);
    }
  }

  /** Points that cover a span, the finest that are kept so long, ascending, no time twice. */
  *between(fromMs: number, toMs: number): Generator<Point> {
    const [fine, coarse] = this.#levels.map(({ points }) =>
      [...points.values()].sort((a, b) => a.atMs - b.atMs),
    );
    const firstFineMs = fine?.[0]?.atMs ?? Number.POSITIVE_INFINITY;
    // A coarse point that reaches into the fine ones would count their time twice; where none is older, the fine ones have all.
    const older = (coarse?.[0]?.atMs ?? firstFineMs) + resolutions[1].stepMs <= firstFineMs;
    const edgeMs = older
      ? Math.ceil(firstFineMs / resolutions[1].stepMs) * resolutions[1].stepMs
      : Number.NEGATIVE_INFINITY;
    for (const point of coarse ?? [])
      if (point.atMs >= fromMs && point.atMs < toMs && point.atMs < edgeMs) yield point;
    for (const point of fine ?? [])
      if (point.atMs >= Math.max(fromMs, edgeMs) && point.atMs < toMs) yield point;
  }

  /** Length of the points that cover a moment. */
  stepMsAt(unixMs: number, nowUnixMs: number): number {
    return unixMs >= nowUnixMs - resolutions[0].keepMs ? resolutions[0].stepMs : resolutions[1].stepMs;
  }

  get points(): number {
    return this.#levels.reduce((sum, { points }) => sum + points.size, 0);
  }

  close(): void {
    this.save();
    this.#database?.close();
    this.#database = undefined;
  }
}

interface Row {
  readonly step_ms: number;
  readonly at_ms: number;
  readonly covered_ms: number;
  readonly vals: Uint8Array;
}

function bytesOf(values: Float64Array): Uint8Array {
  const bytes = new Uint8Array(values.length * 8);
  const view = new DataView(bytes.buffer);
  values.forEach((value, i) => {
    view.setFloat64(i * 8, value, true);
  });
  return bytes;
}
