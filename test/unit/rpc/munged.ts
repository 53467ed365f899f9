/** A munged of a test's own: private key, private socket; ends with the test. */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { existsSync, watch } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface Munged {
  readonly socket: string;
  stop(): Promise<void>;
}

const startTimeoutMs = 10_000;

export async function startMunged(): Promise<Munged> {
  const folder = await mkdtemp(join(tmpdir(), "sublet-munged-"));
  const socket = join(folder, "munge.socket");
  const keyFile = join(folder, "munge.key");
  await writeFile(keyFile, randomBytes(64), { mode: 0o600 });
  const child = spawn(
    "/usr/sbin/munged",
    [
      "--foreground",
      "--force",
      `--socket=${socket}`,
      `--key-file=${keyFile}`,
      `--pid-file=${join(folder, "munged.pid")}`,
      `--log-file=${join(folder, "munged.log")}`,
      `--seed-file=${join(folder, "munged.seed")}`,
    ],
    { stdio: ["ignore", "ignore", "pipe"] },
  );
  let said = "";
  child.stderr.on("data", (chunk: Buffer) => {
    said += chunk.toString();
  });
  const ended = once(child, "exit");
  const stop = async (): Promise<void> => {
    child.kill("SIGKILL");
    await ended;
    await rm(folder, { recursive: true, force: true });
  };
  const watcher = watch(folder);
  try {
    const until = AbortSignal.timeout(startTimeoutMs);
    while (!existsSync(socket)) {
      await Promise.race([
        once(watcher, "change", { signal: until }),
        ended.then(() => {
          throw new Error(`munged ended: ${said}`);
        }),
      ]);
    }
  } catch (thrown) {
    await stop();
    throw thrown;
  } finally {
    watcher.close();
  }
  return { socket, stop };
}
