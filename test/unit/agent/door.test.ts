/** A door that does not open is said at the start, and what to do; the real one is tested natively and on the testbed. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { openDoor } from "../../../agent/socket/door.ts";

const quiet = (): void => undefined;
const log = { debug: quiet, info: quiet, warn: quiet, error: quiet };
const paths = {
  path: "/tmp/nobody.sock",
  innerPath: "/tmp/nobody-inner.sock",
  starterPath: "/tmp/none.sock",
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
