/** HTTPS: what certificate and key are refused for, what browsers are told, and a certificate that is renewed under way. */
import assert from "node:assert/strict";
import { chmodSync, copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import type { IncomingMessage } from "node:http";
import { request as httpRequest } from "node:http";
import { request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { Days } from "../../../src/common/days.ts";
import { HistoryStore } from "../../../src/dashboard/history.ts";
import { serveDashboard } from "../../../src/dashboard/server.ts";
import { readTls } from "../../../src/dashboard/tls.ts";
import { certificate } from "./certificates.ts";
import { source } from "./samples.ts";

const folder = mkdtempSync(join(tmpdir(), "sublet-dashboard-tls-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const ours = certificate(folder, "ours");
const other = certificate(folder, "other");

describe("certificate and key", () => {
  it("are read when they belong together", () => {
    const { endsUnixMs, key } = readTls(ours);
    assert.ok(Math.abs(endsUnixMs - Date.now() - 2 * 86_400_000) < 3_600_000);
    assert.match(key.toString(), /PRIVATE KEY/);
  });
  const file = (name: string, text: string, mode: number): string => {
    const path = join(folder, name);
    writeFileSync(path, text);
    chmodSync(path, mode);
    return path;
  };
  const open = join(folder, "open.key");
  copyFileSync(ours.keyFile, open);
  chmodSync(open, 0o644);
  const written = join(folder, "written.key");
  copyFileSync(ours.keyFile, written);
  chmodSync(written, 0o660);
  const half = readFileSync(ours.certFile, "utf8").slice(0, 300);
  for (const [what, files, why] of [
    ["a file that is not there", { certFile: "/nowhere.pem" }, /cert_file \/nowhere\.pem: is not there/],
    ["a folder", { certFile: folder }, /cert_file .*: is no file/],
    ["a key of another", { keyFile: other.keyFile }, /is not the key of .*ours\.pem/],
    ["a key that every user reads", { keyFile: open }, /every user may use it \(mode 0644\): chmod 640/],
    ["a key that a group changes", { keyFile: written }, /its group may change it \(mode 0660\)/],
    ["a half-written certificate", { certFile: file("half.pem", half, 0o644) }, /holds no certificate/],
    ["a certificate as key", { keyFile: file("cert.key", half, 0o600) }, /holds no private key in PEM/],
    [
      "a key with a passphrase",
      { keyFile: file("locked.key", "-----BEGIN ENCRYPTED PRIVATE KEY-----\n", 0o600) },
      /has a passphrase/,
    ],
  ] as const)
    it(`are refused: ${what}`, () => {
      assert.throws(() => readTls({ ...ours, ...files }), { code: "FAILED_PRECONDITION", message: why });
    });
});

describe("the dashboard over HTTPS", () => {
  it("tells browsers to stay with it, gives cookies that nothing else gets, and renews its certificate", async () => {
    const dashboard = await serveDashboard({
      listen: "127.0.0.1:0",
      source: source(),
      history: await HistoryStore.open({ file: undefined, onTrouble: assert.fail }),
      cluster: "test",
      version: "1",
      price: undefined,
      days: new Days("UTC"),
      pagesDir: folder,
      tls: readTls(ours),
      hstsSeconds: 86_400,
    });
    const port = Number(dashboard.address.split(":")[1]);
    const ask = (ca: Buffer, path: string, body?: object, headers = {}) =>
      new Promise<IncomingMessage>((resolve, reject) => {
        const options = { host: "127.0.0.1", port, ca, agent: false, path: `/api/v1/${path}` };
        const method = body === undefined ? "GET" : "POST";
        const asked = request({ ...options, method, headers }, (answer) => resolve(answer.resume()));
        asked.on("error", reject);
        asked.end(body === undefined ? undefined : JSON.stringify(body));
      });
    const json = { "content-type": "application/json", origin: `https://127.0.0.1:${port}` };
    try {
      const read = await ask(ours.ca, "summary");
      assert.equal(read.statusCode, 200);
      assert.equal(read.headers["strict-transport-security"], "max-age=86400");
      const entered = await ask(ours.ca, "login", { credential: "root" }, json);
      const cookie = entered.headers["set-cookie"]?.[0] ?? "";
      assert.match(
        cookie,
        /^__Host-sublet_session=[\w-]{43}; Path=\/; HttpOnly; SameSite=Strict; .*; Secure$/,
      );
      const headers = { ...json, cookie: cookie.split(";")[0] };
      const drain = { all: true, reason: "test" };
      assert.equal((await ask(ours.ca, "drain", drain, headers)).statusCode, 200);
      const plain = { ...headers, cookie: headers.cookie?.replace("__Host-", "") };
      assert.equal(
        (await ask(ours.ca, "drain", drain, plain)).statusCode,
        401,
        "a name of plain HTTP is none",
      );
      const downgraded = { ...headers, origin: `http://127.0.0.1:${port}` };
      assert.equal((await ask(ours.ca, "drain", drain, downgraded)).statusCode, 403);

      dashboard.renew(readTls(other));
      await assert.rejects(ask(ours.ca, "summary"), /self-signed|certificate/);
      assert.equal((await ask(other.ca, "summary")).statusCode, 200);

      await assert.rejects(
        new Promise((resolve, reject) => {
          httpRequest({ host: "127.0.0.1", port }, resolve).on("error", reject).end();
        }),
        /hang up|ECONNRESET|Parse/i,
      );
      assert.equal((await ask(other.ca, "summary")).statusCode, 200, "plain HTTP on the port harms nobody");
    } finally {
      await dashboard.close();
    }
  });
});
