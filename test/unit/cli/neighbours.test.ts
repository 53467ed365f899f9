import assert from "node:assert/strict";
import { test } from "node:test";
import type { Facts } from "../../../src/cli/doctor/facts.ts";
import { neighbourFindings } from "../../../src/cli/doctor/neighbours.ts";

const quiet = {
  ConstrainCores: "yes",
  ConstrainRAMSpace: "yes",
  SuspendTime: "INFINITE",
  PreemptMode: "OFF",
};

function findings(change: Record<string, string>, scripts: Record<string, string> = {}) {
  const config = { ok: true, value: { ...quiet, ...change } } as const;
  return neighbourFindings({ slurm: { config, scripts } } as unknown as Facts);
}

test("a site without any of it sees nothing", () => {
  assert.deepEqual(findings({ SuspendProgram: "(null)", Epilog: "/usr/lib/sublet/sublet-hook" }), []);
  assert.deepEqual(findings({ SuspendProgram: "/x", SuspendTime: "NONE" }), []);
  assert.deepEqual(neighbourFindings({ slurm: { config: { ok: false, why: "" } } } as unknown as Facts), []);
});

test("limits that are off, power saving, gang scheduling: one warning each, which says what to do", () => {
  for (const [change, check, text] of [
    [{ ConstrainCores: "no" }, "slurm limits", /ConstrainCores=no: .* lends nothing/],
    [{ ConstrainRAMSpace: "no" }, "slurm limits", /ConstrainRAMSpace=no: .* lends no memory/],
    [{ SuspendProgram: "/x", SuspendTime: "600 sec" }, "slurm power saving", /after 600 s:/],
    [{ PreemptMode: "GANG,SUSPEND" }, "slurm gang", /GANG/],
  ] as const) {
    const [finding, ...rest] = findings(change);
    assert.deepEqual(rest, []);
    assert.equal(finding?.check, check);
    assert.equal(finding.result, "warn");
    assert.match(finding.found, text);
    assert.ok(finding.mend);
  }
});

test("an epilog that kills by user is named; one that does not is left alone", () => {
  const path = "/etc/slurm/epilog.sh";
  for (const line of ["killall -9 -u $SLURM_JOB_USER", "pkill -KILL -U $SLURM_UID", "pkill -u $u"]) {
    const [finding] = findings({ Epilog: path }, { [path]: `#!/bin/sh\n${line}\n` });
    assert.equal(finding?.check, "slurm epilog");
    assert.match(finding.found, /\/etc\/slurm\/epilog.sh/);
  }
  assert.deepEqual(
    findings({ Epilog: path }, { [path]: "#!/bin/sh\npkill -f daemon\nrm -rf /tmp/x -u\n" }),
    [],
  );
});
