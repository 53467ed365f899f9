/** The machine under the daemons fails them: no room where they write, and clocks that jump. */
import assert from "node:assert/strict";
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { logFile } from "../../deploy/testbed/daemons.ts";
import { pause, run, until } from "../../deploy/testbed/shell.ts";
import { call, ok, type Step, stepOf } from "./callers.ts";
import {
  metric,
  nothingLeft,
  sameAnswer,
  startWitness,
  theBed,
  useCluster,
  visit,
  working,
} from "./harness.ts";

useCluster();

/** Runs a shell script in a node as root. */
async function inNode(node: string, script: string): Promise<string> {
  const { stdout, stderr, exitCode } = await theBed().cluster.runOnNode(node, ["sh", "-c", script]);
  assert.equal(exitCode, 0, `${script}: ${stderr}`);
  return stdout;
}

/** Ends the agent of a node and its starter; nothing of them is left. */
async function endAgent(node: string): Promise<void> {
  await theBed().cluster.killDaemon(`agent-${node}`, "SIGTERM");
  const pid = Number(await inNode(node, "cat /run/sublet/starter.lock"));
  assert.match(readFileSync(`/proc/${pid}/comm`, "utf8"), /sublet-starter/);
  process.kill(pid, "SIGKILL");
}

const leaseAndCall = (node: string): Promise<Step[]> =>
  call("n3", [`lease:${node}:1:64:15000`, "pin:libecho.so:echo:7:5000", "release"]);

async function lends(node: string): Promise<void> {
  const steps = await leaseAndCall(node);
  assert.deepEqual(
    [stepOf(steps, "lease").node, stepOf(steps, "pin").code],
    [node, ok],
    JSON.stringify(steps),
  );
}

test("disk full under an agent: leases go on or are refused clearly, the hook works, and all returns with the room", async (t) => {
  const { cluster } = theBed();
  const log = logFile(cluster.stateDir, "agent-n2");
  const small = join(cluster.stateDir, "small");
  await endAgent("n2");
  await inNode("n2", "mount -t tmpfs -o size=64k,nr_inodes=32,mode=755 small /run/sublet");
  await run([
    "sh",
    "-c",
    `mkdir -p ${small} && mount -t tmpfs -o size=64k small ${small} && cp ${log} ${small}/log`,
  ]);
  await run(["mount", "--bind", join(small, "log"), log]);
  try {
    await cluster.startDaemon("agent-n2");
    await inNode("n2", "cat /dev/zero > /run/sublet/fill; true");
    // The last page of the log, too.
    await run([
      "sh",
      "-c",
      `cat /dev/zero > ${small}/fill; while echo >> ${small}/log; do :; done 2>/dev/null; true`,
    ]);
    const full = statSync(log).size;
    await lends("n2");
    await visit("n2");
    assert.equal(statSync(log).size, full, "the log is not full");

    await inNode("n2", "i=0; while touch /run/sublet/i$i; do i=$((i + 1)); done 2>/dev/null; true");
    const refused = stepOf(await call("n3", ["lease:n2:1:64"]), "lease");
    t.diagnostic(refused.text);
    assert.notEqual(refused.code, ok);
    assert.match(refused.text, /space|ENOSPC|start/);
    await visit("n2");

    await cluster.killDaemon("agent-n2");
    await cluster.startDaemon("agent-n2");
    await visit("n2");

    await inNode("n2", "rm -f /run/sublet/fill /run/sublet/i*");
    await run(["rm", join(small, "fill")]);
    await lends("n2");
    await cluster.killDaemon("controller");
    await cluster.startDaemon("controller");
    await until("the agent writes its log again", 10_000, () =>
      statSync(log).size > full ? true : undefined,
    );
    await nothingLeft();
  } finally {
    await endAgent("n2");
    await inNode("n2", "umount /run/sublet");
    await run(["umount", log]);
    await run(["umount", small]);
    await cluster.startDaemon("agent-n2");
  }
  await lends("n2");
  await nothingLeft();
});

const faketime = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

/** Starts a daemon again under a wall clock of its own; what is written to the file is its offset ("+3600"). */
async function withClock(name: string): Promise<(offset: string) => void> {
  const { cluster } = theBed();
  const file = join(cluster.stateDir, `clock-${name}`);
  const step = (offset: string): void => writeFileSync(file, `${offset}\n`);
  step("+0");
  await cluster.killDaemon(name);
  await cluster.startDaemon(name, 30_000, {
    LD_PRELOAD: faketime,
    FAKETIME_TIMESTAMP_FILE: file,
    FAKETIME_NO_CACHE: "1",
    FAKETIME_DONT_FAKE_MONOTONIC: "1",
  });
  return step;
}

for (const [name, what] of [
  ["agent-n1", "a lending node"],
  ["agent-n3", "the client's node"],
  ["controller", "the controller"],
] as const)
  test(`the clock of ${what} jumps by an hour, forth and back`, async (t) => {
    if (!existsSync(faketime)) return t.skip(`${faketime} is not installed (package faketime)`);
    const { cluster } = theBed();
    const step = await withClock(name);
    try {
      await lends("n2");
      const job = await startWitness("n3");
      await working(job, 2);
      const from = statSync(logFile(cluster.stateDir, name)).size;
      step("+3600");
      await pause(3000);
      const refused = stepOf(await call("n3", ["lease:n1:1:64"]), "lease");
      step("-3600");
      await pause(3000);
      step("+0");
      await sameAnswer(job);
      t.diagnostic(`while it was an hour ahead: ${refused.code} ${refused.text}`);
      assert.notEqual(refused.code, ok);
      assert.match(refused.text, /clock/);
      const said = readFileSync(logFile(cluster.stateDir, name), "utf8").slice(from);
      assert.match(said, /clocks of both machines/);
      await nothingLeft();
      await until("nobody misses the controller", 15_000, async () =>
        (await metric("controller", "sublet_agents")) === 3 ? true : undefined,
      );
      await lends("n2");
    } finally {
      await cluster.killDaemon(name);
      await cluster.startDaemon(name);
    }
    await nothingLeft();
  });
