/** A job takes back a node: a client on another node hears the reason, not only that its connection closed. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { startCluster } from "../../deploy/testbed/cluster.ts";
import { optionsRunOf, parseEvents } from "../../deploy/testbed/main-job/figures.ts";
import { optionsScript } from "../../deploy/testbed/main-job/jobs.ts";
import { stage } from "../../deploy/testbed/main-job/stage.ts";
import { until } from "../../deploy/testbed/shell.ts";

test("the reason of a revoked lease reaches its client on another node", async () => {
  const cluster = await startCluster({ waitForLockMs: 60_000 });
  try {
    const base = await stage(join(cluster.stateDir, "opt"));
    const script = optionsScript(base, { rounds: 1_000_000, options: 20_000, leases: 1, lendNode: "n2" });
    const submit = (node: string, text: string): Promise<number> =>
      cluster.sbatch({ args: [`--nodelist=${node}`, "--ntasks=1", "--mem=1024"], script: text });
    const holder = await submit("n3", script);
    const run = async () => optionsRunOf(parseEvents(await cluster.outputOf(holder)));
    await until("a lease on n2", 30_000, async () => ((await run()).leases.length > 0 ? true : undefined));
    const taker = await submit("n2", "#!/bin/bash\nexit 0\n");
    assert.equal((await cluster.waitJob(taker, 60_000)).state, "COMPLETED");
    const [ended] = await until("the end of the lease", 30_000, async () => {
      const found = (await run()).ended;
      return found.length > 0 ? found : undefined;
    });
    assert.deepEqual(ended, { node: "n2", revoked: true, reason: "a batch job needs the capacity" });
  } finally {
    await cluster.stop();
  }
});
