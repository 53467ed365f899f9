/** A function in its sandbox calls a lease that its caller has handed to it: on the same node, on another, and its own. */
import assert from "node:assert/strict";
import { cp } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { type Cluster, startCluster } from "../../deploy/testbed/cluster.ts";
import { stage } from "../../deploy/testbed/main-job/stage.ts";
import { alice } from "./users.ts";

const built = fileURLToPath(new URL("../../build/native/bin/sum-job", import.meta.url));

let cluster: Cluster;
let base = "";
before(async () => {
  cluster = await startCluster({ waitForLockMs: 60_000 });
  base = await stage(join(cluster.stateDir, "opt"));
  await cp(built, join(base, "bin/sum-job"));
});
after(async () => {
  await cluster.stop();
});

async function sum(outer: string, inner: string): Promise<{ status: string; sum: number; there: number }> {
  const said = await cluster.runOnNode("n1", [
    "setpriv",
    `--reuid=${alice.uid}`,
    `--regid=${alice.gid}`,
    "--clear-groups",
    "--",
    "env",
    `LD_LIBRARY_PATH=${join(base, "lib")}`,
    join(base, "bin/sum-job"),
    join(base, "functions/libsum.so"),
    outer,
    inner,
  ]);
  assert.equal(said.exitCode, 0, said.stderr);
  return JSON.parse(said.stdout);
}

for (const [outer, inner] of [
  ["n1", "n1"],
  ["n1", "n2"],
  ["n2", "n3"],
] as const)
  test(`a function on ${outer} calls one on ${inner}`, async () => {
    assert.deepEqual(await sum(outer, inner), { status: "ok", sum: 499_500, there: 124_750, right: 499_500 });
  });

test("a function that waits for its own worker hears TIMEOUT", async () => {
  const { status, there } = await sum("n2", "self");
  assert.equal(there, 0);
  assert.match(status, /deadline|time/i);
});
