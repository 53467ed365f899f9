/** The checks of `sublet doctor`: facts in, findings out; each says how to mend what it found. */
import { formatDuration } from "../output.ts";
import type { Facts, Finding } from "./facts.ts";
import { neighbourFindings } from "./neighbours.ts";
import { wiringFindings } from "./wiring-checks.ts";

type Check = (facts: Facts) => Finding;

const needed = ["cpuset", "cpu", "memory", "pids"];
const neededV1 = [...needed, "freezer"];
const credentialMaxAgeMs = 60_000;
const clockWarnMs = 2_000;
const maxMessage = 300;

function ok(check: string, found: string): Finding {
  return { check, result: "ok", found };
}
function warn(check: string, found: string, mend: string): Finding {
  return { check, result: "warn", found: found.slice(0, maxMessage), mend };
}
function fail(check: string, found: string, mend: string): Finding {
  return { check, result: "fail", found: found.slice(0, maxMessage), mend };
}

const cgroups: Check = ({ cgroup }) => {
  const name = "cgroups";
  const { v1, v2 } = cgroup;
  const missingV1 = neededV1.filter((controller) => v1[controller] === undefined);
  const missingV2 = needed.filter((controller) => v2?.controllers.includes(controller) !== true);
  if (missingV1.length > 0 && missingV2.length > 0) {
    const missing = v2 !== undefined && missingV2.length <= missingV1.length ? missingV2 : missingV1;
    return fail(
      name,
      `no hierarchy has all controllers: ${missing.join(", ")} missing`,
      missing.includes("memory")
        ? 'boot with "cgroup_enable=memory", and let the root of cgroup v2 delegate all controllers (systemd does)'
        : "mount the missing controllers below /sys/fs/cgroup, or boot with systemd.unified_cgroup_hierarchy=1",
    );
  }
  const which = missingV2.length === 0 ? `v2 at ${v2?.dir}` : "v1";
  if (cgroup.readOnly.length > 0)
    return fail(
      name,
      `${cgroup.readOnly.join(", ")} mounted read-only`,
      "run the agent outside of the container, or mount the cgroup file system writable in it",
    );
  return ok(name, `${which}: ${(missingV2.length === 0 ? needed : neededV1).join(", ")}`);
};

const slurmInstalled: Check = ({ slurm }) => {
  const missing = Object.entries(slurm.commands).filter(([, path]) => path === undefined);
  if (missing.length === 0) return ok("slurm commands", Object.keys(slurm.commands).join(", "));
  return warn(
    "slurm commands",
    `${missing.map(([name]) => name).join(", ")} not in PATH`,
    "install slurm-client, or add Slurm's bin folder to PATH; the controller needs them, compute nodes do not",
  );
};

const slurmctld: Check = ({ slurm }) => {
  if (!slurm.ping.ok)
    return fail(
      "slurmctld",
      slurm.ping.why,
      "start slurmctld, and check SLURM_CONF and SlurmctldHost on this node",
    );
  const up = slurm.ping.value.split("\n").find((line) => / is UP\b/.test(line));
  if (up !== undefined) return ok("slurmctld", up.trim());
  // scontrol frames its word of warning in lines of stars.
  const said = slurm.ping.value.split("\n").filter((line) => line !== "" && !line.startsWith("*"));
  return fail(
    "slurmctld",
    said.join("; ") || "scontrol ping said nothing",
    "start slurmctld; running leases go on meanwhile, and no new jobs start",
  );
};

const slurmJobs: Check = ({ slurm }) => {
  if (!slurm.config.ok) return warn("slurm config", slurm.config.why, "check again when slurmctld answers");
  const { ProctrackType, TaskPlugin, Prolog } = slurm.config.value;
  const loose = [
    ...(ProctrackType === "proctrack/cgroup" ? [] : [`ProctrackType=${ProctrackType}`]),
    ...(TaskPlugin?.includes("task/cgroup") === true ? [] : [`TaskPlugin=${TaskPlugin}`]),
  ];
  if (loose.length > 0)
    return fail(
      "slurm config",
      `${loose.join(", ")}: jobs are not in cgroups, so that nobody can tell which cores they have`,
      "set ProctrackType=proctrack/cgroup and TaskPlugin=task/cgroup (with ConstrainCores=yes in cgroup.conf)",
    );
  if (Prolog === undefined || Prolog === "" || Prolog === "(null)")
    return fail(
      "slurm config",
      "no Prolog is set: nobody tells the agent that a job arrives",
      "set Prolog=/usr/lib/sublet/bin/sublet-hook (or call it in your own prolog), and Epilog the same",
    );
  return ok("slurm config", `jobs in cgroups, Prolog=${Prolog}`);
};

