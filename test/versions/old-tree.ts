/** The tree of an earlier version, from this repository's history, built below build/old. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../", import.meta.url));
const buildTimeoutMs = 1_800_000;

/** The oldest that today's must work with, or SUBLET_OLD_COMMIT. */
export const oldCommit = (): string =>
  process.env.SUBLET_OLD_COMMIT ?? readFileSync(join(root, "test/versions/commit"), "utf8").trim();

const git = (...args: string[]) => spawnSync("git", ["-C", root, ...args], { encoding: "utf8" });

/** Why it cannot be had here; undefined: it can. */
export function whyNoOldTree(): string | undefined {
  if (process.getuid?.() !== 0) return "the testbed needs root";
  const commit = oldCommit();
  if (git("cat-file", "-e", `${commit}^{commit}`).status === 0) return undefined;
  return `commit ${commit.slice(0, 10)} is not in this clone (a shallow one? git fetch --unshallow)`;
}

function mustRun(command: string, cwd: string): void {
  const { status, stdout, stderr } = spawnSync("bash", ["-c", `set -o pipefail; ${command}`], {
    cwd,
    encoding: "utf8",
    timeout: buildTimeoutMs,
    maxBuffer: 64 * 1024 * 1024,
  });
  if (status !== 0) throw new Error(`${command}: ${(stderr || stdout).slice(-2000)}`);
}

/** Its folder, relative to this tree's root. Built once, some minutes. */
export function oldTree(): string {
  const commit = oldCommit();
  const folder = join("build/old", commit.slice(0, 10));
  const there = join(root, folder);
  const ready = join(there, "build/ready");
  if (existsSync(ready)) return folder;
  rmSync(there, { recursive: true, force: true });
  mkdirSync(there, { recursive: true });
  mustRun(`git archive ${commit} | tar -x -C ${there}`, root);
  symlinkSync("../../../node_modules", join(there, "node_modules")); // What it needs is among today's.
  mustRun("bash deploy/setup/build.sh", there);
  writeFileSync(ready, "");
  return folder;
}
