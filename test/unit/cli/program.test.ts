/** The command as a user types it: help, wrong words, settings, no daemon at all. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { folder, sublet } from "./typed.ts";

const main = fileURLToPath(new URL("../../../src/cli/main.ts", import.meta.url));

describe("usage", () => {
  it("is explained", async () => {
    const { status, out } = await sublet(["--help"]);
    assert.equal(status, 0);
    for (const word of [
      "nodes",
      "leases",
      "status",
      "invoke",
      "trace",
      "release",
      "doctor",
      "Exit status",
      "--json",
    ])
      assert.ok(out.includes(word), word);
    assert.match((await sublet(["invoke", "--help"])).out, /--max-out <bytes>.*largest result/);
    assert.equal((await sublet(["--version"])).status, 0);
    for (const words of [[], ["nodes"], ["config", "show"]])
      assert.deepEqual(await sublet(["help", ...words]), await sublet([...words, "--help"]));
  });
  it("that is wrong ends with 2", async () => {
    const wrong: string[][] = [
      [],
      ["nodse"],
      ["help", "nodse"],
      ["help", "config", "shw"],
      ["release"],
      ["leases", "--frob"],
      ["--timeout", "soon", "leases"],
      ["--controller", "nowhere", "leases"],
      ["invoke", "a", "b", "--in", "x", "--data", "y"],
    ];
    for (const args of wrong) {
      const { status, err, out } = await sublet(args);
      assert.equal(status, 2, args.join(" "));
      assert.notEqual(err, "");
      assert.equal(out, "");
    }
    const { err } = await sublet(["nodse"]);
    assert.match(err, /^sublet: unknown command 'nodse'\n\(Did you mean nodes\?\)\n/);
    assert.match(err, /sublet --help/);
  });
  it("that is wrong is told as JSON to who asked for JSON, wherever he said so", async () => {
    for (const args of [
      ["--json", "nodse"],
      ["nodes", "--frob", "--json"],
      ["--frob", "--json", "nodes"],
      ["--json"],
      ["--json", "--controller", "nowhere", "leases"],
    ]) {
      const { status, err, out } = await sublet(args);
      assert.equal(status, 2, args.join(" "));
      assert.equal(err, "");
      const { error } = JSON.parse(out) as { error: { code: string; message: string } };
      assert.equal(error.code, "INVALID_ARGUMENT");
      assert.match(error.message, /nodse|--frob|a command is missing|nowhere/);
    }
  });
  it("names the option that was given, not a variable that was not set", async () => {
    const { err } = await sublet(["--controller", "nowhere", "leases"]);
    assert.equal(err, 'sublet: --controller nowhere: expected "host:port"\n');
    assert.match((await sublet(["leases"], { SUBLET_CONTROLLER: "nowhere" })).err, /SUBLET_CONTROLLER/);
  });
  it("of each command names the options of all", async () => {
    assert.match((await sublet(["nodes", "--help"])).out, /Global Options:.*--json /s);
  });
  it("without daemons ends with 3, and JSON errors are JSON", async () => {
    const none = { SUBLET_AGENT_SOCKET: join(folder, "none.sock") };
    for (const args of [["leases"], ["status"], ["release", "x"], ["nodes"], ["dashboard"]]) {
      const { status, err } = await sublet(args, none);
      assert.equal(status, 3, args.join(" "));
      assert.match(err, /^sublet: /);
    }
    const { out } = await sublet(["--json", "leases"], none);
    assert.equal((JSON.parse(out) as { error: { code: string } }).error.code, "UNAVAILABLE");
  });
});

describe("a stream that takes nothing", () => {
  const run = (shell: string) =>
    spawnSync("bash", ["-c", shell, "bash", process.execPath, main], { encoding: "utf8" });
  it("is said in a line when it is a full disk", () => {
    const { status, stderr } = run('"$@" --help > /dev/full');
    assert.equal(status, 1);
    assert.match(stderr, /^sublet: cannot write what was asked for: .*no space left.*\n$/);
  });
  it("ends the command silently when who reads has enough", () => {
    const { stdout, stderr } = run('"$@" --help | head -c 1; echo $PIPESTATUS');
    assert.equal(stdout, "U0\n");
    assert.equal(stderr, "");
  });
});
