/** Which data base the settings name, and how it is opened. */
import { join } from "node:path";
import type { AccountingConfig } from "../config/accounting.ts";
import type { Database } from "./db/database.ts";
import { openMariadb } from "./db/mariadb.ts";
import { openSqlite } from "./db/sqlite.ts";

export function databasePlace({ mariadb }: AccountingConfig, stateDir: string): string {
  if (mariadb === undefined) return join(stateDir, "sublet.db");
  return `mariadb ${mariadb.socket ?? `${mariadb.host}:${mariadb.port}`} ${mariadb.database}`;
}

export async function openDatabase(config: AccountingConfig, stateDir: string): Promise<Database> {
  const place = databasePlace(config, stateDir);
  return config.mariadb === undefined ? openSqlite(place) : await openMariadb(config.mariadb, place);
}
