/** munged, slurmctld and the slurmds: how each is started, and when it is ready. */
import { randomBytes } from "node:crypto";
import { chownSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { SubletError } from "../../src/common/errors.ts";
import type { DaemonSpec } from "./daemons.ts";
import { controllerAddress, type Layout, type NodeLayout } from "./layout.ts";
import { mungeSocket, slurmConfPath } from "./slurm-conf.ts";

export const slurmEnv = (stateDir: string): Record<string, string> => ({
  SLURM_CONF: slurmConfPath(stateDir),
});

/** A munged of the testbed's own: own key, own socket, so that one that already runs here is left alone. */
export function mungeDaemon(layout: Layout): DaemonSpec {
  const dir = join(layout.stateDir, "munge");
  const [uid, gid] = accountOf("munge");
  mkdirSync(dir, { recursive: true, mode: 0o755 });
  const key = join(dir, "key");
  if (!existsSync(key)) writeFileSync(key, randomBytes(128), { mode: 0o600 });
  rmSync(mungeSocket(layout.stateDir), { force: true }); // of one that was killed: it would look ready at once
  for (const path of [dir, key]) chownSync(path, uid, gid);
  const files = ["key", "log", "pid", "seed"].map(
    (kind) => `--${kind}-file=${join(dir, kind === "key" ? "key" : kind)}`,
  );
  return {
    name: "munged",
    where: "ctl",
    argv: [
      ...["setpriv", `--reuid=${uid}`, `--regid=${gid}`, "--clear-groups", "munged", "--foreground"],
      ...[`--socket=${mungeSocket(layout.stateDir)}`, `--origin=${controllerAddress}`, ...files],
    ],
  };
}

/** uid and gid of a system user. */
export function accountOf(name: string): [uid: number, gid: number] {
  const line = readFileSync("/etc/passwd", "utf8")
    .split("\n")
    .find((entry) => entry.startsWith(`${name}:`));
  const [, , uid, gid] = line?.split(":") ?? [];
  if (uid === undefined || gid === undefined)
    throw new SubletError(
      "FAILED_PRECONDITION",
      `there is no user ${name}: is the Debian package installed?`,
    );
  return [Number(uid), Number(gid)];
}

export function controllerOfSlurm(layout: Layout): DaemonSpec {
  return {
    name: "slurmctld",
    where: "ctl",
    argv: ["slurmctld", "-D"],
    env: slurmEnv(layout.stateDir),
  };
}

export function slurmdbd(layout: Layout): DaemonSpec {
  return { name: "slurmdbd", where: "ctl", argv: ["slurmdbd", "-D"], env: slurmEnv(layout.stateDir) };
}

export function slurmdOf(layout: Layout, node: NodeLayout): DaemonSpec {
  return {
    name: `slurmd-${node.name}`,
    where: node.name,
    argv: ["slurmd", "-D", "-N", node.name],
    env: slurmEnv(layout.stateDir),
  };
}

export function mungeReady(layout: Layout): true | undefined {
  const path = mungeSocket(layout.stateDir);
  return existsSync(path) && statSync(path).isSocket() ? true : undefined;
}

/** Whether something accepts connections there. */
export function portOpen(host: string, port: number): Promise<true | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: 1000 });
    const end = (open: true | undefined) => () => {
      socket.destroy();
      resolve(open);
    };
    socket.once("connect", end(true));
    socket.once("error", end(undefined));
    socket.once("timeout", end(undefined));
  });
}
