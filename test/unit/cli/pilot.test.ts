/** The batch script of a pilot: what it says to Slurm, and what it does with Slurm's answers (run under sh with fakes). */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { type PilotOptions, pilotScript } from "../../../src/cli/pilot.ts";
import { run } from "../../../src/cli/program.ts";

const programs = { node: "/opt/it's here/node", main: "/opt/pilot/main.ts" };

interface Site {
  readonly partition: string;
  /** Of the job when its agent has ended. */
  readonly state: string;
  /** Of the agent. */
  readonly status: number;
}

/** Runs the script with a Slurm that says so; its status and what it asked for. */
function played(t: TestContext, site: Site, options: PilotOptions = {}): { status: number; calls: string } {
  const dir = mkdtempSync(join(tmpdir(), "pilot-"));
  t.after(() => rmSync(dir, { recursive: true }));
  const fake = (name: string, body: string): void => {
    writeFileSync(
      join(dir, name),
      `#!/bin/sh\nprintf '%s' "${name}" >> "${dir}/calls"\nfor a; do printf ' [%s]' "$a" >> "${dir}/calls"; done\necho >> "${dir}/calls"\n${body}\n`,
    );
    chmodSync(join(dir, name), 0o755);
  };
  fake("scontrol", `[ "$1" = show ] && echo '${site.partition}' || true`);
  fake("squeue", `echo ${site.state}`);
  fake("srun", `exit ${site.status}`);
  const { status } = spawnSync("/bin/sh", ["-s"], {
    input: pilotScript(options, programs),
    env: {
      PATH: `${dir}:/usr/bin:/bin`,
      SLURM_JOB_ID: "7",
      SLURM_JOB_PARTITION: "low",
      SLURM_JOB_NUM_NODES: "2",
    },
  });
  return { status: status ?? -1, calls: readFileSync(join(dir, "calls"), "utf8") };
}

const requeue = "PartitionName=low GraceTime=10 PreemptMode=REQUEUE State=UP";
const cancel = "PartitionName=low GraceTime=0 PreemptMode=CANCEL State=UP";

test("the script names what was asked for, and refuses what would be another option", () => {
  const script = pilotScript({ nodes: 2, time: "1:00:00", partition: "low", cores: 4, mem: "8G" }, programs);
  for (const line of ["nodes=2", "time=1:00:00", "partition=low", "cpus-per-task=4", "mem=8G", "requeue"])
    assert.match(script, new RegExp(`^#SBATCH --${line}$`, "m"));
  assert.throws(() => pilotScript({ partition: "low\nrm -rf" }, programs), /partition/);
  assert.throws(() => pilotScript({ time: "1 --uid=0" }, programs), /time/);
});

test("wanted back where preempted jobs are requeued: it requeues itself, once it is still its turn", (t) => {
  const { status, calls } = played(t, { partition: requeue, state: "RUNNING", status: 75 });
  assert.equal(status, 0);
  assert.match(calls, /^scontrol \[requeue\] \[7\]$/m);
  assert.match(calls, /\[\/opt\/it's here\/node\].*\[--budget-ms\] \[6000\]/);
  assert.match(calls, /\[--ntasks=2\]/);
});

test("cancelled, out of time, or where preempted jobs are cancelled: it stays away", (t) => {
  for (const site of [
    { partition: requeue, state: "COMPLETING", status: 75 },
    { partition: cancel, state: "RUNNING", status: 75 },
  ]) {
    const { status, calls } = played(t, site);
    assert.equal(status, 0);
    assert.doesNotMatch(calls, /requeue\]/);
  }
});

test("an agent that fails is a failed job; without a GraceTime the budget is a default, or the user's", (t) => {
  const failed = played(t, { partition: requeue, state: "RUNNING", status: 1 });
  assert.equal(failed.status, 1);
  assert.doesNotMatch(failed.calls, /requeue\]/);
  assert.match(
    played(t, { partition: cancel, state: "RUNNING", status: 75 }).calls,
    /\[--budget-ms\] \[5000\]/,
  );
  const own = played(t, { partition: requeue, state: "RUNNING", status: 75 }, { graceMs: 700 });
  assert.match(own.calls, /\[--budget-ms\] \[700\]/);
});

test("sublet pilot --print prints and submits nothing; --find without a pilot says so", async () => {
  let text = "";
  let error = "";
  const output = {
    write: (more: string) => {
      text += more;
    },
    writeBytes: () => undefined,
    error: (more: string) => {
      error += more;
    },
    width: undefined,
  };
  assert.equal(await run(["pilot", "--print", "--partition", "low"], output, {}), 0);
  assert.match(text, /^#!\/bin\/sh\n[\s\S]*--partition=low[\s\S]*agent\/pilot\/main\.ts/);
  const empty = mkdtempSync("/tmp/sp-");
  try {
    assert.equal(await run(["pilot", "--find"], output, { TMPDIR: empty }), 3);
    assert.match(error, /no pilot of yours/);
  } finally {
    rmSync(empty, { recursive: true });
  }
});
