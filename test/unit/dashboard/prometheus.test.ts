/** History beyond the controller's own: what is asked of Prometheus and how often, and what viewers hear when it fails. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, beforeEach, describe, it } from "node:test";
import { Days } from "../../../src/common/days.ts";
import type { History } from "../../../src/dashboard/api.ts";
import { HistoryStore } from "../../../src/dashboard/history.ts";
import { historyOf } from "../../../src/dashboard/points.ts";
import { PrometheusHistory, type PrometheusOptions } from "../../../src/dashboard/prometheus.ts";
import { serveDashboard } from "../../../src/dashboard/server.ts";
import { certificate } from "./certificates.ts";
import { type FakePrometheus, fakePrometheus } from "./fake-prometheus.ts";
import { facts, source } from "./samples.ts";

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
const nowUnixMs = Date.UTC(2026, 10, 30, 13, 5);
const folder = mkdtempSync(join(tmpdir(), "sublet-prometheus-"));
after(() => rmSync(folder, { recursive: true, force: true }));

let fake: FakePrometheus;
let troubles: string[];
let clock: { unixMs: number; nowMs: number };
beforeEach(async () => {
  fake = await fakePrometheus();
  troubles = [];
  clock = { unixMs: nowUnixMs, nowMs: 0 };
});
afterEach(async () => await fake.close());

function prometheus(changes: Partial<PrometheusOptions> = {}): PrometheusHistory {
  return new PrometheusHistory({
    url: fake.url,
    tokenFile: undefined,
    caFile: undefined,
    selector: "",
    unixMs: () => clock.unixMs,
    nowMs: () => clock.nowMs,
    onTrouble: (why) => troubles.push(why),
    ...changes,
  });
}

/** As the controller has it without Prometheus: nothing so long ago. */
function empty(days: number, stepMs = 6 * hourMs): History {
  const toMs = Math.floor(nowUnixMs / stepMs) * stepMs;
  return historyOf([], toMs - days * dayMs, toMs, stepMs);
}

