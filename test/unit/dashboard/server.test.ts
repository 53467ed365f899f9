/** The dashboard over real HTTP: what is read, pushed, refused and bounded. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { gzipSync } from "node:zlib";
import { Days } from "../../../src/common/days.ts";
import { SubletError } from "../../../src/common/errors.ts";
import type { AdminRequest, LeaseRow, NodeChanges, NodeTable, Summary } from "../../../src/dashboard/api.ts";
import { HistoryStore } from "../../../src/dashboard/history.ts";
import { type Dashboard, serveDashboard } from "../../../src/dashboard/server.ts";
import type { NodeFacts, Person } from "../../../src/dashboard/source.ts";
import { eventually } from "../agent/fake-starter.ts";
import { facts, node, source } from "./samples.ts";

const people: Record<string, Person> = {
  root: { uid: 0, gid: 0, user: "root", admin: true },
  alice: { uid: 1001, gid: 1001, user: "alice", admin: false },
};
const pages = mkdtempSync(join(tmpdir(), "sublet-pages-"));
const docs = mkdtempSync(join(tmpdir(), "sublet-docs-"));
let nodes: NodeFacts[] = [];
let leases: LeaseRow[] = [];
const asked: { what: string; request: AdminRequest; person: Person }[] = [];
let dashboard: Dashboard;
let url = "";

before(async () => {
  mkdirSync(join(pages, "assets"));
  writeFileSync(join(pages, "index.html"), "<title>pages</title>");
  for (const name of ["index", "runbook"])
    writeFileSync(join(docs, `${name}.html`), `<title>docs: ${name}</title>`);
  writeFileSync(join(pages, "assets/main-ABCDEFGH.js"), "let a = 1;");
  writeFileSync(join(pages, "assets/main-ABCDEFGH.js.gz"), gzipSync("let a = 1;"));
  writeFileSync(join(pages, ".secret"), "secret");
  dashboard = await serveDashboard({
    listen: "127.0.0.1:0",
    source: source({
      facts: () => facts(nodes),
      leases: () => leases,
      node: (name) => {
        const found = nodes.find((each) => each.name === name);
        return found === undefined
          ? undefined
          : {
              atMs: 0,
              node: name,
              slurmState: found.slurmState,
              partitions: [],
              lending: found.lending,
              offerAgeMs: 1,
              horizonMs: null,
              cores: [],
              memoryBytes: { total: 0, allocated: 0, usedByJobs: 0, lent: 0, spare: 0 },
              leases: [],
              receipts: [],
            };
      },
      async identify(credential) {
        const person = people[credential];
        if (person === undefined) throw new SubletError("UNAUTHENTICATED", "credential: it is none");
        return person;
      },
      async administer(what, request, person) {
        asked.push({ what, request, person });
        return [{ node: "n1", ok: true, message: "", leasesEnded: 1, leasesLeft: 0 }];
      },
    }),
    history: await HistoryStore.open({ file: undefined, onTrouble: assert.fail }),
    cluster: "test",
    version: "1",
    price: undefined,
    days: new Days("UTC"),
    pagesDir: pages,
    docsDir: docs,
    onTrouble: (why) => console.error(why),
  });
  url = `http://${dashboard.address}`;
});
after(async () => {
  await dashboard.close();
  for (const folder of [pages, docs]) rmSync(folder, { recursive: true, force: true });
});

async function get<T>(
  path: string,
  headers: Record<string, string> = {},
): Promise<{ status: number; body: T }> {
  const response = await fetch(`${url}/api/v1/${path}`, { headers });
  return { status: response.status, body: (await response.json()) as T };
}

async function post(path: string, body: unknown, headers: Record<string, string> = {}) {
  return await fetch(`${url}/api/v1/${path}`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: typeof body === "string" ? body : JSON.stringify(body),
  });
}

async function loginAs(name: string): Promise<string> {
  const response = await post("login", { credential: name });
  assert.equal(response.status, 200);
  const cookie = response.headers.get("set-cookie") ?? "";
  assert.match(cookie, /HttpOnly; SameSite=Strict/);
  return cookie.split(";")[0] ?? "";
}

/** Reads events until `count` of that name came. */
async function* events(topics: string): AsyncGenerator<{ name: string; data: unknown }> {
  const response = await fetch(`${url}/api/v1/events?topics=${topics}`, {
    signal: AbortSignal.timeout(20_000),
  });
  let text = "";
  for await (const part of response.body as unknown as AsyncIterable<Uint8Array>) {
    text += Buffer.from(part).toString();
    for (let end = text.indexOf("\n\n"); end !== -1; end = text.indexOf("\n\n")) {
      const frame = text.slice(0, end);
      text = text.slice(end + 2);
      const name = /^event: (.*)$/m.exec(frame)?.[1];
      const data = /^data: (.*)$/m.exec(frame)?.[1];
      if (name !== undefined && data !== undefined) yield { name, data: JSON.parse(data) };
    }
  }
}

