/** What takes long says so: written over on a terminal, one line at the end elsewhere, never to programs. */
import assert from "node:assert/strict";
import { describe, it, type TestContext } from "node:test";
import { showProgress } from "../../../src/cli/progress.ts";

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Runs for so long, looked at each half second; what was written to errors. */
async function after(t: TestContext, tookMs: number, live: boolean, quiet = false): Promise<string> {
  t.mock.timers.enable({ apis: ["setInterval"] });
  let nowMs = 0;
  let written = "";
  const output = {
    write() {},
    writeBytes() {},
    error(text: string) {
      written += text;
    },
    width: 80,
    live,
  };
  const progress = showProgress(
    { output, quiet, nowMs: () => nowMs },
    (elapsedMs) => `at ${elapsedMs}`,
    () => "drain of 3 nodes",
  );
  while (nowMs < tookMs) {
    nowMs += 500;
    t.mock.timers.tick(500);
    await settled();
  }
  progress.end();
  t.mock.timers.tick(5_000);
  return written;
}

describe("progress", () => {
  it("says nothing of what is over soon", async (t) => {
    assert.equal(await after(t, 1_500, true), "");
  });
  it("is written over on a terminal, and taken away", async (t) => {
    assert.equal(await after(t, 2_500, true), "\rat 2000\u001b[K\rat 2500\u001b[K\r\u001b[K");
  });
  it("is one line at the end elsewhere", async (t) => {
    assert.equal(await after(t, 3_000, false), "sublet: drain of 3 nodes in 3 s\n");
  });
  it("is nothing where programs read", async (t) => {
    assert.equal(await after(t, 3_000, true, true), "");
  });
});
