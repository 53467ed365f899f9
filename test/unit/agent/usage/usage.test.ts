/** An agent's lives, each with the spool of the one before: what leases held is told once, whatever ends the agent. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import type { Effect } from "../../../../agent/reactor/events.ts";
import type { Guest } from "../../../../agent/reactor/state.ts";
import type { ShellListener } from "../../../../agent/shell.ts";
import { Usage, type UsageOptions } from "../../../../agent/usage/usage.ts";
import type { Lease } from "../../../../src/common/nouns.ts";
import type { UsageRecordMessage } from "../../../../src/rpc/messages.ts";
import { eventually } from "../fake-starter.ts";

const mib = 1024 * 1024;
const begin = Date.parse("2026-11-25T10:00:00Z");
/** How long the machine has been up then. */
const upMs = 3_600_000;

function guest(id: string, lease: Partial<Lease> = {}): Guest {
  return {
    lease: {
      id,
      kind: "function",
      state: "ACTIVE",
      reason: undefined,
      class: "idle",
      cores: [2, 3],
      memoryBytes: 64 * mib,
      owner: { uid: 20001, gid: 20001, jobId: 7, node: "n1" },
      termMs: 60_000,
      expiresAtMs: 0,
      ...lease,
    },
    phase: "running",
    uid: 200_000,
    grantedUnixMs: begin,
    startedAtMs: 0,
    holder: undefined,
    token: "",
    port: 0,
    touchedBytes: 0,
    cores: [2, 3],
    callers: [],
  };
}

interface Life {
  readonly usage: Usage;
  readonly log: string[];
  /** By the clocks that nobody sets. */
  now: number;
  /** What the wall clock was set by meanwhile. */
  step: number;
  readonly calls: Map<string, number>;
  effect(effect: Effect): void;
  start(id: string, lease?: Partial<Lease>): void;
  end(id: string): void;
  /** All that the controller has not acknowledged, once it is on the disk. */
  told(controller?: string): Promise<UsageRecordMessage[]>;
}

/** A life that begins `atMs` after the first. */
async function life(
  dir: string,
  atMs = 0,
  options: Partial<UsageOptions> = {},
  clock: { readonly step?: number; readonly boot?: string } = {},
): Promise<Life> {
  const log: string[] = [];
  const say = (_: object, text: string): void => void log.push(text);
  const state = { now: atMs, step: 0, boot: "boot-1", ...clock };
  const usage = await Usage.load({
    node: "n1",
    controllers: ["a"],
    stateDir: dir,
    sliceMs: 60_000,
    spoolBytes: mib,
    log: { debug: say, info: say, warn: say, error: say },
    now: () => ({ unixMs: begin + state.now + state.step, boot: state.boot, bootMs: upMs + state.now }),
    spool: { syncMs: 5, retryMs: 10 },
    ...options,
  });
  let listener: ShellListener = {};
  const calls = new Map<string, number>();
  usage.follow(
    {
      nowMs: () => 1_000_000 + state.now,
      listen: (one) => {
        listener = one;
      },
    },
    { invocations: (id) => calls.get(id) ?? 0 },
  );
  const effect = (each: Effect): void => listener.onEffect?.(each);
  return {
    usage,
    log,
    calls,
    effect,
    get now() {
      return state.now;
    },
    set now(ms) {
      state.now = ms;
    },
    get step() {
      return state.step;
    },
    set step(ms) {
      state.step = ms;
    },
    start: (id, lease) =>
      effect({
        type: "start",
        guest: { ...guest(id, lease), grantedUnixMs: begin + state.now + state.step },
        limits: { cores: [], mems: "", cpuQuotaCores: 1, memoryBytes: 1, pidsMax: 1 },
      }),
    end: (id) => effect({ type: "ended", guest: guest(id, { state: "RELEASED", reason: "released" }) }),
    async told(controller = "a") {
      await eventually(
        "all is written",
        () => usage.source(controller).next(1000).length === usage.figures().records,
      );
      return usage.source(controller).next(1000);
    },
  };
}

function folder(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), "sublet-usage-"));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

const brief = (records: readonly UsageRecordMessage[]): string[] =>
  records.map(
    ({ leaseId, slice, coreSeconds, invocations, state }) =>
      `${leaseId}/${slice} ${coreSeconds} ${invocations} ${state.slice("LEASE_STATE_".length)}`,
  );

test("a lease is told in slices that add up to its life, and its calls with them", async (t) => {
  const one = await life(folder(t));
  one.start("L1", { billing: { account: "physics", partition: "main" } });
  one.calls.set("L1", 5);
  for (one.now = 0; one.now <= 150_000; one.now += 5_000) {
    one.usage.tick();
    one.calls.set("L1", 5 + one.now / 1000);
  }
  one.now = 150_250;
  one.end("L1");
  const told = await one.told();
  assert.deepEqual(brief(told), ["L1/0 120 60 ACTIVE", "L1/1 120 60 ACTIVE", "L1/2 60.5 35 RELEASED"]);
  const [first, second] = told;
  assert.deepEqual(
    [first?.beginUnixMs, first?.endUnixMs, second?.beginUnixMs],
    [begin, begin + 60_000, begin + 60_000],
  );
  assert.deepEqual(
    [first?.account, first?.partition, first?.byteSeconds],
    ["physics", "main", 60 * 64 * mib],
  );
  one.usage.source("a").acked(told.map(({ leaseId, slice }) => `${leaseId}/${slice}`));
  assert.deepEqual(one.usage.figures().records, 0);
  await one.usage.close();
});

