/** Mutual TLS: who shows no certificate of the authority is not let in, at either end. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, it } from "node:test";
import type { TlsFiles } from "../../../src/rpc/channel.ts";
import { connectNode } from "../../../src/rpc/client.ts";
import type { Identity } from "../../../src/rpc/identity.ts";
import { type NodeHandlers, serve } from "../../../src/rpc/server.ts";

const folder = mkdtempSync(join(tmpdir(), "sublet-tls-"));
after(() => rmSync(folder, { recursive: true }));

function openssl(...args: string[]): void {
  execFileSync("openssl", args, { cwd: folder, stdio: "pipe", timeout: 30_000 });
}

const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

/** An authority and one certificate that it signed for this host. */
function authority(name: string): TlsFiles {
  const file = (part: string): string => join(folder, `${name}-${part}.pem`);
  openssl(
    "req",
    "-x509",
    ...curve,
    "-keyout",
    file("ca-key"),
    "-out",
    file("ca"),
    "-days",
    "2",
    "-subj",
    `/CN=${name}`,
  );
  openssl("req", ...curve, "-keyout", file("key"), "-out", file("csr"), "-subj", "/CN=node");
  writeFileSync(file("ext"), "subjectAltName=IP:127.0.0.1\n");
  openssl(
    ...["x509", "-req", "-in", file("csr"), "-CA", file("ca"), "-CAkey", file("ca-key"), "-CAcreateserial"],
    ...["-out", file("cert"), "-days", "2", "-extfile", file("ext")],
  );
  return { caFile: file("ca"), certFile: file("cert"), keyFile: file("key") };
}

const identity: Identity = { credential: async () => "root", verify: async () => ({ uid: 0, gid: 0 }) };
const unused = async (): Promise<never> => assert.fail("not used");

it("lets in who shows a certificate of the same authority, and nobody else", async () => {
  const ours = authority("ours");
  const theirs = authority("theirs");
  const node: NodeHandlers = {
    grant: unused,
    renew: unused,
    release: unused,
    listLeases: unused,
    drain: unused,
    resume: unused,
    reclaim: unused,
    getHealth: unused,
    getNode: async () => ({ findings: { let: "in" } }),
  };
  const server = await serve({ listen: "127.0.0.1:0", identity, trustedUids: [0], node, tls: ours });
  const ask = async (tls: TlsFiles | undefined): Promise<string | undefined> => {
    const client = connectNode(server.address, { identity, tls, timeoutMs: 5_000 });
    try {
      return (await client.getNode({})).findings.let;
    } finally {
      client.close();
    }
  };
  try {
    assert.equal(await ask(ours), "in");
    await assert.rejects(ask(theirs), { code: "UNAVAILABLE" });
    await assert.rejects(ask({ ...theirs, caFile: ours.caFile }), { code: "UNAVAILABLE" });
    await assert.rejects(ask(undefined), { code: "UNAVAILABLE" });
    assert.throws(() => connectNode("a:1", { identity, tls: { ...ours, keyFile: "/no/key" } }), {
      code: "FAILED_PRECONDITION",
      message: /\/no\/key cannot be read/,
    });
  } finally {
    await server.close();
  }
});
