/**
 * A whole cluster on this machine: a real Slurm (munged, slurmctld, a slurmd per node) whose nodes live in namespaces of their own,
 * and Sublet's daemons on it. `startCluster`, `attachCluster`, `stopCluster`; one testbed at a time, by lock.
 *
 * A testbed in the foreground belongs to the process that started it: that process holds the lock, SIGINT and SIGTERM take the
 * cluster down, and if it was killed outright, the next start clears what it left. One in the background (`background: true`)
 * stays until `stopCluster`; a start meanwhile is refused.
 */
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { SubletError, toSubletError } from "../../src/common/errors.ts";
import { bringUp, makeUser, stateFile } from "./bring-up.ts";
import { findLeftovers, type Leftovers, removeTestbed } from "./cleanup.ts";
import {
  allDaemons,
  type DaemonSpec,
  type DaemonStatus,
  daemonStatus,
  endDaemon,
  isSame,
  logTail,
  processStat,
  send,
  startDaemon,
} from "./daemons.ts";
import { controllerAddress, defaultStateDir, type Layout, type NodeLayout, planLayout } from "./layout.ts";
import { type Lock, takeLock } from "./lock.ts";
import { metricValues } from "./main-job/figures.ts";
import { page } from "./main-job/sampler.ts";
import { mariadbDaemon, mariadbReady, slurmdbdPort } from "./mariadb.ts";
import { enter, treeMount } from "./namespaces.ts";
import { setLink } from "./network.ts";
import { prometheusDaemon, prometheusReady } from "./prometheus.ts";
import { attempt, type RunOptions, type RunResult, run, slowness, until } from "./shell.ts";
import { asJobUser, SlurmClient, userEnv } from "./slurm-client.ts";
import {
  controllerOfSlurm,
  mungeDaemon,
  mungeReady,
  portOpen,
  slurmdbd,
  slurmdOf,
  slurmEnv,
} from "./slurm-daemons.ts";
import { agentDaemon, controllerDaemon, metricsUrl, type Settings } from "./sublet-conf.ts";

export interface ClusterOptions {
  /** Number of nodes, n1 to nN; 3 by default. */
  nodes?: number;
  /** Default: 80 % of this machine's memory, divided evenly; or a figure for each node. */
  memoryMibPerNode?: number | readonly number[];
  /** For each node, more of its line in slurm.conf, as "Feature=big Gres=card:2". */
  slurmWords?: readonly string[];
  /** Lines of gres.conf. */
  gresConf?: readonly string[];
  stateDir?: string;
  /** Start sublet-controller and an agent per node; true by default. */
  agents?: boolean;
  agentSettings?: Settings;
  controllerSettings?: Settings;
  /** Prolog and Epilog. Default: sublet-hook as built, or none without agents; false: none. */
  hook?: string | false;
  /** spank_sublet.so in plugstack.conf; by default where agents run. */
  spank?: boolean;
  slurmdTimeoutS?: number;
  /** More lines for slurm.conf; of a setting given twice Slurm takes the last. */
  slurmConf?: readonly string[];
  /** Run MariaDB; with "slurmdbd" Slurm keeps its accounts in it, too. */
  database?: "mariadb" | "slurmdbd";
  /** Run Debian's Prometheus against the daemons. */
  prometheus?: boolean;
  /** Leave the cluster running when this process ends. */
  background?: boolean;
  /** How long to wait for another testbed to end; 0 by default. */
  waitForLockMs?: number;
  progress?: (message: string) => void;
}

export interface SavedState {
  readonly layout: Layout;
  readonly agents: boolean;
  readonly owner: { pid: number; startTime: string } | null;
  readonly userMade: boolean;
}

/** Daemons that others do not start without, first. */
const startOrder = ["munged", "mariadb", "slurmdbd", "slurmctld"];
function startRank(name: string): number {
  const index = startOrder.indexOf(name);
  return index < 0 ? startOrder.length : index;
}

/** The directory above: it is always there, so that the lock leaves no file behind. */
const lockFile = (stateDir: string): string => dirname(stateDir);

