/** What packages install says what the sources say, for commands that load each part of it. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { type Installed, installCommand } from "./installed.ts";

const sources = fileURLToPath(new URL("../../../src/cli/main.ts", import.meta.url));

describe("the command as it is installed", () => {
  let installed: Installed;
  before(async () => {
    installed = await installCommand();
  });
  after(() => installed.remove());

  const run = (main: string, args: readonly string[]) => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...args], {
      encoding: "utf8",
      env: {
        PATH: process.env.PATH,
        HOME: "/nonexistent",
        NODE_NO_WARNINGS: "1",
        SUBLET_MUNGE_SOCKET: "/nonexistent/munge.socket",
      },
    });
    return { status, stdout, stderr };
  };
  for (const [args, status] of [
    [["--version"], 0],
    [["--help"], 0],
    [["nodes", "--help"], 0],
    [["config", "show", "sublet"], 0], // settings
    [["config", "show", "controller", "--json"], 0],
    [["completion", "zsh"], 0],
    [["nodes", "--controller", "127.0.0.1:1"], 3], // gRPC, and munge through koffi
    [["status", "--agent-socket", "/nonexistent/agent.sock"], 3],
    [["nodse"], 2],
  ] as const)
    it(`says the same: sublet ${args.join(" ")}`, () => {
      const there = run(installed.main, args);
      assert.deepEqual(there, run(sources, args));
      assert.equal(there.status, status, there.stderr);
    });
});
