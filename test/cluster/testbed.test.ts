/** The testbed itself: what it promises to every other test on it. Needs root and the packages of deploy/setup. */
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { type Cluster, leftovers, startCluster } from "../../deploy/testbed/cluster.ts";
import { type Core, divideCores, planLayout } from "../../deploy/testbed/layout.ts";
import { until } from "../../deploy/testbed/shell.ts";
import { parseRpcCount } from "../../deploy/testbed/slurm-client.ts";
import { formatCpuList } from "../../src/common/cpulist.ts";

const stateDir = "/run/sublet-testbed";
let scratch = "";
before(() => {
  scratch = mkdtempSync(join(tmpdir(), "sublet-testbed-test-"));
  execFileSync("chmod", ["777", scratch]);
});
after(() => rmSync(scratch, { recursive: true, force: true }));

/** Looks for itself, not by the code that cleans up. */
async function assertNothingLeft(): Promise<void> {
  const found = await leftovers(stateDir);
  assert.deepEqual(found, { processes: [], cgroups: [], links: [], mounts: [], files: [] });
  assert.doesNotMatch(readFileSync("/proc/self/mountinfo", "utf8"), /sublet/);
  assert.doesNotMatch(execFileSync("ip", ["link"], { encoding: "utf8" }), /sublet/);
  const cgroups = execFileSync("find", ["/sys/fs/cgroup", "-maxdepth", "3", "-name", "*_n[0-9]*"], {
    encoding: "utf8",
  });
  assert.equal(cgroups, "");
  const commands = readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map((name) => {
      try {
        return readFileSync(`/proc/${name}/cmdline`, "utf8").replaceAll("\0", " ");
      } catch {
        return ""; // ended while we looked
      }
    });
  const ours = commands.filter((c) =>
    /^(slurmctld -D|slurmd -D -N n\d|slurmstepd: |munged .*sublet-testbed|.*agent\/main\.ts)/.test(c),
  );
  assert.deepEqual(ours, []);
  assert.doesNotMatch(readFileSync("/etc/passwd", "utf8"), /^subletuser:/m);
}

test("cores are divided: disjoint when there are enough, else shared and said so", () => {
  assert.deepEqual(divideCores(2, 3), [[0, 1], [1], [1]]);
  assert.deepEqual(divideCores(3, 3), [[0, 1], [2], [2]]);
  assert.deepEqual(divideCores(4, 3), [[0, 1], [2], [3]]);
  assert.deepEqual(divideCores(8, 3), [
    [0, 1, 2],
    [3, 4, 5],
    [6, 7],
  ]);
  assert.deepEqual(divideCores(1, 2), [[0], [0]]);
  for (let cores = 1; cores <= 40; cores++)
    for (let nodes = 1; nodes <= 12; nodes++) {
      const parts = divideCores(cores, nodes);
      assert.equal(parts.length, nodes);
      assert.ok(parts.every((part) => part.length > 0 && part.every((core) => core >= 0 && core < cores)));
      if (cores > nodes) assert.equal(new Set(parts.flat()).size, parts.flat().length);
    }
  // Two threads a core, numbered as Linux does: Slurm counts core after core, Linux thread after thread.
  const cores = [0, 1, 2, 3].map((c): Core => ({ socket: 0, cpus: [c, c + 4] }));
  const plan = planLayout({ nodes: 3, stateDir, cores, totalMemoryMib: 8000 });
  assert.deepEqual(
    plan.nodes.map((node) => [formatCpuList(node.cpus), formatCpuList(node.foreignSlurmCpus)]),
    [
      ["0-1,4-5", "4-7"],
      ["2,6", "0-3,6-7"],
      ["3,7", "0-5"],
    ],
  );
  assert.deepEqual(plan.caveats, []);
  assert.equal(planLayout({ nodes: 3, stateDir, cores: cores.slice(0, 2) }).caveats.length, 2);
  for (const nodes of [0, 201, 1.5])
    assert.throws(() => planLayout({ nodes, stateDir }), { code: "INVALID_ARGUMENT" });
});

test("sdiag's calls are read by type and by user", () => {
  const text = readFileSync(
    new URL("../unit/slurm/fixtures/testbed/busy-sdiag.txt", import.meta.url),
    "utf8",
  );
  const count = parseRpcCount(text);
  assert.equal(count.byType.REQUEST_SUBMIT_BATCH_JOB, 5);
  assert.ok((count.byUser.subletuser ?? 0) > 0 && (count.byUser.root ?? 0) > 0);
  assert.throws(() => parseRpcCount("nothing"), { code: "INTERNAL" });
});

