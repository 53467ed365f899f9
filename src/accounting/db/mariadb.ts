/**
 * MariaDB by mysql2: one connection, statements prepared by the server, strict mode. Loaded only where settings name one.
 * A connection that breaks or does not answer is over: whoever has it opens another.
 */
import { readFileSync } from "node:fs";
import type { Connection, SslOptions } from "mysql2/promise";
import { SubletError, toSubletError } from "../../common/errors.ts";
import type { MariadbConfig } from "../../config/accounting.ts";
import { type Database, mariadb, type Row, Serial, type Statements, type Value } from "./database.ts";

export const passwordVariable = "SUBLET_ACCOUNTING_PASSWORD";

const connectTimeoutMs = 5_000;
/** A server that is slower than this counts as away. */
const statementTimeoutMs = 30_000;
/** Two controllers that store at once may lock each other out: the server ends one of them, which begins again. */
const maxTries = 5;
const lockErrors: readonly unknown[] = ["ER_LOCK_DEADLOCK", "ER_LOCK_WAIT_TIMEOUT"];

function password({ passwordFile }: MariadbConfig, environment: NodeJS.ProcessEnv): string {
  if (passwordFile === undefined) return environment[passwordVariable] ?? "";
  return readFileSync(passwordFile, "utf8").split("\n")[0]?.trimEnd() ?? "";
}

/** For mysql2. @throws Error: a file cannot be read. */
function encryption({ tls }: MariadbConfig): { ssl?: SslOptions } {
  if (tls === undefined) return {};
  let ca: string;
  try {
    ca = readFileSync(tls.caFile, "utf8");
  } catch (cause) {
    throw new Error(`tls_ca_file ${tls.caFile} cannot be read: ${toSubletError(cause).message}`, { cause });
  }
  return { ssl: { ca, rejectUnauthorized: true, verifyIdentity: tls.verifyHost, minVersion: "TLSv1.2" } };
}

/** What to say of a connection that did not come about. */
function whyAway(thrown: unknown, place: string, { tls }: MariadbConfig): string {
  const { message } = toSubletError(thrown);
  const { code } = thrown as { code?: unknown };
  if (code === "HANDSHAKE_NO_SSL_SUPPORT")
    return `${place} offers no TLS: give it ssl_cert and ssl_key, or set accounting.tls = "off"`;
  if (code === "HANDSHAKE_SSL_ERROR")
    return `the certificate of ${place} is refused: ${message}; ${tls?.caFile} must hold the authority that signed it${tls?.verifyHost === true ? ", and it must name the host of accounting.url" : ""}`;
  return message;
}

/** Rejects with UNAVAILABLE. */
export async function openMariadb(
  config: MariadbConfig,
  place: string,
  environment: NodeJS.ProcessEnv = process.env,
): Promise<Database> {
  const { createConnection } = await import("mysql2/promise");
  const { user, host, port, socket, database } = config;
  const away = (thrown: unknown): SubletError =>
    new SubletError("UNAVAILABLE", `accounting: ${whyAway(thrown, place, config)}`, { cause: thrown });
  let connection: Connection;
  try {
    connection = await createConnection({
      ...(socket === undefined ? { host, port } : { socketPath: socket }),
      user,
      database,
      password: password(config, environment),
      ...encryption(config),
      connectTimeout: connectTimeoutMs,
      charset: "utf8mb4",
      // Sums of integers are decimals, which would be text.
      decimalNumbers: true,
      maxPreparedStatements: 256,
      enableKeepAlive: true,
    });
  } catch (thrown) {
    throw away(thrown);
  }
  // Told by the statement that meets it.
  connection.on("error", () => undefined);

  const serial = new Serial();

  async function send(sql: string, values: readonly Value[] = []): Promise<Row[]> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        connection.destroy();
        reject(new Error(`${place} did not answer within ${statementTimeoutMs} ms`));
      }, statementTimeoutMs);
    });
    try {
      const answer = connection.execute(sql, [...values]);
      const [rows] = await Promise.race([answer, late]);
      return Array.isArray(rows) ? (rows as Row[]) : [];
    } finally {
      clearTimeout(timer);
    }
  }

  /** Of the text protocol: what cannot be prepared. */
  async function command(sql: string): Promise<void> {
    await connection.query({ sql, timeout: statementTimeoutMs });
  }

  async function once<T>(body: (statements: Statements) => Promise<T>): Promise<T> {
    await command("START TRANSACTION");
    try {
      const result = await body({ all: send });
      await command("COMMIT");
      return result;
    } catch (thrown) {
      await command("ROLLBACK").catch(() => undefined); // What went wrong before is told.
      throw thrown;
    }
  }

  async function transact<T>(body: (statements: Statements) => Promise<T>): Promise<T> {
    for (let tries = 1; ; tries++)
      try {
        return await once(body);
      } catch (thrown) {
        if (tries === maxTries || !lockErrors.includes((thrown as { code?: unknown }).code)) throw thrown;
      }
  }

  try {
    await command("SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', time_zone = '+00:00'");
    await command("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED");
  } catch (thrown) {
    connection.destroy();
    throw away(thrown);
  }
  return {
    dialect: mariadb,
    place,
    all: (sql, values) => serial.run(() => send(sql, values)),
    transaction: (body) => serial.run(() => transact(body)),
    async close() {
      connection.destroy();
    },
  };
}
