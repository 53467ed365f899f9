/**
 * The data bases that the accounting is tested on: SQLite, and MariaDB where SUBLET_TEST_MARIADB names the socket of one
 * (test/accounting.sh starts it). Each test has one of its own.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import type { Database } from "../../../src/accounting/db/database.ts";
import { openSqlite } from "../../../src/accounting/db/sqlite.ts";

/** Opens the same data base, each time it is called. */
export type Open = () => Promise<Database>;

async function sqliteOf(t: TestContext): Promise<Open> {
  const folder = mkdtempSync(join(tmpdir(), "sublet-accounting-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return async () => openSqlite(join(folder, "state", "sublet.db"));
}

/** The same test on all of them. */
export function onEach(name: string, body: (t: TestContext, open: Open) => Promise<void>): void {
  test(`${name} (sqlite)`, async (t) => body(t, await sqliteOf(t)));
}