export class Cluster extends SlurmClient {
  readonly agents: boolean;
  readonly #userMade: boolean;
  #lock: Lock | undefined;
  #unhook: (() => void) | undefined;
  #stopping: Promise<void> | undefined;
  /** Set while the cluster comes up, so that a signal waits for the step it is at. */
  starting: Promise<void> | undefined;
  #aborted = false;

  constructor(saved: SavedState, lock: Lock | undefined) {
    super(saved.layout);
    this.agents = saved.agents;
    this.#userMade = saved.userMade;
    this.#lock = lock;
  }

  get stateDir(): string {
    return this.layout.stateDir;
  }

  node(name: string): NodeLayout {
    const found = this.layout.nodes.find((node) => node.name === name);
    if (found === undefined)
      throw new SubletError("NOT_FOUND", `no node ${name}; there are n1 to n${this.layout.nodes.length}`);
    return found;
  }

  /** Runs a command inside a node, as root or as the job user; its exit status is a result. */
  runOnNode(
    name: string,
    argv: readonly string[],
    options: RunOptions & { user?: "root" | "job" } = {},
  ): Promise<RunResult> {
    const { user = "root", ...rest } = options;
    const where = this.node(name).name;
    const { stateDir } = this;
    return user === "root"
      ? attempt(enter(stateDir, where, argv), { ...rest, env: { ...slurmEnv(stateDir), ...rest.env } })
      : attempt(asJobUser(this.layout, where, argv), { ...rest, env: userEnv(this.layout, rest.env) });
  }

  /** Runs scontrol as root. */
  scontrol(args: readonly string[]): Promise<string> {
    return run(["scontrol", ...args], { env: slurmEnv(this.stateDir) });
  }

  /** Daemons by name: munged, slurmctld, controller, slurmd-nK, agent-nK. */
  daemons(): DaemonStatus[] {
    return allDaemons(this.stateDir);
  }

  killDaemon(name: string, signal: NodeJS.Signals = "SIGKILL"): Promise<boolean> {
    return endDaemon(this.stateDir, name, signal);
  }

  /** Starts a daemon again that was ended, with `env` more in its environment, and waits until it answers. */
  async startDaemon(
    name: string,
    timeoutMs = 20_000,
    env: Readonly<Record<string, string>> = {},
  ): Promise<void> {
    const spec = this.#spec(name);
    await startDaemon(this.stateDir, { ...spec, env: { ...spec.env, ...env } });
    await this.waitReady(name, timeoutMs);
  }

