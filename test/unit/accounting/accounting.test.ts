/** Acknowledged means stored; a data base that is away costs nobody anything but time. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import {
  type Accounting,
  type AccountingOptions,
  startAccounting,
} from "../../../src/accounting/accounting.ts";
import type { Database } from "../../../src/accounting/db/database.ts";
import type { Running } from "../../../src/accounting/quota.ts";
import type { UsageRecord } from "../../../src/common/nouns.ts";
import { eventually } from "../agent/fake-starter.ts";
import { type Open, onEach } from "./databases.ts";
import { record } from "./records.ts";

const noon = Date.parse("2026-11-24T12:00:00Z");
const config = {
  enabled: true,
  mariadb: undefined,
  timeZone: "UTC",
  retentionDays: 400,
  totalsRetentionDays: 3650,
  quota: {},
};

interface World {
  readonly accounting: Accounting;
  readonly told: string[];
  /** Takes them and waits for the acknowledgement. */
  store(records: UsageRecord[]): Promise<readonly string[]>;
}

function start(t: TestContext, open: Open, options: Partial<AccountingOptions> = {}): World {
  const told: string[] = [];
  const accounting = startAccounting({
    config,
    open,
    place: "here",
    names: () => new Map(),
    running: () => [],
    nowUnixMs: () => noon,
    retryFirstMs: 10,
    retryMaxMs: 20,
    events: {
      onStored: ({ stored, duplicates }) => told.push(`stored ${stored} duplicates ${duplicates}`),
      onInvalid: (count, why) => told.push(`invalid ${count}: ${why}`),
      onDatabase: (up, place, why) => told.push(`${up ? "up" : "away"} ${place} ${why}`.trim()),
      onForgotten: () => undefined,
    },
    ...options,
  });
  t.after(() => accounting.close());
  return {
    accounting,
    told,
    async store(records) {
      await eventually("the data base is up", () => accounting.status.up);
      let acked: readonly string[] | undefined;
      accounting.take(records, (keys) => {
        acked = keys;
      });
      await eventually("records are acknowledged", () => acked !== undefined);
      return acked ?? [];
    },
  };
}

onEach("records are acknowledged when another connection finds them, and duplicates too", async (t, open) => {
  const { store, told } = start(t, open);
  assert.deepEqual(await store([record(), record({ slice: 1 })]), ["L1/0", "L1/1"]);
  const other = await open();
  t.after(() => other.close());
  const rows = await other.all("SELECT slice FROM usage_record ORDER BY slice");
  assert.deepEqual(
    rows.map(({ slice }) => slice),
    [0, 1],
  );
  assert.deepEqual(await store([record()]), ["L1/0"]);
  assert.deepEqual(told, ["up here", "stored 2 duplicates 0", "stored 0 duplicates 1"]);
});

/** A data base whose statements fail while `away` holds. */
function breakable(open: Open): { open: Open; state: { away: boolean; opened: number } } {
  const state = { away: false, opened: 0 };
  const check = (): void => {
    if (state.away) throw new Error("gone");
  };
  return {
    state,
    async open(): Promise<Database> {
      check();
      state.opened++;
      const real = await open();
      return {
        ...real,
        all: async (sql, values) => {
          check();
          return await real.all(sql, values);
        },
        transaction: async (body) => {
          check();
          return await real.transaction(body);
        },
      };
    },
  };
}

onEach(
  "while the data base is away nothing is acknowledged or kept, and it is told once",
  async (t, open) => {
    const { open: broken, state } = breakable(open);
    const { accounting, store, told } = start(t, broken);
    await store([record()]);
    state.away = true;
    let acked = false;
    accounting.take([record({ slice: 1 })], () => {
      acked = true;
    });
    await eventually("it is told", () => told.includes("away here gone"));
    for (let slice = 2; slice < 100; slice++) accounting.take([record({ slice })], () => assert.fail("kept"));
    await new Promise((resolve) => setTimeout(resolve, 100));
    assert.equal(acked, false);
    assert.equal(accounting.waiting, 0);
    await assert.rejects(accounting.usage({ fromDay: "2026-01-01", toDay: "2026-12-31", groupBy: [] }), {
      code: "UNAVAILABLE",
      message: /away \(here: gone\); leases go on/,
    });
    state.away = false;
    assert.deepEqual(await store([record({ slice: 1 })]), ["L1/1"]);
    assert.deepEqual(
      told.filter((text) => /^(up|away)/.test(text)),
      ["up here", "away here gone", "up here"],
    );
  },
);

