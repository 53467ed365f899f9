/** `npm run bench -- smoke`: every benchmark still runs, and each of its figures has a value. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../", import.meta.url));

test("every benchmark runs", { timeout: 630_000 }, () => {
  const ran = spawnSync(
    "bash",
    [join(root, "deploy/setup/node24.sh"), join(root, "test/bench/run.ts"), "smoke"],
    { encoding: "utf8", timeout: 600_000 },
  );
  assert.equal(ran.status, 0, `${ran.stderr}\n${ran.stdout}`);
  for (const name of [
    "rpc",
    "calls",
    "regions",
    "map",
    "reclaim",
    "cold",
    "idle",
    "horizon",
    "page",
    "dashboard",
    "cli",
    "estimate",
    "off-switch",
    "jobstart",
  ])
    assert.match(ran.stdout, new RegExp(`^${name}: [1-9][0-9]* rows in`, "m"));
});
