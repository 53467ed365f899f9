import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { judge, required } from "../../../src/cli/doctor/checks.ts";
import { formatFindings } from "../../../src/cli/doctor/doctor.ts";
import type { Facts, Finding, Result } from "../../../src/cli/doctor/facts.ts";
import { clockOffsetMs, parseCgroupMounts, parseSlurmConfig } from "../../../src/cli/doctor/parse.ts";

const healthy: Facts = {
  uid: 0,
  cgroup: {
    v1: {},
    v2: { dir: "/sys/fs/cgroup", controllers: ["cpuset", "cpu", "io", "memory", "pids"] },
    readOnly: [],
  },
  slurm: {
    commands: { scontrol: "/usr/bin/scontrol", sinfo: "/usr/bin/sinfo" },
    ping: { ok: true, value: "Slurmctld(primary) at head is UP\n" },
    config: {
      ok: true,
      value: {
        ProctrackType: "proctrack/cgroup",
        TaskPlugin: "task/cgroup,task/affinity",
        Prolog: "/usr/lib/sublet/sublet-hook",
      },
    },
  },
  munge: { ok: true, value: 0 },
  agent: {
    ok: true,
    value: { node: "n1", controllerConnected: true, findings: { "fabric.address": "10.77.0.11" } },
  },
  agentSocket: "/run/sublet/agent.sock",
  starter: { ok: true, value: { uid: 0, mode: 0o600, isSocket: true } },
  starterSocket: "/run/sublet/starter.sock",
  controller: "10.77.0.1:7700",
  clockOffsetMs: { ok: true, value: -300 },
  accounting: { ok: true, value: "UTC" },
  addresses: ["10.77.0.11"],
  knobs: {
    "fs/inotify/max_user_watches": "65536",
    "vm/memfd_noexec": "0",
    "vm/overcommit_memory": "0",
    "kernel/osrelease": "6.1.0",
    "kernel/seccomp/actions_avail": "kill_process kill_thread trap",
  },
  pressure: true,
  swapBytes: 0,
};

const no = (why: string) => ({ ok: false, why }) as const;
const v1 = { cpuset: "/c", cpu: "/c", memory: "/c", pids: "/c", freezer: "/c" };
const slurmConfig = (change: Record<string, string>) => ({
  slurm: {
    ...healthy.slurm,
    config: {
      ok: true,
      value: { ...(healthy.slurm.config.ok ? healthy.slurm.config.value : {}), ...change },
    },
  } as const,
});
const found = (findings: Record<string, string>) => ({
  agent: { ok: true, value: { node: "n1", controllerConnected: true, findings } } as const,
});
const knob = (path: string, value: string) => ({ knobs: { ...healthy.knobs, [path]: value } });

