/**
 * What the store needs of a data base: statements with `?`, transactions, one at a time. The two kinds differ in few
 * words of SQL, which are here.
 */

export type Value = string | number | null;
export type Row = Readonly<Record<string, Value>>;

export interface Statements {
  /** Runs one statement and gives its rows (none for one that has none). */
  all(sql: string, values?: readonly Value[]): Promise<Row[]>;
}

export interface Database extends Statements {
  readonly dialect: Dialect;
  /** For logs: without secrets. */
  readonly place: string;
  /** All of it or nothing. Rejects with what the body threw. */
  transaction<T>(body: (statements: Statements) => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

export interface Dialect {
  readonly name: "sqlite" | "mariadb";
  /** Between INSERT and INTO, so that rows whose key is there are left out. */
  readonly insertNew: string;
  /** Behind the values, for the same. */
  readonly insertNewEnd: string;
  /** After the values of an INSERT: what happens to a row whose key is there. */
  onConflict(key: string, changes: (incoming: (column: string) => string) => string): string;
  /** Text of that many characters at most, told apart by each byte. */
  text(characters: number): string;
  readonly integer: string;
  readonly real: string;
  readonly tableEnd: string;
}

export const sqlite: Dialect = {
  name: "sqlite",
  insertNew: "INSERT",
  insertNewEnd: "ON CONFLICT DO NOTHING",
  onConflict: (key, changes) =>
    `ON CONFLICT (${key}) DO UPDATE SET ${changes((column) => `excluded.${column}`)}`,
  text: () => "TEXT NOT NULL",
  integer: "INTEGER NOT NULL",
  real: "REAL NOT NULL",
  tableEnd: "STRICT, WITHOUT ROWID",
};

export const mariadb: Dialect = {
  name: "mariadb",
  insertNew: "INSERT IGNORE",
  insertNewEnd: "",
  onConflict: (_key, changes) => `ON DUPLICATE KEY UPDATE ${changes((column) => `VALUES(${column})`)}`,
  text: (characters) => `VARCHAR(${characters}) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL`,
  integer: "BIGINT NOT NULL",
  real: "DOUBLE NOT NULL",
  tableEnd: "ENGINE=InnoDB",
};

/** Runs bodies one after the other. */
export class Serial {
  #tail: Promise<unknown> = Promise.resolve();

  run<T>(body: () => Promise<T>): Promise<T> {
    const result = this.#tail.then(body);
    this.#tail = result.catch(() => undefined); // Whoever asked for it is told.
    return result;
  }
}
