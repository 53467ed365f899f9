/** What an agent has in its run directory beyond its own socket: the guest roots for the hook, the starter's lock; and its proof that it answers. */
import { once } from "node:events";
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { createConnection } from "node:net";
import { join } from "node:path";
import { SubletError, toSubletError } from "../src/common/errors.ts";
import { decodeLocalResponse, encodeLocalRequest, FrameReader } from "../src/rpc/local.ts";
import type { AgentLog } from "./log.ts";

/** For the hook, which empties them itself when no agent answers. */
export function writeRoots(runDir: string, dirs: readonly string[], log: AgentLog): void {
  const path = join(runDir, "cgroups");
  try {
    writeFileSync(`${path}.new`, dirs.map((dir) => `${dir}\n`).join(""), { mode: 0o644 });
    renameSync(`${path}.new`, path);
  } catch (thrown) {
    log.error(
      { path, message: toSubletError(thrown).message },
      "cannot write the guest roots: without an agent, the hook could not empty them",
    );
  }
}

/** Ends the starter that holds the lock, if it is one. */
export function endStarter(runDir: string, log: AgentLog): void {
  try {
    const pid = Number(readFileSync(join(runDir, "starter.lock"), "utf8").trim());
    const name = readFileSync(`/proc/${pid}/comm`, "utf8").trim();
    if (pid > 1 && name.startsWith("sublet-starter")) process.kill(pid, "SIGTERM");
  } catch (thrown) {
    log.info({ message: toSubletError(thrown).message }, "no starter to end");
  }
}

/** A first request to ourselves: proves that the socket answers, and its first client does not pay for what is loaded late. */
export async function askOwnSocket(path: string, timeoutMs: number): Promise<void> {
  const socket = createConnection(path);
  const reader = new FrameReader();
  try {
    const signal = AbortSignal.timeout(timeoutMs);
    socket.write(encodeLocalRequest({ id: 1, body: "status", status: {} }));
    for (;;) {
      const [chunk] = (await once(socket, "data", { signal })) as [Buffer];
      const [body] = reader.push(chunk);
      if (body !== undefined && decodeLocalResponse(body).body === "status") return;
    }
  } catch (cause) {
    throw new SubletError("UNAVAILABLE", `${path} does not answer within ${timeoutMs} ms`, { cause });
  } finally {
    socket.destroy();
  }
}
