/** What Tab offers: by the tree of commands, and through the real bash. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { complete, completionScript, visibleCommands } from "../../../src/cli/completion.ts";
import { commandTree } from "../../../src/cli/program.ts";

const nowhere = { write() {}, writeBytes() {}, error() {}, width: undefined };
const { program } = commandTree(nowhere, {});
const words = (...line: string[]): string[] => complete(program, line).candidates.map(({ word }) => word);

describe("completion", () => {
  it("offers every command that help shows, and none that it hides", () => {
    assert.deepEqual(
      words(""),
      visibleCommands(program).map((each) => each.name()),
    );
    assert.ok(words("").includes("nodes"));
    assert.ok(!words("").includes("__complete"));
    assert.deepEqual(words("config", ""), ["show", "check", "explain"]);
  });
  it("offers options of the command and of all commands, and the values that an option takes", () => {
    for (const option of ["--sort", "--partition", "--json", "--help"])
      assert.ok(words("nodes", "--").includes(option), option);
    assert.deepEqual(words("drain", "--mode", ""), ["graceful", "immediate", "keep"]);
    assert.deepEqual(words("--json", "config", "show", ""), ["agent", "controller", "sublet"]);
    assert.deepEqual(words("completion", ""), ["bash", "zsh", "fish"]);
  });
  it("knows what to look up", () => {
    const wanted = (...line: string[]) => complete(program, line).wanted;
    assert.equal(wanted("drain", ""), "nodes");
    assert.equal(wanted("drain", "n1", ""), "nodes");
    assert.equal(wanted("--timeout", "5", "nodes", "--node", ""), "nodes");
    assert.equal(wanted("release", ""), "leases");
    assert.equal(wanted("reclaim", "--lease", ""), "leases");
    assert.equal(wanted("invoke", ""), "files");
    assert.equal(wanted("invoke", "lib.so", ""), undefined);
  });
});

describe("the script for bash", () => {
  const folder = mkdtempSync(join(tmpdir(), "sublet-completion-"));
  after(() => rmSync(folder, { recursive: true }));
  const main = fileURLToPath(new URL("../../../src/cli/main.ts", import.meta.url));
  writeFileSync(join(folder, "sublet"), `#!/bin/sh\nexec "${process.execPath}" "${main}" "$@"\n`);
  chmodSync(join(folder, "sublet"), 0o755);

  const typed = (...line: string[]): string[] => {
    const array = line.map((word) => `'${word}'`).join(" ");
    const script = `${completionScript("bash")}
COMP_WORDS=(sublet ${array}); COMP_CWORD=${line.length}; _sublet; printf '%s\\n' "\${COMPREPLY[@]}"`;
    const { stdout, stderr } = spawnSync("bash", ["--norc", "-c", script], {
      encoding: "utf8",
      cwd: folder,
      env: { PATH: `${folder}:${process.env.PATH}`, NODE_NO_WARNINGS: "1" },
    });
    assert.equal(stderr, "");
    return stdout.trim().split("\n");
  };
  it("completes commands, options and files in a bash", () => {
    assert.deepEqual(typed("rec"), ["reclaim"]);
    assert.deepEqual(typed("nodes", "--so"), ["--sort"]);
    assert.deepEqual(typed("invoke", "sub"), ["sublet"]);
  });
});
