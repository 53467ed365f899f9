/** The pool with the real starter and executor on this machine's cgroups: handed out, adopted, ended by a prolog. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import { cgroupDirs, discoverCgroups } from "../../agent/cgroup/layout.ts";
import { until } from "../../deploy/testbed/shell.ts";
import { type LocalClient, leaseOf, localClient } from "../unit/agent/local-client.ts";

const native = fileURLToPath(new URL("../../build/native", import.meta.url));
const main = fileURLToPath(new URL("../../agent/main.ts", import.meta.url));
const skip =
  process.getuid?.() !== 0
    ? "needs root"
    : existsSync(join(native, "bin", "sublet-starter"))
      ? false
      : "needs the native build";
const wish = { kind: "LEASE_KIND_FUNCTION", cores: 1, memoryBytes: 64 * 1024 * 1024 } as const;

interface Node {
  readonly dir: string;
  /** Names of the guests' cgroups. */
  groups(): string[];
  start(): ChildProcess;
  client(): Promise<LocalClient>;
}

function node(t: TestContext): Node {
  const dir = mkdtempSync(join(tmpdir(), "sublet-pool-"));
  const root = `sublet_test_pool_${process.pid}`;
  const [cpuset = ""] = cgroupDirs(discoverCgroups(), root);
  writeFileSync(
    join(dir, "agent.toml"),
    `node = "n1"\nrun_dir = "${dir}"\nlisten = "127.0.0.1:0"\nmetrics_listen = "127.0.0.1:0"\n` +
      `fabric_address = "127.0.0.1"\ncgroup_name = "${root}"\nslurm_cgroup = "slurm_${root}"\n` +
      `native_dir = "${native}"\nmemory_mib = 4096\nannounce_timeout_ms = 500\n`,
  );
  const agents: ChildProcess[] = [];
  const clients: LocalClient[] = [];
  t.after(async () => {
    for (const client of clients) await client.close();
    for (const agent of agents) {
      if (agent.exitCode !== null || agent.signalCode !== null) continue;
      agent.kill("SIGTERM");
      await once(agent, "exit");
    }
    process.kill(Number(readFileSync(join(dir, "starter.lock"), "utf8")), "SIGTERM");
    await until("no guest is left", 5_000, async () => {
      for (const path of cgroupDirs(discoverCgroups(), root))
        for (const name of existsSync(path) ? readdirSync(path) : [])
          if (name.startsWith("lease_")) {
            try {
              rmdirSync(join(path, name));
            } catch {
              return undefined; // still in it
            }
          }
      return true;
    });
    for (const path of cgroupDirs(discoverCgroups(), root)) rmdirSync(path);
    rmSync(dir, { recursive: true });
  });
  return {
    dir,
    groups: () => readdirSync(cpuset).filter((name) => name.startsWith("lease_")),
    start() {
      const agent = spawn(process.execPath, [main, "--config", join(dir, "agent.toml")], {
        stdio: "ignore",
      });
      agents.push(agent);
      return agent;
    },
    async client() {
      const client = await until("the agent answers", 20_000, async () => {
        const found = await localClient(join(dir, "agent.sock")).catch(() => undefined);
        return (await found?.call({ body: "status", status: {} }).catch(() => undefined))?.code === 0
          ? found
          : undefined;
      });
      clients.push(client);
      return client;
    },
  };
}

test("a prepared executor serves a lease, outlives the agent under it, and none is left beside a job", {
  skip,
}, async (t) => {
  const here = node(t);
  const first = here.start();
  let client = await here.client();
  const cold = leaseOf(await client.call({ body: "lease", lease: { request: wish } }));
  assert.ok(here.groups().includes(`lease_${cold.id}`));
  const prepared = await until("one is prepared", 10_000, async () =>
    here.groups().find((name) => name.startsWith("lease_pool-")),
  );
  await client.call({ body: "release", release: { leaseId: cold.id } });
  // It may still be on its way up when its cgroup is there already: then the lease starts cold, and the next is asked for.
  const { id } = await until("a lease from the pool", 10_000, async () => {
    const lease = leaseOf(await client.call({ body: "lease", lease: { request: wish } }));
    if (!here.groups().includes(`lease_${lease.id}`)) return lease;
    await client.call({ body: "release", release: { leaseId: lease.id } });
    return undefined;
  });
  assert.ok(here.groups().includes(prepared));
  first.kill("SIGKILL");
  await once(first, "exit");
  here.start();
  client = await here.client();
  assert.equal((await client.call({ body: "renew", renew: { leaseId: id } })).code, 0);
  // What was prepared and not handed out went with the agent; what serves the lease did not.
  assert.deepEqual(here.groups(), [prepared]);
  await client.call({ body: "release", release: { leaseId: id } });
  assert.deepEqual(here.groups(), []);
  const again = leaseOf(await client.call({ body: "lease", lease: { request: wish } }));
  await until("one is prepared again", 10_000, async () =>
    here.groups().some((name) => name.startsWith("lease_pool-")) ? true : undefined,
  );
  const done = await client.call({ body: "hook", hook: { event: "HOOK_EVENT_PROLOG", jobId: 9, uid: 1 } });
  assert.ok(done.body === "hookDone" && done.hookDone.leasesEnded === 1, done.message);
  assert.ok(!here.groups().includes(`lease_${again.id}`));
  await until("nothing is prepared beside a job", 10_000, async () =>
    here.groups().length === 0 ? true : undefined,
  );
});
