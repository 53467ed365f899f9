import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fabricOf, probeFabric } from "../../../agent/executor/fabric.ts";

const folder = mkdtempSync(join(tmpdir(), "sublet-fabric-"));
after(() => rmSync(folder, { recursive: true }));

function helper(script: string): string {
  const path = join(folder, "probe");
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, 0o755);
  return path;
}

test("what the probe says is bounded", () => {
  assert.deepEqual(fabricOf("provider=verbs;ofi_rxm\n"), { provider: "verbs;ofi_rxm" });
  assert.deepEqual(fabricOf("provider=none\nwhy=no device\n"), { provider: "none", why: "no device" });
  for (const text of ["", "provider=\n", "provider=a b\n", `provider=${"x".repeat(32)}\n`])
    assert.equal(fabricOf(text).why, "the probe said nothing");
});

test("no adapter, or none wanted: nothing is run", async () => {
  const program = join(folder, "missing");
  const signs = [join(folder, "class")];
  assert.deepEqual(await probeFabric({ provider: "auto", program, uid: 1, signs }), { provider: "none" });
  assert.deepEqual(await probeFabric({ provider: "none", program, uid: 1, signs: ["/"] }), {
    provider: "none",
  });
});

test("the helper is asked as a guest's user; its silence, crash and hanging mean none, and why", async () => {
  const signs = [join(folder, "adapter")];
  writeFileSync(signs[0] ?? "", "");
  const ask = (script: string) =>
    probeFabric({ provider: "auto", program: helper(script), uid: 7, signs, timeoutMs: 500 });
  assert.deepEqual(await ask('[ "$*" = "--uid 7 auto" ] && echo provider=cxi'), { provider: "cxi" });
  assert.deepEqual(await ask("echo provider=none; echo why=no luck; exit 1"), {
    provider: "none",
    why: "no luck",
  });
  for (const script of ["exit 0", "exit 1", "echo provider=cxi; kill -SEGV $$", "exec sleep 100"]) {
    const found = await ask(script);
    assert.equal(found.provider, "none", script);
    assert.ok(found.why !== undefined && found.why !== "", script);
  }
});