test("a cluster of three nodes", async (t) => {
  const hook = join(scratch, "hook.sh");
  const log = join(scratch, "hook.log");
  writeFileSync(
    hook,
    `#!/bin/sh
node=$(/bin/cat /proc/sys/kernel/hostname)
[ "$node $SLURM_SCRIPT_CONTEXT" = "n2 prolog_slurmd" ] && /bin/sleep 0.5
echo "$SLURM_SCRIPT_CONTEXT $SLURM_JOB_ID $SLURM_JOB_UID $node $(/bin/date +%s%N)" >> ${log}
`,
    { mode: 0o755 },
  );
  const cluster = await startCluster({ agents: false, hook });
  t.after(() => cluster.stop());
  const names = ["n1", "n2", "n3"];

  await t.test("its nodes are idle and another start is refused", async () => {
    assert.deepEqual(
      [...(await cluster.nodeStates())],
      names.map((name) => [name, "idle"]),
    );
    await assert.rejects(startCluster({ agents: false }), { code: "FAILED_PRECONDITION" });
  });

  await t.test("an ordinary user's tasks run on all nodes, each with its own name and address", async () => {
    const out = await cluster.run(["srun", "-N3", "sh", "-c", "echo $(hostname) $(id -u)"]);
    assert.deepEqual(
      out.split("\n").sort(),
      names.map((name) => `${name} 20001`),
    );
    for (const node of cluster.layout.nodes) {
      const { stdout } = await cluster.runOnNode(node.name, ["ip", "-br", "addr", "show", "eth0"]);
      assert.match(stdout, new RegExp(` ${node.address.replaceAll(".", "\\.")}/24 `));
    }
  });

  await t.test("a job may use its node's cores only, and its memory", async () => {
    for (const node of cluster.layout.nodes) {
      const script = "grep Cpus_allowed_list /proc/self/status; cat /proc/self/cgroup";
      const out = await cluster.run([
        "srun",
        "-w",
        node.name,
        "--exclusive",
        "--mem=300",
        "sh",
        "-c",
        script,
      ]);
      assert.equal(/Cpus_allowed_list:\s*(\S+)/.exec(out)?.[1], formatCpuList(node.cpus));
      assert.match(out, new RegExp(`slurm_${node.name}/`));
    }
    const run = (mib: number) =>
      cluster.attempt(["srun", "-w", "n2", `--mem=${mib}`, "perl", "-e", "$n = 2e8; $x = 'a' x $n"]);
    assert.notEqual((await run(100)).exitCode, 0);
    assert.equal((await run(600)).exitCode, 0);
  });

  await t.test("MPI across two nodes", async () => {
    const source = join(scratch, "hello.c");
    writeFileSync(
      source,
      `#include <mpi.h>
#include <stdio.h>
int main(int c, char **v) {
  int rank, size, sum = 0, length; char host[MPI_MAX_PROCESSOR_NAME];
  MPI_Init(&c, &v); MPI_Comm_rank(MPI_COMM_WORLD, &rank); MPI_Comm_size(MPI_COMM_WORLD, &size);
  MPI_Get_processor_name(host, &length);
  int mine = rank + 1; MPI_Allreduce(&mine, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
  printf("%s %d %d\\n", host, size, sum); MPI_Finalize(); return 0;
}
`,
    );
    const program = join(scratch, "hello");
    execFileSync("mpicc", ["-o", program, source]);
    execFileSync("chmod", ["755", program]);
    const out = await cluster.run(["srun", "--mpi=pmix", "-N2", "-w", "n1,n2", program]);
    assert.deepEqual(out.split("\n").sort(), ["n1 2 3", "n2 2 3"]);
  });

  await t.test("the prolog of a node ends before the first instruction of a job there", async () => {
    rmSync(log, { force: true });
    const script =
      "echo batch $(hostname) $(date +%s%N); srun sh -c 'echo task $(hostname) $(date +%s%N)'; exit 3";
    const id = await cluster.sbatch({ args: ["-N2", "-w", "n1,n2"], script });
    const job = await cluster.waitJob(id);
    assert.deepEqual([job.state, job.exitCode], ["FAILED", 3]);
    const output = await cluster.outputOf(id);
    const starts = [...output.matchAll(/^\w+ (n\d) (\d+)$/gm)].map((m): [string, bigint] => [
      m[1] ?? "",
      BigInt(m[2] ?? 0),
    ]);
    assert.equal(starts.length, 3, output);
    const prologs = readFileSync(log, "utf8")
      .split("\n")
      .filter((line) => line.startsWith(`prolog_slurmd ${id} 20001 `))
      .map((line) => line.split(" ").slice(3) as [string, string]);
    assert.deepEqual(prologs.map(([name]) => name).sort(), ["n1", "n2"]);
    for (const [name, at] of prologs)
      for (const [where, start] of starts) if (where === name) assert.ok(start > BigInt(at), name);
  });

  await t.test("each node has a /run/sublet of its own", async () => {
    await cluster.runOnNode("n1", ["touch", "/run/sublet/mark"]);
    assert.deepEqual(readdirSync(cluster.node("n1").runDir), ["mark"]);
    assert.equal((await cluster.runOnNode("n2", ["ls", "/run/sublet"])).stdout, "");
    assert.equal((await cluster.runOnNode("n2", ["id", "-u"], { user: "job" })).stdout, "20001");
    const tree = join(cluster.treeDir, "package.json");
    assert.match((await cluster.runOnNode("n2", ["cat", tree], { user: "job" })).stdout, /"sublet"/);
    assert.notEqual((await cluster.runOnNode("n2", ["touch", tree])).exitCode, 0);
  });

  await t.test("the network of a node is cut and restored", async () => {
    const reach = async (): Promise<boolean> => {
      const probe = `exec 3<>/dev/tcp/${cluster.node("n2").address}/17818`;
      return (await cluster.runOnNode("n1", ["timeout", "1", "bash", "-c", probe])).exitCode === 0;
    };
    assert.equal(await reach(), true);
    await cluster.cutNetwork("n2");
    assert.equal(await reach(), false);
    await cluster.restoreNetwork("n2");
    await until("n1 reaches n2 again", 10_000, async () => ((await reach()) ? true : undefined));
  });

  await t.test("slurmctld, a slurmd and munged are killed and return; the job goes on", async () => {
    // It ends when all are back: what a step says at its end while there is no munged is lost to Slurm.
    const back = join(cluster.layout.home, "back");
    const script = `while [ ! -e ${back} ]; do sleep 0.2; done; echo through`;
    const id = await cluster.sbatch({ args: ["-w", "n2"], script });
    await cluster.waitSaved(id);
    const before = (await cluster.rpcCount()).byUser.subletuser ?? 0;
    assert.ok(before > 0);
    for (const name of ["slurmctld", "slurmd-n2", "munged"]) {
      assert.equal(await cluster.killDaemon(name), true);
      assert.equal(cluster.daemons().find((daemon) => daemon.name === name)?.alive, false);
      await cluster.startDaemon(name);
    }
    // A slurmctld that has just returned waits for the nodes to answer.
    assert.equal(await cluster.run(["srun", "-w", "n3", "hostname"], { timeoutMs: 120_000 }), "n3");
    writeFileSync(back, "");
    const job = await cluster.waitJob(id);
    assert.equal(job.state, "COMPLETED");
    assert.match(await cluster.outputOf(id), /through/);
    await assert.rejects(cluster.killDaemon("slurmd-n9"), { code: "NOT_FOUND" });
  });

  await t.test("what a test left half-way is mended", async () => {
    const id = await cluster.sbatch({ args: ["-w", "n3"], script: "sleep 600" });
    await cluster.waitState(id, ["RUNNING"]);
    await cluster.cutNetwork("n1");
    for (const name of ["slurmd-n2", "munged"]) await cluster.killDaemon(name);
    const slurmctld = cluster.daemons().find(({ name }) => name === "slurmctld");
    process.kill(slurmctld?.pid ?? 0, "SIGSTOP");
    await cluster.mend();
    assert.deepEqual(
      cluster.daemons().filter(({ alive }) => !alive),
      [],
    );
    assert.deepEqual(
      [...(await cluster.nodeStates())],
      names.map((name) => [name, "idle"]),
    );
    assert.equal((await cluster.job(id)).state, "CANCELLED");
  });

  await cluster.stop();
  await assertNothingLeft();
});