const munge: Check = (facts) => {
  if (!facts.munge.ok)
    return fail(
      "munge",
      facts.munge.why,
      "start munged; all machines need the same /etc/munge/munge.key and clocks that agree",
    );
  if (facts.munge.value !== facts.uid)
    return fail(
      "munge",
      `a credential of uid ${facts.uid} was decoded as uid ${facts.munge.value}`,
      "check that the munged on this socket is the one of this machine",
    );
  return ok("munge", `round trip as uid ${facts.uid}`);
};

const agent: Check = (facts) => {
  if (!facts.agent.ok)
    return fail(
      "agent",
      facts.agent.why,
      `start sublet-agent on this node (systemctl status sublet-agent says why it does not run; its run_dir must hold ${facts.agentSocket}), or name its socket with --agent-socket`,
    );
  return ok("agent", `${facts.agent.value.node} answers`);
};

const controller: Check = (facts) => {
  const name = "controller";
  if (!facts.agent.ok) return warn(name, "not known: no agent answers here", "see agent");
  if (facts.agent.value.controllerConnected) return ok(name, "the agent is connected to one");
  return warn(
    name,
    "the agent is connected to none: only this node's own capacity can be leased here",
    "start sublet-controller, name it in `controllers` of agent.toml, and let this node reach its port, 7700; the agent's log says why it is refused",
  );
};

const starter: Check = (facts) => {
  const mend = "restart sublet-agent, which starts sublet-starter; its errors are in the agent's log";
  if (!facts.starter.ok) {
    if (facts.uid !== 0 && /EACCES/.test(facts.starter.why))
      return warn("starter", "not visible to this user", "run `sublet doctor` as root");
    return fail("starter", facts.starter.why, mend);
  }
  const { uid, mode, isSocket } = facts.starter.value;
  if (!isSocket) return fail("starter", `${facts.starterSocket} is not a socket`, `remove it, then ${mend}`);
  if (uid !== 0 || (mode & 0o077) !== 0)
    return fail(
      "starter",
      `${facts.starterSocket} belongs to uid ${uid} with mode ${mode.toString(8)}: others could start programs as root`,
      `make it root's with mode 600, then ${mend}`,
    );
  return ok("starter", facts.starterSocket);
};

const clock: Check = ({ controller, clockOffsetMs }) => {
  if (controller === undefined || clockOffsetMs === undefined)
    return warn("clock", "not compared: no controller is named", "use --controller HOST:PORT");
  if (!clockOffsetMs.ok)
    return warn(
      "clock",
      `not compared: ${clockOffsetMs.why}`,
      "let this node reach the controller's metrics port, 7703, or compare by hand",
    );
  const offMs = clockOffsetMs.value;
  const found = `${formatDuration(Math.abs(offMs))} ${offMs < 0 ? "ahead of" : "behind"} ${controller}`;
  if (Math.abs(offMs) < clockWarnMs) return ok("clock", `within ${clockWarnMs / 1000} s of ${controller}`);
  const mend = "run chrony (or another NTP client) on both machines";
  return Math.abs(offMs) >= credentialMaxAgeMs
    ? fail("clock", `${found}: credentials are refused`, mend)
    : warn("clock", found, mend);
};

const fabric: Check = (facts) => {
  const address = facts.agent.ok ? facts.agent.value.findings["fabric.address"] : undefined;
  if (address === undefined)
    return facts.addresses.length > 0
      ? warn(
          "fabric",
          `the agent names no address; this machine has ${facts.addresses.join(", ")}`,
          "set fabric_address in agent.toml",
        )
      : fail("fabric", "this machine has no address but loopback", "bring up the network of the cluster");
  if (facts.addresses.includes(address)) return ok("fabric", address);
  if (address.startsWith("127."))
    return fail(
      "fabric",
      `${address} is loopback: no other node reaches it`,
      "set fabric_address in agent.toml to this node's address on the fast network",
    );
  return fail(
    "fabric",
    `${address} is no address of this machine (it has ${facts.addresses.join(", ") || "none"})`,
    "correct fabric_address in agent.toml, or bring the interface up",
  );
};

