/**
 * The dashboard's HTTP server. Reading needs no login. What changes something needs a session, the site's own pages (Origin,
 * SameSite), and a body that is declared JSON, which no form of another site can send.
 *
 * Bounded: connections, size and time of heads and bodies, answers at work, viewers (events.ts), sessions. Files are
 * looked up in memory. A request that is wrong costs an answer, never an exception that leaves this file.
 */
import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import { type ErrorCode, SubletError, toSubletError } from "../common/errors.ts";
import type { ApiError } from "./api.ts";
import { type Events, topicsOf } from "./events.ts";
import { type Assets, accepts, sendAsset } from "./files.ts";
import { adminRequest, read, sessionOf } from "./routes.ts";
import type { Sessions } from "./session.ts";
import type { DashboardSource } from "./source.ts";
import type { View } from "./view.ts";

export interface HttpOptions {
  /** host:port; port 0 takes a free one. */
  readonly listen: string;
  /** PEM. */
  readonly tls: { readonly cert: Buffer; readonly key: Buffer } | undefined;
  readonly assets: Assets;
  readonly source: DashboardSource;
  readonly view: View;
  readonly events: Events;
  readonly sessions: Sessions;
  readonly nowUnixMs: () => number;
  /** A defect: answered as 500. */
  readonly onError: (path: string, error: SubletError) => void;
}

export interface HttpServer {
  /** With the real port, and / at its end. */
  readonly url: string;
  close(): Promise<void>;
}

const maxConnections = 1_024;
const maxHeadBytes = 8_192;
const timeoutMs = 10_000;
const maxBodyBytes = 1024 * 1024;
/** Lists of nodes are long; a credential is not. */
const maxUrlBytes = 4_096;
const adminTimeoutMs = 60_000;
const prefix = "/api/v1/";
/** Below this, compressing costs more than it saves. */
const gzipFromBytes = 2_048;
const pack = promisify(gzip);

const headers: Readonly<Record<string, string>> = {
  "content-security-policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; " +
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
  "referrer-policy": "no-referrer",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
};

const statuses: Readonly<Partial<Record<ErrorCode, number>>> = {
  INVALID_ARGUMENT: 400,
  UNAUTHENTICATED: 401,
  PERMISSION_DENIED: 403,
  NOT_FOUND: 404,
  RESOURCE_EXHAUSTED: 429,
  UNAVAILABLE: 503,
  FAILED_PRECONDITION: 503,
  DEADLINE_EXCEEDED: 504,
};

const hints: Readonly<Record<number, string>> = {
  400: "See src/dashboard/api.ts for what is expected.",
  401: "sublet dashboard --login gives a new credential; each is good once, for a minute.",
  403: "Root and the members of admin_gid of controller.toml may.",
  404: "",
  429: "Try again in a minute.",
  500: "The controller's log says why.",
  503: "Try again in a minute; the controller's log says why.",
};

