/**
 * Reads files for a reload such that a file that is half written is never taken for a whole one. All are read, and after a
 * pause once more: only when nothing has changed (no file, no list of drop-ins) what they say counts, else it is tried again
 * until the deadline. A file without its last newline, or without anything in it, was cut off. (A writer that stops
 * for longer than the pause at the end of a line cannot be seen: write beside the file and rename, as editors do.)
 */
import { setTimeout as sleep } from "node:timers/promises";
import { SubletError, toSubletError } from "../common/errors.ts";
import { readText } from "./layers.ts";
import type { FileReader } from "./sources.ts";

export interface StableOptions {
  readonly quietMs?: number;
  readonly timeoutMs?: number;
}

interface Look<T> {
  readonly texts: ReadonlyMap<string, string>;
  readonly result: { readonly value: T } | { readonly error: SubletError };
}

function checkWhole(path: string, text: string): void {
  if (text === "")
    throw new SubletError("FAILED_PRECONDITION", `${path}: is empty: half-written, or to be removed?`);
  if (!text.endsWith("\n"))
    throw new SubletError("FAILED_PRECONDITION", `${path}: its last line has no end: half-written?`);
}

function look<T>(evaluate: (read: FileReader) => T): Look<T> {
  const texts = new Map<string, string>();
  const read = (path: string): string => {
    const text = readText(path);
    texts.set(path, text);
    checkWhole(path, text);
    return text;
  };
  try {
    return { texts, result: { value: evaluate(read) } };
  } catch (thrown) {
    return { texts, result: { error: toSubletError(thrown) } };
  }
}

function same(a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): boolean {
  return a.size === b.size && [...a].every(([path, text]) => b.get(path) === text);
}

/** What `evaluate` makes of the files that it reads. @throws SubletError what it throws; UNAVAILABLE: they keep changing. */
export async function readStable<T>(
  evaluate: (read: FileReader) => T,
  { quietMs = 200, timeoutMs = 5_000 }: StableOptions = {},
): Promise<T> {
  const endMs = performance.now() + timeoutMs;
  let before = look(evaluate);
  for (;;) {
    await sleep(quietMs);
    const now = look(evaluate);
    if (same(before.texts, now.texts)) {
      if ("error" in now.result) throw now.result.error;
      return now.result.value;
    }
    if (performance.now() > endMs) {
      const changing = [...now.texts].filter(([path, text]) => before.texts.get(path) !== text);
      const names = changing.map(([path]) => path).join(", ");
      throw new SubletError("UNAVAILABLE", `${names || "a drop-in"}: is being written; nothing was applied`);
    }
    before = now;
  }
}