/** A process that starts a testbed in the foreground with a running job and then waits. */
async function owner(): Promise<{ pid: number; ended: Promise<void> }> {
  const code = `
    const { startCluster } = await import(${JSON.stringify(new URL("../../deploy/testbed/cluster.ts", import.meta.url).href)});
    const cluster = await startCluster({ agents: false, hook: false });
    const id = await cluster.sbatch({ args: ["-N2"], script: "srun sleep 1000" });
    await cluster.waitState(id, ["RUNNING"]);
    console.log("up");
    setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ["--input-type=module", "--eval", code], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
  await new Promise<void>((resolve, reject) => {
    child.stdout.once("data", () => resolve());
    child.once("close", () => reject(new Error("the owner ended before its cluster was up")));
  });
  return { pid: child.pid ?? 0, ended };
}

test("SIGTERM to the owner takes everything down", { timeout: 60_000 }, async () => {
  const { pid, ended } = await owner();
  process.kill(pid, "SIGTERM");
  await ended;
  await assertNothingLeft();
});

test("after kill -9 of the owner and every daemon the next start works", { timeout: 240_000 }, async (t) => {
  const { pid, ended } = await owner();
  const daemons = readdirSync(join(stateDir, "pid")).map((name) =>
    Number(readFileSync(join(stateDir, "pid", name), "utf8").split(" ")[0]),
  );
  for (const victim of [pid, ...daemons]) process.kill(victim, "SIGKILL");
  await ended;
  // The job's own processes are still there: nobody has told them.
  assert.ok((await leftovers(stateDir)).processes.length > 0);
  const said: string[] = [];
  let cluster: Cluster | undefined;
  t.after(() => cluster?.stop());
  cluster = await startCluster({ agents: false, hook: false, progress: (message) => said.push(message) });
  assert.match(said[0] ?? "", /^clearing/);
  const here = cluster;
  assert.match(await here.run(["srun", "-N3", "hostname"], { timeoutMs: 90_000 }), /n3/);
  await until("the queue is empty", 30_000, async () =>
    (await here.squeue()).length === 0 ? true : undefined,
  );
  await cluster.stop();
  await assertNothingLeft();
});
