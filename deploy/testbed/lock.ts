/**
 * One testbed at a time: flock(1) on the directory above the state directory, held by a child that ends when its standard input closes, that is
 * when this process ends, however it ends.
 */
import { spawn } from "node:child_process";
import { SubletError } from "../../src/common/errors.ts";
import { baseEnv } from "./shell.ts";

export interface Lock {
  release(): Promise<void>;
}

export async function takeLock(path: string, waitMs: number): Promise<Lock> {
  const seconds = Math.max(0, waitMs / 1000).toFixed(3);
  const child = spawn("flock", ["--wait", seconds, "--no-fork", path, "sh", "-c", "echo locked; read -r _"], {
    detached: true, // a Ctrl-C at the terminal must not drop the lock before the cluster is down
    stdio: ["pipe", "pipe", "ignore"],
    env: { ...baseEnv },
  });
  const gone = new Promise<void>((resolve) => child.once("close", () => resolve()));
  const locked = await new Promise<boolean>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", () => resolve(false));
    child.stdout.once("data", () => resolve(true));
  });
  if (!locked)
    throw new SubletError(
      "FAILED_PRECONDITION",
      `another testbed runs or is being started or stopped (lock ${path}): end that process first`,
    );
  child.unref();
  (child.stdin as unknown as { unref(): void }).unref();
  (child.stdout as unknown as { unref(): void }).unref();
  return {
    release: async () => {
      child.ref();
      child.stdin.end();
      await gone;
    },
  };
}
