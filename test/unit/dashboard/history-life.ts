/**
 * A history's life in a process of its own, for history.test.ts.
 *   history-life.ts write FILE           adds and saves until it is killed; prints how many samples are saved
 *   history-life.ts full FOLDER          FOLDER is a small file system: fills it, starts again while it is full, makes room
 */
import { readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { HistoryStore } from "../../../src/dashboard/history.ts";
import { gainOf, type Sample } from "../../../src/dashboard/points.ts";
import { gaugesOf } from "../../../src/dashboard/shares.ts";
import { noTotals } from "../../../src/dashboard/source.ts";
import { node } from "./samples.ts";

export const startMs = 1_700_000_040_000;
export const stepMs = 10_000;

const nodes = [node("n1", { cores: { total: 80, allocated: 60, used: 50, lent: 10 } })];
export const sample: Sample = {
  cores: gaugesOf(nodes, (each) => each.cores),
  memory: gaugesOf(nodes, (each) => each.memoryBytes),
  totals: noTotals,
};

/** Samples that a store has, each of ten seconds. */
export function samplesIn(store: HistoryStore): number {
  const toMs = startMs + 40 * 86_400_000;
  const lentMs = gainOf(store.between(0, toMs), 0, toMs, undefined).coreHours.lent * 3_600_000;
  return Math.round(lentMs / sample.cores.lent / stepMs);
}

async function write(file: string): Promise<void> {
  const store = await HistoryStore.open({ file, onTrouble: (why) => process.stderr.write(`${why}\n`) });
  const before = samplesIn(store);
  process.stdout.write(`began ${before}\n`);
  for (let i = 0; ; i++) {
    store.add(sample, startMs + (before + i) * stepMs, i * stepMs);
    store.save();
    process.stdout.write(`saved ${before + i}\n`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

async function full(folder: string): Promise<void> {
  const troubles: string[] = [];
  const open = () =>
    HistoryStore.open({ file: join(folder, "history.db"), onTrouble: (why) => troubles.push(why) });
  let at = 0;
  const add = (store: HistoryStore, samples: number): void => {
    for (let i = 0; i < samples; i++) store.add(sample, startMs + at++ * stepMs, at * stepMs);
  };
  const first = await open();
  add(first, 61);
  first.save();
  const fill = join(folder, "fill");
  try {
    for (;;) writeFileSync(fill, "x".repeat(1024), { flag: "a" });
  } catch {
    // That was the last page.
  }
  add(first, 3000);
  first.save();
  first.save();
  const whileFull = [...troubles];
  first.close();
  const second = await open();
  const found = samplesIn(second);
  add(second, 1 + 30);
  second.save();
  rmSync(fill);
  second.save();
  second.close();
  const third = await open();
  const result = {
    whileFull,
    troubles,
    found,
    after: samplesIn(third),
    names: readdirSync(folder).sort(),
  };
  third.close();
  process.stdout.write(`${JSON.stringify(result)}\n`);
}

if (import.meta.main) {
  const [what, where = ""] = process.argv.slice(2);
  await (what === "write" ? write(where) : full(where));
}
