/** [accounting] of controller.toml: where usage is stored, for how long, and what accounts may use in a day. */
import { isIP } from "node:net";
import * as z from "zod";
import { localTimeZone } from "../common/days.ts";
import { SubletError } from "../common/errors.ts";
import { live, secret, secretFile } from "./meta.ts";

const days = z.int().min(1).max(36_500);

function isTimeZone(name: string): boolean {
  try {
    return new Intl.DateTimeFormat("en", { timeZone: name }).resolvedOptions().timeZone !== "";
  } catch {
    return false;
  }
}

export const accountingSchema = z
  .strictObject({
    enabled: z.boolean().default(true).describe("false: what agents tell is taken and forgotten"),
    url: z
      .string()
      .regex(
        /^(mariadb|mysql):\/\//,
        'expected "mariadb://USER@HOST:PORT/DATABASE", or "...?socket=/path" for a unix socket',
      )
      .optional()
      .describe("a MariaDB 10.5 or newer; default: SQLite, in the file sublet.db below state_dir")
      .meta(secret)
      .meta({ example: "mariadb://sublet@db/sublet" }),
    password_file: z
      .string()
      .regex(/^\//, "expected an absolute path")
      .optional()
      .describe("holds MariaDB's password in its first line; else SUBLET_ACCOUNTING_PASSWORD has it")
      .meta(secretFile)
      .meta({ example: "/etc/sublet/accounting-password" }),
    tls: z
      .enum(["off", "verify-ca", "verify-full"])
      .default("off")
      .describe(
        "how MariaDB is reached over the network: as it is; encrypted, its certificate signed by tls_ca_file; the same, and the certificate names the host of url",
      ),
    tls_ca_file: z
      .string()
      .regex(/^\//, "expected an absolute path")
      .optional()
      .describe(
        "PEM of the authorities that may sign MariaDB's certificate; /etc/ssl/certs/ca-certificates.crt has those that this machine trusts",
      )
      .meta({ example: "/etc/sublet/mariadb-ca.pem" }),
    time_zone: z
      .string()
      .refine(isTimeZone, 'expected a time zone as "Europe/Zurich"')
      .optional()
      .describe("where days begin; default: this machine's")
      .meta({ example: "Europe/Zurich" }),
    retention_days: days.default(400).describe("single records are kept for so long").meta(live),
    totals_retention_days: days
      .default(3650)
      .describe("sums by day, user and account are kept for so long; what `sublet usage` and quotas read")
      .meta(live),
    quota: z
      .record(z.string().min(1).max(255), z.number().min(0))
      .default({})
      .describe(
        'core-seconds that a Slurm account may use in a day, by its name; "*" is any other account, "-" leases without an account',
      )
      .meta(live),
  })
  .prefault({})
  .describe("what is kept about leases after they have ended");

export const agentAccountingSchema = z
  .strictObject({
    slice_ms: z
      .int()
      .min(1_000)
      .max(86_400_000)
      .default(300_000)
      .describe("what a lease holds is told at its end, and after this while it lives"),
    spool_mib: z
      .int()
      .min(1)
      .max(1_024)
      .default(8)
      .describe(
        "usage that no controller has acknowledged is kept up to this size, in memory and in reclaim.state_dir",
      ),
  })
  .prefault({})
  .describe("what is told about leases");

export interface AgentAccountingConfig {
  readonly sliceMs: number;
  readonly spoolBytes: number;
}

export interface AccountingConfig {
  readonly enabled: boolean;
  /** undefined: SQLite. */
  readonly mariadb: MariadbConfig | undefined;
  readonly timeZone: string;
  readonly retentionDays: number;
  readonly totalsRetentionDays: number;
  /** Core-seconds a day by account. */
  readonly quota: Readonly<Record<string, number>>;
}

export interface MariadbConfig {
  readonly user: string;
  readonly host: string;
  readonly port: number;
  /** Of a unix socket, in place of host and port. */
  readonly socket: string | undefined;
  readonly database: string;
  readonly passwordFile: string | undefined;
  /** undefined: not encrypted. */
  readonly tls: DatabaseTls | undefined;
}

export interface DatabaseTls {
  readonly caFile: string;
  /** The certificate must name the host, too. */
  readonly verifyHost: boolean;
}

type Raw = z.output<typeof accountingSchema>;

function tlsConfig({ tls, tls_ca_file: caFile }: Raw, url: URL, path: string): DatabaseTls | undefined {
  const bad = (key: string, why: string): SubletError =>
    new SubletError("INVALID_ARGUMENT", `${path}: accounting.${key}: ${why}`);
  if (tls === "off") {
    if (caFile !== undefined)
      throw bad("tls_ca_file", 'nobody looks at it while tls is "off"; set tls = "verify-full"');
    return undefined;
  }
  if (url.searchParams.has("socket"))
    throw bad("tls", "a unix socket is not encrypted; take one of the two out");
  if (caFile === undefined)
    throw bad("tls", "wants tls_ca_file, the PEM of the authority that signed MariaDB's certificate");
  if (tls === "verify-full" && isIP(url.hostname.replace(/^\[|\]$/g, "")) !== 0)
    throw bad("tls", `"verify-full" compares names: give url the host's name in place of ${url.hostname}`);
  return { caFile, verifyHost: tls === "verify-full" };
}

function mariadbConfig(text: string, raw: Raw, path: string): MariadbConfig {
  const bad = (why: string): SubletError =>
    new SubletError("INVALID_ARGUMENT", `${path}: accounting.url: ${why}`);
  let url: URL;
  try {
    // Of a scheme that is not the web's, URL does not read the host's port.
    url = new URL(text.replace(/^(mariadb|mysql):/, "http:"));
  } catch {
    throw bad("it is no URL");
  }
  if (url.password !== "")
    throw bad("it holds a password; write that into password_file or SUBLET_ACCOUNTING_PASSWORD");
  const database = decodeURIComponent(url.pathname.slice(1));
  if (!/^[A-Za-z0-9_$-]{1,64}$/.test(database))
    throw bad("it names no data base: mariadb://USER@HOST/DATABASE");
  const strange = [...url.searchParams.keys()].filter((key) => key !== "socket");
  if (strange.length > 0) throw bad(`${strange.join(", ")}: only socket may follow the question mark`);
  return {
    user: decodeURIComponent(url.username) || "sublet",
    host: url.hostname,
    port: url.port === "" ? 3306 : Number(url.port),
    socket: url.searchParams.get("socket") ?? undefined,
    database,
    passwordFile: raw.password_file,
    tls: tlsConfig(raw, url, path),
  };
}

/** @throws SubletError INVALID_ARGUMENT; `path` names the file in its message. */
export function accountingConfig(raw: Raw, path: string): AccountingConfig {
  if (raw.url === undefined && (raw.tls !== "off" || raw.tls_ca_file !== undefined))
    throw new SubletError(
      "INVALID_ARGUMENT",
      `${path}: accounting.tls: the accounting is in SQLite, a file here; set accounting.url, or take tls and tls_ca_file out`,
    );
  return {
    enabled: raw.enabled,
    mariadb: raw.url === undefined ? undefined : mariadbConfig(raw.url, raw, path),
    timeZone: raw.time_zone ?? localTimeZone(),
    retentionDays: raw.retention_days,
    totalsRetentionDays: raw.totals_retention_days,
    quota: raw.quota,
  };
}
