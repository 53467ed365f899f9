/** The thread that has the SQLite file open: node:sqlite waits for the disk, and the controller must not. */
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { parentPort, workerData } from "node:worker_threads";
import type { Row, Value } from "./database.ts";

export interface Asked {
  readonly id: number;
  readonly sql: string;
  readonly values: readonly Value[];
}
export type Answered =
  | { readonly id: number; readonly rows: Row[] }
  | { readonly id: number; readonly error: string };

const maxStatements = 64;
const database = new DatabaseSync((workerData as { path: string }).path, { timeout: 5_000 });
// FULL: what is acknowledged survives the loss of power.
for (const pragma of ["journal_mode=WAL", "synchronous=FULL"]) database.exec(`PRAGMA ${pragma}`);

const prepared = new Map<string, StatementSync>();

function statement(sql: string): StatementSync {
  const known = prepared.get(sql);
  if (known !== undefined) return known;
  if (prepared.size >= maxStatements) prepared.clear();
  const made = database.prepare(sql);
  prepared.set(sql, made);
  return made;
}

parentPort?.on("message", ({ id, sql, values }: Asked) => {
  let answer: Answered;
  try {
    answer = { id, rows: statement(sql).all(...values) as Row[] };
  } catch (thrown) {
    answer = { id, error: (thrown as Error).message };
  }
  parentPort?.postMessage(answer);
});
parentPort?.on("close", () => database.close());
