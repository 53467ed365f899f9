/**
 * MariaDB and slurmdbd of the testbed: own data, own sockets, gone with the state directory. The server lends its tables to
 * slurmdbd (as a site's does) and to whoever else wants a data base here.
 */
import { chownSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { DaemonSpec } from "./daemons.ts";
import { controllerAddress, type Layout } from "./layout.ts";
import { attempt, run } from "./shell.ts";
import { mungeSocket } from "./slurm-conf.ts";
import { accountOf } from "./slurm-daemons.ts";

/** Ports that a server which already runs here does not use. */
export const mariadbPort = 17820;
export const slurmdbdPort = 17819;
const mariadbUser = { name: "sublet", password: "testbed" };

const dir = (stateDir: string): string => join(stateDir, "mariadb");
export const mariadbSocket = (stateDir: string): string => join(dir(stateDir), "socket");

/** Where clients on this machine reach a data base of the testbed's server, with the password in it. */
export const mariadbUrl = (database: string): string =>
  `mysql://${mariadbUser.name}:${mariadbUser.password}@127.0.0.1:${mariadbPort}/${database}`;

/** Makes the server's own tables, once. */
export async function makeMariadb(stateDir: string): Promise<void> {
  const [uid, gid] = accountOf("mysql");
  mkdirSync(dir(stateDir), { recursive: true, mode: 0o755 });
  chownSync(dir(stateDir), uid, gid);
  const data = join(dir(stateDir), "data");
  await run(
    [
      "mariadb-install-db",
      "--no-defaults",
      "--user=mysql",
      `--datadir=${data}`,
      "--auth-root-authentication-method=normal",
      "--skip-test-db",
      "--innodb-log-file-size=8M",
    ],
    { timeoutMs: 60_000 },
  );
}

export function mariadbDaemon({ stateDir }: Layout): DaemonSpec {
  const [uid, gid] = accountOf("mysql");
  rmSync(mariadbSocket(stateDir), { force: true }); // of one that was killed: it would look ready at once
  return {
    name: "mariadb",
    where: "ctl",
    argv: [
      ...["setpriv", `--reuid=${uid}`, `--regid=${gid}`, "--clear-groups", "mariadbd", "--no-defaults"],
      ...[`--datadir=${join(dir(stateDir), "data")}`, `--socket=${mariadbSocket(stateDir)}`],
      ...[`--port=${mariadbPort}`, "--bind-address=127.0.0.1", `--pid-file=${join(dir(stateDir), "pid")}`],
      ...["--innodb-log-file-size=8M", "--innodb-buffer-pool-size=32M", "--skip-name-resolve"],
    ],
  };
}

/** One statement as the server's root. */
export function mariadb(stateDir: string, statement: string): Promise<string> {
  return run(["mariadb", "--no-defaults", `--socket=${mariadbSocket(stateDir)}`, "--batch", "-e", statement]);
}

export async function mariadbReady(stateDir: string): Promise<true | undefined> {
  const { exitCode } = await attempt([
    "mariadb",
    "--no-defaults",
    `--socket=${mariadbSocket(stateDir)}`,
    "-e",
    "select 1",
  ]);
  return exitCode === 0 ? true : undefined;
}

/** A data base that the testbed's user may do anything with. */
export async function makeDatabase(stateDir: string, database: string): Promise<void> {
  const { name, password } = mariadbUser;
  await mariadb(
    stateDir,
    `create database if not exists ${database}; ` +
      `create user if not exists '${name}'@'%' identified by '${password}'; grant all on ${database}.* to '${name}'@'%'`,
  );
}

const slurmDatabase = "slurm_acct_db";

export async function makeSlurmdbd({ stateDir }: Layout): Promise<void> {
  await makeDatabase(stateDir, slurmDatabase);
  const lines = [
    "AuthType=auth/munge",
    `AuthInfo=socket=${mungeSocket(stateDir)}`,
    "DbdHost=sublet-ctl",
    `DbdAddr=${controllerAddress}`,
    `DbdPort=${slurmdbdPort}`,
    "SlurmUser=root",
    "StorageType=accounting_storage/mysql",
    "StorageHost=127.0.0.1",
    `StoragePort=${mariadbPort}`,
    `StorageUser=${mariadbUser.name}`,
    `StoragePass=${mariadbUser.password}`,
    `StorageLoc=${slurmDatabase}`,
    `PidFile=${stateDir}/ctl/slurmdbd.own.pid`,
    "DebugLevel=info",
  ];
  writeFileSync(join(stateDir, "slurmdbd.conf"), `${lines.join("\n")}\n`, { mode: 0o600 });
}

/** Lines of slurm.conf for a Slurm that keeps accounts. The password of munge is the socket's path. */
export const accountingLines = (stateDir: string): readonly string[] => [
  "AccountingStorageType=accounting_storage/slurmdbd",
  `AccountingStorageHost=${controllerAddress}`,
  `AccountingStoragePort=${slurmdbdPort}`,
  `AccountingStoragePass=${mungeSocket(stateDir)}`,
  "JobAcctGatherType=jobacct_gather/cgroup",
  "JobAcctGatherFrequency=1",
];
