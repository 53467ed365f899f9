/**
 * The dashboard's HTTP: the built pages, and the routes of api.ts. Reading needs no login. Whatever comes in is bounded:
 * connections, headers, bodies, time. Paths are looked up in tables, never on disk.
 */
import {
  createServer,
  type IncomingMessage,
  type Server,
  type ServerOptions,
  type ServerResponse,
} from "node:http";
import { createServer as createTlsServer, type Server as TlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import type { Days } from "../common/days.ts";
import { type ErrorCode, SubletError, toSubletError } from "../common/errors.ts";
import { Packer, Ready, sendAsset, sendJson } from "./answers.ts";
import type { Session } from "./api.ts";
import { loadAssets } from "./assets.ts";
import { Attempts } from "./attempts.ts";
import { mustBeOurs, mustBeSafe, type Way, wayOf } from "./entry.ts";
import type { HistoryStore } from "./history.ts";
import { Live } from "./live.ts";
import { historyOf, type Price } from "./points.ts";
import { leastSpanMs, type PrometheusHistory } from "./prometheus.ts";
import { adminRequest, loginRequest } from "./requests.ts";
import { Sessions } from "./sessions.ts";
import type { DashboardSource, Person } from "./source.ts";
import type { TlsPair } from "./tls.ts";
import { Viewers } from "./viewers.ts";

export interface DashboardOptions {
  /** host:port; port 0 takes a free one. */
  readonly listen: string;
  readonly source: DashboardSource;
  readonly history: HistoryStore;
  readonly cluster: string;
  readonly version: string;
  readonly price: Price | undefined;
  /** Of the site: where its days begin. */
  readonly days: Days;
  readonly pagesDir: string;
  /** The documentation as a site, served below /docs/. */
  readonly docsDir?: string | undefined;
  /** Has what is older than `history`. */
  readonly prometheus?: PrometheusHistory | undefined;
  /** undefined: plain HTTP. */
  readonly tls?: TlsPair | undefined;
  /** For so long browsers go by HTTPS to this host, whatever is asked for; 0: they are not told. */
  readonly hstsSeconds?: number;
  /** Reverse proxies whose word for the browser's side counts. */
  readonly proxies?: readonly string[];
  readonly unixMs?: () => number;
  readonly nowMs?: () => number;
  /** For logs: who logged in, and what could not be answered. */
  readonly onLogin?: (user: string, admin: boolean) => void;
  readonly onTrouble?: (why: string) => void;
}

export interface Dashboard {
  readonly address: string;
  readonly live: Live;
  readonly viewers: number;
  /** Of new connections, from now on; does nothing without TLS. */
  renew(tls: TlsPair): void;
  close(): Promise<void>;
}

const maxConnections = 1024;
const maxHeaderBytes = 16 * 1024;
const maxBodyBytes = 1024 * 1024;
const requestTimeoutMs = 10_000;
/** Nothing sent and nothing taken: longer than the longest answer takes to be made (drain of many nodes). */
const idleTimeoutMs = 90_000;
const tickMs = 1_000;
const maxPoints = 2_000;
const maxLeases = 10_000;
const dayMs = 86_400_000;
const policy =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; " +
  "form-action 'none'; base-uri 'none'; frame-ancestors 'none'";
const statuses: Readonly<Record<ErrorCode, number>> = {
  INVALID_ARGUMENT: 400,
  UNAUTHENTICATED: 401,
  PERMISSION_DENIED: 403,
  NOT_FOUND: 404,
  FAILED_PRECONDITION: 409,
  ABORTED: 409,
  RESOURCE_EXHAUSTED: 429,
  INTERNAL: 500,
  UNAVAILABLE: 503,
  DEADLINE_EXCEEDED: 504,
};
const hints: Partial<Record<ErrorCode, string>> = {
  UNAUTHENTICATED:
    "`sublet dashboard --login` on a node of the cluster prints a credential that is good for a minute.",
  PERMISSION_DENIED: "Only root and members of the admin group may; log in as one of them.",
  INTERNAL: "The controller's log says why.",
};

export async function serveDashboard(options: DashboardOptions): Promise<Dashboard> {
  const { source, history } = options;
  const unixMs = options.unixMs ?? Date.now;
  const nowMs = options.nowMs ?? (() => performance.now());
  const assets = loadAssets(options.pagesDir);
  const docs = options.docsDir === undefined ? [] : loadAssets(options.docsDir);
  for (const [path, asset] of docs) assets.set(`/docs${path}`, asset);
  const sessions = new Sessions(nowMs);
  const attempts = new Attempts(nowMs);
  const packer = new Packer();
  const proxies = options.proxies ?? [];
  const viewers = new Viewers({ latest: (topic) => live.latest(topic), nowMs });
  const live: Live = new Live({
    source,
    history,
    cluster: options.cluster,
    version: options.version,
    price: options.price,
    days: options.days,
    longHistory: options.prometheus !== undefined,
    unixMs,
    nowMs,
    onEvent: (topic, text) => viewers.tell(topic, text),
    watched: (topic) => viewers.watched(topic),
  });

  function span(query: URLSearchParams, defaultMs: number): { fromMs: number; toMs: number } {
    const toMs = timeOf(query, "to") ?? unixMs();
    const fromMs = timeOf(query, "from") ?? toMs - defaultMs;
    if (!(toMs > fromMs)) throw new SubletError("INVALID_ARGUMENT", "from must be before to");
    return { fromMs, toMs };
  }

  async function historyText(query: URLSearchParams): Promise<unknown> {
    const { fromMs, toMs } = span(query, dayMs);
    const points = numberOf(query, "points", 600, 1, maxPoints);
    const ownFromMs = history.firstMs ?? unixMs();
    const long = toMs - fromMs > leastSpanMs && fromMs < ownFromMs ? options.prometheus : undefined;
    const leastMs = long?.stepMs ?? history.stepMsAt(fromMs, unixMs());
    const stepMs = Math.max(leastMs, Math.ceil((toMs - fromMs) / points / leastMs) * leastMs);
    const startMs = Math.floor(fromMs / stepMs) * stepMs;
    const own = historyOf(history.between(startMs, toMs), startMs, toMs, stepMs);
    return (await long?.complete(own, ownFromMs)) ?? own;
  }

  function leases(query: URLSearchParams): unknown {
    const node = query.get("node");
    const user = query.get("user");
    return source
      .leases()
      .filter((row) => (node === null || row.node === node) && (user === null || row.user === user))
      .slice(0, numberOf(query, "limit", 1000, 1, maxLeases));
  }

  async function read(path: string, query: URLSearchParams, request: IncomingMessage): Promise<unknown> {
    const node = /^nodes\/(.+)$/.exec(path)?.[1];
    if (node !== undefined) {
      const found = source.node(node);
      if (found === undefined)
        throw new SubletError("NOT_FOUND", "neither Slurm nor an agent names this node");
      return { ...found, reclaims: live.reclaims.ofNode(node) };
    }
    switch (path) {
      case "summary":
        return live.summary();
      case "nodes":
        return new Ready(live.nodeTable());
      case "leases":
        return leases(query);
      case "history":
        return await historyText(query);
      case "gain": {
        const { fromMs, toMs } = span(query, dayMs);
        return live.gain(fromMs, toMs);
      }
      case "reclaims": {
        const { fromMs, toMs } = span(query, dayMs);
        return live.reclaims.between(fromMs, toMs);
      }
      case "accounts": {
        const { fromMs, toMs } = span(query, 30 * dayMs);
        return await source.accounts(fromMs, toMs);
      }
      case "whoami":
        return whoami(request);
      default:
        throw new SubletError(
          "NOT_FOUND",
          "there is no such part of the API; src/dashboard/api.ts lists them",
        );
    }
  }

  function whoami(request: IncomingMessage): Session {
    const way = wayOf(request, proxies);
    const person = sessions.find(request.headers.cookie, way);
    if (person !== undefined) return { user: person.user, admin: person.admin };
    return { user: null, admin: false, ...(way.refused === undefined ? {} : { noLogin: way.refused }) };
  }

  async function logIn(body: unknown, way: Way): Promise<Person> {
    const { credential } = loginRequest(body);
    const wasNoGuess = attempts.begin(way.from);
    try {
      const person = await source.identify(credential);
      wasNoGuess();
      return person;
    } catch (thrown) {
      // Nor is it one when munged is away.
      if (toSubletError(thrown).code !== "UNAUTHENTICATED") wasNoGuess();
      throw thrown;
    }
  }

  async function write(path: string, request: IncomingMessage, response: ServerResponse): Promise<unknown> {
    const way = wayOf(request, proxies);
    mustBeOurs(request, way);
    const body = await bodyOf(request);
    if (path === "logout") {
      response.setHeader("set-cookie", sessions.end(request.headers.cookie, way));
      return {};
    }
    mustBeSafe(way);
    if (path === "login") {
      const person = await logIn(body, way);
      response.setHeader("set-cookie", sessions.begin(person, way));
      options.onLogin?.(person.user, person.admin);
      return { user: person.user, admin: person.admin } satisfies Session;
    }
    if (path !== "drain" && path !== "resume" && path !== "reclaim")
      throw new SubletError("NOT_FOUND", "there is nothing to POST to here");
    const person = sessions.find(request.headers.cookie, way);
    if (person === undefined) throw new SubletError("UNAUTHENTICATED", "log in first");
    if (!person.admin) throw new SubletError("PERMISSION_DENIED", `${person.user} may not ${path}`);
    return await source.administer(path, adminRequest(body), person);
  }

  async function api(
    path: string,
    query: URLSearchParams,
    request: IncomingMessage,
    response: ServerResponse,
  ) {
    try {
      if (request.method === "GET" && path === "events") {
        if (!viewers.add(request, response, query.get("topics"), JSON.stringify(live.summary())))
          throw new SubletError("RESOURCE_EXHAUSTED", "too many viewers");
        return;
      }
      const reads = request.method === "GET" || request.method === "HEAD";
      if (!reads && request.method !== "POST") throw new SubletError("INVALID_ARGUMENT", "GET, HEAD or POST");
      const found = reads ? await read(path, query, request) : await write(path, request, response);
      if (found instanceof Ready) await packer.send(request, response, found);
      else await sendJson(request, response, 200, JSON.stringify(found));
    } catch (thrown) {
      const error = toSubletError(thrown);
      if (error.code === "INTERNAL") options.onTrouble?.(`${path.slice(0, 80)}: ${error.message}`);
      if (response.headersSent) return response.destroy();
      const hint = error.details.hint ?? hints[error.code] ?? "";
      const text = JSON.stringify({ error: error.message, hint });
      await sendJson(request, response, statuses[error.code], text);
    }
  }

  const { tls } = options;
  const hsts = options.hstsSeconds ?? 0;
  const server = listener(
    {
      headersTimeout: requestTimeoutMs,
      requestTimeout: requestTimeoutMs,
      maxHeaderSize: maxHeaderBytes,
      keepAliveTimeout: 30_000,
      connectionsCheckingInterval: 5_000,
    },
    tls,
    (request, response) => {
      response.setHeader("content-security-policy", policy);
      response.setHeader("x-content-type-options", "nosniff");
      response.setHeader("referrer-policy", "no-referrer");
      if (tls !== undefined && hsts > 0) response.setHeader("strict-transport-security", `max-age=${hsts}`);
      const { path, query } = partsOf(request.url ?? "/");
      if (path === undefined)
        return void sendJson(request, response, 400, '{"error":"the address is not one","hint":""}');
      if (path.startsWith("/api/v1/"))
        return void api(path.slice("/api/v1/".length), query, request, response);
      sendAsset(assets.get(path.replace(/\/$/, "/index.html")), request, response, assets.size > 0);
    },
  );
  server.maxConnections = maxConnections;
  // One that asks and never reads would keep its place and its answer for ever. Viewers are bounded by what waits for them.
  server.setTimeout(idleTimeoutMs);
  const separator = options.listen.lastIndexOf(":");
  const host = options.listen.slice(0, separator).replace(/^\[(.*)\]$/, "$1");
  await new Promise<void>((resolve, reject) => {
    server.once("error", (cause) =>
      reject(
        new SubletError("UNAVAILABLE", `cannot listen on ${options.listen}: ${cause.message}`, { cause }),
      ),
    );
    server.listen(Number(options.listen.slice(separator + 1)), host, resolve);
  });
  const timer = setInterval(() => {
    try {
      live.tick();
      viewers.heartbeat();
    } catch (thrown) {
      options.onTrouble?.(toSubletError(thrown).message);
    }
  }, tickMs);
  const { port } = server.address() as AddressInfo;
  return {
    address: `${options.listen.slice(0, separator)}:${port}`,
    live,
    get viewers() {
      return viewers.size;
    },
    renew(next) {
      (server as Partial<TlsServer>).setSecureContext?.({ cert: next.cert, key: next.key });
    },
    async close() {
      clearInterval(timer);
      viewers.close();
      await new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      });
      history.close();
    },
  };
}

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

