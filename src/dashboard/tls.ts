/** The dashboard's certificate and key: read and checked as a whole, at the start, by --check-config and at each SIGHUP. */
import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { createSecureContext } from "node:tls";
import { SubletError } from "../common/errors.ts";
import type { TlsFiles } from "../config/dashboard.ts";

/** They belong together, and OpenSSL takes them. */
export interface TlsPair {
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly endsUnixMs: number;
}

function bad(what: string, path: string, why: string, cause?: unknown): SubletError {
  return new SubletError("FAILED_PRECONDITION", `dashboard.tls.${what} ${path}: ${why}`, { cause });
}

function read(what: "cert_file" | "key_file", path: string): Buffer {
  try {
    if (!statSync(path).isFile()) throw bad(what, path, "is no file");
    return readFileSync(path);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (cause instanceof SubletError) throw cause;
    const uid = process.getuid?.() ?? -1;
    if (code === "ENOENT") throw bad(what, path, "is not there", cause);
    if (code === "EACCES")
      throw bad(
        what,
        path,
        `uid ${uid} may not read it; give it to the controller's group: chgrp sublet, chmod 640`,
        cause,
      );
    throw bad(what, path, `cannot be read: ${(cause as Error).message}`, cause);
  }
}

/** A key that others may read or change is none. */
function checkOwner(path: string): void {
  const { mode, uid } = statSync(path);
  const octal = (mode & 0o777).toString(8).padStart(4, "0");
  if ((mode & 0o007) !== 0)
    throw bad("key_file", path, `every user may use it (mode ${octal}): chmod 640 or 600`);
  if ((mode & 0o020) !== 0)
    throw bad("key_file", path, `its group may change it (mode ${octal}): chmod 640 or 600`);
  const own = process.getuid?.() ?? 0;
  if (uid !== 0 && uid !== own)
    throw bad("key_file", path, `it belongs to uid ${uid}: chown it to root, or to uid ${own}`);
}

function certificateOf(path: string, cert: Buffer): X509Certificate {
  try {
    return new X509Certificate(cert);
  } catch (cause) {
    throw bad("cert_file", path, "holds no certificate in PEM", cause);
  }
}

function keyOf(path: string, key: Buffer): KeyObject {
  if (/ENCRYPTED/.test(key.toString("latin1")))
    throw bad(
      "key_file",
      path,
      "has a passphrase, and nobody is there to give it: openssl pkey takes it off",
    );
  try {
    return createPrivateKey(key);
  } catch (cause) {
    throw bad("key_file", path, "holds no private key in PEM", cause);
  }
}

/** @throws SubletError FAILED_PRECONDITION; its message names the key of the settings, the file, and what to do. */
export function readTls({ certFile, keyFile }: TlsFiles): TlsPair {
  const cert = read("cert_file", certFile);
  const key = read("key_file", keyFile);
  checkOwner(keyFile);
  const certificate = certificateOf(certFile, cert);
  if (!certificate.checkPrivateKey(keyOf(keyFile, key)))
    throw bad("key_file", keyFile, `is not the key of ${certFile}, whose first certificate is the server's`);
  try {
    createSecureContext({ cert, key });
  } catch (cause) {
    throw bad("cert_file", certFile, `is not taken by OpenSSL: ${(cause as Error).message}`, cause);
  }
  return { cert, key, endsUnixMs: certificate.validToDate.getTime() };
}
