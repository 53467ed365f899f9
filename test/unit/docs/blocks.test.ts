/**
 * Every shell block of the pages is executed somewhere, or says why not; and what those of the installation name is what the
 * packages have: units, packages with all that they depend on, files.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, posix } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { readPageFile } from "../../../deploy/site/markdown.ts";
import { entries } from "../../../deploy/site/navigation.ts";
import { edited, executed, isSynopsis, shellBlocks } from "./blocks.ts";
import { type CommandLine, commandLines, commandWords } from "./mentions.ts";

const root = fileURLToPath(new URL("../../..", import.meta.url));
const read = (path: string): string => readFileSync(join(root, path), "utf8");
const pages = entries
  .filter(({ source }) => source !== "CHANGELOG.md")
  .map(({ source }) => readPageFile(root, source));
const blocks = pages.flatMap((page) => shellBlocks(root, page));
const lines = pages.flatMap(commandLines);
const words = pages.flatMap(commandWords);

test("every shell block is executed, or says why it is not; and none is named that is not there", () => {
  const found = blocks.filter((block) => !isSynopsis(block)).map(({ id }) => id);
  assert.ok(found.length > 40, `only ${found.length} blocks were found`);
  assert.deepEqual(
    [...found].sort(),
    Object.keys(executed).sort(),
    "test/unit/docs/blocks.ts names the shell blocks",
  );
  for (const [id, how] of Object.entries(executed))
    if ("like" in how) assert.ok(existsSync(join(root, how.like)), `${id}: ${how.like} is not there`);
  for (const { id, text } of blocks) {
    const how = executed[id];
    for (const [from] of (how !== undefined && "in" in how ? how.edits : undefined) ?? [])
      assert.ok(
        text.search(typeof from === "string" ? from : new RegExp(from, "m")) >= 0,
        `${id} has no ${from}`,
      );
  }
});

test("what a refused setting prints is what the page says", () => {
  const block = blocks.find(({ id }) => id === "docs/configuration.md:where-a-setting-comes-from");
  assert.ok(block !== undefined);
  const [command = "", ...printed] = edited(block).trimEnd().split("\n");
  const [, ...args] = command.replace(/^# /, "").split(" ");
  const said = spawnSync(
    process.execPath,
    ["--disable-warning=ExperimentalWarning", join(root, "agent/main.ts"), ...args],
    {
      encoding: "utf8",
      env: { PATH: process.env.PATH },
    },
  );
  assert.equal(said.status, 78, said.stderr);
  assert.equal(said.stderr, `${printed.join("\n")}\n`);
});

const ours = new Map(
  read("deploy/debian/control")
    .split(/^Package: /m)
    .slice(1)
    .map((text) => [
      text.split("\n")[0] ?? "",
      [...text.matchAll(/^ ([a-z0-9-]+) \(= \$\{binary:Version\}\)/gm)].map(([, name]) => name ?? ""),
    ]),
);

/** Names of packages in a command of apt, dpkg or dpkg-deb. */
function packagesOf({ words: [program, ...args] }: CommandLine): string[] {
  if (!["apt", "apt-get", "dpkg", "dpkg-deb"].includes(program ?? "")) return [];
  const verbs = new Set(["install", "purge", "remove"]);
  return args
    .filter((arg) => !arg.startsWith("-") && !verbs.has(arg) && !/^[~/$]/.test(arg))
    .map((arg) => arg.replace(/^\.\//, "").replace(/(_(NEW|OLD))?_\*\.deb$/, ""));
}

test("every package in a command is one, and what is installed has all of ours that it depends on, of the same version", () => {
  const wrong: string[] = [];
  let count = 0;
  for (const line of [...lines, ...words]) {
    const named = packagesOf(line).filter((name) => name !== "");
    count += named.length;
    for (const name of named) if (!ours.has(name)) wrong.push(`${line.where}: there is no package ${name}`);
    if (!line.words.includes("install")) continue;
    const versions = new Set(line.words.map((word) => /_(NEW|OLD)_\*\.deb$/.exec(word)?.[1]).slice(2));
    if (line.words[0] === "apt" && versions.size > 2) wrong.push(`${line.where}: several versions`);
    for (const name of named)
      for (const needed of ours.get(name) ?? [])
        if (!named.includes(needed)) wrong.push(`${line.where}: ${name} needs ${needed}`);
  }
  assert.ok(count > 30, `only ${count} packages were found`);
  assert.deepEqual(wrong, []);
  assert.deepEqual(packagesOf({ where: "", text: "", words: ["apt", "install", "./sublet-*_NEW_*.deb"] }), [
    "sublet-*",
  ]);
});

test("every unit of ours in a command is packaged", () => {
  const units = new Set(
    readdirSync(join(root, "deploy/systemd")).map((name) => name.replace(/\.service$/, "")),
  );
  const wrong: string[] = [];
  let count = 0;
  for (const line of [...lines, ...words]) {
    const [program, ...args] = line.words;
    const named =
      program === "systemctl"
        ? args.filter((arg) => arg.startsWith("sublet"))
        : program === "journalctl"
          ? args.filter((_, at) => args[at - 1] === "-u" || args[at - 1] === "-t")
          : [];
    for (const unit of named) {
      count++;
      if (!units.has(unit.replace(/\.service$/, ""))) wrong.push(`${line.where}: there is no unit ${unit}`);
    }
  }
  assert.ok(count > 15, `only ${count} units were found`);
  assert.deepEqual(wrong, []);
});

/** Paths that the packages install, folders for all that is in them. */
const packaged = readdirSync(join(root, "deploy/debian")).flatMap((file) => {
  const [name = "", kind] = file.split(/\.(?=[^.]+$)/);
  if (!["install", "examples", "docs"].includes(kind ?? "")) return [];
  return read(`deploy/debian/${file}`)
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      const [from = "", into] = line.split(" ");
      if (kind === "install")
        return into === undefined ? `/${from}` : posix.join("/", into, posix.basename(from));
      return posix.join("/usr/share/doc", name, kind === "examples" ? "examples" : "", posix.basename(from));
    });
});

