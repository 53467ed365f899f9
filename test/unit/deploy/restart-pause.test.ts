/**
 * deploy/systemd/restart-pause as systemd calls it: pauses grow with starts that fail, a minute of service or an orderly end
 * clears them, and whoever restarts by hand does not wait. The clock and sleep are stand-ins.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../..", import.meta.url));
const script = join(root, "deploy/systemd/restart-pause");

let folder = "";
let nowMs = 0;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sublet-restart-"));
  nowMs = 1_790_000_000_000;
  writeFileSync(join(folder, "date"), `#!/bin/sh\ncat ${folder}/now\n`, { mode: 0o755 });
  writeFileSync(join(folder, "sleep"), `#!/bin/sh\necho "$1" > ${folder}/slept\n`, { mode: 0o755 });
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const state = (): string => join(folder, "starts");

function run(verb: string, environment: Record<string, string> = {}): string {
  writeFileSync(join(folder, "now"), `${nowMs}\n`);
  const { status, stdout, stderr } = spawnSync("sh", [script, verb, state()], {
    encoding: "utf8",
    env: { PATH: `${folder}:${process.env.PATH}`, ...environment },
    timeout: 20_000,
  });
  assert.equal(stderr, "");
  assert.equal(status, 0);
  return stdout;
}

/** Before a start: for how many seconds it waits. */
function before(): number {
  rmSync(join(folder, "slept"), { force: true });
  const said = run("before");
  if (!existsSync(join(folder, "slept"))) {
    assert.equal(said, "");
    return 0;
  }
  const slept = Number(readFileSync(join(folder, "slept"), "utf8"));
  assert.match(
    said,
    new RegExp(`^<4>\\d+ starts failed .* in ${slept} s; systemctl restart does not wait\n$`),
  );
  nowMs += slept * 1000;
  return slept;
}

const after = (result: string, exit = "1"): string =>
  run("after", { SERVICE_RESULT: result, EXIT_CODE: "exited", EXIT_STATUS: exit });

/** As with systemd: it ran for so long, failed, and is started again a second later. */
function failsAfter(ranMs: number): number {
  nowMs += ranMs;
  after("exit-code");
  nowMs += 1005;
  return before();
}

describe("the pause before a start", () => {
  it("grows to 50 s while starts fail", () => {
    assert.equal(before(), 0);
    const pauses = Array.from({ length: 9 }, () => failsAfter(300));
    // A second of each is over when systemd comes.
    assert.deepEqual(pauses, [0, 1, 3, 7, 15, 31, 49, 49, 49]);
  });

  it("is none for a daemon that ended after a minute of service, and grows for one that always ends before", () => {
    before();
    for (let time = 0; time < 5; time++) failsAfter(300);
    assert.equal(failsAfter(60_000), 0);
    assert.equal(failsAfter(59_000), 1);
    assert.equal(failsAfter(59_000), 3);
  });

  for (const result of ["timeout", "watchdog", "signal", "core-dump", "oom-kill"])
    it(`counts an end by ${result}`, () => {
      before();
      for (let time = 0; time < 3; time++) {
        after(result);
        nowMs += 1005;
        before();
      }
      assert.match(readFileSync(state(), "utf8"), /^3 /);
    });

  it("is forgotten when the daemon ends in order, also during the pause, and with settings that are wrong", () => {
    for (const [result, exit] of [
      ["success", "TERM"],
      ["exit-code", "78"],
    ] as const) {
      before();
      for (let time = 0; time < 5; time++) failsAfter(300);
      after(result, exit);
      assert.equal(existsSync(state()), false);
      nowMs += 1005;
      assert.equal(before(), 0);
      rmSync(state());
    }
  });

  it("is none for who restarts by hand before systemd does", () => {
    before();
    for (let time = 0; time < 5; time++) failsAfter(300);
    after("exit-code");
    nowMs += 990;
    assert.equal(before(), 0);
  });

  it("is not made longer by a clock that is set back, or by a file that is damaged", () => {
    before();
    for (let time = 0; time < 5; time++) failsAfter(300);
    after("exit-code");
    nowMs -= 3_600_000;
    assert.equal(before(), 0);
    nowMs += 3_700_000;
    writeFileSync(state(), "\n");
    assert.equal(before(), 0);
  });

  it("goes on where its file cannot be written", () => {
    const nowhere = join(folder, "none/starts");
    for (const verb of ["before", "after"]) {
      const { status } = spawnSync("sh", [script, verb, nowhere], {
        env: { ...process.env, SERVICE_RESULT: "signal" },
      });
      assert.notEqual(status, null);
    }
  });
});

describe("the units", () => {
  for (const daemon of ["agent", "controller"])
    it(`sublet-${daemon} uses it, within what systemd allows`, () => {
      const unit = readFileSync(join(root, `deploy/systemd/sublet-${daemon}.service`), "utf8");
      const values = (key: string): string[] =>
        [...unit.matchAll(new RegExp(`^${key}=(.*)$`, "gm"))].map(([, value = ""]) => value);
      const file = `%t/sublet-${daemon}/starts`;
      // With "-": whatever becomes of it, the daemon starts.
      assert.deepEqual(values("ExecStartPre"), [`-/usr/lib/sublet/bin/restart-pause before ${file}`]);
      assert.deepEqual(values("ExecStopPost"), [`-/usr/lib/sublet/bin/restart-pause after ${file}`]);
      assert.deepEqual(values("RuntimeDirectory"), [`sublet-${daemon}`]);
      assert.deepEqual(values("RuntimeDirectoryPreserve"), ["restart"]);
      assert.deepEqual(values("RestartSec"), ["1s"]);
      assert.ok(Number.parseInt(values("TimeoutStartSec")[0] ?? "", 10) > 50);
      assert.deepEqual(values("RestartPreventExitStatus"), ["78"]);
      // They would add to the pause, and are unknown before systemd 254.
      assert.doesNotMatch(unit, /^Restart(Steps|MaxDelaySec)=/m);
    });
});
