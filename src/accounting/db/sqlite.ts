/** SQLite by node:sqlite, in a thread of its own (sqlite-worker.ts), write-ahead log, each commit on the disk. */
import { closeSync, mkdirSync, openSync } from "node:fs";
import { dirname, extname } from "node:path";
import { Worker } from "node:worker_threads";
import { SubletError, toSubletError } from "../../common/errors.ts";
import { type Database, type Row, Serial, type Statements, sqlite, type Value } from "./database.ts";
import type { Answered, Asked } from "./sqlite-worker.ts";

/** A disk that is slower than this counts as away. */
const statementTimeoutMs = 30_000;

interface Waiting {
  readonly resolve: (rows: Row[]) => void;
  readonly reject: (error: SubletError) => void;
  readonly timer: NodeJS.Timeout;
}

/** Opens or makes the file. Rejects with UNAVAILABLE at the first statement when it cannot be opened. */
export function openSqlite(path: string): Database {
  const away = (why: string): SubletError => new SubletError("UNAVAILABLE", `accounting: ${path}: ${why}`);
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o750 });
    closeSync(openSync(path, "a", 0o600)); // Who held what is not everybody's to read; the log beside it is made alike.
  } catch (thrown) {
    throw away(toSubletError(thrown).message);
  }
  // Compiled or not, the worker has the ending that this file has.
  const code = new URL(`./sqlite-worker${extname(import.meta.url)}`, import.meta.url);
  const worker = new Worker(code, { workerData: { path } });
  const waiting = new Map<number, Waiting>();
  const serial = new Serial();
  let asked = 0;
  let dead: SubletError | undefined;

  function settle(id: number): Waiting | undefined {
    const found = waiting.get(id);
    clearTimeout(found?.timer);
    waiting.delete(id);
    return found;
  }

  function die(error: SubletError): void {
    dead ??= error;
    for (const id of [...waiting.keys()]) settle(id)?.reject(error);
  }

  worker.on("message", (answer: Answered) => {
    const found = settle(answer.id);
    if ("rows" in answer) found?.resolve(answer.rows);
    else found?.reject(away(answer.error));
  });
  worker.on("error", (thrown) => die(away(toSubletError(thrown).message)));
  worker.on("exit", () => die(away("its thread has ended")));

  function send(sql: string, values: readonly Value[] = []): Promise<Row[]> {
    return new Promise((resolve, reject) => {
      if (dead !== undefined) {
        reject(dead);
        return;
      }
      const id = ++asked;
      const timer = setTimeout(() => {
        die(away(`no answer within ${statementTimeoutMs} ms`));
        void worker.terminate();
      }, statementTimeoutMs);
      waiting.set(id, { resolve, reject, timer });
      worker.postMessage({ id, sql, values } satisfies Asked);
    });
  }

  async function transact<T>(body: (statements: Statements) => Promise<T>): Promise<T> {
    await send("BEGIN IMMEDIATE");
    try {
      const result = await body({ all: send });
      await send("COMMIT");
      return result;
    } catch (thrown) {
      await send("ROLLBACK").catch(() => undefined); // What went wrong before is told.
      throw thrown;
    }
  }

  return {
    dialect: sqlite,
    place: path,
    all: (sql, values) => serial.run(() => send(sql, values)),
    transaction: (body) => serial.run(() => transact(body)),
    close: () =>
      serial.run(async () => {
        dead ??= away("it was closed");
        await worker.terminate();
      }),
  };
}