/** What a packaged folder gets: a file of the folder that the recipe of the packages names, by itself or in braces. */
function isInFolder(path: string): boolean {
  const [stem = ""] = posix.basename(path).split(".");
  const recipe = read("deploy/package/install.sh").split("\n");
  return recipe.some((line) => {
    const source = new RegExp(`[\\w/-]*/${posix.basename(posix.dirname(path))}(?=/)`).exec(
      line.replace(/"\$to[^"]*"/g, ""),
    );
    return (
      source !== null &&
      existsSync(join(root, source[0], posix.basename(path))) &&
      new RegExp(`[/{,]${stem}[.,}]`).test(line)
    );
  });
}

function isPackaged(path: string): boolean {
  return packaged.some((each) => {
    const pattern = new RegExp(`^${each.replace(/[.+]/g, "\\$&").replaceAll("*", "[^/]+")}$`);
    if (pattern.test(path) || each.startsWith(`${path}/`)) return true;
    return path.startsWith(`${each}/`) && isInFolder(path);
  });
}

test("every path of the packages in a command, or in a sentence, is in one of them", () => {
  const wrong: string[] = [];
  let count = 0;
  const ofOurs =
    /^(?:\/usr\/(?:share\/(?:doc\/)?|lib\/(?:systemd\/system\/)?|s?bin\/)(?:slurm-spank-)?sublet[\w./-]*|\/etc\/sublet\/\w+\.toml)$/;
  const named = [
    ...[...lines, ...words].flatMap(({ where, words: all }) => all.map((word) => ({ where, word }))),
    ...pages.flatMap(({ source, words: all }) => all.map((word) => ({ where: source, word }))),
  ];
  for (const { where, word } of named) {
    if (!ofOurs.test(word)) continue;
    count++;
    // By hand, into a place that the page says.
    if (word === "/usr/lib/sublet/spank_sublet.so") continue;
    if (!isPackaged(word.replace(/\/$/, ""))) wrong.push(`${where}: no package has ${word}`);
  }
  assert.ok(count > 15, `only ${count} paths were found`);
  assert.deepEqual([...new Set(wrong)], []);
  assert.equal(isPackaged("/usr/share/sublet/prometheus/agent.sh"), false);
  assert.equal(isPackaged("/usr/share/doc/sublet-agent/examples/prologue.sh"), false);
});