  #spec(name: string): DaemonSpec {
    if (name === "slurmctld") return controllerOfSlurm(this.layout);
    if (name === "munged") return mungeDaemon(this.layout);
    if (name === "mariadb") return mariadbDaemon(this.layout);
    if (name === "prometheus") return prometheusDaemon(this.layout);
    if (name === "slurmdbd") return slurmdbd(this.layout);
    if (name === "controller") return controllerDaemon(this.layout);
    const node = this.node(/-(n\d+)$/.exec(name)?.[1] ?? name);
    return name.startsWith("slurmd-") ? slurmdOf(this.layout, node) : agentDaemon(this.layout, node);
  }

  /** Waits until a daemon answers. @throws SubletError with the end of its log when it ended or does not. */
  async waitReady(name: string, timeoutMs: number): Promise<void> {
    const url = metricsUrl(this.layout, name);
    const probe = async (): Promise<true | undefined> => {
      if (name === "munged") return mungeReady(this.layout);
      if (name === "mariadb") return mariadbReady(this.stateDir);
      if (name === "prometheus") return prometheusReady();
      if (name === "slurmdbd") return portOpen(controllerAddress, slurmdbdPort);
      if (name === "slurmctld") return portOpen(controllerAddress, 17817);
      if (url === undefined) return portOpen(this.node(name.replace("slurmd-", "")).address, 17818);
      const answer = await fetch(`${url}/healthz`, { signal: AbortSignal.timeout(1000 * slowness) });
      const said = (await answer.text()).slice(0, 200);
      if (!answer.ok) throw new SubletError("UNAVAILABLE", `/healthz answers ${answer.status}: ${said}`);
      return true;
    };
    const deadline = performance.now() + timeoutMs * slowness;
    try {
      await until(`${name} is ready`, timeoutMs, async () => {
        if (this.#aborted || daemonStatus(this.stateDir, name)?.alive !== true) return false as const;
        if (performance.now() > deadline) return undefined;
        return await probe();
      }).then((ready) => {
        if (!ready) throw new SubletError("UNAVAILABLE", `${name} ended while it started`);
      });
    } catch (error) {
      const said = logTail(this.stateDir, name);
      throw new SubletError("UNAVAILABLE", `${(error as Error).message}\n${said}`, { cause: error });
    }
  }

  /** Pulls the cable of a node. */
  cutNetwork(name: string): Promise<void> {
    return setLink(this.node(name), false);
  }

  restoreNetwork(name: string): Promise<void> {
    return setLink(this.node(name), true);
  }

  /**
   * Undoes what was done to the cluster: cables are in, every daemon runs, the job user has no job, every node is idle. What
   * is so already costs next to nothing.
   */
  async mend(): Promise<void> {
    for (const { name } of this.layout.nodes) await this.restoreNetwork(name);
    let ended = false;
    for (const { name, pid, alive } of this.daemons().sort((a, b) => startRank(a.name) - startRank(b.name))) {
      if (alive) send(pid, "SIGCONT");
      else {
        await this.startDaemon(name, 60_000);
        ended = true;
      }
    }
    if (!ended && (await this.squeue()).length === 0) return;
    await this.cancelAll();
    await this.waitIdle(60_000);
    if (this.agents) await this.waitKnown();
  }

  /** Waits until the controller has heard of every node, from its agent and from Slurm. */
  async waitKnown(timeoutMs = 30_000): Promise<void> {
    let found = "it does not answer";
    await until("the controller knows every node", timeoutMs, async () => {
      const text = await page(`${this.metricsUrl("controller")}/metrics`);
      const figure = (name: string): number => metricValues(text, name).get("") ?? Number.NaN;
      const [agents, ageSeconds] = [figure("sublet_agents"), figure("sublet_snapshot_age_seconds")];
      found = `${agents} agents of ${this.layout.nodes.length}, Slurm asked ${ageSeconds} s ago`;
      return agents >= this.layout.nodes.length && ageSeconds >= 0 ? true : undefined;
    }).catch((thrown: unknown) => {
      const log = readFileSync(join(this.stateDir, "log/controller.log"), "utf8").split("\n").slice(-20);
      throw new Error(`${toSubletError(thrown).message}: ${found}\n${log.join("\n")}`, { cause: thrown });
    });
  }

  /** Address of the HTTP server with /metrics and /healthz of "controller" or "agent-nK". */
  metricsUrl(name: string): string | undefined {
    return metricsUrl(this.layout, name);
  }

  /** @throws SubletError ABORTED when a signal came while the cluster was coming up. */
  checkAborted(): void {
    if (this.#aborted) throw new SubletError("ABORTED", "stopped by a signal while starting");
  }

  /** This tree, read-only, at a path that the job user can reach wherever the tree lies. */
  get treeDir(): string {
    return treeMount(this.stateDir);
  }

  /** Takes the cluster down; safe to call twice. */
  stop(): Promise<void> {
    this.#stopping ??= (async () => {
      try {
        await removeTestbed(this.stateDir, this.#userMade);
      } finally {
        await this.release();
      }
    })();
    return this.#stopping;
  }

  /** Lets go of the lock and of the signals without stopping anything. */
  async release(): Promise<void> {
    this.#unhook?.();
    this.#unhook = undefined;
    await this.#lock?.release();
    this.#lock = undefined;
  }

  /** From now on SIGINT, SIGTERM and SIGHUP take the cluster down and end this process. */
  stopOnSignals(): void {
    const onSignal = (signal: NodeJS.Signals): void => {
      this.#aborted = true;
      const settled = this.starting?.catch(() => undefined) ?? Promise.resolve(); // its error reaches who started it
      settled
        .then(() => this.stop())
        .then(
          () => process.exit(signal === "SIGINT" ? 130 : 143),
          (error: unknown) => {
            console.error(error);
            process.exit(1);
          },
        );
    };
    const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
    for (const signal of signals) process.on(signal, onSignal);
    this.#unhook = () => {
      for (const signal of signals) process.off(signal, onSignal);
    };
  }
}