/** What is changed in a healthy node, the check that must speak, what it says, and what mends it. */
const cases: readonly [string, Partial<Facts>, string, Result, RegExp, RegExp][] = [
  [
    "no cgroup hierarchy",
    { cgroup: { v1: {}, v2: undefined, readOnly: [] } },
    "cgroups",
    "fail",
    /cpuset/,
    /cgroup_enable=memory/,
  ],
  [
    "v1 without memory",
    { cgroup: { v1: { ...v1, memory: undefined as unknown as string }, v2: undefined, readOnly: [] } },
    "cgroups",
    "fail",
    /memory missing/,
    /cgroup_enable=memory/,
  ],
  [
    "read-only cgroups",
    { cgroup: { ...healthy.cgroup, readOnly: ["/sys/fs/cgroup"] } },
    "cgroups",
    "fail",
    /read-only/,
    /writable/,
  ],
  ["no seccomp", knob("kernel/seccomp/actions_avail", ""), "kernel", "fail", /seccomp/, /CONFIG_SECCOMP/],
  ["memfd refused", knob("vm/memfd_noexec", "2"), "kernel", "warn", /vm\.memfd_noexec=2/, /sysctl/],
  [
    "few watches",
    knob("fs/inotify/max_user_watches", "100"),
    "kernel",
    "warn",
    /max_user_watches=100/,
    /sysctl/,
  ],
  ["strict memory", knob("vm/overcommit_memory", "2"), "kernel", "warn", /overcommit/, /sysctl/],
  ["no PSI", { pressure: false }, "kernel", "warn", /PSI/, /psi=1/],
  ["swap", { swapBytes: 1 }, "kernel", "warn", /swap/, /swapoff/],
  [
    "no sinfo",
    { slurm: { ...healthy.slurm, commands: { sinfo: undefined } } },
    "slurm commands",
    "warn",
    /sinfo not in PATH/,
    /install slurm-client/,
  ],
  [
    "slurmctld down",
    { slurm: { ...healthy.slurm, ping: { ok: true, value: "Slurmctld(primary) at head is DOWN\n" } } },
    "slurmctld",
    "fail",
    /is DOWN/,
    /start slurmctld/,
  ],
  [
    "slurmctld mute",
    { slurm: { ...healthy.slurm, ping: no("no answer") } },
    "slurmctld",
    "fail",
    /no answer/,
    /SLURM_CONF/,
  ],
  [
    "loose jobs",
    slurmConfig({ TaskPlugin: "task/affinity" }),
    "slurm config",
    "fail",
    /TaskPlugin=task\/affinity/,
    /task\/cgroup/,
  ],
  [
    "pgid tracking",
    slurmConfig({ ProctrackType: "proctrack/pgid" }),
    "slurm config",
    "fail",
    /pgid/,
    /proctrack\/cgroup/,
  ],
  ["no prolog", slurmConfig({ Prolog: "(null)" }), "slurm config", "fail", /no Prolog/, /sublet-hook/],
  ["no munged", { munge: no("munged does not answer") }, "munge", "fail", /munged/, /start munged/],
  ["another munged", { munge: { ok: true, value: 65_534 } }, "munge", "fail", /65534/, /this machine/],
  ["no agent", { agent: no("no agent listens") }, "agent", "fail", /no agent/, /start sublet-agent/],
  [
    "agent alone",
    {
      agent: {
        ok: true,
        value: { node: "n1", controllerConnected: false, findings: { "fabric.address": "10.77.0.11" } },
      },
    },
    "controller",
    "warn",
    /connected to none/,
    /agent\.toml/,
  ],
  [
    "no starter",
    { starter: no("ENOENT: no such file") },
    "starter",
    "fail",
    /ENOENT/,
    /restart sublet-agent/,
  ],
  [
    "starter hidden",
    { uid: 1, munge: { ok: true, value: 1 }, starter: no("EACCES: x") },
    "starter",
    "warn",
    /not visible/,
    /as root/,
  ],
  [
    "starter open",
    { starter: { ok: true, value: { uid: 0, mode: 0o666, isSocket: true } } },
    "starter",
    "fail",
    /666/,
    /mode 600/,
  ],
  [
    "starter foreign",
    { starter: { ok: true, value: { uid: 5, mode: 0o600, isSocket: true } } },
    "starter",
    "fail",
    /uid 5/,
    /root/,
  ],
  [
    "starter is a file",
    { starter: { ok: true, value: { uid: 0, mode: 0o600, isSocket: false } } },
    "starter",
    "fail",
    /not a socket/,
    /remove/,
  ],
  [
    "fabric on loopback",
    found({ "fabric.address": "127.0.0.1" }),
    "fabric",
    "fail",
    /loopback/,
    /fabric_address/,
  ],
  [
    "fabric elsewhere",
    found({ "fabric.address": "10.9.9.9" }),
    "fabric",
    "fail",
    /no address of this machine/,
    /fabric_address/,
  ],
  ["fabric unknown", found({}), "fabric", "warn", /names no address/, /fabric_address/],
  ["clock off", { clockOffsetMs: { ok: true, value: -5_000 } }, "clock", "warn", /5 s ahead/, /chrony/],
  [
    "clock far off",
    { clockOffsetMs: { ok: true, value: 61_000 } },
    "clock",
    "fail",
    /behind.*refused/,
    /chrony/,
  ],
  [
    "accounting away",
    { accounting: no("the data base is away (mariadb db1:3306 sublet: ECONNREFUSED)") },
    "accounting",
    "warn",
    /ECONNREFUSED/,
    /leases go on/,
  ],
  ["clock unknown", { clockOffsetMs: no("refused") }, "clock", "warn", /refused/, /7703/],
  [
    "no controller",
    { controller: undefined, clockOffsetMs: undefined },
    "clock",
    "warn",
    /no controller/,
    /--controller/,
  ],
];

