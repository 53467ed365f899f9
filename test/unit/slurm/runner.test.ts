import assert from "node:assert/strict";
import { test } from "node:test";
import type { SlurmCommand } from "../../../src/slurm/commands.ts";
import { commandRunner, systemClock } from "../../../src/slurm/runner.ts";

const shell = (script: string): SlurmCommand => ({
  question: "nodes",
  program: "/bin/sh",
  args: ["-c", script],
  rpcs: 0,
});
const options = { timeoutMs: 5000, signal: new AbortController().signal };

test("gives both outputs, in our environment only", async () => {
  process.env.SQUEUE_FORMAT = "%j";
  try {
    const run = commandRunner("/some/slurm.conf");
    const { stdout, stderr } = await run(
      shell('echo "$SLURM_CONF $SLURM_TIME_FORMAT <$SQUEUE_FORMAT>"; echo warned >&2'),
      options,
    );
    assert.equal(stdout, "/some/slurm.conf %s <>\n");
    assert.equal(stderr.trim(), "warned");
  } finally {
    delete process.env.SQUEUE_FORMAT;
  }
});

test("a command that fails, hangs, is missing or is cancelled says so with a code", async () => {
  const run = commandRunner(undefined);
  await assert.rejects(run(shell("echo Unable to contact >&2; exit 1"), options), {
    code: "UNAVAILABLE",
    message: /Unable to contact/,
  });
  const startedMs = performance.now();
  await assert.rejects(run(shell("exec sleep 30"), { ...options, timeoutMs: 100 }), {
    code: "DEADLINE_EXCEEDED",
  });
  await assert.rejects(run(shell("exec sleep 30"), { ...options, signal: AbortSignal.timeout(100) }), {
    code: "ABORTED",
  });
  assert.ok(performance.now() - startedMs < 5000);
  await assert.rejects(run({ ...shell(""), program: "sublet-no-such-program" }, options), {
    code: "FAILED_PRECONDITION",
  });
});

test("the clock's pause ends with the signal", async () => {
  const stop = new AbortController();
  const pause = systemClock.sleep(60_000, stop.signal);
  stop.abort();
  await pause;
});
