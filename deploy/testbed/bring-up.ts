/** The steps from nothing to a cluster whose nodes are idle and whose daemons answer. What a failed step leaves, cleanup.ts removes. */
import { chownSync, existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { SubletError } from "../../src/common/errors.ts";
import { cgroupPlugin, enableControllers, runsSystemd } from "./cgroups.ts";
import type { Cluster, ClusterOptions, SavedState } from "./cluster.ts";
import { jobUser, type Layout } from "./layout.ts";
import { accountingLines, makeMariadb, makeSlurmdbd } from "./mariadb.ts";
import { makeControl, makeNode, mountState } from "./namespaces.ts";
import { makeNetwork } from "./network.ts";
import { attempt, run, slowness } from "./shell.ts";
import { cgroupConf, hostsFile, mpiConf, plugstackConf, slurmConf, slurmConfPath } from "./slurm-conf.ts";
import { slurmEnv } from "./slurm-daemons.ts";
import { nativeDir, treeRoot, writeSubletConf } from "./sublet-conf.ts";

export const stateFile = (stateDir: string): string => join(stateDir, "state.json");

/** How long the hook and the plugin wait for their agent. */
const hookTimeoutMs = 2000 * slowness;

/** By this a user is known as made here, also one that a testbed left when it was killed. */
const userComment = "jobs of the Sublet testbed";

/** The user whose jobs run here. True when a testbed made it, so that it goes with this one. */
export async function makeUser(layout: Layout): Promise<boolean> {
  const { name, uid } = jobUser;
  const known = await attempt(["getent", "passwd", name]);
  if (known.exitCode === 0) {
    const [, , knownUid, , comment] = known.stdout.split(":");
    if (knownUid === String(uid)) return comment === userComment;
    throw new SubletError(
      "FAILED_PRECONDITION",
      `user ${name} has another uid than ${uid}: rename or remove it`,
    );
  }
  const args = ["--uid", String(uid), "--user-group", "--no-create-home", "--home-dir", layout.home];
  await run(["useradd", ...args, "--comment", userComment, "--shell", "/bin/bash", name]);
  return true;
}

/** Brings everything up, step by step; `progress` is told before each and may throw to stop. */
export async function bringUp(
  cluster: Cluster,
  saved: SavedState,
  options: ClusterOptions,
  progress: (message: string) => void,
): Promise<void> {
  const { layout } = saved;
  const { stateDir } = layout;
  progress(`making ${layout.nodes.length} nodes (network, host name, mounts)`);
  await mountState(stateDir, treeRoot);
  writeFileSync(stateFile(stateDir), JSON.stringify(saved));
  for (const name of ["ctl", "log", "pid", "home"]) mkdirSync(join(stateDir, name), { mode: 0o755 });
  chownSync(layout.home, jobUser.uid, jobUser.gid);
  const settings = {
    cgroupPlugin: cgroupPlugin(),
    systemd: runsSystemd(),
    hook: patientHook(stateDir, hookOf(stateDir, saved.agents, options.hook)),
    slurmdTimeoutS: options.slurmdTimeoutS ?? 60,
    more: [
      ...(options.database === "slurmdbd" ? accountingLines(stateDir) : []),
      ...(options.slurmConf ?? []),
    ],
  };
  writeFileSync(slurmConfPath(stateDir), slurmConf(layout, settings));
  writeFileSync(join(stateDir, "cgroup.conf"), cgroupConf(settings));
  writeFileSync(join(stateDir, "mpi.conf"), mpiConf);
  if (options.gresConf !== undefined)
    writeFileSync(join(stateDir, "gres.conf"), `${options.gresConf.join("\n")}\n`);
  const plugin = (options.spank ?? saved.agents) ? pluginOf(stateDir) : undefined;
  writeFileSync(join(stateDir, "plugstack.conf"), plugstackConf(plugin, hookTimeoutMs));
  writeFileSync(join(stateDir, "hosts"), hostsFile(layout));
  await makeControl(layout);
  for (const node of layout.nodes) await makeNode(layout, node);
  await makeNetwork(layout);

  progress("starting munged and slurmctld");
  await cluster.startDaemon("munged");
  if (options.database !== undefined) await startDatabase(cluster, options.database, progress);
  await cluster.startDaemon("slurmctld");
  progress("starting a slurmd per node");
  enableControllers();
  await Promise.all(layout.nodes.map((node) => cluster.startDaemon(`slurmd-${node.name}`)));
  await cluster.waitIdle(60_000 + 500 * layout.nodes.length);
  if (!saved.agents) return;
  progress("starting sublet-controller and an agent per node");
  writeSubletConf(layout, options.agentSettings, options.controllerSettings);
  const names = ["controller", ...layout.nodes.map((node) => `agent-${node.name}`)];
  await Promise.all(names.map((name) => cluster.startDaemon(name, 30_000)));
  await cluster.waitKnown();
  if (options.prometheus === true) {
    progress("starting Prometheus");
    await cluster.startDaemon("prometheus", 30_000);
  }
}

/** slurmctld does not begin without the data base that it is told to use, and does not know its cluster before it is named there. */
async function startDatabase(
  cluster: Cluster,
  kind: NonNullable<ClusterOptions["database"]>,
  progress: (message: string) => void,
): Promise<void> {
  const { layout, stateDir } = cluster;
  progress("starting MariaDB");
  await makeMariadb(stateDir);
  await cluster.startDaemon("mariadb", 60_000);
  if (kind !== "slurmdbd") return;
  progress("starting slurmdbd");
  await makeSlurmdbd(layout);
  await cluster.startDaemon("slurmdbd", 60_000);
  await run(["sacctmgr", "--immediate", "add", "cluster", "sublet"], { env: slurmEnv(stateDir) });
}

/** spank_sublet.so, where the machine that built it had Slurm's headers. */
function pluginOf(stateDir: string): string | undefined {
  const path = join(nativeDir(stateDir), "lib", "spank_sublet.so");
  return existsSync(path) ? path : undefined;
}

/** The program that is Prolog and Epilog. A testbed with agents but without it would lend cores that jobs never get back. */
function hookOf(stateDir: string, agents: boolean, wanted: string | false | undefined): string | undefined {
  if (wanted === false || (wanted === undefined && !agents)) return undefined;
  const path = wanted ?? join(nativeDir(stateDir), "bin", "sublet-hook");
  const ofNode = path.startsWith("/run/sublet/"); // each node has its own there, whoever asked for it puts it there
  if (!ofNode && !existsSync(path))
    throw new SubletError("FAILED_PRECONDITION", `${path} is missing: build it with deploy/setup/build.sh`);
  return path;
}

/** Slurm gives Prolog and Epilog no arguments. */
function patientHook(stateDir: string, hook: string | undefined): string | undefined {
  if (hook === undefined || slowness === 1) return hook;
  const path = join(stateDir, "hook");
  writeFileSync(path, `#!/bin/sh\nexec ${hook} --timeout-ms ${hookTimeoutMs}\n`, { mode: 0o755 });
  return path;
}
