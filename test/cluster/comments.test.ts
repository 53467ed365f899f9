/**
 * Receipts in the jobs' own records: a Slurm with slurmdbd, a job that had a guest, one that had none, and who may write.
 * The controller of the testbed is root, as its SlurmUser is; a site's is a user of its own, so the rights of one are tried too.
 */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { type Cluster, startCluster } from "../../deploy/testbed/cluster.ts";
import { jobUser } from "../../deploy/testbed/layout.ts";
import { page } from "../../deploy/testbed/main-job/sampler.ts";
import { attempt, run, until } from "../../deploy/testbed/shell.ts";
import { slurmEnv } from "../../deploy/testbed/slurm-daemons.ts";
import { commentCommand, parseRecords, recordsCommand } from "../../src/slurm/comments.ts";
import { allLend, bob, hold, sublet } from "./users.ts";

let cluster: Cluster;
before(async () => {
  cluster = await startCluster({
    nodes: 2,
    database: "slurmdbd",
    waitForLockMs: 60_000,
    controllerSettings: { poll_interval_ms: 500, receipts: { admin_comment: true } },
    agentSettings: { consent: { default: "share" } },
  });
  await allLend(cluster);
});
after(async () => {
  await cluster?.stop();
});

/** A job that sleeps until there is this file. */
const sleeper = (file: string): string => `#!/bin/bash\nwhile [ ! -e ${file} ]; do sleep 1; done\n`;

const env = (): Record<string, string> => slurmEnv(cluster.stateDir);

async function comment(jobId: number): Promise<string> {
  return (
    await run(["sacct", "-X", "-n", "-P", "-j", `${jobId}`, "-o", "AdminComment"], { env: env() })
  ).trim();
}

async function counted(outcome: string): Promise<number> {
  const text = await page(`${cluster.metricsUrl("controller")}/metrics`);
  return Number(
    new RegExp(`^sublet_job_comments_total\\{outcome="${outcome}"\\} (\\d+)`, "m").exec(text)?.[1],
  );
}

test("a job's receipt is in its record, behind what was there; a job without guests keeps its own", async (t) => {
  const over = join(cluster.layout.home, "over");
  const submit = (node: string): Promise<number> =>
    cluster.sbatch({
      script: sleeper(over),
      args: ["--ntasks=1", "--mem=600M", `--nodelist=${node}`],
    });
  const [beside, alone] = await Promise.all([submit("n1"), submit("n2")]);
  for (const job of [beside, alone]) {
    await cluster.waitState(job, ["RUNNING"]);
    await cluster.scontrol(["update", `jobid=${job}`, "admincomment=ticket 7, a=b"]);
  }
  const held = await hold(cluster, bob, "n1", "n1");
  await new Promise((resolve) => setTimeout(resolve, 2000));
  await held.letGo();
  writeFileSync(over, "");
  for (const job of [beside, alone]) assert.equal((await cluster.waitJob(job, 60_000)).state, "COMPLETED");
  const endedMs = Date.now();
  await until("the comment is written", 90_000, async () =>
    (await counted("written")) === 1 ? true : undefined,
  );
  t.diagnostic(`written ${Date.now() - endedMs} ms after the end`);
  const summary = await sublet(cluster, "n1", jobUser, ["jobs", "--summary", `${beside}`]);
  assert.match(summary.out, /^sublet: 1 guest, [1-9]/);
  assert.equal(await comment(beside), `ticket 7, a=b; ${summary.out.trim().toLowerCase()}`);
  assert.equal(await comment(alone), "ticket 7, a=b");

  await t.test("a controller that starts anew hears of it again and leaves it", async () => {
    await cluster.killDaemon("controller");
    await cluster.startDaemon("controller");
    await until("it was looked at", 60_000, async () => ((await counted("kept")) === 1 ? true : undefined));
    assert.equal(await counted("written"), 0);
    assert.equal(await comment(beside), `ticket 7, a=b; ${summary.out.trim().toLowerCase()}`);
  });

  await t.test("a user may not, an operator may", async () => {
    const asDaemon = (argv: readonly string[]) =>
      attempt(["setpriv", "--reuid=1", "--regid=1", "--clear-groups", ...argv], { env: env() });
    const write = commentCommand(alone, "by an operator");
    const refused = await asDaemon([write.program, ...write.args]);
    t.diagnostic(`refused: ${refused.exitCode}, ${refused.stdout.trim()} ${refused.stderr.trim()}`);
    assert.notEqual(refused.exitCode, 0);
    assert.equal(await comment(alone), "ticket 7, a=b");
    await run(["sacctmgr", "-i", "add", "account", "staff"], { env: env() });
    await run(["sacctmgr", "-i", "add", "user", "daemon", "account=staff", "adminlevel=operator"], {
      env: env(),
    });
    const read = recordsCommand([alone, beside]);
    const records = await asDaemon([read.program, ...read.args]);
    assert.deepEqual(parseRecords(records.stdout).get(alone), { ended: true, comment: "ticket 7, a=b" });
    const written = await asDaemon([write.program, ...write.args]);
    assert.equal(written.exitCode, 0, written.stderr);
    assert.equal(await comment(alone), "by an operator");
  });
});

test("slurmdbd is away: it is said once, and the comment is there when it is back", async () => {
  const log = join(cluster.stateDir, "log", "controller.log");
  await cluster.killDaemon("slurmdbd");
  const over = join(cluster.layout.home, "over-without-slurmdbd");
  const job = await cluster.sbatch({
    script: sleeper(over),
    args: ["--ntasks=1", "--mem=600M", "--nodelist=n1"],
  });
  await cluster.waitState(job, ["RUNNING"]);
  const held = await hold(cluster, bob, "n1", "n1");
  await new Promise((resolve) => setTimeout(resolve, 1000));
  await held.letGo();
  writeFileSync(over, "");
  assert.equal((await cluster.waitJob(job, 60_000)).state, "COMPLETED");
  const said = (): number =>
    readFileSync(log, "utf8").split("admin comments of jobs cannot be written").length - 1;
  await until("it is said", 60_000, () => (said() > 0 ? true : undefined));
  await cluster.startDaemon("slurmdbd");
  await until("the comment is written", 120_000, async () =>
    (await comment(job).catch(() => "")).startsWith("sublet: 1 guest") ? true : undefined,
  );
  assert.equal(said(), 1);
});