describe("doctor's checks", () => {
  it("find nothing on a healthy node, v2 or v1", () => {
    for (const facts of [healthy, { ...healthy, cgroup: { v1, v2: undefined, readOnly: [] } }])
      for (const finding of judge(facts)) assert.equal(finding.result, "ok", JSON.stringify(finding));
  });
  for (const [name, change, check, result, says, mends] of cases) {
    it(`${name}: ${check} says ${result}, and no other check changes`, () => {
      const findings = judge({ ...healthy, ...change });
      const finding = findings.find((each) => each.check === check);
      assert.ok(finding);
      assert.equal(finding.result, result);
      assert.match(finding.found, says);
      assert.match(finding.mend ?? "", mends);
      // Without an agent nobody names the fabric's address, or knows of a controller.
      const follows = check === "agent" ? ["fabric", "controller"] : [];
      for (const other of findings)
        if (other !== finding && !follows.includes(other.check))
          assert.equal(other.result, "ok", JSON.stringify(other));
    });
  }
  it("say something even when nothing can be asked", () => {
    const findings = judge({
      ...healthy,
      agent: no("no"),
      starter: no("no"),
      munge: no("no"),
      slurm: { commands: {}, ping: no("no"), config: no("no") },
      knobs: {},
      addresses: [],
    });
    for (const { result, mend } of findings)
      assert.ok(result === "ok" || (mend !== undefined && mend !== ""));
  });
});

describe("doctor's report", () => {
  it("fits the width and counts", () => {
    const text = formatFindings(judge({ ...healthy, agent: no("x ".repeat(100)) }), 60);
    for (const line of text.split("\n")) assert.ok(line.length <= 60, line);
    assert.match(text, /^fail {2}agent {11}x x/m);
    assert.match(text, /9 ok, 2 to look at, 1 failed\n$/);
  });
});

describe("what a site requires", () => {
  const alone = judge({ ...healthy, ...found({}), pressure: false, accounting: undefined });
  const results = (findings: readonly Finding[]) =>
    Object.fromEntries(
      findings.filter(({ result }) => result !== "ok").map((each) => [each.check, each.result]),
    );

  it("fails where the doctor only warns, and nothing else does", () => {
    assert.deepEqual(results(alone), { kernel: "warn", fabric: "warn" });
    assert.deepEqual(results(required(alone, ["fabric", "munge"])), { kernel: "warn", fabric: "fail" });
    assert.deepEqual(required(alone, []), alone);
  });
  it("fails on an agent that talks to no controller, or is not there", () => {
    const { value } = found({ "fabric.address": "10.77.0.11" }).agent;
    for (const agent of [{ ok: true, value: { ...value, controllerConnected: false } }, no("no")] as const)
      assert.equal(results(required(judge({ ...healthy, agent }), ["controller"])).controller, "fail");
    assert.deepEqual(results(required(judge(healthy), ["controller"])), {});
  });
  it("fails on a check that was not made, and says that it was not", () => {
    assert.deepEqual(results(required(judge(healthy), ["controler"])), { controler: "fail" });
    const [last] = required(alone, ["accounting"]).slice(-1);
    assert.match(
      `${last?.check} ${last?.found} ${last?.mend}`,
      /accounting required, and not checked.*--require/,
    );
  });
});

describe("doctor's readers", () => {
  it("read mounts of both cgroup versions", () => {
    const mounts = parseCgroupMounts(
      "tmpfs /sys/fs/cgroup tmpfs ro,nosuid 0 0\n" +
        "cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,relatime,cpu,cpuacct 0 0\n" +
        "cgroup /sys/fs/cgroup/memory cgroup ro,relatime,memory 0 0\n" +
        "cgroup2 /sys/fs/cgroup/unified cgroup2 rw,nsdelegate 0 0\n",
    );
    assert.deepEqual(mounts, {
      v1: {
        cpu: "/sys/fs/cgroup/cpu,cpuacct",
        cpuacct: "/sys/fs/cgroup/cpu,cpuacct",
        memory: "/sys/fs/cgroup/memory",
      },
      v2Dir: "/sys/fs/cgroup/unified",
      readOnly: ["/sys/fs/cgroup/memory"],
    });
    assert.deepEqual(parseCgroupMounts(""), { v1: {}, v2Dir: undefined, readOnly: [] });
  });
  it("read Slurm's config", () => {
    assert.deepEqual(
      parseSlurmConfig(
        "Configuration data as of 2026-01-01T00:00:00\nProlog                  = (null)\nTaskPlugin              = task/cgroup\n\n",
      ),
      { Prolog: "(null)", TaskPlugin: "task/cgroup" },
    );
  });
  it("read a clock by its Date header", () => {
    const atMs = Date.parse("2026-01-01T00:00:10Z");
    assert.equal(clockOffsetMs("Thu, 01 Jan 2026 00:00:10 GMT", atMs + 400, atMs + 600), 0);
    assert.equal(clockOffsetMs("Thu, 01 Jan 2026 00:01:10 GMT", atMs + 400, atMs + 600), 60_000);
  });
});