function readState(stateDir: string): SavedState | undefined {
  try {
    return JSON.parse(readFileSync(stateFile(stateDir), "utf8")) as SavedState;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new SubletError("INTERNAL", `${stateFile(stateDir)} cannot be read`, { cause: error });
  }
}

/** Starts a cluster and returns when every node is idle, every daemon answers, and the controller knows all nodes. What a failed start made is removed again. */
export async function startCluster(options: ClusterOptions = {}): Promise<Cluster> {
  if (process.getuid?.() !== 0)
    throw new SubletError(
      "PERMISSION_DENIED",
      "the testbed needs root: it makes namespaces, cgroups and a bridge",
    );
  const { progress = () => {}, agents = true, background = false } = options;
  const stateDir = options.stateDir ?? defaultStateDir;
  const layout = planLayout({
    nodes: options.nodes ?? 3,
    stateDir,
    ...(options.memoryMibPerNode === undefined ? {} : { memoryMibPerNode: options.memoryMibPerNode }),
    ...(options.slurmWords === undefined ? {} : { slurmWords: options.slurmWords }),
  });
  const lock = await takeLock(lockFile(stateDir), options.waitForLockMs ?? 0);
  let cluster: Cluster | undefined;
  try {
    await clearOld(stateDir, progress);
    const userMade = await makeUser(layout);
    const startTime = processStat(process.pid)?.startTime ?? "0";
    const owner = background ? null : { pid: process.pid, startTime };
    const saved: SavedState = { layout, agents, owner, userMade };
    cluster = new Cluster(saved, lock);
    cluster.stopOnSignals();
    const mine = cluster;
    mine.starting = bringUp(mine, saved, options, (message) => {
      mine.checkAborted();
      progress(message);
    });
    await mine.starting;
    mine.checkAborted();
    if (background) await cluster.release();
    return cluster;
  } catch (error) {
    if (cluster === undefined) await lock.release();
    else await cluster.stop();
    throw error;
  }
}

/** Clears what an earlier testbed left; refuses while one in the background runs. */
async function clearOld(stateDir: string, progress: (message: string) => void): Promise<void> {
  const old = readState(stateDir);
  const alive = allDaemons(stateDir).filter((daemon) => daemon.alive);
  const owned = old?.owner !== null && old?.owner !== undefined && isSame(old.owner.pid, old.owner.startTime);
  if (old !== undefined && alive.length > 0 && (old.owner === null || owned))
    throw new SubletError(
      "FAILED_PRECONDITION",
      "a testbed runs already: `npm run testbed -- down` ends it, `npm run testbed -- status` shows it",
    );
  const left = await findLeftovers(stateDir);
  if (Object.values(left).every((list: readonly unknown[]) => list.length === 0)) return;
  progress("clearing what an earlier testbed left");
  await removeTestbed(stateDir, old?.userMade ?? false);
}

/** The running testbed, for helpers; it stays whose it is. @throws SubletError NOT_FOUND when there is none. */
export function attachCluster(stateDir = defaultStateDir): Cluster {
  const saved = readState(stateDir);
  if (saved === undefined)
    throw new SubletError("NOT_FOUND", "no testbed runs here: `npm run testbed -- up` starts one");
  return new Cluster(saved, undefined);
}

/**
 * Takes the testbed down, whoever started it, and whatever is left of it. Nothing there is fine.
 * @throws SubletError FAILED_PRECONDITION while a process in the foreground owns it, unless `force`.
 */
export async function stopCluster(options: { stateDir?: string; force?: boolean } = {}): Promise<void> {
  const stateDir = options.stateDir ?? defaultStateDir;
  const lock = options.force === true ? undefined : await takeLock(lockFile(stateDir), 0);
  try {
    await removeTestbed(stateDir, readState(stateDir)?.userMade ?? false);
  } finally {
    await lock?.release();
  }
}

export function leftovers(stateDir = defaultStateDir): Promise<Leftovers> {
  return findLeftovers(stateDir);
}