test("killed, it goes on where it was with guests that it adopts, and ends those that are gone", async (t) => {
  const dir = folder(t);
  const one = await life(dir);
  one.start("L1", { billing: { account: "physics", partition: "main" } });
  one.start("L2");
  one.calls.set("L1", 9);
  one.now = 60_000;
  one.usage.tick();
  assert.equal((await one.told()).length, 2);
  one.now = 65_000;
  one.usage.tick();
  await eventually("the sign of life is written", () =>
    readFileSync(join(dir, "usage.spool"), "utf8").endsWith(
      `{"t":${begin + 65_000},"boot":"boot-1","bootMs":${upMs + 65_000}}\n`,
    ),
  );
  // kill -9 here: nothing is closed.
  const two = await life(dir, 90_000);
  two.calls.set("L1", 11);
  const [adopted] = two.usage.billed([guest("L1")]);
  assert.deepEqual(adopted?.lease.billing, { account: "physics", partition: "main" });
  if (adopted !== undefined) two.effect({ type: "lease", guest: { ...guest("L1"), ...adopted } });
  two.usage.closeOrphans();
  two.now = 100_000;
  two.end("L1");
  const told = await two.told();
  assert.deepEqual(brief(told), [
    "L1/0 120 9 ACTIVE",
    "L2/0 120 0 ACTIVE",
    "L2/1 10 0 REVOKED",
    "L1/1 80 2 RELEASED",
  ]);
  assert.deepEqual([told[2]?.reason, told[3]?.account], ["REASON_AGENT_RESTART", "physics"]);
  // And once more, in vain: nothing is open.
  await two.usage.close();
  const three = await life(dir, 200_000);
  three.usage.closeOrphans();
  assert.deepEqual(brief(await three.told()), brief(told));
});

const day = 86_400_000;
for (const [name, step] of [
  ["forward", day],
  ["back", -day],
] as const)
  test(`a clock that is set ${name} while the agent is away, or before it is killed, moves no core-second`, async (t) => {
    const dir = folder(t);
    const one = await life(dir);
    for (const id of ["L1", "L2", "L3"]) one.start(id);
    one.now = 10_000;
    one.step = step;
    one.start("L4");
    one.now = 20_000;
    one.usage.tick();
    one.end("L3");
    await one.told();
    // kill -9. L1 and L4 are adopted 10 s later; meanwhile the clock was set right again.
    const two = await life(dir, 30_000);
    for (const id of ["L1", "L4"]) two.effect({ type: "lease", guest: guest(id) });
    two.usage.closeOrphans();
    two.now = 40_000;
    for (const id of ["L1", "L4"]) two.end(id);
    const told = await two.told();
    assert.deepEqual(brief(told), [
      "L3/0 40 0 RELEASED",
      "L2/0 40 0 REVOKED",
      "L1/0 80 0 RELEASED",
      "L4/0 60 0 RELEASED",
    ]);
    assert.ok(told.every(({ beginUnixMs, endUnixMs }) => endUnixMs - beginUnixMs <= 40_000));
    await two.usage.close();
  });

test("slices of the life before move the beginning on both clocks", async (t) => {
  const dir = folder(t);
  const one = await life(dir);
  one.start("L1");
  one.now = 60_000;
  one.usage.tick();
  await one.told();
  const two = await life(dir, 70_000, {}, { step: day });
  two.effect({ type: "lease", guest: guest("L1") });
  two.end("L1");
  assert.deepEqual(brief(await two.told()), ["L1/0 120 0 ACTIVE", "L1/1 20 0 RELEASED"]);
});

test("leases that a boot ended count up to the last sign of life before it, by the clock of then", async (t) => {
  const dir = folder(t);
  const one = await life(dir);
  one.start("L1");
  one.now = 15_000;
  one.usage.tick();
  await one.usage.close();
  const two = await life(dir, 900_000, {}, { step: -day, boot: "boot-2" });
  two.usage.closeOrphans();
  assert.deepEqual(brief(await two.told()), ["L1/0 30 0 REVOKED"]);
});

test("an adopted guest that no spool tells of is no older than the machine, whatever the clock says", async (t) => {
  const one = await life(folder(t), 0, {}, { step: 50 * 365 * day });
  one.effect({ type: "lease", guest: guest("L1") });
  one.end("L1");
  assert.deepEqual(brief(await one.told()), [`L1/0 ${(2 * upMs) / 1000} 0 RELEASED`]);
});

