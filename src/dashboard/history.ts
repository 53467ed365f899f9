/**
 * Keeps the history: points of a minute for 48 hours, of ten minutes for 31 days, and what is compared in hours, in memory and in history.db, where a
 * controller finds them again. Losing the file costs pictures and nothing else: one that is broken is put aside. One that cannot
 * be opened or written now (a full disk) is tried again each minute; what came meanwhile waits in memory.
 *
 * Clocks: a point belongs to the wall clock's minute in which it was taken; how long a sample stood is measured on the
 * monotonic clock. A wall clock that steps back adds to points that are there; one that steps forward leaves a gap. A sample
 * stands for 30 s at most: what passed while the machine slept was not watched. How much is kept is a number of points, not
 * an age: a clock that says 2036 for a minute costs no month; its points go once the clock is right again.
 */

import { comparedNames } from "./comparison.ts";
import { HistoryFile, isBroken, putAside, type StoredPoint } from "./history-file.ts";
import { addCompared, addPoint, addSample, fieldNames, newPoint, type Point, type Sample } from "./points.ts";
import type { Totals } from "./source.ts";

const minuteMs = 60_000;
const longestStandMs = 30_000;
/** Further ahead than any clock that is merely set right. */
const futureMs = 24 * 60 * minuteMs;

export interface Resolution {
  readonly stepMs: number;
  readonly keepMs: number;
  /** How many values a point has, and what a sample adds to them. */
  readonly fields: number;
  readonly add: typeof addSample;
}

const keepMs = 31 * 24 * 60 * minuteMs;

export const resolutions: readonly [Resolution, Resolution, Resolution] = [
  { stepMs: minuteMs, keepMs: 48 * 60 * minuteMs, fields: fieldNames.length, add: addSample },
  { stepMs: 10 * minuteMs, keepMs, fields: fieldNames.length, add: addSample },
  { stepMs: 60 * minuteMs, keepMs, fields: comparedNames.length, add: addCompared },
];

export interface HistoryOptions {
  /** undefined: in memory only. */
  readonly file: string | undefined;
  /** Told once, until it was well again. */
  readonly onTrouble: (why: string) => void;
}

export class HistoryStore {
  readonly #levels = resolutions.map((resolution) => ({ resolution, points: new Map<number, Point>() }));
  readonly #path: string | undefined;
  readonly #sqlite: typeof import("node:sqlite") | undefined;
  #file: HistoryFile | undefined;
  readonly #onTrouble: (why: string) => void;
  #trouble = "";
  #last: { readonly totals: Totals; readonly atMs: number } | undefined;
  readonly #unsaved = new Set<string>();

  private constructor({ file, onTrouble }: HistoryOptions, sqlite: typeof import("node:sqlite") | undefined) {
    this.#path = file;
    this.#sqlite = sqlite;
    this.#onTrouble = onTrouble;
  }

  static async open(options: HistoryOptions): Promise<HistoryStore> {
    const sqlite = options.file === undefined ? undefined : await import("node:sqlite");
    const store = new HistoryStore(options, sqlite);
    store.#attempt(() => store.#attach());
    return store;
  }

  /** Reads the file and puts together what it has and what came since the start. */
  #attach(): void {
    if (this.#sqlite === undefined || this.#path === undefined || this.#file !== undefined) return;
    const file = new HistoryFile(this.#sqlite, this.#path);
    let stored: readonly StoredPoint[];
    try {
      stored = file.read(
        (stepMs) => resolutions.find((resolution) => resolution.stepMs === stepMs)?.fields ?? 0,
      );
    } catch (thrown) {
      file.close();
      throw thrown;
    }
    this.#file = file;
    for (const { resolution, points } of this.#levels)
      for (const atMs of points.keys()) this.#touched(resolution, atMs);
    for (const { stepMs, atMs, point } of stored) {
      const points = this.#levels.find(({ resolution }) => resolution.stepMs === stepMs)?.points;
      const known = points?.get(atMs);
      if (point === undefined) continue;
      if (known === undefined) points?.set(atMs, point);
      else addPoint(known, point);
    }
  }

  /** What is broken is put aside, once, and begun anew with what is in memory; what may pass is tried again next time. */
  #attempt(act: () => void): void {
    for (const again of [true, false])
      try {
        act();
        this.#trouble = "";
        return;
      } catch (thrown) {
        const why = `history.db: ${(thrown as Error).message}`;
        if (this.#trouble !== why) this.#onTrouble(why);
        this.#trouble = why;
        if (!again || !isBroken(thrown) || this.#path === undefined) return;
        this.#file?.close();
        this.#file = undefined;
        putAside(this.#path);
      }
  }

  /** Call every ten seconds or so. nowMs: monotonic. */
  add(sample: Sample, unixMs: number, nowMs: number): void {
    const last = this.#last;
    this.#last = { totals: sample.totals, atMs: nowMs };
    // The first one after a start tells where the counters stand.
    if (last === undefined) return;
    const lengthMs = Math.min(longestStandMs, Math.max(0, nowMs - last.atMs));
    for (const { resolution, points } of this.#levels) {
      const atMs = Math.floor(unixMs / resolution.stepMs) * resolution.stepMs;
      const known = points.get(atMs);
      const point = known ?? newPoint(atMs, resolution.fields);
      resolution.add(point, sample, last.totals, lengthMs);
      points.set(atMs, point);
      this.#touched(resolution, atMs);
      // A new point may be one too many.
      if (known === undefined) this.#drop(resolution, points, unixMs);
    }
  }

  #drop(resolution: Resolution, points: Map<number, Point>, unixMs: number): void {
    const drop = (atMs: number): void => {
      points.delete(atMs);
      this.#touched(resolution, atMs);
    };
    for (const atMs of points.keys()) if (atMs > unixMs + futureMs) drop(atMs);
    while (points.size > resolution.keepMs / resolution.stepMs) {
      let oldestMs = Number.POSITIVE_INFINITY;
      for (const atMs of points.keys()) oldestMs = Math.min(oldestMs, atMs);
      drop(oldestMs);
    }
  }

  #touched({ stepMs }: Resolution, atMs: number): void {
    if (this.#file !== undefined) this.#unsaved.add(`${stepMs} ${atMs}`);
  }

  *#changes(): Generator<StoredPoint> {
    for (const key of this.#unsaved) {
      const [stepMs = 0, atMs = 0] = key.split(" ").map(Number);
      const level = this.#levels.find(({ resolution }) => resolution.stepMs === stepMs);
      yield { stepMs, atMs, point: level?.points.get(atMs) };
    }
  }

  /** Writes what changed. Call once a minute and at the end. */
  save(): void {
    this.#attempt(() => {
      this.#attach();
      if (this.#file === undefined || this.#unsaved.size === 0) return;
      this.#file.write(this.#changes());
      this.#unsaved.clear();
    });
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

  /** What is compared, in points that begin within the span, in no order. */
  compared(fromMs: number, toMs: number): Point[] {
    const points = this.#levels[2]?.points.values() ?? [];
    return [...points].filter(({ atMs }) => atMs >= fromMs && atMs < toMs);
  }

  /** Of the oldest point; undefined while there is none. */
  get firstMs(): number | undefined {
    let first: number | undefined;
    for (const { points } of this.#levels)
      for (const atMs of points.keys()) if (first === undefined || atMs < first) first = atMs;
    return first;
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
    this.#file?.close();
    this.#file = undefined;
  }
}
