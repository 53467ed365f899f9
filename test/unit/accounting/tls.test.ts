/** TLS to MariaDB, with an authority made here: what is encrypted, which certificates are refused, and what is said then. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { openMariadb } from "../../../src/accounting/db/mariadb.ts";
import type { DatabaseTls, MariadbConfig } from "../../../src/config/accounting.ts";
import { startMariadb, whyNoMariadb } from "./mariadb-server.ts";

const skip = whyNoMariadb() ?? false;
const folder = mkdtempSync(join(tmpdir(), "sublet-tls-"));
chmodSync(folder, 0o755); // The server is another user.
after(() => rmSync(folder, { recursive: true, force: true }));
const at = (name: string): string => join(folder, name);
const openssl = (...args: string[]): void =>
  void execFileSync("openssl", args, { stdio: ["ignore", "ignore", "pipe"] });
const newKey = (name: string): string[] => [
  "-newkey",
  "ec",
  "-pkeyopt",
  "ec_paramgen_curve:P-256",
  "-nodes",
  "-keyout",
  at(name),
];

function authority(name: string): void {
  const subject = ["-subj", `/CN=${name}`, "-days", "2"];
  openssl("req", "-x509", ...newKey(`${name}.key`), ...subject, "-out", at(`${name}.pem`));
}

/** A server's certificate for one host, signed by an authority. */
function certificate(name: string, host: string, by: string): void {
  writeFileSync(at(`${name}.ext`), `subjectAltName=DNS:${host}\n`);
  openssl("req", ...newKey(`${name}.key`), "-subj", `/CN=${host}`, "-out", at(`${name}.csr`));
  const signer = ["-CA", at(`${by}.pem`), "-CAkey", at(`${by}.key`), "-CAcreateserial", "-days", "2"];
  openssl(
    "x509",
    "-req",
    "-in",
    at(`${name}.csr`),
    ...signer,
    "-extfile",
    at(`${name}.ext`),
    "-out",
    at(`${name}.pem`),
  );
  chmodSync(at(`${name}.key`), 0o644);
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function server(...more: string[]): Promise<(tls: DatabaseTls | undefined) => Promise<string>> {
  const port = await freePort();
  const { sql, kill } = await startMariadb([`--port=${port}`, "--bind-address=127.0.0.1", ...more]);
  after(kill);
  sql(
    "create database there; create user sublet@'%' identified by 'secret'; grant all on there.* to sublet@'%'",
  );
  /** The cipher of the connection; "" where there is none. */
  return async (tls) => {
    const plain = { user: "sublet", host: "localhost", port, socket: undefined, database: "there" };
    const config: MariadbConfig = { ...plain, passwordFile: undefined, tls };
    const database = await openMariadb(config, `mariadb localhost:${port} there`, {
      SUBLET_ACCOUNTING_PASSWORD: "secret",
    });
    const [row] = await database.all("SHOW SESSION STATUS LIKE 'Ssl_cipher'");
    await database.close();
    return String(row?.Value);
  };
}

test("a data base is reached over TLS when its certificate is good, and refused with the reason when it is not", {
  skip,
}, async () => {
  authority("site");
  authority("stranger");
  certificate("db", "localhost", "site");
  certificate("other", "db.elsewhere", "site");
  const full = { caFile: at("site.pem"), verifyHost: true };
  const good = await server(`--ssl-cert=${at("db.pem")}`, `--ssl-key=${at("db.key")}`);
  assert.notEqual(await good(full), "");
  assert.notEqual(await good({ ...full, verifyHost: false }), "");
  assert.equal(await good(undefined), "", "nobody asked for it");
  await assert.rejects(good({ ...full, caFile: at("stranger.pem") }), {
    code: "UNAVAILABLE",
    message:
      /the certificate of mariadb localhost:\d+ there is refused: .*stranger\.pem must hold the authority/,
  });
  await assert.rejects(good({ ...full, caFile: at("none.pem") }), {
    code: "UNAVAILABLE",
    message: /tls_ca_file .*none\.pem cannot be read: .*ENOENT/,
  });

  const named = await server(`--ssl-cert=${at("other.pem")}`, `--ssl-key=${at("other.key")}`);
  await assert.rejects(named(full), {
    code: "UNAVAILABLE",
    message: /is refused: Hostname.*does not match.*db\.elsewhere.*it must name the host of accounting\.url/,
  });
  assert.notEqual(await named({ ...full, verifyHost: false }), "", "only the authority is asked for");

  const bare = await server("--skip-ssl");
  await assert.rejects(bare(full), {
    code: "UNAVAILABLE",
    message: /offers no TLS: give it ssl_cert and ssl_key/,
  });
});