async function next<T>(stream: AsyncGenerator<{ name: string; data: unknown }>, name: string): Promise<T> {
  for (;;) {
    const { value, done } = await stream.next();
    if (done) throw new Error(`the stream ended before ${name}`);
    if (value.name === name) return value.data as T;
  }
}

const lease = (id: string, changes: Partial<LeaseRow> = {}): LeaseRow => ({
  id,
  kind: "function",
  state: "active",
  reason: "",
  node: "n1",
  class: "idle",
  cores: 1,
  memoryBytes: 1,
  uid: 1001,
  user: "alice",
  account: "physics",
  jobId: 7,
  fromNode: "n2",
  grantedAtMs: 1,
  remainingMs: 1,
  invocations: 0,
  ...changes,
});

describe("reading", () => {
  it("needs no login: summary, nodes by columns, one node, leases, history, gain", async () => {
    nodes = [
      node("n1", { cores: { total: 8, allocated: 4, used: 4, lent: 2, spare: 2 }, leases: 1 }),
      node("n2", {
        slurmState: "down",
        lending: "none",
        reporting: false,
        usable: false,
        cores: { total: 8 },
      }),
    ];
    leases = [lease("a"), lease("b", { node: "n2", user: "bob" })];
    const { body: summary } = await get<Summary>("summary");
    assert.deepEqual(summary.cores, { total: 16, used: 4, heldUnused: 0, lent: 2, spare: 2, closed: 8 });
    assert.deepEqual(summary.nodes, {
      total: 2,
      reporting: 1,
      lending: 1,
      drained: 0,
      shadow: 0,
      holdOut: 0,
    });
    const { body: table } = await get<NodeTable>("nodes");
    assert.deepEqual(table.names, ["n1", "n2"]);
    assert.deepEqual(table.coresLent, [2, 0]);
    assert.deepEqual(
      table.slurmState.map((state) => table.slurmStates[state]),
      ["IDLE", "DOWN"],
    );
    assert.equal((await get("nodes/n1")).status, 200);
    assert.equal((await get("nodes/n9")).status, 404);
    assert.equal((await get<LeaseRow[]>("leases?node=n2")).body.length, 1);
    assert.equal((await get<LeaseRow[]>("leases?user=alice")).body[0]?.id, "a");
    assert.deepEqual((await get("whoami")).body, { user: null, admin: false });
    assert.equal((await get("history?points=10")).status, 200);
    assert.equal((await get("gain?from=2026-01-01&to=2026-01-02")).status, 200);
  });
  it("refuses what makes no sense, and says what", async () => {
    for (const path of [
      "history?points=0",
      "history?points=99999",
      "gain?from=yesterday",
      "gain?from=5&to=4",
    ])
      assert.equal((await get(path)).status, 400, path);
    const { status, body } = await get<{ error: string }>("nothing");
    assert.equal(status, 404);
    assert.match(body.error, /api\.ts/);
  });
  it("gives the pages, packed where that is taken, the documentation, and nothing beside them", async () => {
    const index = await fetch(`${url}/`);
    assert.equal(await index.text(), "<title>pages</title>");
    assert.match(index.headers.get("content-security-policy") ?? "", /script-src 'self'/);
    const script = await fetch(`${url}/assets/main-ABCDEFGH.js`);
    assert.equal(script.headers.get("content-encoding"), "gzip");
    assert.match(script.headers.get("cache-control") ?? "", /immutable/);
    const again = await fetch(`${url}/`, { headers: { "if-none-match": index.headers.get("etag") ?? "" } });
    assert.equal(again.status, 304);
    for (const [path, title] of [
      ["/docs/", "docs: index"],
      ["/docs/runbook.html", "docs: runbook"],
    ])
      assert.equal(await (await fetch(url + path)).text(), `<title>${title}</title>`);
    for (const path of ["/.secret", "/..%2f..%2fetc/passwd", "/assets/../.secret", "/%ff", "//etc/passwd"])
      assert.ok([400, 404].includes((await fetch(url + path)).status), path);
  });
});

