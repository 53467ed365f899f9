/**
 * The schema, as numbered steps. Each runs once, in order, in a transaction with the note that it ran. MariaDB ends a
 * transaction at each change of a table: there a step that was cut off is run again from its start, so that every
 * statement of a step must bear that (IF NOT EXISTS). One process migrates at a time. A data base that a newer version
 * has migrated is refused.
 */
import { SubletError } from "../../common/errors.ts";
import type { Database, Dialect, Statements } from "./database.ts";

type Step = (dialect: Dialect) => readonly string[];

const steps: readonly Step[] = [
  ({ text, integer, real, tableEnd, name }) => [
    `CREATE TABLE IF NOT EXISTS usage_record (
      lease_id ${text(63)}, slice ${integer}, node ${text(64)}, uid ${integer}, account ${text(255)},
      job_id ${integer}, slurm_partition ${text(255)}, class ${text(16)}, kind ${text(16)}, cores ${integer},
      memory_bytes ${integer}, core_seconds ${real}, byte_seconds ${real}, invocations ${integer},
      state ${text(16)}, reason ${text(32)}, begin_unix_ms ${integer}, end_unix_ms ${integer},
      stored_unix_ms ${integer}, PRIMARY KEY (lease_id, slice)) ${tableEnd}`,
    `CREATE INDEX IF NOT EXISTS usage_record_end ON usage_record (end_unix_ms)`,
    // The sums, kept in the transaction that stores the records. account first: quotas ask for a day by account.
    `CREATE TABLE IF NOT EXISTS usage_day (
      day ${name === "sqlite" ? "TEXT NOT NULL" : "CHAR(10) CHARACTER SET ascii NOT NULL"}, account ${text(255)},
      uid ${integer}, leases ${integer}, core_seconds ${real}, byte_seconds ${real}, invocations ${integer},
      PRIMARY KEY (day, account, uid)) ${tableEnd}`,
    `CREATE TABLE IF NOT EXISTS usage_user (uid ${integer}, name ${text(255)}, PRIMARY KEY (uid)) ${tableEnd}`,
  ],
];

export const schemaVersion = steps.length;

async function versionOf(statements: Statements): Promise<number> {
  const [row] = await statements.all("SELECT MAX(version) AS version FROM schema_version");
  return Number(row?.version ?? 0);
}

/** @throws SubletError FAILED_PRECONDITION when the data base is of a newer version. */
export async function migrate(database: Database, nowUnixMs: number): Promise<void> {
  const { dialect, place } = database;
  await database.all(
    `CREATE TABLE IF NOT EXISTS schema_version (
      version ${dialect.integer}, migrated_unix_ms ${dialect.integer}, PRIMARY KEY (version)) ${dialect.tableEnd}`,
  );
  const version = await versionOf(database);
  if (version > schemaVersion)
    throw new SubletError(
      "FAILED_PRECONDITION",
      `accounting: ${place} has schema ${version}, this version knows ${schemaVersion}: install the newer sublet-controller again, or name another data base`,
    );
  for (let next = version + 1; next <= schemaVersion; next++)
    await database.transaction(async (statements) => {
      if ((await versionOf(statements)) >= next) return; // Another controller was faster.
      for (const sql of steps[next - 1]?.(dialect) ?? []) await statements.all(sql);
      await statements.all(
        `${dialect.insertNew} INTO schema_version (version, migrated_unix_ms) VALUES (?, ?) ${dialect.insertNewEnd}`,
        [next, nowUnixMs],
      );
    });
}
