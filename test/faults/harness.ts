/**
 * What the fault tests share: one cluster per file, job B as the witness. Each fault is done to a running B, which must end
 * with the same answer as without functions; then nothing may be left: no lease, no guest process, no guest cgroup.
 */
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before } from "node:test";
import { cgroupDirs, discoverCgroups } from "../../agent/cgroup/layout.ts";
import { type Cluster, type ClusterOptions, startCluster } from "../../deploy/testbed/cluster.ts";
import { send } from "../../deploy/testbed/daemons.ts";
import { defaultStateDir } from "../../deploy/testbed/layout.ts";
import {
  metricValues,
  type OptionsRun,
  optionsRunOf,
  parseEvents,
} from "../../deploy/testbed/main-job/figures.ts";
import { type OptionsJob, optionsScript } from "../../deploy/testbed/main-job/jobs.ts";
import { page } from "../../deploy/testbed/main-job/sampler.ts";
import { stage } from "../../deploy/testbed/main-job/stage.ts";
import { until } from "../../deploy/testbed/shell.ts";
import { nativeDir } from "../../deploy/testbed/sublet-conf.ts";

export const options = 400_000;
export const rounds = 50;

export interface Bed {
  readonly cluster: Cluster;
  readonly base: string;
  /** Checksum of the witness without functions. */
  readonly answer: string;
}

let bed: Bed | undefined;

/** The cluster of this file. */
export function theBed(): Bed {
  if (bed === undefined) throw new Error("the cluster has not started");
  return bed;
}

/** The hook of Slurm's jobs, with a line in `log` for each call: context, job, node, exit status, start and end in unix ns. */
const hookScript = (hook: string, log: string): string => `#!/bin/sh
from=$(/bin/date +%s%N)
${hook}
status=$?
echo "$SLURM_SCRIPT_CONTEXT $SLURM_JOB_ID $(/bin/cat /proc/sys/kernel/hostname) $status $from $(/bin/date +%s%N)" >> ${log}
exit $status
`;

let scratch = "";

/** Starts the cluster before the tests of a file and stops it after; leases end 6 s after their last renewal. */
export function useCluster(options: ClusterOptions = {}): void {
  before(async () => {
    scratch = mkdtempSync(join(tmpdir(), "sublet-faults-"));
    const hook = join(scratch, "hook.sh");
    const script = hookScript(
      join(nativeDir(defaultStateDir), "bin", "sublet-hook"),
      join(scratch, "hook.log"),
    );
    writeFileSync(hook, script, { mode: 0o755 });
    const cluster = await startCluster({
      waitForLockMs: 60_000,
      hook,
      ...options,
      agentSettings: { lease_term_ms: 6000, ...options.agentSettings },
      controllerSettings: { poll_interval_ms: 2000, ...options.controllerSettings },
    });
    const base = await stage(join(cluster.stateDir, "opt"));
    bed = { cluster, base, answer: "" };
    const run = await finished(await startWitness("n3", { leases: 0 }));
    assert.ok(run.checksum !== undefined);
    bed = { cluster, base, answer: run.checksum };
  });
  afterEach(async () => {
    await bed?.cluster.mend(); // also what a test that failed half-way left
  });
  after(async () => {
    await bed?.cluster.stop();
    rmSync(scratch, { recursive: true, force: true });
  });
}

export interface Prolog {
  readonly node: string;
  readonly status: number;
  readonly tookMs: number;
}

/** The prologs of a job that have ended, one a node. */
export function prologsOf(jobId: number): Prolog[] {
  const log = join(scratch, "hook.log");
  const lines = existsSync(log) ? readFileSync(log, "utf8").trim().split("\n") : [];
  return lines
    .filter((line) => line.startsWith(`prolog_slurmd ${jobId} `))
    .map((line) => {
      const [, , node = "", status, from, to] = line.split(" ");
      return { node, status: Number(status), tookMs: Number(BigInt(to ?? 0) - BigInt(from ?? 0)) / 1e6 };
    });
}

/**
 * Runs a short job that has the whole of a node to itself: it must start and end well, and its prolog must exit with 0
 * within the bound of the hook (2 s) and what a shell needs.
 */
export async function visit(node: string): Promise<Prolog> {
  const { cluster } = theBed();
  const id = await cluster.sbatch({ args: [`--nodelist=${node}`, "--exclusive"], script: "echo visited" });
  const job = await cluster.waitJob(id, 30_000);
  assert.equal(job.state, "COMPLETED");
  assert.match(await cluster.outputOf(id), /visited/);
  const [prolog] = prologsOf(id);
  assert.ok(prolog !== undefined, "no prolog ran");
  assert.equal(prolog.status, 0);
  assert.ok(prolog.tookMs < 4000, `the prolog took ${prolog.tookMs} ms`);
  return prolog;
}