const minWatches = 8192;

interface KnobRule {
  readonly path: string;
  /** Why the value is bad; undefined when it is good. Knobs that a kernel lacks are not judged. */
  readonly judge: (value: string) => string | undefined;
  readonly mend: string;
}

const knobRules: readonly KnobRule[] = [
  {
    path: "fs/inotify/max_user_watches",
    judge: (value) => (Number(value) < minWatches ? "too few to watch the cgroups of many jobs" : undefined),
    mend: `sysctl fs.inotify.max_user_watches=${minWatches} or more`,
  },
  {
    path: "vm/memfd_noexec",
    judge: (value) =>
      value === "2" ? "memory files are refused: no function and no ring can be made" : undefined,
    mend: "sysctl vm.memfd_noexec=0 or 1",
  },
  {
    path: "vm/overcommit_memory",
    judge: (value) =>
      value === "2" ? "strict accounting: the node refuses memory that looks spare" : undefined,
    mend: "sysctl vm.overcommit_memory=0, or raise vm.overcommit_ratio",
  },
];

/** Files below /proc/sys that the checks look at. */
export const knobPaths: readonly string[] = [
  ...knobRules.map(({ path }) => path),
  "kernel/osrelease",
  "kernel/seccomp/actions_avail",
];

const kernel: Check = ({ knobs, pressure, swapBytes }) => {
  const release = knobs["kernel/osrelease"] ?? "unknown";
  if (knobs["kernel/seccomp/actions_avail"]?.includes("kill_process") !== true)
    return fail(
      "kernel",
      `${release} has no seccomp filters: guests cannot be confined`,
      "use a kernel with CONFIG_SECCOMP_FILTER",
    );
  for (const { path, judge, mend } of knobRules) {
    const value = knobs[path];
    const bad = value === undefined ? undefined : judge(value);
    if (bad !== undefined) return warn("kernel", `${path.replaceAll("/", ".")}=${value}: ${bad}`, mend);
  }
  if (!pressure)
    return warn(
      "kernel",
      `${release} shows no pressure (PSI): jobs that suffer are noticed late`,
      'boot with "psi=1"',
    );
  if (swapBytes > 0)
    return warn(
      "kernel",
      `${release}; swap is on: lent memory may be swapped instead of given back`,
      "swapoff -a, or accept slower reclaims",
    );
  return ok("kernel", release);
};

function accountingFindings({ accounting }: Facts): Finding[] {
  if (accounting === undefined) return [];
  if (accounting.ok) return [ok("accounting", `takes records; days of ${accounting.value}`)];
  const mend =
    "see the controller's log, and [accounting] and state_dir of controller.toml; leases go on, agents keep what they have to tell";
  return [warn("accounting", accounting.why, mend)];
}

const checks: readonly Check[] = [
  cgroups,
  kernel,
  slurmInstalled,
  slurmctld,
  slurmJobs,
  munge,
  agent,
  controller,
  starter,
  fabric,
  clock,
];

export function judge(facts: Facts): Finding[] {
  return [
    ...checks.map((check) => check(facts)),
    ...accountingFindings(facts),
    ...wiringFindings(facts),
    ...neighbourFindings(facts),
  ];
}

/** What the site cannot do without: of these checks, one that only warns has failed, and so has one that was not made. */
export function required(findings: readonly Finding[], names: readonly string[]): Finding[] {
  const missing = [...new Set(names)].filter((name) => findings.every(({ check }) => check !== name));
  return [
    ...findings.map(
      (each): Finding =>
        each.result === "warn" && names.includes(each.check) ? { ...each, result: "fail" } : each,
    ),
    ...missing.map((name) =>
      fail(name, "required, and not checked here", "correct --require: it takes the names in this list"),
    ),
  ];
}