onEach(
  "what is older than the records that are kept is dropped: it may have been stored once",
  async (t, open) => {
    const { store, told } = start(t, open);
    const old = record({ leaseId: "old", beginUnixMs: noon - 500 * 86_400_000 });
    assert.deepEqual([...(await store([old, record()]))].sort(), ["L1/0", "old/0"]);
    assert.deepEqual(await store([old]), ["old/0"]);
    assert.deepEqual(told.slice(1), [
      "invalid 1: older than retention_days",
      "stored 1 duplicates 0",
      "invalid 1: older than retention_days",
    ]);
  },
);

test("switched off, it takes everything and keeps nothing", async (t) => {
  const never: Open = async () => assert.fail("opened");
  const { accounting } = start(t, never, { config: { ...config, enabled: false } });
  let acked: readonly string[] = [];
  accounting.take([record()], (keys) => {
    acked = keys;
  });
  assert.deepEqual(acked, ["L1/0"]);
  assert.deepEqual(accounting.exhausted(), []);
});

onEach("a quota is what was stored today and what live leases have held since", async (t, open) => {
  const running: Running[] = [];
  const quota = { physics: 1000, chemistry: 5000, "*": 200, "-": 0 };
  const { accounting, store } = start(t, open, { config: { ...config, quota }, running: () => running });
  const out = (): string[] => accounting.exhausted().map(({ account }) => account);
  assert.deepEqual(out(), [""], "who may use nothing has nothing left from the start");
  const begin = noon - 500_000;
  const slice = {
    state: "ACTIVE",
    reason: undefined,
    beginUnixMs: begin,
    endUnixMs: begin + 400_000,
  } as const;
  await store([record({ ...slice, cores: 2 }), record({ leaseId: "L2", account: "biology" })]);
  assert.deepEqual(out(), ["", "biology"], "200 of 200");
  running.push({ leaseId: "L1", account: "physics", cores: 2, grantedUnixMs: begin });
  assert.deepEqual(out(), ["", "biology", "physics"], "800 stored, and 2 cores for the 100 s since");
  assert.deepEqual(accounting.quotas(["physics", "chemistry"]), [
    { account: "physics", limitCoreSeconds: 1000, usedTodayCoreSeconds: 1000 },
    { account: "chemistry", limitCoreSeconds: 5000, usedTodayCoreSeconds: 0 },
  ]);
  const [first] = accounting.exhausted();
  assert.equal(first?.resetsInMs, 12 * 3_600_000);
  // Its last record takes the place of what was reckoned.
  running.pop();
  await store([record({ slice: 1, beginUnixMs: slice.endUnixMs, endUnixMs: slice.endUnixMs + 10_000 })]);
  assert.deepEqual(accounting.quotas(["physics"])[0]?.usedTodayCoreSeconds, 820);
  assert.deepEqual(out(), ["", "biology"]);
});

onEach("quotas that a reload brings hold from then on", async (t, open) => {
  const now = { quota: {} };
  const live = {
    ...config,
    get quota() {
      return now.quota;
    },
  };
  const { accounting, store } = start(t, open, { config: live });
  await store([record()]);
  assert.deepEqual(accounting.exhausted(), []);
  now.quota = { "*": 100 };
  assert.deepEqual(
    accounting.exhausted().map(({ account }) => account),
    ["physics"],
  );
});

onEach("yesterday does not count", async (t, open) => {
  let now = noon;
  const quota = { "*": 100 };
  const { accounting, store } = start(t, open, { config: { ...config, quota }, nowUnixMs: () => now });
  await store([record()]);
  assert.equal(accounting.exhausted().length, 1);
  now += 13 * 3_600_000;
  assert.equal(accounting.exhausted().length, 0);
});
