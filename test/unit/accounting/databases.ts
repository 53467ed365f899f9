/** The data bases that the accounting is tested on: SQLite, and MariaDB where it is installed. Each test has one of its own. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import type { Database } from "../../../src/accounting/db/database.ts";
import { openMariadb } from "../../../src/accounting/db/mariadb.ts";
import { openSqlite } from "../../../src/accounting/db/sqlite.ts";
import { type MariadbServer, startMariadb, whyNoMariadb } from "./mariadb-server.ts";

/** Opens the same data base, each time it is called. */
export type Open = () => Promise<Database>;

async function sqliteOf(t: TestContext): Promise<Open> {
  const folder = mkdtempSync(join(tmpdir(), "sublet-accounting-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return async () => openSqlite(join(folder, "state", "sublet.db"));
}

/** One for all tests of a file. */
let server: Promise<MariadbServer> | undefined;
let made = 0;

async function mariadbOf(): Promise<Open> {
  server ??= startMariadb();
  const { socket, sql } = await server;
  const database = `test_${++made}`;
  sql(
    `create database ${database}; create user if not exists sublet@localhost identified by 'secret'; grant all on ${database}.* to sublet@localhost`,
  );
  const config = {
    user: "sublet",
    host: "",
    port: 0,
    socket,
    database,
    passwordFile: undefined,
    tls: undefined,
  };
  return async () => await openMariadb(config, "there", { SUBLET_ACCOUNTING_PASSWORD: "secret" });
}

const why = whyNoMariadb();

/** The same test on all of them. */
export function onEach(name: string, body: (t: TestContext, open: Open) => Promise<void>): void {
  test(`${name} (sqlite)`, async (t) => body(t, await sqliteOf(t)));
  test(`${name} (mariadb)`, { skip: why ?? false }, async (t) => body(t, await mariadbOf()));
}
