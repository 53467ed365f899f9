/** `sublet estimate` as a user types it: what is refused before the work begins, and what the answer says of itself. */
import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { folder, sublet } from "./typed.ts";

const trace = join(folder, "trace.csv");
writeFileSync(
  trace,
  "timestamp,idle_nodes,allocated_nodes\n2026-01-01T00:00:00,2,1\n2026-01-01T00:20:00,1,2\n2026-01-01T02:00:00,2,1\n",
);
const node = ["--cores-per-node", "4", "--gib-per-node", "8"];

test("the answer is what would have been with demand, and says so, on the page too", async () => {
  const page = join(folder, "page.html");
  writeFileSync(page, "old ".repeat(100_000));
  const args = ["estimate", "--trace", trace, ...node, "--price", "0.01", "--html", page];
  const { status, out, err } = await sublet(args);
  assert.equal(status, 0, err);
  assert.match(out, /\nHad somebody always wanted them, leases of 1 min would have caught /);
  assert.match(out, /TERM +FITS +CAUGHT/);
  const shown = readFileSync(page, "utf8");
  assert.match(shown, /could have been lent in leases of 1 min, had somebody always wanted them, worth/);
  assert.doesNotMatch(shown, /old old/);
});

test("a page that cannot be written is said before anything is read", async () => {
  const page = join(folder, "nowhere/page.html");
  const { status, out, err } = await sublet(["estimate", "--trace", "/none.csv", ...node, "--html", page]);
  assert.deepEqual([status, out], [1, ""]);
  assert.equal(err, `sublet: --html: cannot write ${page}: no such file or directory\n`);
});

test("a page of before stays when the estimate fails, and none is left where there was none", async () => {
  const page = join(folder, "kept.html");
  writeFileSync(page, "before");
  const fails = (html: string) => sublet(["estimate", "--trace", "/none.csv", ...node, "--html", html]);
  const { status, err } = await fails(page);
  assert.equal(status, 1);
  assert.equal(err, "sublet: cannot read /none.csv: no such file or directory\n");
  assert.equal(readFileSync(page, "utf8"), "before");
  const none = join(folder, "none.html");
  await fails(none);
  assert.equal(existsSync(none), false);
});

test("numbers that make no sense are refused with what does", async () => {
  for (const option of ["--cores-per-node", "--price", "--terms"]) {
    const { status, err } = await sublet(["estimate", option, "0"]);
    assert.equal(status, 2, option);
    assert.match(err, /Expected a number above 0, at most \d+\./);
  }
});