function listener(options: ServerOptions, tls: TlsPair | undefined, handler: Handler): Server | TlsServer {
  if (tls === undefined) return createServer(options, handler);
  const { cert, key } = tls;
  return createTlsServer({ ...options, cert, key, handshakeTimeout: requestTimeoutMs }, handler);
}

function partsOf(url: string): { path: string | undefined; query: URLSearchParams } {
  const mark = url.indexOf("?");
  const query = new URLSearchParams(mark === -1 ? "" : url.slice(mark + 1));
  try {
    return { path: decodeURIComponent(mark === -1 ? url : url.slice(0, mark)), query };
  } catch {
    return { path: undefined, query };
  }
}

function timeOf(query: URLSearchParams, name: string): number | undefined {
  const text = query.get(name);
  if (text === null || text === "") return undefined;
  const ms = /^\d{1,15}$/.test(text) ? Number(text) : Date.parse(text);
  if (!Number.isFinite(ms))
    throw new SubletError("INVALID_ARGUMENT", `${name} is neither unix ms nor an ISO time`);
  return ms;
}

function numberOf(
  query: URLSearchParams,
  name: string,
  standard: number,
  least: number,
  most: number,
): number {
  const text = query.get(name);
  if (text === null || text === "") return standard;
  const value = Number(text);
  if (!Number.isInteger(value) || value < least || value > most)
    throw new SubletError("INVALID_ARGUMENT", `${name} must be ${least} to ${most}`);
  return value;
}

async function bodyOf(request: IncomingMessage): Promise<unknown> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of request) {
    bytes += (part as Buffer).length;
    if (bytes > maxBodyBytes)
      throw new SubletError("INVALID_ARGUMENT", `the body is longer than ${maxBodyBytes} bytes`);
    parts.push(part as Buffer);
  }
  try {
    return JSON.parse(Buffer.concat(parts).toString("utf8") || "{}");
  } catch {
    throw new SubletError("INVALID_ARGUMENT", "the body is not JSON");
  }
}
