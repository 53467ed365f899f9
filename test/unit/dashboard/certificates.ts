/** Self-signed certificates for tests, by openssl. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { TlsFiles } from "../../../src/config/dashboard.ts";

/** Of 127.0.0.1, for two days; the key is for its owner alone. */
export function certificate(folder: string, name: string): TlsFiles & { readonly ca: Buffer } {
  const certFile = join(folder, `${name}.pem`);
  const keyFile = join(folder, `${name}.key`);
  const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  const names = ["-subj", `/CN=${name}`, "-addext", "subjectAltName=IP:127.0.0.1"];
  const argv = ["req", "-x509", ...curve, "-keyout", keyFile, "-out", certFile, "-days", "2", ...names];
  execFileSync("openssl", argv, { stdio: "pipe", timeout: 30_000 });
  return { certFile, keyFile, ca: readFileSync(certFile) };
}
