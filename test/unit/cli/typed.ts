/** The command as a user types it, with settings of its own, and a lease that it may be shown. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import type { Init, LeaseMessage } from "../../../src/rpc/messages.ts";
import { type Captured, captured } from "./captured.ts";

/** Gone at the end of the file's tests. */
export const folder = mkdtempSync(join(tmpdir(), "sublet-cli-"));
after(() => rmSync(folder, { recursive: true }));

export const settingsFile = join(folder, "cli.toml");
writeFileSync(settingsFile, "timeout_ms = 5000\n");

/** Without `width` nobody looks: it is no terminal. */
export async function sublet(
  args: readonly string[],
  environment: Record<string, string> = {},
  width?: number,
): Promise<Captured> {
  return await captured(["--config", settingsFile, ...args], environment, width);
}

export const lease: Init<LeaseMessage> = {
  id: "n2-abc",
  kind: "LEASE_KIND_FUNCTION",
  state: "LEASE_STATE_ACTIVE",
  node: "n2",
  cores: [1, 2, 3],
  memoryBytes: 2 ** 26,
  class: "CAPACITY_CLASS_IDLE",
  owner: { uid: 20_001, jobId: 42 },
  remainingMs: 59_000,
  invocations: 7,
};