describe("history beyond the controller's own", () => {
  it("comes from Prometheus up to where the own begins; parts add up to the total", async () => {
    const own = empty(90);
    const ownFromMs = own.toMs - 30 * dayMs;
    const found = await prometheus().complete(own, ownFromMs);
    const last = found.atMs.findIndex((atMs) => atMs >= ownFromMs) - 1;
    assert.equal(last, 60 * 4 - 1);
    for (const at of [0, last]) {
      const { total, used, heldUnused, lent, spare, closed } = found.cores;
      assert.deepEqual(
        [total, used, heldUnused, lent, spare, closed].map((values) => values[at]),
        [100, 60, 0, 10, 20, 10],
      );
      assert.equal(found.memoryBytes.lent[at], 10 * 2 ** 30);
      // The mean of a bin is told at its end.
      assert.equal(found.invocationsPerSecond[at], ((found.atMs[at] ?? 0) + 6 * hourMs) / 1000);
      // Nobody says how many jobs took something back.
      assert.equal(found.reclaimsPerHour[at], null);
    }
    assert.equal(found.cores.total[last + 1], null);
    assert.deepEqual(found.before, { toMs: ownFromMs, trouble: null });
    assert.equal(own.cores.total[0], null, "what was handed in is not changed");
  });

  it("is asked for once, whoever looks and at what: bounded queries, then what ended since", async () => {
    const history = prometheus({ selector: 'cluster="alps"' });
    await Promise.all(
      Array.from({ length: 50 }, (_, viewer) => history.complete(empty(8 + viewer), nowUnixMs)),
    );
    // 1,600 bins of six hours, 120 a query, three questions.
    const all = Math.ceil(1600 / 120) * 3;
    assert.equal(fake.asked.length, all);
    for (const query of fake.asked) {
      const [start, end, step] = ["start", "end", "step"].map((name) => Number(query.get(name)));
      assert.ok(((end ?? 0) - (start ?? 0)) / (step ?? 1) < 120);
      assert.match(query.get("query") ?? "", /\{cluster="alps"\}\[21600s\]/);
      assert.equal(query.get("timeout"), "10s");
    }
    await history.complete(empty(365), nowUnixMs);
    assert.equal(fake.asked.length, all);
    clock.unixMs += 7 * hourMs;
    await history.complete(empty(365), nowUnixMs);
    assert.equal(fake.asked.length, all + 3);
  });

  it("tells in words what is wrong, asks no more for a minute, and then goes on", async () => {
    const cases: readonly [FakePrometheus["answer"], RegExp, RegExp][] = [
      [(r) => void r.writeHead(401).end("who?"), /^It refuses the controller \(401\)\.$/, /401/],
      [(r) => void r.writeHead(502).end("<html>"), /^It answers with status 502 and no JSON\.$/, /JSON/],
      [
        (r) => void r.writeHead(422).end('{"status":"error","error":"query timed out"}'),
        /^It could not answer the question\.$/,
        /422: query timed out/,
      ],
      [(r) => void r.end('{"status":"success","data":{"resultType":"vector"}}'), /not understood/, /./],
      [(r) => void r.end(`"${"x".repeat(5 * 2 ** 20)}"`), /^Its answer is longer than 4 MiB\.$/, /./],
      [(r) => void r.destroy(), /^It cannot be reached\.$/, /socket|ECONNRESET/],
      [() => undefined, /^It does not answer within 1 s\.$/, /./],
    ];
    for (const [answer, words, log] of cases) {
      const history = prometheus({ timeoutMs: 1_000 });
      troubles = [];
      fake.answer = answer;
      const found = await history.complete(empty(90), nowUnixMs);
      assert.match(found.before?.trouble ?? "", words);
      assert.equal(found.cores.total[0], null);
      assert.equal(troubles.length, 1);
      assert.match(troubles[0] ?? "", log);
      fake.answer = undefined;
      const asked = fake.asked.length;
      assert.match((await history.complete(empty(90), nowUnixMs)).before?.trouble ?? "", words);
      assert.equal(fake.asked.length, asked, "asked again at once");
      clock.nowMs += 60_000;
      const again = await history.complete(empty(90), nowUnixMs);
      assert.equal(again.before?.trouble, null);
      assert.equal(again.cores.total[0], 100);
    }
  });

  it("shows the token of the file, to a server whose certificate the named authority signed", async () => {
    const { certFile, keyFile, ca } = certificate(folder, "prometheus");
    const tokenFile = join(folder, "token");
    writeFileSync(tokenFile, "abc\n");
    const tls = await fakePrometheus({ cert: ca, key: readFileSync(keyFile) });
    try {
      const ask = (changes: Partial<PrometheusOptions>) =>
        prometheus({ url: tls.url, ...changes }).complete(empty(90), nowUnixMs);
      assert.equal((await ask({ tokenFile, caFile: certFile })).before?.trouble, null);
      assert.deepEqual(new Set(tls.authorizations), new Set(["Bearer abc"]));
      assert.equal((await ask({ tokenFile })).before?.trouble, "It cannot be reached.");
      const unread = (await ask({ tokenFile: join(folder, "gone"), caFile: certFile })).before?.trouble ?? "";
      assert.match(unread, /cannot read what it needs/);
      assert.ok(!unread.includes(folder), "viewers are told of no paths");
    } finally {
      await tls.close();
    }
  });

  it("is asked by the dashboard for long spans only, and the own history is there beside an error", async () => {
    const history = await HistoryStore.open({ file: undefined, onTrouble: assert.fail });
    const sample = () => {
      const shares = { total: 50, used: 50, heldUnused: 0, lent: 0, spare: 0, closed: 0 };
      const gauges = { ...shares, allocated: 50, lentShared: 0, unallocated: 0 };
      return { cores: gauges, memory: gauges, totals: facts([]).totals };
    };
    for (let i = 0; i < 3; i++) history.add(sample(), nowUnixMs - 30_000 + i * 10_000, i * 10_000);
    const dashboard = await serveDashboard({
      listen: "127.0.0.1:0",
      source: source({ facts: () => facts([]) }),
      history,
      cluster: "test",
      version: "1",
      price: undefined,
      days: new Days("UTC"),
      pagesDir: folder,
      unixMs: () => nowUnixMs,
      prometheus: prometheus(),
    });
    try {
      const get = async (path: string) =>
        await (await fetch(`http://${dashboard.address}/api/v1/${path}`)).json();
      const spanOf = (days: number) => `history?from=${nowUnixMs - days * dayMs}&to=${nowUnixMs}&points=600`;
      assert.equal(((await get("summary")) as { longHistory: boolean }).longHistory, true);
      const week = (await get(spanOf(7))) as History;
      assert.equal(week.before, undefined);
      assert.equal(fake.asked.length, 0);
      fake.answer = (response) => void response.destroy();
      const year = (await get(spanOf(365))) as History;
      assert.equal(year.before?.trouble, "It cannot be reached.");
      assert.equal(year.cores.total.at(-1), 50);
      assert.equal(year.cores.total[0], null);
    } finally {
      await dashboard.close();
    }
  });
});
