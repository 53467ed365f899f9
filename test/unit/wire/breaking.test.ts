/** The gate's comparison with the released protocol: it passes what old peers understand, and nothing else. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../../", import.meta.url));

/** What buf says about a copy of the released protocol in which `from` of a file became `to`. */
function compare(file: string, from: string, to: string): { status: number | null; said: string } {
  const scratch = mkdtempSync(join(tmpdir(), "sublet-proto-"));
  try {
    cpSync(join(root, "test/wire/released/sublet"), join(scratch, "sublet"), { recursive: true });
    cpSync(join(root, "proto/buf.yaml"), join(scratch, "buf.yaml"));
    const path = join(scratch, "sublet/v1", file);
    const text = readFileSync(path, "utf8");
    assert.ok(text.includes(from), `${file} has no ${from}`);
    writeFileSync(path, text.replace(from, to));
    const args = ["breaking", scratch, "--against", join(root, "test/wire/released")];
    const run = spawnSync(join(root, "node_modules/.bin/buf"), args, { encoding: "utf8", timeout: 60_000 });
    return { status: run.status, said: `${run.stdout}${run.stderr}` };
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

test("a field more is no break", () => {
  const { status, said } = compare(
    "local.proto",
    "  uint32 uid = 3;",
    "  uint32 uid = 3;\n  uint32 gid = 4;",
  );
  assert.equal(status, 0, said);
});

test("a field removed, renumbered or of another type is one, and so is a method that goes", () => {
  const breaks: [file: string, from: string, to: string, says: RegExp][] = [
    ["types.proto", "  bytes token = 4;\n", "", /field "4" with name "token".*deleted/],
    ["types.proto", "  bytes token = 4;", "  bytes token = 5;", /field "4" with name "token".*deleted/],
    ["types.proto", "  uint64 term_ms = 11;", "  string term_ms = 11;", /term_ms.*changed type/],
    ["types.proto", "  REASON_ADMIN = 4;\n", "", /enum value "4".*deleted/],
    ["node.proto", "  rpc Renew(RenewRequest) returns (RenewResponse);\n", "", /RPC "Renew".*deleted/],
  ];
  for (const [file, from, to, says] of breaks) {
    const { status, said } = compare(file, from, to);
    assert.equal(status, 100, `${file}: ${from}: ${said}`);
    assert.match(said, says);
  }
});
