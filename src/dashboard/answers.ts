/** How answers go out: JSON, packed where that is taken, and the built pages. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import type { Asset } from "./assets.ts";

const compressAbove = 4096;
const squeeze = promisify(gzip);

/** JSON that is made already. */
export class Ready {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

/** A hundred pages that come back at once want the same text: it is packed once. */
export class Packer {
  #packed: { readonly text: string; readonly bytes: Promise<Buffer> } | undefined;

  async send(request: IncomingMessage, response: ServerResponse, { text }: Ready): Promise<void> {
    if (!takesGzip(request)) return await sendJson(request, response, 200, text);
    if (this.#packed?.text !== text) this.#packed = { text, bytes: squeeze(text, { level: 1 }) };
    const body = await this.#packed.bytes;
    response.setHeader("content-encoding", "gzip");
    sendBytes(request, response, 200, body);
  }
}

export async function sendJson(
  request: IncomingMessage,
  response: ServerResponse,
  status: number,
  text: string,
): Promise<void> {
  let body = Buffer.from(text);
  if (body.length > compressAbove && takesGzip(request)) {
    body = await squeeze(body, { level: 1 });
    response.setHeader("content-encoding", "gzip");
  }
  sendBytes(request, response, status, body);
}

function takesGzip({ headers }: IncomingMessage): boolean {
  return /\bgzip\b/.test(String(headers["accept-encoding"] ?? ""));
}

function sendBytes(request: IncomingMessage, response: ServerResponse, status: number, body: Buffer): void {
  response.setHeader("content-type", "application/json; charset=utf-8");
  response.setHeader("cache-control", "no-store");
  response.writeHead(status, { "content-length": body.length });
  response.end(request.method === "HEAD" ? undefined : body);
}

export function sendAsset(
  asset: Asset | undefined,
  { method, headers }: IncomingMessage,
  response: ServerResponse,
  built: boolean,
): void {
  if (method !== "GET" && method !== "HEAD") {
    response.writeHead(405, { allow: "GET, HEAD" }).end();
    return;
  }
  if (asset === undefined) {
    const why = built ? "not found\n" : "The pages are not built here; the API is under /api/v1/.\n";
    response.writeHead(404, { "content-type": "text/plain; charset=utf-8" }).end(why);
    return;
  }
  const shared = {
    etag: asset.etag,
    vary: "accept-encoding",
    "cache-control": asset.immutable ? "public, max-age=31536000, immutable" : "no-cache",
  };
  if (headers["if-none-match"] === asset.etag) {
    response.writeHead(304, shared).end();
    return;
  }
  const takes = String(headers["accept-encoding"] ?? "");
  const [encoding, body] =
    asset.brotli !== undefined && /\bbr\b/.test(takes)
      ? ["br", asset.brotli]
      : asset.gzip !== undefined && /\bgzip\b/.test(takes)
        ? ["gzip", asset.gzip]
        : [undefined, asset.body];
  response.writeHead(200, {
    ...shared,
    "content-type": asset.type,
    "content-length": body.length,
    ...(encoding === undefined ? {} : { "content-encoding": encoding }),
  });
  response.end(method === "HEAD" ? undefined : body);
}
