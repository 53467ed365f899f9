/** When code of users is kept on a node, and what of it is counted. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { CodeCache, type CodeLimits } from "../../../agent/executor/code.ts";
import { connectStarter } from "../../../agent/executor/starter.ts";
import { watchMetrics } from "../../../agent/metrics.ts";
import { Shell } from "../../../agent/shell.ts";
import { SubletError } from "../../../src/common/errors.ts";
import { eventually, fakeStarter } from "./fake-starter.ts";
import { mib, setup } from "./setup.ts";

const open = { maxBytes: 8 * mib, maxEntries: 64, drop: false };
const closed = { maxBytes: 0, maxEntries: 0, drop: true };

function world(t: TestContext) {
  const here = {
    open: true,
    fail: undefined as SubletError | undefined,
    told: [] as CodeLimits[],
    paths: [] as (readonly string[])[],
    problems: [] as string[],
  };
  const cache = new CodeCache({
    maxBytes: 8 * mib,
    async tell(limits) {
      here.told.push(limits);
      if (here.fail !== undefined) throw here.fail;
      return undefined;
    },
    paths: ["/a"],
    async tellPaths(paths) {
      here.paths.push(paths);
      if (here.fail !== undefined) throw here.fail;
    },
    open: () => here.open,
    onProblem: (message) => here.problems.push(message),
  });
  t.after(() => cache.close());
  return Object.assign(here, { cache });
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("a starter is told once, again when something changes, and every new one", (t) => {
  const here = world(t);
  here.cache.check();
  assert.deepEqual(here.told, []); // nobody is there
  here.cache.setConnected(true);
  here.cache.check();
  assert.deepEqual(here.told, [open]);
  here.open = false;
  here.cache.check();
  here.cache.check();
  assert.deepEqual(here.told, [open, closed]);
  here.open = true;
  here.cache.check();
  here.cache.setMax(4 * mib);
  here.cache.setMax(0);
  assert.deepEqual(here.told.slice(2), [open, { ...open, maxBytes: 4 * mib }, closed]);
  here.cache.setMax(8 * mib);
  here.cache.setConnected(false);
  here.cache.check();
  here.cache.setConnected(true);
  assert.deepEqual(here.told.slice(5), [open, open]);
});

test("a starter that may not have heard which folders are shared is told again, one that cannot hear is not", async (t) => {
  const here = world(t);
  here.fail = new SubletError("DEADLINE_EXCEEDED", "no answer");
  here.cache.setConnected(true);
  await settled();
  here.cache.setPaths([]); // withdrawn: it must hear that, if it heard the first
  await settled();
  here.fail = new SubletError("INTERNAL", "unknown verb");
  here.cache.check();
  await settled();
  here.cache.check();
  assert.deepEqual(here.paths, [["/a"], [], []]);
});

test("a starter is told which folders are shared once, when that changes, and every new one", async (t) => {
  const here = world(t);
  here.cache.setConnected(true);
  here.cache.check();
  assert.deepEqual(here.paths, [["/a"]]);
  here.cache.setPaths(["/a"]);
  here.cache.setPaths(["/a", "/b"]);
  here.cache.setPaths([]);
  assert.deepEqual(here.paths.slice(1), [["/a", "/b"], []]);
  here.cache.setConnected(false);
  here.cache.setConnected(true); // it knows of none, as it should
  assert.equal(here.paths.length, 3);
  here.fail = new SubletError("INTERNAL", "starter: unknown verb");
  here.cache.setPaths(["/c"]);
  await settled();
  assert.deepEqual(here.problems, [
    "the starter was not told which folders are shared: starter: unknown verb",
  ]);
});

test("an order that was not answered is given again; a starter that knows none is left alone", async (t) => {
  const here = world(t);
  here.cache.setPaths([]);
  here.fail = new SubletError("DEADLINE_EXCEEDED", "no answer");
  here.cache.setConnected(true);
  await settled();
  assert.equal(here.problems.length, 1);
  here.cache.check();
  await settled();
  assert.equal(here.told.length, 2);
  here.fail = new SubletError("INTERNAL", "starter: unknown verb");
  here.cache.check();
  await settled();
  here.cache.check();
  assert.deepEqual([here.told.length, here.problems.length], [3, 2]);
});

test("the agent: figures are the starter's, and all goes with a prolog and with short memory", async (t) => {
  const dir = mkdtempSync(join(tmpdir(), "sublet-code-"));
  t.after(() => rmSync(dir, { recursive: true }));
  const figures = Buffer.alloc(4096);
  for (const [index, value] of [5 * mib, 2, 30, 4, 3, 1, 6, 7, 8].entries())
    figures.writeBigUInt64LE(BigInt(value), 8 * index);
  writeFileSync(join(dir, "figures"), figures);
  const fake = await fakeStarter(join(dir, "s"), { figures: join(dir, "figures") });
  t.after(() => fake.close());
  let availableBytes = 4096 * mib;
  const shell = new Shell({
    setup,
    tree: { layout: { version: 1 as const, mounts: new Map(), missing: [] }, root: "none" },
    log: { debug() {}, info() {}, warn() {}, error() {} },
    availableBytes: () => availableBytes,
    order: () => ({ unixPath: "/x", tcpAddress: "127.0.0.1", spinUs: 50, executor: "/bin/true" }),
    startTimeoutMs: 1000,
    codeCacheBytes: 8 * mib,
    codeFromPaths: ["/shared/a", "/shared/b"],
  });
  t.after(() => shell.close());
  const starter = await connectStarter({
    socketPath: fake.path,
    spawn: undefined,
    timeoutMs: 1000,
    onExited: () => undefined,
    onLost: () => undefined,
  });
  t.after(() => starter.close());
  const last = (): string => JSON.stringify(fake.code.at(-1));
  const kept = '{"max_bytes":"8388608","max_entries":"64"}';
  const gone = '{"max_bytes":"0","max_entries":"0","drop":"1"}';
  shell.setStarter(starter);
  shell.dispatch({ type: "adopt", guests: [] });
  shell.dispatch({ type: "jobs", jobs: [] });
  shell.sampleMemory();
  await eventually("told", () => last() === kept);
  assert.deepEqual(fake.paths, [["/shared/a", "/shared/b"]]);
  await eventually("figures", () => shell.executors.code.figures() !== undefined);
  assert.deepEqual(shell.executors.code.figures(), {
    bytes: 5 * mib,
    libraries: 2,
    hits: 30,
    misses: 4,
    kept: 3,
    refused: 1,
    evicted: 6,
    paths: 7,
    unread: 8,
  });
  const page = await watchMetrics(shell, { controllersConnected: () => 0 }).metrics();
  assert.match(page, /^sublet_code_cache_bytes 5242880$/m);
  assert.match(page, /^sublet_code_cache_lookups_total\{outcome="hit"\} 30$/m);
  assert.match(page, /^sublet_code_cache_lookups_total\{outcome="path"\} 7$/m);
  assert.match(page, /^sublet_code_cache_unread_total 8$/m);
  assert.match(page, /^sublet_code_cache_offers_total\{outcome="refused"\} 1$/m);
  availableBytes = 0;
  shell.sampleMemory();
  await eventually("short memory", () => last() === gone);
  availableBytes = 4096 * mib;
  shell.sampleMemory();
  await eventually("memory again", () => last() === kept);
  await shell.ask({ type: "prolog", jobId: 7 });
  await eventually("a prolog", () => last() === gone);
  shell.setStarter(undefined);
  assert.equal(shell.executors.code.figures(), undefined);
});