test("the spool of a version that knew the wall clock alone is read as it was meant", async (t) => {
  const dir = folder(t);
  const open = {
    ...{ leaseId: "L1", kind: "function", class: "idle", cores: 2, memoryBytes: 1, uid: 1, jobId: 0 },
    ...{ account: "", partition: "", slice: 0, beginUnixMs: begin, calls: 0 },
  };
  const lines = [{ t: begin }, { o: open }, { o: { ...open, leaseId: "L2" } }, { t: begin + 30_000 }];
  writeFileSync(join(dir, "usage.spool"), lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
  const one = await life(dir, 40_000);
  one.effect({ type: "lease", guest: guest("L1") });
  one.usage.closeOrphans();
  one.end("L1");
  assert.deepEqual(brief(await one.told()), ["L2/0 60 0 REVOKED", "L1/0 80 0 RELEASED"]);
});

test("each controller acknowledges for itself, and later lives know", async (t) => {
  const dir = folder(t);
  const controllers = ["a", "b"];
  const one = await life(dir, 0, { controllers });
  for (const id of ["L1", "L2"]) {
    one.start(id);
    one.now += 1_000;
    one.end(id);
  }
  await one.told();
  one.usage.source("a").acked(["L1/0", "L2/0"]);
  one.usage.source("b").acked(["L2/0"]);
  await one.usage.close();
  const two = await life(dir, 5_000, { controllers });
  const keys = (name: string) =>
    two.usage
      .source(name)
      .next(9)
      .map(({ leaseId }) => leaseId);
  assert.deepEqual([keys("a"), keys("b")], [[], ["L1"]]);
});

test("a spool that was cut off at any byte is read as far as it goes, and no key is given twice", async (t) => {
  const dir = folder(t);
  const path = join(dir, "usage.spool");
  const one = await life(dir);
  for (const id of ["L1", "L2", "L3"]) {
    one.start(id);
    one.now += 2_000;
    if (id !== "L3") one.end(id);
  }
  const whole = await one.told();
  await one.usage.close();
  const bytes = readFileSync(path);
  for (let length = 0; length <= bytes.length; length += 7) {
    writeFileSync(path, bytes);
    truncateSync(path, length);
    const next = await life(dir, 10_000);
    next.usage.closeOrphans();
    next.start("L4");
    next.end("L4");
    const told = await next.told();
    const keys = told.map(({ leaseId, slice }) => `${leaseId}/${slice}`);
    assert.equal(new Set(keys).size, keys.length, `cut at ${length}`);
    assert.equal(keys.at(-1), "L4/0", `cut at ${length}`);
    for (const each of told) {
      const before = whole.find(({ leaseId }) => leaseId === each.leaseId);
      if (before !== undefined) assert.ok(each.coreSeconds <= before.coreSeconds, `cut at ${length}`);
    }
    await next.usage.close();
  }
});

test("without a disk records wait in memory and are sent all the same; with one again they are kept", async (t) => {
  const dir = folder(t);
  const gone = join(dir, "later");
  const one = await life(gone);
  one.start("L1");
  one.now = 1_000;
  one.end("L1");
  assert.deepEqual(brief(await one.told()), ["L1/0 2 0 RELEASED"]);
  assert.deepEqual(one.log, ["usage records are kept in memory only: the spool cannot be written"]);
  mkdirSync(gone);
  await new Promise((resolve) => setTimeout(resolve, 20));
  one.start("L2");
  await eventually("it is told", () => one.log.length === 2);
  assert.equal(one.log[1], "usage records are kept on the disk again");
  const two = await life(gone, 2_000);
  two.usage.closeOrphans();
  assert.deepEqual(
    (await two.told()).map(({ leaseId }) => leaseId),
    ["L1", "L2"],
  );
});

test("acknowledged records do not make the file grow for ever", async (t) => {
  const dir = folder(t);
  const one = await life(dir);
  for (let i = 0; i < 3000; i++) {
    one.start(`L${i}`);
    one.now += 10;
    one.end(`L${i}`);
    if (i % 100 !== 0) continue;
    const told = await one.told();
    one.usage.source("a").acked(told.map(({ leaseId, slice }) => `${leaseId}/${slice}`));
  }
  await one.usage.close();
  const { spoolBytes } = one.usage.figures();
  assert.ok(spoolBytes < 600_000, `${spoolBytes} bytes`);
});

test("a spool that cannot be read costs what it held, and no more", async (t) => {
  const dir = folder(t);
  writeFileSync(join(dir, "usage.spool"), "x".repeat(5 * mib));
  const one = await life(dir);
  assert.match(one.log[0] ?? "", /cannot be read: it is lost/);
  one.start("L1");
  one.now = 500;
  one.end("L1");
  assert.equal((await one.told()).length, 1);
  await one.usage.close();
  const two = await life(dir, 1_000);
  assert.equal((await two.told()).length, 1);
});
