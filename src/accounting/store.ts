/**
 * Usage records in a data base. A record is stored once, whoever sends it how often: its key is the table's. The sums by
 * day, account and user are kept in the transaction that stores the record, so that they hold what the records hold; what
 * spans midnight is divided. Leases and invocations count in the day of a record's end and begin: see `add`.
 */

import type { Days } from "../common/days.ts";
import type { UsageRecord } from "../common/nouns.ts";
import { usageKey } from "../common/nouns.ts";
import type { Database, Row, Statements, Value } from "./db/database.ts";

export type UsageGroup = "day" | "user" | "account";

export interface UsageQuery {
  /** Both counted. */
  readonly fromDay: string;
  readonly toDay: string;
  readonly groupBy: readonly UsageGroup[];
  readonly uid?: number;
  readonly user?: string;
  readonly account?: string;
  readonly limit?: number;
}

export interface UsageRow {
  /** Empty unless grouped by it; so are the next three. */
  readonly day: string;
  readonly uid: number;
  /** The uid as text where no name is known. */
  readonly user: string;
  readonly account: string;
  /** Leases that began. */
  readonly leases: number;
  readonly coreSeconds: number;
  readonly byteSeconds: number;
  readonly invocations: number;
}

export interface Stored {
  readonly stored: number;
  /** Were there already. */
  readonly duplicates: number;
}

interface Sum {
  day: string;
  account: string;
  uid: number;
  leases: number;
  coreSeconds: number;
  byteSeconds: number;
  invocations: number;
}

const columns =
  "lease_id, slice, node, uid, account, job_id, slurm_partition, class, kind, cores, memory_bytes, core_seconds, byte_seconds, invocations, state, reason, begin_unix_ms, end_unix_ms, stored_unix_ms";
const rowsPerStatement = 100;
const deletedPerStatement = 2_000;

function valuesOf(record: UsageRecord, nowUnixMs: number): Value[] {
  return [
    record.leaseId,
    record.slice,
    record.node,
    record.uid,
    record.account,
    record.jobId,
    record.partition,
    record.class,
    record.kind,
    record.cores,
    record.memoryBytes,
    record.coreSeconds,
    record.byteSeconds,
    record.invocations,
    record.state,
    record.reason ?? "",
    Math.round(record.beginUnixMs),
    Math.round(record.endUnixMs),
    Math.round(nowUnixMs),
  ];
}

function* chunks<T>(items: readonly T[], size: number): Generator<readonly T[]> {
  for (let at = 0; at < items.length; at += size) yield items.slice(at, at + size);
}

function tuples(count: number, width: number): string {
  const tuple = `(${Array(width).fill("?").join(",")})`;
  return Array(count).fill(tuple).join(",");
}

/** A total order that both controllers of one data base keep, so that they do not lock each other out. */
const byText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

export class Store {
  readonly #database: Database;
  readonly #days: Days;

  constructor(database: Database, days: Days) {
    this.#database = database;
    this.#days = days;
  }

