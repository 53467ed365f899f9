/** `sublet invoke` and `sublet trace`, by a libsublet built against the real header. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { invoke } from "../../../src/cli/invoke.ts";
import { trace } from "../../../src/cli/trace.ts";
import { loadCliConfig } from "../../../src/config/cli.ts";
import { collector } from "./captured.ts";
import { folder, settingsFile } from "./typed.ts";

describe("invoke, by a libsublet built against the real header", () => {
  const fake = join(folder, "libfake.so");
  const config = loadCliConfig(settingsFile, { SUBLET_AGENT_SOCKET: "/a/sock" });
  before(() => {
    const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
    execFileSync("cc", [
      "-shared",
      "-fPIC",
      "-D_GNU_SOURCE",
      "-I",
      here("../../../functions/include"),
      "-o",
      fake,
      here("fixtures/fake_sublet.c"),
    ]);
  });
  const call = (options: Partial<Parameters<typeof invoke>[3]>, json = false, name = "reverse") => {
    const output = collector();
    const session = { config, output, json };
    invoke(session, "libx.so", name, { maxOut: 100, cores: 2, local: true, ...options }, fake);
    return output;
  };

  it("passes arguments, options and result through", () => {
    const { out, err } = call({ data: "abc", node: "n7", local: false });
    assert.equal(out, "cba");
    assert.match(
      err,
      /^ran on socket=\/a\/sock timeout=5000 cores=2 in=3 out=100 node=n7 flags=2 call=5000 wait=6000: lease/,
    );
  });
  it("reads and writes files, and takes no arguments as none", () => {
    const [from, to] = [join(folder, "in"), join(folder, "out")];
    writeFileSync(from, Buffer.from([1, 2, 0, 255]));
    assert.equal(call({ in: from, out: to }).out, "");
    assert.deepEqual(readFileSync(to), Buffer.from([255, 0, 2, 1]));
    assert.equal(call({}).out, "");
    assert.throws(() => call({ in: join(folder, "none") }), { code: "INVALID_ARGUMENT" });
  });
  it("keeps bytes that are no text from a terminal, and from nothing else", () => {
    const shown = (data: string, width: number | undefined) => {
      const output = collector(width);
      const options = { data, maxOut: 100, cores: 2, local: true };
      invoke({ config, output, json: false }, "libx.so", "reverse", options, fake);
      return output;
    };
    assert.equal(shown("abc\n", 80).out, "\ncba");
    const { out, err } = shown("abc\u001b", 80);
    assert.equal(out, "");
    assert.match(err, /^sublet: the result is no text: --out FILE or a pipe/);
    assert.equal(shown("é", 80).out, ""); // turned round it is no UTF-8
    assert.equal(shown("abc\u001b", undefined).out, "\u001bcba");
  });
  it("runs here when nobody lends, unless it must not", () => {
    const { out, err } = call({ data: "xy", cores: 9 });
    assert.equal(out, "yx");
    assert.match(err, /nobody lends 9 cores now; it runs here/);
    assert.throws(() => call({ data: "xy", cores: 9, local: false }), {
      code: "RESOURCE_EXHAUSTED",
      message: /nobody lends 9 cores now/,
    });
  });
  it("says what libsublet says", () => {
    assert.throws(() => call({}, false, "nope"), { code: "NOT_FOUND", message: /no function nope/ });
    assert.throws(() => call({ data: "x".repeat(101) }), { code: "INVALID_ARGUMENT" });
    assert.throws(
      () =>
        invoke(
          { config, output: collector(), json: false },
          "l",
          "f",
          { maxOut: 1, cores: 0, local: true },
          "/no/lib.so",
        ),
      {
        code: "FAILED_PRECONDITION",
        message: /npm run build/,
      },
    );
  });
  it("traces calls", async () => {
    const output = collector();
    const options = { count: 3, pauseMs: 0, payloadBytes: 7, node: "n5" };
    await trace({ config, output, json: true }, "libx.so", "reverse", options, fake);
    const said = JSON.parse(output.out) as { node: string; times: { name: string; firstNs: number }[] };
    assert.deepEqual(
      { ...said, times: said.times.length },
      {
        node: "n5",
        path: "connection",
        count: 3,
        payloadBytes: 7,
        workerTold: 3,
        workerSlept: 0,
        callerSlept: 3,
        times: 11,
      },
    );
    const first = said.times.map(({ firstNs }) => firstNs);
    assert.deepEqual(first, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 55]);
    assert.deepEqual(said.times[10], { name: "total", where: "", firstNs: 55, medianNs: 550, p99Ns: 550 });
  });
  it("prints JSON", () => {
    const json = JSON.parse(call({ data: "abc" }, true).out) as Record<string, unknown>;
    assert.equal(json.outBytes, 3);
    assert.equal(json.outBase64, Buffer.from("cba").toString("base64"));
  });
});
