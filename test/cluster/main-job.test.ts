/** The README's first command, shortened: the main job on a real cluster, every check held, nothing left. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { leftovers } from "../../deploy/testbed/cluster.ts";

test("npm start -- --once holds all its checks and leaves nothing behind", async () => {
  const program = fileURLToPath(new URL("../../deploy/testbed/main-job.ts", import.meta.url));
  const run = spawnSync(
    process.execPath,
    [program, "--once", "--json", "--rounds", "20", "--steps", "500", "--cycles", "1"],
    {
      encoding: "utf8",
      timeout: 600_000,
      maxBuffer: 2 ** 24,
    },
  );
  assert.equal(run.status, 0, `${run.stderr}\n${run.stdout}`);
  const report = JSON.parse(run.stdout) as { checks: { name: string; held: boolean }[] };
  assert.ok(report.checks.length >= 10);
  for (const check of report.checks) assert.ok(check.held, check.name);
  for (const [kind, left] of Object.entries(await leftovers())) assert.deepEqual(left, [], kind);
});
