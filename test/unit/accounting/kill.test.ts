/** kill -9 of whoever has the data base open, at any moment: what was acknowledged is there, once, and the sums are the records'. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { openSqlite } from "../../../src/accounting/db/sqlite.ts";

const storer = fileURLToPath(new URL("storer.ts", import.meta.url));

test("a controller with SQLite that is killed while it stores, four times", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "sublet-kill-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, "sublet.db");
  const acked = new Set<string>();
  for (let life = 0; life < 4; life++) {
    // Much of what each life is sent was sent to the one before.
    const child = spawn(process.execPath, [storer, file, String(life * 500), "20000"], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    let text = "";
    child.stdout.on("data", (chunk: Buffer) => {
      text += chunk.toString();
    });
    await once(child.stdout, "data");
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 150));
    child.kill("SIGKILL");
    await once(child, "close");
    // A key that was cut off may be the beginning of another one.
    for (const key of text.split("\n").slice(0, -1)) acked.add(key);
  }
  assert.ok(acked.size > 200, `${acked.size} were acknowledged`);
  for (const end of ["", "-wal", "-shm"])
    if (existsSync(file + end))
      assert.equal(statSync(file + end).mode & 0o077, 0, `${end}: others may read it`);
  const database = openSqlite(file);
  t.after(() => database.close());
  const slices = await database.all("SELECT slice FROM usage_record");
  const there = new Set(slices.map(({ slice }) => `L1/${slice}`));
  assert.equal(there.size, slices.length, "no key is there twice");
  assert.deepEqual(
    [...acked].filter((key) => !there.has(key)),
    [],
    "all that was acknowledged is there",
  );
  const [sums] = await database.all(
    "SELECT (SELECT SUM(core_seconds) FROM usage_record) AS records, (SELECT SUM(core_seconds) FROM usage_day) AS days",
  );
  assert.equal(sums?.days, sums?.records);
  t.diagnostic(`${acked.size} acknowledged, ${there.size} stored`);
});
