/** Shell scripts of the tree: an option without its value, and one that is not known, end in the usage with status 2 before anything is done. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { globSync, readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../..", import.meta.url));

/** Options whose branch reads the word after them. */
function valued(script: string): string[] {
  const found = readFileSync(join(root, script), "utf8").matchAll(/^ *(--[a-z-]+)\) .*\$\{?2/gm);
  return [...found].map(([, option]) => option ?? "");
}

const scripts = globSync("{deploy,test}/**/*.sh", { cwd: root })
  .map((script) => ({ script, options: valued(script) }))
  .filter(({ options }) => options.length > 0);

describe("scripts with options", () => {
  it("are found", () => {
    const names = scripts.map(({ script }) => script);
    for (const name of ["deploy/package/build.sh", "deploy/vm/run.sh", "test/vm/rdma.sh"])
      assert.ok(names.includes(name), name);
  });
  for (const { script, options } of scripts)
    for (const option of [...options, "--no-such-option"])
      it(`${script} ${option}`, () => {
        // From its own folder: the usage is found wherever it is called.
        const run = spawnSync("bash", [basename(script), option], {
          cwd: join(root, dirname(script)),
          encoding: "utf8",
          timeout: 10_000,
        });
        assert.equal(run.status, 2, run.stderr);
        assert.match(run.stderr, new RegExp(`^\\S*${basename(script)} .*${options[0]}`));
        assert.doesNotMatch(run.stderr, /unbound|can't read/);
      });
});
