/** Records go in once and come out as sums, whatever is sent how often. */
import assert from "node:assert/strict";
import type { TestContext } from "node:test";
import fc from "fast-check";
import type { Database } from "../../../src/accounting/db/database.ts";
import { migrate, schemaVersion } from "../../../src/accounting/db/migrations.ts";
import { Store } from "../../../src/accounting/store.ts";
import { Days } from "../../../src/common/days.ts";
import type { UsageRecord } from "../../../src/common/nouns.ts";
import { type Open, onEach } from "./databases.ts";
import { record } from "./records.ts";

const days = new Days("Europe/Zurich");
const nobody = new Map<number, string>();

async function storeOn(t: TestContext, open: Open): Promise<{ store: Store; database: Database }> {
  const database = await open();
  t.after(() => database.close());
  await migrate(database, 1);
  return { store: new Store(database, days), database };
}

const all = { fromDay: "0000-01-01", toDay: "9999-12-31" } as const;

onEach("what is stored twice counts once", async (t, open) => {
  const { store, database } = await storeOn(t, open);
  const records = [record(), record({ slice: 1 }), record({ leaseId: "l1" })];
  assert.deepEqual(await store.insert(records, nobody, 5), { stored: 3, duplicates: 0 });
  assert.deepEqual(await store.insert([...records, record({ slice: 2 }), record()], nobody, 6), {
    stored: 1,
    duplicates: 4,
  });
  const [sum] = await store.usage({ ...all, groupBy: [] });
  assert.equal(sum?.coreSeconds, 800);
  assert.equal(sum?.byteSeconds, 400 * 2 ** 30);
  assert.equal(sum?.invocations, 40);
  assert.equal(sum?.leases, 2, "slices of one lease are one lease");
  const rows = await database.all("SELECT lease_id, slice FROM usage_record ORDER BY lease_id, slice");
  assert.deepEqual(
    rows.map((row) => `${row.lease_id}/${row.slice}`),
    ["L1/0", "L1/1", "L1/2", "l1/0"],
    "ids that differ in case are two",
  );
});

onEach("sums by day, account and user; a span over midnight is divided", async (t, open) => {
  const { store } = await storeOn(t, open);
  const midnight = Date.parse("2026-11-24T23:00:00Z");
  await store.insert(
    [
      record({ beginUnixMs: midnight - 25_000, endUnixMs: midnight + 75_000 }),
      record({ leaseId: "L2", uid: 20002, account: "chemistry" }),
      record({ leaseId: "L3", uid: 0, account: "" }),
    ],
    new Map([[20001, "alice"]]),
    5,
  );
  const shown = (await store.usage({ ...all, groupBy: ["account", "user", "day"] })).map(
    ({ day, account, user, coreSeconds, leases, invocations }) =>
      [day, account, user, coreSeconds, leases, invocations] as const,
  );
  assert.deepEqual(shown, [
    ["2026-11-24", "", "root", 200, 1, 10],
    ["2026-11-24", "chemistry", "20002", 200, 1, 10],
    ["2026-11-24", "physics", "alice", 50, 1, 0],
    ["2026-11-25", "physics", "alice", 150, 0, 10],
  ]);
  const one = async (query: object) => (await store.usage({ ...all, groupBy: [], ...query }))[0]?.coreSeconds;
  assert.equal(await one({ user: "alice" }), 200);
  assert.equal(await one({ uid: 20002 }), 200);
  assert.equal(await one({ account: "" }), 200);
  assert.equal(await one({ fromDay: "2026-11-25" }), 150);
  assert.equal(await one({ user: "mallory" }), undefined, "nothing is no row");
  assert.deepEqual(await store.usedOn("2026-11-25"), new Map([["physics", 150]]));
});

