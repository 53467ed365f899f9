/** A MariaDB of a test's own: its data in a temporary folder, on a socket (and a port, if told), gone with the process. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";

export interface MariadbServer {
  readonly socket: string;
  /** One statement as the server's root. */
  sql(statement: string): void;
  kill(): void;
}

const startTimeoutMs = 60_000;

/** Why there can be none here; undefined: there can. */
export function whyNoMariadb(): string | undefined {
  const { status } = spawnSync("mariadbd", ["--version"]);
  return status === 0 ? undefined : "MariaDB is not installed (package mariadb-server)";
}

function mustRun(program: string, args: readonly string[]): void {
  const { status, stderr } = spawnSync(program, args, { encoding: "utf8", timeout: startTimeoutMs });
  if (status !== 0) throw new Error(`${program}: ${stderr}`);
}

/** `network`: more arguments in place of --skip-networking. */
export async function startMariadb(
  network: readonly string[] = ["--skip-networking"],
): Promise<MariadbServer> {
  const dir = mkdtempSync(join(tmpdir(), "sublet-mariadb-"));
  const socket = join(dir, "socket");
  const own = process.getuid?.() === 0 ? ["--user=mysql"] : [];
  const data = `--datadir=${join(dir, "data")}`;
  chmodSync(dir, 0o777); // The server is another user.
  process.once("exit", () => rmSync(dir, { recursive: true, force: true }));
  mustRun("mariadb-install-db", [
    "--no-defaults",
    ...own,
    data,
    "--auth-root-authentication-method=normal",
    "--skip-test-db",
    "--innodb-log-file-size=8M",
  ]);
  const child: ChildProcess = spawn(
    "mariadbd",
    [
      "--no-defaults",
      ...own,
      data,
      `--socket=${socket}`,
      ...network,
      "--innodb-log-file-size=8M",
      "--innodb-buffer-pool-size=32M",
    ],
    { stdio: "ignore" },
  );
  const kill = (): void => void child.kill("SIGKILL");
  process.once("exit", kill);
  child.unref();
  const client = (statement: string) =>
    spawnSync("mariadb", ["--no-defaults", `--socket=${socket}`, "--batch", "-e", statement], {
      encoding: "utf8",
    });
  const endMs = performance.now() + startTimeoutMs;
  while (client("select 1").status !== 0) {
    if (performance.now() > endMs || child.exitCode !== null) throw new Error("MariaDB does not start");
    await pause(50);
  }
  return {
    socket,
    kill,
    sql(statement) {
      const { status, stderr } = client(statement);
      if (status !== 0) throw new Error(stderr);
    },
  };
}
