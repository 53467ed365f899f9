/** A door that does not open is said at the start, and what to do; the real one is tested natively and on the testbed. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { openDoor } from "../../../agent/socket/door.ts";

const quiet = (): void => undefined;
const log = { debug: quiet, info: quiet, warn: quiet, error: quiet };
const paths = {
  path: "/tmp/nobody.sock",
  innerPath: "/tmp/nobody-inner.sock",
  starterPath: "/tmp/none.sock",
  timeoutMs: 5_000,
  log,
};

test("a door that is not there, or that ends at once", async () => {
  await assert.rejects(openDoor({ ...paths, program: "/nonexistent/sublet-door" }), {
    code: "FAILED_PRECONDITION",
    message: /^\/nonexistent\/sublet-door does not start \(.*ENOENT\): native_dir must hold/,
  });
  await assert.rejects(openDoor({ ...paths, program: "/bin/false" }), {
    code: "FAILED_PRECONDITION",
    message: /^\/bin\/false ended with 1: native_dir must hold/,
  });
});

test("a door that is not ready in time is ended", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "sublet-door-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const program = join(folder, "door");
  writeFileSync(program, "#!/bin/sh\nexec sleep 60\n", { mode: 0o755 });
  await assert.rejects(openDoor({ ...paths, program, timeoutMs: 100 }), {
    message: /is not ready after 100 ms/,
  });
});
