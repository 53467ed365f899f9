/**
 * Plain HTTP for Prometheus and for whoever asks whether a daemon is well: /metrics, /metrics?set=lean and /healthz,
 * nothing else.
 */
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { SubletError } from "../common/errors.ts";
import { leanNames } from "./lean.ts";
import type { Registry } from "./registry.ts";

export interface MetricsServer {
  /** host:port with the real port. */
  readonly address: string;
  close(): Promise<void>;
}

export interface MetricsServerOptions {
  /** host:port; port 0 takes a free one. */
  readonly listen: string;
  readonly registry: Registry;
  /** Asked by /healthz: 200 or 503. */
  readonly healthy: () => boolean;
}

const headersTimeoutMs = 5_000;
const maxConnections = 64;

function answer(response: ServerResponse, code: number, type: string, body: string, sendBody: boolean): void {
  response.writeHead(code, { "content-type": type, "content-length": Buffer.byteLength(body) });
  response.end(sendBody ? body : undefined);
}

/** What the first metric's collect() sets the others show, so all are read, and the lean ones told. */
async function leanPage(registry: Registry): Promise<string> {
  const names = new Set(leanNames);
  const page = await registry.metrics();
  const kept = page.split("\n\n").filter((part) => names.has(/^# HELP (\S+)/m.exec(part)?.[1] ?? ""));
  return `${kept.map((part) => part.trimEnd()).join("\n\n")}\n`;
}

export async function serveMetrics(options: MetricsServerOptions): Promise<MetricsServer> {
  const { registry, healthy } = options;
  const text = "text/plain; charset=utf-8";
  const server = createServer(
    { headersTimeout: headersTimeoutMs, requestTimeout: headersTimeoutMs },
    (request, response) => {
      const withBody = request.method !== "HEAD";
      if (request.method !== "GET" && request.method !== "HEAD")
        return answer(response, 405, text, "GET only\n", true);
      const [path, query = ""] = (request.url ?? "").split("?");
      if (path === "/healthz") {
        const well = healthy();
        return answer(response, well ? 200 : 503, text, well ? "ok\n" : "not healthy\n", withBody);
      }
      if (path !== "/metrics") return answer(response, 404, text, "try /metrics or /healthz\n", withBody);
      const set = new URLSearchParams(query).get("set") ?? "full";
      if (set !== "full" && set !== "lean")
        return answer(response, 400, text, "set is full or lean\n", withBody);
      (set === "lean" ? leanPage(registry) : registry.metrics()).then(
        (page) => answer(response, 200, registry.contentType, page, withBody),
        (error: unknown) => answer(response, 500, text, `metrics: ${String(error)}\n`, withBody),
      );
    },
  );
  server.maxConnections = maxConnections;
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
  const { port } = server.address() as AddressInfo;
  const close = (): Promise<void> =>
    new Promise((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  return { address: `${options.listen.slice(0, separator)}:${port}`, close };
}