export function serveDashboard(options: HttpOptions): Promise<HttpServer> {
  const { source, view, events, sessions, assets } = options;
  const secure = options.tls !== undefined;
  let packed:
    | { readonly revision: number; readonly atMs: number; readonly bytes: Promise<Buffer> }
    | undefined;

  async function sendJson(
    request: IncomingMessage,
    response: ServerResponse,
    value: unknown,
    status = 200,
  ): Promise<void> {
    let bytes = Buffer.from(JSON.stringify(value));
    if (bytes.length >= gzipFromBytes && accepts(request.headers["accept-encoding"], "gzip")) {
      bytes = await pack(bytes, { level: 1 });
      response.setHeader("content-encoding", "gzip");
    }
    end(request, response, bytes, status);
  }

  function end(request: IncomingMessage, response: ServerResponse, bytes: Buffer, status: number): void {
    if (response.headersSent || response.destroyed) return;
    response.setHeader("vary", "accept-encoding");
    response.writeHead(status, { "content-type": "application/json", "content-length": bytes.length });
    response.end(request.method === "HEAD" ? undefined : bytes);
  }

  /** The largest answer of all, packed once for all who ask within a revision. */
  async function sendTable(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { table } = view;
    if (!accepts(request.headers["accept-encoding"], "gzip")) return sendJson(request, response, table);
    if (packed?.revision !== table.revision)
      packed = {
        revision: table.revision,
        atMs: table.atMs,
        bytes: pack(JSON.stringify(table), { level: 1 }),
      };
    const bytes = await packed.bytes;
    response.setHeader("content-encoding", "gzip");
    end(request, response, bytes, 200);
  }

  async function fail(request: IncomingMessage, response: ServerResponse, thrown: unknown): Promise<void> {
    const error = toSubletError(thrown);
    const status = statuses[error.code] ?? 500;
    if (status === 500) options.onError((request.url ?? "").slice(0, 200), error);
    const body: ApiError = { error: error.message, hint: hints[status] ?? "" };
    await sendJson(request, response, body, status);
  }

  /** A page of another site must not act with the cookie of ours. @throws SubletError. */
  function mustBeOurs(request: IncomingMessage): void {
    const { origin, host } = request.headers;
    const site = request.headers["sec-fetch-site"];
    const type = (request.headers["content-type"] ?? "").split(";")[0]?.trim();
    if (type !== "application/json")
      throw new SubletError("INVALID_ARGUMENT", "the body must be application/json");
    if (site !== undefined && site !== "same-origin" && site !== "none")
      throw new SubletError("PERMISSION_DENIED", "the request comes from another site");
    if (origin === undefined) return;
    if (!URL.canParse(origin) || new URL(origin).host !== host)
      throw new SubletError(
        "PERMISSION_DENIED",
        `the request comes from another site, ${origin.slice(0, 100)}`,
      );
  }

  async function bodyOf(request: IncomingMessage): Promise<Record<string, unknown>> {
    const parts: Buffer[] = [];
    let length = 0;
    for await (const part of request as AsyncIterable<Buffer>) {
      length += part.length;
      if (length > maxBodyBytes) throw new SubletError("INVALID_ARGUMENT", "the body is longer than 1 MiB");
      parts.push(part);
    }
    try {
      const body: unknown = length === 0 ? {} : JSON.parse(Buffer.concat(parts).toString("utf8"));
      if (typeof body === "object" && body !== null && !Array.isArray(body))
        return body as Record<string, unknown>;
    } catch {
      // Said below.
    }
    throw new SubletError("INVALID_ARGUMENT", "the body is no JSON object");
  }

  async function login(response: ServerResponse, credential: unknown): Promise<ReturnType<typeof sessionOf>> {
    if (typeof credential !== "string" || !/^MUNGE:[A-Za-z0-9+/=]{1,4000}:$/.test(credential.trim()))
      throw new SubletError("UNAUTHENTICATED", "that is no credential of MUNGE");
    const principal = await source.identify(credential.trim());
    response.setHeader("set-cookie", sessions.begin(principal));
    return sessionOf(source, principal);
  }

  async function post(request: IncomingMessage, response: ServerResponse, path: string): Promise<void> {
    mustBeOurs(request);
    const { cookie } = request.headers;
    switch (path) {
      case "login": {
        const session = await login(response, (await bodyOf(request)).credential);
        return sendJson(request, response, session);
      }
      case "logout":
        response.setHeader("set-cookie", sessions.end(cookie));
        return sendJson(request, response, sessionOf(source, undefined));
      case "drain":
      case "resume":
      case "reclaim": {
        const principal = sessions.of(cookie);
        if (principal === undefined) throw new SubletError("UNAUTHENTICATED", "nobody is logged in");
        if (!source.isAdmin(principal))
          throw new SubletError(
            "PERMISSION_DENIED",
            `${source.userName(principal.uid)} may not: only root and the admin group may`,
          );
        const wanted = adminRequest(await bodyOf(request));
        const signal = AbortSignal.timeout(adminTimeoutMs);
        return sendJson(request, response, await source.administer(path, wanted, principal, signal));
      }
      default:
        throw new SubletError("NOT_FOUND", "there is no such thing to do");
    }
  }

  function watch(request: IncomingMessage, response: ServerResponse, query: URLSearchParams): void {
    const last = request.headers["last-event-id"];
    const known = typeof last === "string" && /^\d{1,15}$/.test(last) ? Number(last) : undefined;
    request.socket.setNoDelay(true);
    if (!events.add(response, topicsOf(query.get("topics")), known))
      throw new SubletError("RESOURCE_EXHAUSTED", "too many viewers watch already");
  }

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const text = request.url ?? "/";
    if (text.length > maxUrlBytes) throw new SubletError("INVALID_ARGUMENT", "the address is too long");
    const [rawPath = "/", rawQuery = ""] = text.split("?", 2);
    const { method } = request;
    if (method !== "GET" && method !== "HEAD" && method !== "POST") {
      response.setHeader("allow", "GET, HEAD, POST");
      response.writeHead(405).end();
      return;
    }
    if (!rawPath.startsWith(prefix)) {
      const query = new URLSearchParams(rawQuery);
      if (rawPath === "/login" && method === "GET") {
        // The link that `sublet dashboard --login` prints; its credential is used up by this. No other site may follow it.
        if (request.headers["sec-fetch-site"] === "cross-site")
          throw new SubletError("PERMISSION_DENIED", "the link comes from another site; paste it instead");
        await login(response, query.get("credential"));
        response.writeHead(303, { location: "./", "cache-control": "no-store" }).end();
        return;
      }
      const asset = assets.get(rawPath === "/index.html" ? "/" : rawPath);
      if (asset !== undefined && method !== "POST") return sendAsset(request, response, asset);
      if (rawPath === "/" && assets.size === 0)
        throw new SubletError("UNAVAILABLE", "the dashboard's pages were not built; its API is there");
      throw new SubletError("NOT_FOUND", "there is no such page");
    }
    response.setHeader("cache-control", "no-store");
    let path: string;
    try {
      path = decodeURIComponent(rawPath.slice(prefix.length));
    } catch {
      throw new SubletError("INVALID_ARGUMENT", "the address cannot be read");
    }
    if (method === "POST") return post(request, response, path);
    const query = new URLSearchParams(rawQuery);
    if (path === "events" && method === "GET") return watch(request, response, query);
    if (path === "whoami")
      return sendJson(request, response, sessionOf(source, sessions.of(request.headers.cookie)));
    if (path === "nodes") return sendTable(request, response);
    const value = await read(path, query, { view, source, nowMs: options.nowUnixMs() });
    if (value === undefined) throw new SubletError("NOT_FOUND", `there is no ${path.slice(0, 100)}`);
    return sendJson(request, response, value);
  }

  const listener: RequestListener = (request, response) => {
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
    response.on("error", () => response.destroy());
    answer(request, response)
      .catch((thrown: unknown) => fail(request, response, thrown))
      .catch(() => response.destroy());
  };
  const bounds = {
    maxHeaderSize: maxHeadBytes,
    headersTimeout: timeoutMs,
    requestTimeout: timeoutMs,
    keepAliveTimeout: timeoutMs,
    connectionsCheckingInterval: 1_000,
  };
  const server: Server =
    options.tls === undefined
      ? createServer(bounds, listener)
      : createTlsServer({ ...bounds, ...options.tls, handshakeTimeout: timeoutMs }, listener);
  server.maxConnections = maxConnections;
  server.on("clientError", (_, socket) => {
    if (socket.writable) socket.end("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
    else socket.destroy();
  });
  return listen(server, options.listen, secure);
}

function listen(server: Server, address: string, secure: boolean): Promise<HttpServer> {
  const separator = address.lastIndexOf(":");
  const host = address.slice(0, separator);
  return new Promise((resolve, reject) => {
    server.once("error", (cause) =>
      reject(new SubletError("UNAVAILABLE", `cannot listen on ${address}: ${cause.message}`, { cause })),
    );
    server.listen(Number(address.slice(separator + 1)), host.replace(/^\[(.*)\]$/, "$1"), () => {
      const { port } = server.address() as AddressInfo;
      resolve({
        url: `${secure ? "https" : "http"}://${host}:${port}/`,
        close: () =>
          new Promise((done) => {
            server.close(() => done());
            server.closeAllConnections();
          }),
      });
    });
  });
}
