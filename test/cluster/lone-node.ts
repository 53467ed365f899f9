/** An agent with the real starter and executor on this machine's cgroups, without Slurm and without a controller. */
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
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { cgroupDirs, discoverCgroups } from "../../agent/cgroup/layout.ts";
import { page } from "../../deploy/testbed/main-job/sampler.ts";
import { until } from "../../deploy/testbed/shell.ts";
import { freePort } from "../bench/path/others.ts";
import { type LocalClient, localClient } from "../unit/agent/local-client.ts";

export const native = fileURLToPath(new URL("../../build/native", import.meta.url));
const main = fileURLToPath(new URL("../../agent/main.ts", import.meta.url));
/** Why there can be none here; false: there can. */
export const skip =
  process.getuid?.() !== 0
    ? "needs root"
    : existsSync(join(native, "bin", "sublet-starter"))
      ? false
      : "needs the native build";
/** The least that a function needs. */
export const wish = { kind: "LEASE_KIND_FUNCTION", cores: 1, memoryBytes: 64 * 1024 * 1024 } as const;

export interface LoneNode {
  readonly dir: string;
  /** host:port of its metrics. */
  readonly metrics: string;
  starterPid(): number;
  /** Processes of a guest's cgroup. */
  pids(group: string): number[];
  /** Executors that wait for a lease. */
  prepared(): Promise<number>;
  /** Names of the guests' cgroups. */
  groups(): string[];
  start(): ChildProcess;
  client(): Promise<LocalClient>;
}

export async function loneNode(t: TestContext): Promise<LoneNode> {
  const dir = mkdtempSync(join(tmpdir(), "sublet-lone-"));
  const root = `sublet_test_lone_${process.pid}`;
  const metrics = `127.0.0.1:${await freePort()}`;
  const [cpuset = ""] = cgroupDirs(discoverCgroups(), root);
  writeFileSync(
    join(dir, "agent.toml"),
    `node = "n1"\nrun_dir = "${dir}"\nlisten = "127.0.0.1:0"\nmetrics_listen = "${metrics}"\n` +
      `fabric_address = "127.0.0.1"\ncgroup_name = "${root}"\nslurm_cgroup = "slurm_${root}"\n` +
      `native_dir = "${native}"\nmemory_mib = 4096\nannounce_timeout_ms = 500\npool_max = 1\n` +
      `[guard]\npolicy_file = "${dir}/guard.toml"\n`,
  );
  writeFileSync(join(dir, "guard.toml"), 'cpu_priority = "fair"\n'); // this machine is busy
  const starterPid = (): number => Number(readFileSync(join(dir, "starter.lock"), "utf8"));
  const agents: ChildProcess[] = [];
  const clients: LocalClient[] = [];
  t.after(async () => {
    for (const client of clients) await client.close();
    for (const agent of agents) {
      if (agent.exitCode !== null || agent.signalCode !== null) continue;
      agent.kill("SIGTERM");
      await once(agent, "exit");
    }
    process.kill(starterPid(), "SIGTERM");
    await until("no guest is left", 60_000, async () => {
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
    metrics,
    starterPid,
    pids: (group) =>
      readFileSync(join(cpuset, group, "cgroup.procs"), "utf8")
        .split("\n")
        .map(Number)
        .filter(Boolean),
    async prepared() {
      const text = await page(`http://${metrics}/metrics`);
      return Number(/^sublet_pool_executors (\d+)$/m.exec(text)?.[1]);
    },
    groups: () => readdirSync(cpuset).filter((name) => name.startsWith("lease_")),
    start() {
      const agent = spawn(process.execPath, [main, "--config", join(dir, "agent.toml")], {
        stdio: "ignore",
      });
      agents.push(agent);
      return agent;
    },
    async client() {
      const client = await until("the agent answers", 120_000, async () => {
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
