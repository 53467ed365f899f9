/**
 * A small server that speaks src/dashboard/api.ts out of a FakeCluster, for tests that need to say what the controller
 * does: stand still, cut the stream, refuse, answer errors. Serves build/dashboard with the headers that the real one has.
 */
import { createReadStream, existsSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { type AddressInfo, isIPv4 } from "node:net";
import { extname, join, normalize } from "node:path";
import type { AdminOutcome, AdminRequest, Session } from "../../../src/dashboard/api.ts";
import { FakeCluster, type FakeOptions } from "./cluster.ts";

const pages = join(import.meta.dirname, "../../../build/dashboard");
const types: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml",
  ".woff2": "font/woff2",
  ".txt": "text/plain; charset=utf-8",
};
const policy =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; " +
  "form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

export interface FakeServer {
  readonly url: string;
  readonly cluster: FakeCluster;
  /** What POST brought, in order. */
  readonly asked: { readonly verb: string; readonly body: AdminRequest }[];
  /** Lets nodes change and tells all viewers. */
  push(nodes: number): void;
  pushSummary(): void;
  pushLeases(): void;
  /** Tells viewers that they were too slow, as the controller does. */
  pushMissed(): void;
  /** Ends all streams; new ones are refused until `mend`. */
  cut(): void;
  mend(): void;
  /** Answers reads of this part of the API with an error from now on; undefined: none. */
  fail(path: string | undefined): void;
  /** Reads of this part of the API get no answer. */
  hang(path: string | undefined): void;
  /** Streams that are open, of this topic if one is named. */
  viewers(topic?: string): number;
  close(): Promise<void>;
}

