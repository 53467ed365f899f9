/**
 * The built pages, read once into memory with what was compressed beside them: a request names a key of a map, never a
 * path of the file system. Names below assets/ carry their content's hash, so those may be kept for ever.
 */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { extname, join } from "node:path";

const types: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml",
  ".woff2": "font/woff2",
  ".txt": "text/plain; charset=utf-8",
};
const maxFiles = 200;
const maxFileBytes = 4 * 1024 * 1024;

interface Asset {
  readonly type: string;
  readonly etag: string;
  readonly cache: string;
  readonly plain: Buffer;
  readonly packed: readonly { readonly encoding: "br" | "gzip"; readonly bytes: Buffer }[];
}

export type Assets = ReadonlyMap<string, Asset>;

function read(folder: string, name: string): Buffer | undefined {
  try {
    return readFileSync(join(folder, name));
  } catch {
    return undefined;
  }
}

/** By path of the URL. Empty when nothing was built. */
export function readAssets(folder: string): Assets {
  const assets = new Map<string, Asset>();
  let names: string[];
  try {
    names = readdirSync(folder, { recursive: true, encoding: "utf8" });
  } catch {
    return assets;
  }
  for (const name of names) {
    const type = types[extname(name)];
    const plain = type === undefined || name.startsWith(".") ? undefined : read(folder, name);
    if (type === undefined || plain === undefined || plain.length > maxFileBytes) continue;
    if (assets.size >= maxFiles) break;
    const packed = (["br", "gzip"] as const).flatMap((encoding) => {
      const bytes = read(folder, `${name}.${encoding === "br" ? "br" : "gz"}`);
      return bytes === undefined ? [] : [{ encoding, bytes }];
    });
    const etag = `"${createHash("sha256").update(plain).digest("base64url").slice(0, 22)}"`;
    const cache = name.startsWith("assets/") ? "public, max-age=31536000, immutable" : "no-cache";
    assets.set(name === "index.html" ? "/" : `/${name}`, { type, etag, cache, plain, packed });
  }
  return assets;
}

/** Encodings that a browser accepts, as it names them; quality 0 is a no. */
export function accepts(header: string | string[] | undefined, encoding: string): boolean {
  return String(header ?? "")
    .split(",")
    .some((part) => {
      const [name, ...rest] = part.split(";").map((word) => word.trim());
      return name === encoding && !rest.some((word) => /^q=0(\.0*)?$/.test(word));
    });
}

export function sendAsset(request: IncomingMessage, response: ServerResponse, asset: Asset): void {
  response.setHeader("etag", asset.etag);
  response.setHeader("cache-control", asset.cache);
  response.setHeader("vary", "accept-encoding");
  if (request.headers["if-none-match"] === asset.etag) {
    response.writeHead(304).end();
    return;
  }
  const found = asset.packed.find(({ encoding }) => accepts(request.headers["accept-encoding"], encoding));
  const bytes = found?.bytes ?? asset.plain;
  if (found !== undefined) response.setHeader("content-encoding", found.encoding);
  response.writeHead(200, { "content-type": asset.type, "content-length": bytes.length });
  response.end(request.method === "HEAD" ? undefined : bytes);
}
