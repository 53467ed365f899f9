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

describe("in the shells themselves", () => {
  const folder = mkdtempSync(join(tmpdir(), "sublet-completion-"));
  after(() => rmSync(folder, { recursive: true }));
  const main = fileURLToPath(new URL("../../../src/cli/main.ts", import.meta.url));
  writeFileSync(join(folder, "sublet"), `#!/bin/sh\nexec "${process.execPath}" "${main}" "$@"\n`);
  chmodSync(join(folder, "sublet"), 0o755);
  const env = {
    PATH: `${folder}:${process.env.PATH}`,
    HOME: folder,
    TERM: "xterm",
    LC_ALL: "C.UTF-8",
    NODE_NO_WARNINGS: "1",
  };
  const ran = (program: string, args: readonly string[]): string => {
    const { stdout, stderr, error } = spawnSync(program, args, { encoding: "utf8", cwd: folder, env });
    assert.equal(error, undefined);
    assert.equal(stderr, "");
    return stdout;
  };
  const missing = (shell: string): string | false =>
    spawnSync(shell, ["--version"]).error === undefined ? false : `${shell} is not installed`;

  const inBash = (...line: string[]): string[] => {
    const array = line.map((word) => `'${word}'`).join(" ");
    const script = `${completionScript("bash")}
COMP_WORDS=(sublet ${array}); COMP_CWORD=${line.length}; _sublet; printf '%s\\n' "\${COMPREPLY[@]}"`;
    return ran("bash", ["--norc", "-c", script]).trim().split("\n");
  };
  it("bash completes commands, options and files", () => {
    assert.deepEqual(inBash("rec"), ["reclaim"]);
    assert.deepEqual(inBash("nodes", "--so"), ["--sort"]);
    assert.deepEqual(inBash("invoke", "sub"), ["sublet"]);
  });

  const inFish = (line: string): string[] => {
    const script = `${completionScript("fish")}\ncomplete -C '${line}'`;
    return ran("fish", ["--no-config", "-c", script]).trim().split("\n");
  };
  it("fish completes commands with what they do, options, values and files", {
    skip: missing("fish"),
  }, () => {
    const about = program.commands.find((each) => each.name() === "reclaim")?.description();
    assert.deepEqual(inFish("sublet rec"), [`reclaim\t${about}`]);
    assert.match(inFish("sublet nodes --so").join(), /^--sort\tby these columns/);
    assert.deepEqual(inFish("sublet drain --mode "), ["graceful", "immediate", "keep"]);
    assert.deepEqual(inFish("sublet invoke sub"), ["sublet"]);
  });

  /** What stands on the line, and below it, once Tab was pressed at its end. zsh completes for a terminal only. */
  const inZsh = async (...lines: string[]): Promise<string[]> => {
    const tmux = (...args: string[]): string =>
      ran("tmux", ["-S", join(folder, "tmux"), "-f", "/dev/null", ...args]);
    const screen = () => tmux("capture-pane", "-p").trim();
    const shows = async (what: string, found: (text: string) => boolean): Promise<string> => {
      for (let left = 300; left > 0; left--) {
        if (found(screen())) return screen();
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      assert.fail(`zsh does not show ${what}:\n${screen()}`);
    };
    writeFileSync(
      join(folder, ".zshrc"),
      "autoload -U compinit\ncompinit -D -u\n" + 'eval "$(sublet completion zsh)"\nPS1="ready> "\n',
    );
    tmux("new-session", "-d", "-x", "120", "-y", "24", `cd ${folder} && exec zsh`);
    try {
      await shows("its prompt", (text) => text === "ready>");
      const seen: string[] = [];
      for (const line of lines) {
        tmux("send-keys", "-l", line);
        await shows(line, (text) => text === `ready> ${line.trim()}`);
        tmux("send-keys", "Tab");
        seen.push(await shows(`more than ${line}`, (text) => text !== `ready> ${line.trim()}`));
        tmux("send-keys", "C-u");
        tmux("send-keys", "C-l");
        await shows("an empty line", (text) => text === "ready>");
      }
      return seen;
    } finally {
      tmux("kill-server");
    }
  };
  it("zsh completes commands, options, values and files", {
    skip: missing("zsh") || missing("tmux"),
  }, async () => {
    const [command, option, file, values] = await inZsh(
      "sublet rec",
      "sublet nodes --so",
      "sublet invoke sub",
      "sublet drain --mode ",
    );
    assert.equal(command, "ready> sublet reclaim");
    assert.equal(option, "ready> sublet nodes --sort");
    assert.equal(file, "ready> sublet invoke sublet");
    assert.deepEqual((values ?? "").split(/\s+/).slice(-3).sort(), ["graceful", "immediate", "keep"]);
  });
});