export async function startFake(options: FakeOptions, port = 0): Promise<FakeServer> {
  const cluster = new FakeCluster(options);
  const streams = new Map<ServerResponse, readonly string[]>();
  const asked: { verb: string; body: AdminRequest }[] = [];
  let cutOff = false;
  let failing: string | undefined;
  let hanging: string | undefined;
  let nextLease = 1000;

  const json = (response: ServerResponse, value: unknown, status = 200) => {
    response.writeHead(status, { "content-type": "application/json", "cache-control": "no-store" });
    response.end(JSON.stringify(value));
  };
  const send = (name: string, value: unknown) => {
    const text = `event: ${name}\ndata: ${JSON.stringify(value)}\n\n`;
    for (const stream of streams.keys()) stream.write(text);
  };
  const sessionOf = (request: IncomingMessage): Session => {
    const cookie = /session=(\w+)/.exec(request.headers.cookie ?? "")?.[1];
    return { user: cookie ?? null, admin: cookie === "root" };
  };
  const outcomes = (body: AdminRequest): AdminOutcome[] =>
    (body.all ? cluster.table.names : (body.nodes ?? body.leaseIds ?? body.partitions ?? [])).map(
      (node, index) =>
        index === 1
          ? { node, ok: false, message: "its agent does not answer", leasesEnded: 0, leasesLeft: 1 }
          : { node, ok: true, message: "", leasesEnded: 2, leasesLeft: 0 },
    );

  async function post(request: IncomingMessage, response: ServerResponse, path: string): Promise<void> {
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    const body = JSON.parse(Buffer.concat(parts).toString() || "{}") as Record<string, unknown>;
    if (path === "login") {
      const credential = String(body.credential);
      if (!/^MUNGE:\w+:$/.test(credential)) {
        json(response, { error: "That is no credential of MUNGE", hint: "Run munge -n on a node." }, 401);
        return;
      }
      const user = credential.slice(6, -1);
      response.setHeader("set-cookie", `session=${user}; HttpOnly; SameSite=Strict; Path=/`);
      json(response, { user, admin: user === "root" } satisfies Session);
    } else if (path === "logout") {
      response.setHeader("set-cookie", "session=; Max-Age=0; Path=/");
      json(response, {});
    } else if (!sessionOf(request).admin) {
      json(response, { error: "Only administrators may do that", hint: "Ask who runs the cluster." }, 403);
    } else {
      asked.push({ verb: path, body: body as unknown as AdminRequest });
      json(response, outcomes(body as unknown as AdminRequest));
    }
  }

  function events(request: IncomingMessage, response: ServerResponse, topics: readonly string[]): void {
    if (cutOff) {
      json(response, { error: "not now", hint: "" }, 503);
      return;
    }
    response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
    response.write(`event: summary\ndata: ${JSON.stringify(cluster.summary())}\n\n`);
    streams.set(response, topics);
    request.on("close", () => streams.delete(response));
  }

  function read(
    request: IncomingMessage,
    response: ServerResponse,
    path: string,
    query: URLSearchParams,
  ): void {
    const number = (key: string, standard: number) => Number(query.get(key) ?? standard);
    const span = () => [number("from", Date.now() - 86_400_000), number("to", Date.now())] as const;
    if (path === hanging) return;
    if (path === failing) {
      json(
        response,
        { error: "The history cannot be read", hint: "Is there room on the controller's disk?" },
        500,
      );
      return;
    }
    const [first, second] = path.split("/").map(decodeURIComponent);
    const reads: Readonly<Record<string, () => unknown>> = {
      summary: () => cluster.summary(),
      nodes: () => (second === undefined ? cluster.table : cluster.node(second)),
      leases: () => {
        const node = query.get("node");
        return cluster.leases(number("limit", 400)).filter((lease) => node === null || lease.node === node);
      },
      history: () => cluster.history(...span(), number("points", 600)),
      gain: () => cluster.gain(1),
      reclaims: () => cluster.reclaims(...span()),
      accounts: () => cluster.accounts(),
      whoami: () => sessionOf(request),
    };
    const answer = reads[first ?? ""]?.();
    if (answer !== undefined) json(response, answer);
    else json(response, { error: `There is no ${path}`, hint: "" }, 404);
  }

  function file(response: ServerResponse, path: string): void {
    const name = join(pages, normalize(path === "/" ? "/index.html" : path));
    if (!name.startsWith(pages) || !existsSync(name)) {
      response.writeHead(404).end();
      return;
    }
    const packed = existsSync(`${name}.gz`);
    response.writeHead(200, {
      "content-type": types[extname(name)] ?? "application/octet-stream",
      "content-security-policy": policy,
      "x-content-type-options": "nosniff",
      "cache-control": name.includes("/assets/") ? "max-age=31536000, immutable" : "no-cache",
      ...(packed ? { "content-encoding": "gzip" } : {}),
    });
    createReadStream(packed ? `${name}.gz` : name).pipe(response);
  }

  const server = createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? "/", "http://fake");
    if (!pathname.startsWith("/api/v1/")) file(response, decodeURIComponent(pathname));
    else {
      const path = pathname.slice("/api/v1/".length);
      if (request.method === "POST") void post(request, response, path);
      else if (path === "events") events(request, response, (searchParams.get("topics") ?? "").split(","));
      else read(request, response, path, searchParams);
    }
  });
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  const { address, port: taken } = server.address() as AddressInfo;
  return {
    url: `http://${isIPv4(address) ? address : `[${address}]`}:${taken}/`,
    cluster,
    asked,
    push: (nodes) => send("nodes", cluster.step(nodes)),
    pushSummary: () => send("summary", cluster.summary()),
    pushLeases: () =>
      send("leases", {
        atMs: Date.now(),
        live: [cluster.lease(nextLease++)],
        ended: [cluster.lease(nextLease - 9)],
      }),
    pushMissed() {
      const { atMs, revision } = cluster.table;
      send("leases", { atMs: Date.now(), live: [], ended: [], missed: true });
      send("nodes", { atMs, fromRevision: revision, revision });
    },
    cut() {
      cutOff = true;
      for (const stream of streams.keys()) stream.destroy();
    },
    mend() {
      cutOff = false;
    },
    fail: (path) => {
      failing = path;
    },
    hang: (path) => {
      hanging = path;
    },
    viewers: (topic) =>
      [...streams.values()].filter((topics) => topic === undefined || topics.includes(topic)).length,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

// As a program: a cluster to look at. node test/browser/fake/server.ts [NODES [PORT]]
if (import.meta.main) {
  const fake = await startFake({ nodes: Number(process.argv[2] ?? 10_000) }, Number(process.argv[3] ?? 8321));
  console.log(fake.url);
  setInterval(() => {
    fake.push(Math.ceil(fake.cluster.table.names.length / 50));
    fake.pushSummary();
    fake.pushLeases();
  }, 2000);
}