describe("the event stream", () => {
  it("tells changes of nodes as rows, a node that came as the whole table, leases as they begin and end", async () => {
    nodes = [node("n1", { cores: { total: 8 } }), node("n2", { cores: { total: 8 } })];
    leases = [lease("a")];
    const stream = events("summary,nodes,leases");
    await next<Summary>(stream, "summary");
    const first = await next<NodeChanges>(stream, "nodes").catch(() => undefined);
    const revision = first?.revision ?? 0;
    nodes = [nodes[0] as NodeFacts, node("n2", { cores: { total: 8, lent: 3 }, leases: 1 })];
    const changed = await next<NodeChanges>(stream, "nodes");
    assert.equal(changed.fromRevision, revision);
    assert.deepEqual(changed.rows, [
      { index: 1, slurmState: "IDLE", lending: "on", values: [8, 0, 3, 0, 0, 0, 0, 0, 1] },
    ]);
    nodes = [...nodes, node("n3")];
    assert.equal((await next<NodeChanges>(stream, "nodes")).table?.names.length, 3);
    leases = [];
    dashboard.live.leaseEnded(lease("a", { state: "revoked", reason: "batch_job" }));
    for (;;) {
      const { live, ended } = await next<{ live: LeaseRow[]; ended: LeaseRow[] }>(stream, "leases");
      if (ended.length === 0) continue;
      assert.deepEqual([live.length, ended[0]?.reason], [0, "batch_job"]);
      break;
    }
    await stream.return(undefined);
    await eventually("a viewer who leaves is forgotten", () => dashboard.viewers === 0);
  });
});

describe("changing", () => {
  const drain = { all: true, reason: "test" };
  it("is for admins who are logged in", async () => {
    assert.equal((await post("drain", drain)).status, 401);
    assert.equal((await post("login", { credential: "mallory" })).status, 401);
    const alice = await loginAs("alice");
    assert.equal((await post("drain", drain, { cookie: alice })).status, 403);
    const root = await loginAs("root");
    assert.deepEqual(await (await fetch(`${url}/api/v1/whoami`, { headers: { cookie: root } })).json(), {
      user: "root",
      admin: true,
    });
    assert.equal((await post("drain", drain, { cookie: root })).status, 200);
    assert.deepEqual(asked.at(-1), { what: "drain", request: drain, person: people.root });
    await post("logout", {}, { cookie: root });
    assert.equal((await post("drain", drain, { cookie: root })).status, 401);
  });
  it("is not for other sites, and not for bodies that are none", async () => {
    const root = await loginAs("root");
    const before = asked.length;
    const foreign = await post("drain", drain, { cookie: root, origin: "http://evil.example" });
    assert.equal(foreign.status, 403);
    const form = await post("drain", drain, { cookie: root, "content-type": "text/plain" });
    assert.equal(form.status, 400);
    assert.equal((await post("drain", "{", { cookie: root })).status, 400);
    assert.equal((await post("drain", { ...drain, drop: "tables" }, { cookie: root })).status, 400);
    assert.equal((await post("drain", { all: true }, { cookie: root })).status, 400, "a reason is due");
    const long = await post("drain", { reason: "x".repeat(2 * 1024 * 1024) }, { cookie: root }).catch(
      () => undefined,
    );
    assert.ok(long === undefined || long.status === 400);
    assert.equal((await post("nothing", {}, { cookie: root })).status, 404);
    assert.equal(asked.length, before);
  });
  it("is not for guesses: ten within a minute, also all at once", async () => {
    const tries = await Promise.all(
      Array.from({ length: 30 }, () => post("login", { credential: "guess" }).then(({ status }) => status)),
    );
    assert.equal(tries.filter((status) => status === 429).length >= 20, true, tries.join());
    assert.equal(tries.includes(200), false);
    const late = await post("login", { credential: "root" });
    assert.equal(late.status, 429);
    assert.match(((await late.json()) as { hint: string }).hint, /^Try again in \d+ s\.$/);
  });
  it("is not for who comes by a proxy that nobody named: that may be anybody, by any way", async () => {
    const headers = { "x-forwarded-for": "192.0.2.7", "x-forwarded-proto": "https" };
    for (const path of ["login", "drain"]) {
      const refused = await post(path, { credential: "root" }, headers);
      assert.equal(refused.status, 403);
      const { error, hint } = (await refused.json()) as { error: string; hint: string };
      assert.match(error, /dashboard\.proxies does not name/);
      assert.match(hint, /\[dashboard\.tls\]/);
    }
    const whoami = await fetch(`${url}/api/v1/whoami`, { headers });
    assert.match(((await whoami.json()) as { noLogin: string }).noLogin, /does not name/);
  });
  it("survives garbage on the port", async () => {
    const [host = "", port = ""] = dashboard.address.split(":");
    for (const bytes of [
      "\x16\x03\x01\x02",
      "GET / HTTP/9\r\n\r\n",
      `GET /${"a".repeat(60_000)} HTTP/1.1\r\n\r\n`,
    ]) {
      const socket = connect(Number(port), host);
      socket.on("error", () => undefined);
      socket.resume();
      socket.end(bytes);
      await new Promise((resolve) => socket.once("close", resolve));
    }
    assert.equal((await get("summary")).status, 200);
  });
});
