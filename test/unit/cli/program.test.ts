/** The command as a user types it: help, wrong words, settings, no daemon at all. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, it } from "node:test";
import { folder, sublet } from "./typed.ts";

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
  });
  it("that is wrong ends with 2", async () => {
    const wrong: string[][] = [
      [],
      ["nodse"],
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
    assert.match((await sublet(["nodse"])).err, /Did you mean nodes/);
  });
  it("without daemons ends with 3, and JSON errors are JSON", async () => {
    const none = { SUBLET_AGENT_SOCKET: join(folder, "none.sock") };
    for (const args of [["leases"], ["status"], ["release", "x"], ["nodes"]]) {
      const { status, err } = await sublet(args, none);
      assert.equal(status, 3, args.join(" "));
      assert.match(err, /^sublet: /);
    }
    const { out } = await sublet(["--json", "leases"], none);
    assert.equal((JSON.parse(out) as { error: { code: string } }).error.code, "UNAVAILABLE");
  });
});