onEach("a batch that fails leaves nothing behind", async (t, open) => {
  const { store, database } = await storeOn(t, open);
  await assert.rejects(
    database.transaction(async (statements) => {
      await statements.all("INSERT INTO usage_user (uid, name) VALUES (?, ?)", [1, "x"]);
      throw new Error("cut off");
    }),
    /cut off/,
  );
  assert.deepEqual(await database.all("SELECT * FROM usage_user"), []);
  assert.deepEqual(await store.insert([record()], nobody, 5), { stored: 1, duplicates: 0 });
});

onEach("any division into batches, sent any number of times, sums to the same", async (t, open) => {
  const { store, database } = await storeOn(t, open);
  const item = fc.record({
    leaseId: fc.constantFrom("a", "b", "c"),
    slice: fc.nat(3),
    cores: fc.integer({ min: 1, max: 4 }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(fc.array(item, { maxLength: 6 }), { maxLength: 6 }), async (batches) => {
      for (const table of ["usage_record", "usage_day"]) await database.all(`DELETE FROM ${table}`);
      const first = new Map<string, UsageRecord>();
      for (const batch of batches) {
        const records = batch.map((each) => record(each));
        for (const each of records) {
          const key = `${each.leaseId}/${each.slice}`;
          // Of one batch the last counts, of several batches the first: a key has one content anyway.
          if (!first.has(key))
            first.set(key, records.findLast((r) => `${r.leaseId}/${r.slice}` === key) ?? each);
        }
        await store.insert(records, nobody, 1);
      }
      const expected = [...first.values()].reduce((sum, { coreSeconds }) => sum + coreSeconds, 0);
      const [sum] = await store.usage({ ...all, groupBy: [] });
      assert.equal(sum?.coreSeconds ?? 0, expected);
    }),
    { numRuns: 25 },
  );
});

onEach("two controllers on one data base store a record once, whoever is first", async (t, open) => {
  const one = await storeOn(t, open);
  const other = await storeOn(t, open);
  const records = Array.from({ length: 300 }, (_, slice) => record({ slice }));
  const results = await Promise.all([
    one.store.insert(records, nobody, 1),
    other.store.insert([...records].reverse(), nobody, 1),
  ]);
  assert.equal(
    results.reduce((sum, { stored }) => sum + stored, 0),
    300,
  );
  const [sum] = await one.store.usage({ ...all, groupBy: [] });
  assert.equal(sum?.coreSeconds, 60_000);
});

onEach("what is old is forgotten, and sums stay for longer", async (t, open) => {
  const { store, database } = await storeOn(t, open);
  const old = Array.from({ length: 2500 }, (_, slice) => record({ slice, beginUnixMs: 1000, cores: 1 }));
  await store.insert([...old, record({ leaseId: "new" })], nobody, 5);
  assert.equal(await store.forget(Date.parse("2026-11-01"), "1970-01-01"), 2500);
  const left = await database.all("SELECT lease_id FROM usage_record");
  assert.deepEqual(
    left.map((row) => row.lease_id),
    ["new"],
  );
  assert.equal((await store.usage({ ...all, groupBy: [] }))[0]?.coreSeconds, 250_200);
  await store.forget(0, "2026-01-01");
  assert.equal((await store.usage({ ...all, groupBy: [] }))[0]?.coreSeconds, 200);
});

onEach("a data base of a newer version is refused, with what to do", async (t, open) => {
  const { database } = await storeOn(t, open);
  await migrate(database, 2);
  await database.all("INSERT INTO schema_version (version, migrated_unix_ms) VALUES (?, ?)", [99, 1]);
  await assert.rejects(migrate(database, 3), {
    code: "FAILED_PRECONDITION",
    message: new RegExp(
      `schema 99, this version knows ${schemaVersion}.*install the newer sublet-controller`,
    ),
  });
});

onEach("a migration that was cut off is done again", async (t, open) => {
  const database = await open();
  t.after(() => database.close());
  await migrate(database, 1);
  await database.all("DELETE FROM schema_version");
  await migrate(database, 2);
  const [row] = await database.all("SELECT version FROM schema_version");
  assert.equal(row?.version, schemaVersion);
});