/** Submits job B on a node; it leases on the others. */
export async function startWitness(node: string, job: Partial<OptionsJob> = {}): Promise<number> {
  const { cluster, base } = theBed();
  const script = optionsScript(base, { rounds, options, leases: 2, exclude: node, ...job });
  return await cluster.sbatch({ args: [`--nodelist=${node}`, "--ntasks=1", "--mem=1024"], script });
}

export async function runOf(jobId: number): Promise<OptionsRun> {
  return optionsRunOf(parseEvents(await theBed().cluster.outputOf(jobId)));
}

/** Waits until the witness has leases and uses them. */
export async function working(jobId: number, leases = 1): Promise<OptionsRun> {
  return await until(`job ${jobId} works on ${leases} leases`, 60_000, async () => {
    const run = await runOf(jobId);
    return run.leases.length >= leases && run.rounds.some((round) => round.remote > 0) ? run : undefined;
  });
}

/** Waits for the end of the witness, which must be a good one. */
export async function finished(jobId: number, timeoutMs = 180_000): Promise<OptionsRun> {
  const { cluster } = theBed();
  const job = await cluster.waitJob(jobId, timeoutMs);
  const text = await cluster.outputOf(jobId);
  assert.equal(job.state, "COMPLETED", `job ${jobId}: ${text.slice(-1500)}`);
  return optionsRunOf(parseEvents(text));
}

/** Waits for the end and compares the answer. */
export async function sameAnswer(jobId: number): Promise<OptionsRun> {
  const run = await finished(jobId);
  assert.equal(run.checksum, theBed().answer);
  return run;
}

export async function metric(daemon: string, name: string, labels?: string): Promise<number> {
  const values = metricValues(await page(`${theBed().cluster.metricsUrl(daemon)}/metrics`), name);
  if (labels !== undefined) return values.get(labels) ?? 0;
  return [...values.values()].reduce((sum, value) => sum + value, 0);
}

/** Where the guests of a node are: the directory of the cpuset controller. */
function guestRoot(node: string): string {
  return cgroupDirs(discoverCgroups(), `sublet_${node}`)[0] ?? "";
}

/** Names of the guest cgroups of a node. */
export function guestCgroups(node: string): string[] {
  const root = guestRoot(node);
  return existsSync(root) ? readdirSync(root).filter((name) => name.startsWith("lease_")) : [];
}

/** Pids of one guest. */
export function pidsIn(node: string, name: string): number[] {
  try {
    const procs = readFileSync(join(guestRoot(node), name, "cgroup.procs"), "utf8");
    return procs.split("\n").filter(Boolean).map(Number);
  } catch {
    return []; // it was removed between the listing and the look
  }
}

const pidsOf = (node: string): number[][] => guestCgroups(node).map((name) => pidsIn(node, name));

/** Pids of all guests of a node, also of executors that were prepared and wait for a lease. */
export function guestPids(node: string): number[] {
  return pidsOf(node).flat();
}

/** Pids of the guests of a node that serve a lease for functions: executor and workers. One that waits has no worker yet. */
export function servingPids(node: string): number[] {
  return pidsOf(node)
    .filter((pids) => pids.length > 1)
    .flat();
}

/** kill -9 of every guest of a node. Workers end with their executor, maybe before it is their turn. */
export function killGuests(node: string): void {
  for (const pid of guestPids(node)) send(pid, "SIGKILL");
}

/** No lease, no guest, no guest cgroup on any node; every node usable by Slurm. */
export async function nothingLeft(timeoutMs = 20_000): Promise<void> {
  const { cluster } = theBed();
  const nodes = cluster.layout.nodes.map((node) => node.name);
  await until("nothing is left of the guests", timeoutMs, async () => {
    for (const node of nodes) {
      // Executors that wait for their lease hold none: they end by themselves once nobody asks.
      const left = guestCgroups(node).filter((name) => !name.startsWith("lease_pool-"));
      if (left.length > 0) throw new Error(`${node}: ${left.join(", ")}`);
      const leases = await metric(`agent-${node}`, "sublet_leases");
      if (leases > 0) throw new Error(`${node}: ${leases} leases`);
    }
    return true;
  });
  await cluster.waitIdle(60_000);
}
