/** Each run is a process: within one V8 remembers scripts by itself. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";

const code = `
import { runCompiled } from ${JSON.stringify(new URL("../../../src/cli/compiled.ts", import.meta.url).href)};
const [path, digest, cache, called] = process.argv.slice(1);
const { value, warm, keep } = runCompiled(path, digest, cache || undefined);
const word = called === "called" ? value() : "";
keep();
console.log(JSON.stringify({ warm, word }));`;

interface Script {
  readonly path: string;
  readonly digest: string;
  readonly cache: string;
}

describe("a script whose compiled code is kept", () => {
  const folder = mkdtempSync(join(tmpdir(), "sublet-compiled-"));
  after(() => rmSync(folder, { recursive: true, force: true }));

  /** A script that comes to a function, which gives the word. */
  function script(name: string, word: string): Script {
    const path = join(folder, `${name}.js`);
    const body = Array.from({ length: 200 }, (_, i) => `x=x*${i}+1;`).join("");
    const text = `(function(){return function(){let x=0;${body};return "${word}"}})()`;
    writeFileSync(path, text);
    const digest = createHash("sha256").update(text).digest("hex");
    return { path, digest, cache: join(folder, name, `${name}.compiled`) };
  }
  const run = ({ path, digest, cache }: Script, called: "called" | "not called" = "called") =>
    JSON.parse(
      execFileSync(process.execPath, ["--input-type=module", "-e", code, path, digest, cache, called], {
        encoding: "utf8",
      }),
    );

  it("is compiled once", () => {
    const own = script("once", "a");
    assert.deepEqual(run(own), { warm: false, word: "a" });
    assert.deepEqual(run(own), { warm: true, word: "a" });
    assert.equal(statSync(own.cache).mode & 0o777, 0o600);
    assert.equal(statSync(join(folder, "once")).mode & 0o777, 0o700);
    assert.deepEqual(readdirSync(join(folder, "once")), ["once.compiled"]);
  });

  it("is kept with the functions that were called", () => {
    const own = script("called", "a");
    run(own, "not called");
    const before = statSync(own.cache).size;
    rmSync(own.cache);
    run(own);
    assert.ok(statSync(own.cache).size > before + 1000, `${before}, then ${statSync(own.cache).size}`);
  });

  it("is compiled anew when its text is another, of the same length too", () => {
    run(script("changed", "a"));
    assert.deepEqual(run(script("changed", "b")), { warm: false, word: "b" });
    assert.deepEqual(run(script("changed", "b")), { warm: true, word: "b" });
  });

  it("is compiled anew when what was kept is cut or scribbled over", () => {
    const own = script("broken", "a");
    run(own);
    const whole = readFileSync(own.cache);
    const middle = Buffer.from(whole);
    middle.fill(0x55, whole.length >> 1, (whole.length >> 1) + 64);
    const head = own.digest.length + 8;
    for (const broken of [
      ...[0, 10, head, head + 20, whole.length - 8].map((n) => whole.subarray(0, n)),
      middle,
    ]) {
      writeFileSync(own.cache, broken);
      assert.deepEqual(run(own), { warm: false, word: "a" }, `${broken.length} bytes of ${whole.length}`);
    }
  });

  it("runs where nothing can be kept", () => {
    const own = script("nowhere", "a");
    writeFileSync(join(folder, "nowhere"), "a file where a folder should be");
    assert.deepEqual(run(own), { warm: false, word: "a" });
    assert.deepEqual(run({ ...own, cache: "" }), { warm: false, word: "a" });
  });
});