  /** Stores all of them or none. `names`: users by uid, as far as known. */
  async insert(
    records: readonly UsageRecord[],
    names: ReadonlyMap<number, string>,
    nowUnixMs: number,
  ): Promise<Stored> {
    const byKey = new Map(records.map((record) => [usageKey(record), record]));
    const sorted = [...byKey].sort(([a], [b]) => byText(a, b)).map(([, record]) => record);
    return await this.#database.transaction(async (statements) => {
      const fresh: UsageRecord[] = [];
      for (const chunk of chunks(sorted, rowsPerStatement))
        for (const row of await this.#insertNew(statements, chunk, nowUnixMs)) {
          const record = byKey.get(`${row.lease_id}/${row.slice}`);
          if (record !== undefined) fresh.push(record);
        }
      const sums = new Map<string, Sum>();
      for (const record of fresh) this.#add(sums, record);
      await this.#addUp(
        statements,
        [...sums].sort(([a], [b]) => byText(a, b)).map(([, sum]) => sum),
      );
      await this.#nameUsers(statements, fresh, names);
      return { stored: fresh.length, duplicates: records.length - fresh.length };
    });
  }

  async #insertNew(
    statements: Statements,
    records: readonly UsageRecord[],
    nowUnixMs: number,
  ): Promise<Row[]> {
    const { insertNew, insertNewEnd } = this.#database.dialect;
    const values = records.flatMap((record) => valuesOf(record, nowUnixMs));
    const width = values.length / records.length;
    return await statements.all(
      `${insertNew} INTO usage_record (${columns}) VALUES ${tuples(records.length, width)} ${insertNewEnd} RETURNING lease_id, slice`,
      values,
    );
  }

  #add(sums: Map<string, Sum>, record: UsageRecord): void {
    const { account, uid } = record;
    const parts = this.#days.split(record.beginUnixMs, record.endUnixMs);
    for (const [index, { day, share }] of parts.entries()) {
      const key = `${day} ${account} ${uid}`;
      const sum = sums.get(key) ?? {
        ...{ day, account, uid },
        ...{ leases: 0, coreSeconds: 0, byteSeconds: 0, invocations: 0 },
      };
      sums.set(key, sum);
      sum.coreSeconds += share * record.coreSeconds;
      sum.byteSeconds += share * record.byteSeconds;
      if (index === 0 && record.slice === 0) sum.leases += 1;
      if (index === parts.length - 1) sum.invocations += record.invocations;
    }
  }

  async #addUp(statements: Statements, sums: readonly Sum[]): Promise<void> {
    const added = ["leases", "core_seconds", "byte_seconds", "invocations"];
    const onConflict = this.#database.dialect.onConflict("day, account, uid", (incoming) =>
      added.map((column) => `${column} = usage_day.${column} + ${incoming(column)}`).join(", "),
    );
    for (const chunk of chunks(sums, rowsPerStatement))
      await statements.all(
        `INSERT INTO usage_day (day, account, uid, leases, core_seconds, byte_seconds, invocations) VALUES ${tuples(chunk.length, 7)} ${onConflict}`,
        chunk.flatMap((sum) => [
          sum.day,
          sum.account,
          sum.uid,
          sum.leases,
          sum.coreSeconds,
          sum.byteSeconds,
          sum.invocations,
        ]),
      );
  }

  async #nameUsers(
    statements: Statements,
    records: readonly UsageRecord[],
    names: ReadonlyMap<number, string>,
  ): Promise<void> {
    const uids = [...new Set(records.map(({ uid }) => uid))].sort((a, b) => a - b);
    const known = uids.flatMap((uid) => {
      const name = names.get(uid);
      return name === undefined ? [] : [[uid, name] as const];
    });
    const onConflict = this.#database.dialect.onConflict("uid", (incoming) => `name = ${incoming("name")}`);
    for (const chunk of chunks(known, rowsPerStatement))
      await statements.all(
        `INSERT INTO usage_user (uid, name) VALUES ${tuples(chunk.length, 2)} ${onConflict}`,
        chunk.flat(),
      );
  }

  /** Sums, by day, then account, then user. */
  async usage(query: UsageQuery): Promise<UsageRow[]> {
    const named = { day: "d.day", account: "d.account", user: "d.uid" } as const;
    const order = (["day", "account", "user"] as const).filter((group) => query.groupBy.includes(group));
    const keys = order.map((group) => named[group]);
    const [where, values] = conditions(query);
    const rows = await this.#database.all(
      `SELECT ${[...keys, order.includes("user") ? "MAX(u.name) AS name" : "NULL AS name"].join(", ")},
        SUM(d.leases) AS leases, SUM(d.core_seconds) AS core_seconds,
        SUM(d.byte_seconds) AS byte_seconds, SUM(d.invocations) AS invocations
      FROM usage_day d LEFT JOIN usage_user u ON u.uid = d.uid WHERE ${where}
      ${keys.length === 0 ? "" : `GROUP BY ${keys.join(", ")} ORDER BY ${keys.join(", ")}`}
      LIMIT ${Math.max(1, Math.floor(query.limit ?? 100_000))}`,
      values,
    );
    // Without groups SQL gives one row of nulls for nothing at all.
    return rows.filter(({ leases }) => leases !== null).map((row) => rowOf(row, order.includes("user")));
  }

  /** Core-seconds of a day by account. */
  async usedOn(day: string): Promise<Map<string, number>> {
    const rows = await this.usage({ fromDay: day, toDay: day, groupBy: ["account"] });
    return new Map(rows.map(({ account, coreSeconds }) => [account, coreSeconds]));
  }

  /** Removes what ended before; gives how many records that were. */
  async forget(recordsBeforeUnixMs: number, totalsBeforeDay: string): Promise<number> {
    let removed = 0;
    for (;;) {
      const rows = await this.#database.transaction(async (statements) => {
        const old = await statements.all(
          `SELECT lease_id, slice FROM usage_record WHERE end_unix_ms < ? ORDER BY end_unix_ms LIMIT ${deletedPerStatement}`,
          [recordsBeforeUnixMs],
        );
        for (const chunk of chunks(old, rowsPerStatement))
          await statements.all(
            `DELETE FROM usage_record WHERE ${chunk.map(() => "(lease_id = ? AND slice = ?)").join(" OR ")}`,
            chunk.flatMap(({ lease_id, slice }) => [lease_id ?? "", slice ?? 0]),
          );
        return old.length;
      });
      removed += rows;
      if (rows < deletedPerStatement) break;
    }
    await this.#database.all("DELETE FROM usage_day WHERE day < ?", [totalsBeforeDay]);
    return removed;
  }
}

function conditions(query: UsageQuery): [string, Value[]] {
  const where = ["d.day >= ?", "d.day <= ?"];
  const values: Value[] = [query.fromDay, query.toDay];
  if (query.account !== undefined) {
    where.push("d.account = ?");
    values.push(query.account);
  }
  if (query.uid !== undefined) {
    where.push("d.uid = ?");
    values.push(query.uid);
  }
  if (query.user !== undefined) {
    where.push("u.name = ?");
    values.push(query.user);
  }
  return [where.join(" AND "), values];
}

function rowOf(row: Row, byUser: boolean): UsageRow {
  const uid = Number(row.uid ?? 0);
  const name = row.name ?? (uid === 0 ? "root" : String(uid));
  return {
    day: String(row.day ?? ""),
    uid,
    user: byUser ? String(name) : "",
    account: String(row.account ?? ""),
    leases: Number(row.leases),
    coreSeconds: Number(row.core_seconds),
    byteSeconds: Number(row.byte_seconds),
    invocations: Number(row.invocations),
  };
}
