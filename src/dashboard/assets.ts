/** The built pages, read once: small, and what is served is what was there at the start. Nothing outside can be asked for. */
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { extname, join } from "node:path";

const types: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml",
  ".png": "image/png",
  ".woff2": "font/woff2",
  ".txt": "text/plain; charset=utf-8",
};

export interface Asset {
  readonly type: string;
  readonly etag: string;
  /** Its name says its content: it may be kept for ever. */
  readonly immutable: boolean;
  readonly body: Buffer;
  readonly gzip: Buffer | undefined;
  readonly brotli: Buffer | undefined;
}

/** By path, "/index.html". Empty when the pages were not built. */
export function loadAssets(folder: string): Map<string, Asset> {
  const assets = new Map<string, Asset>();
  const walk = (inside: string): void => {
    for (const name of readdirSync(join(folder, inside))) {
      const path = `${inside}/${name}`;
      if (statSync(join(folder, path)).isDirectory()) walk(path);
      else if (types[extname(name)] !== undefined) assets.set(path, readAsset(folder, path));
    }
  };
  if (existsSync(folder)) walk("");
  return assets;
}

function readAsset(folder: string, path: string): Asset {
  const file = join(folder, path);
  const packed = (ending: string): Buffer | undefined =>
    existsSync(`${file}${ending}`) ? readFileSync(`${file}${ending}`) : undefined;
  const body = readFileSync(file);
  return {
    type: types[extname(path)] ?? "application/octet-stream",
    etag: `"${createHash("sha256").update(body).digest("base64url").slice(0, 22)}"`,
    immutable: /-[A-Za-z0-9]{8,}\.[a-z0-9]+$/.test(path),
    body,
    gzip: packed(".gz"),
    brotli: packed(".br"),
  };
}
