/**
 * Checks of `sublet doctor` on how this node is wired: hooks, plugin, what Slurm keeps for itself, what the agent may do and
 * has room for. What cannot be seen from here is not judged.
 */
import { parseCpuList } from "../../common/cpulist.ts";
import type { Facts, Finding, Result } from "./facts.ts";

type Rule = (facts: Facts) => Finding | undefined;

const mib = 1024 * 1024;
const minFreeBytes = 64 * mib;
const minFreeFiles = 1000;

const told =
  (result: Result) =>
  (check: string, found: string, mend: string): Finding => ({ check, result, found, mend });
const warn = told("warn");
const fail = told("fail");

const callsHook = (scripts: Readonly<Record<string, string>>): boolean =>
  Object.entries(scripts).some(
    ([path, text]) => /sublet-hook/.test(path) || /^[^#\n]*sublet-hook/m.test(text),
  );

const prolog: Rule = ({ slurm: { config, wiring } }) => {
  const scripts = wiring?.prolog ?? {};
  if (!config.ok || Object.keys(scripts).length === 0 || callsHook(scripts)) return undefined;
  return fail(
    "slurm prolog",
    `Prolog=${config.value.Prolog} does not call sublet-hook: a job's node hears of it late`,
    "copy /usr/share/sublet/slurm/prolog.example.sh to /etc/slurm/prolog.d/50-sublet on compute nodes, or call /usr/lib/sublet/bin/sublet-hook in your own prolog",
  );
};

const epilogCalls: Rule = ({ slurm: { config, wiring } }) => {
  const scripts = wiring?.epilog ?? {};
  if (!config.ok || wiring === undefined || callsHook(scripts)) return undefined;
  const set = ![undefined, "", "(null)"].includes(config.value.Epilog);
  if (set && Object.keys(scripts).length === 0) return undefined; // not on this machine
  if (!callsHook(wiring.prolog)) return undefined; // one word about hooks is enough
  return warn(
    "slurm epilog hook",
    `Epilog=${set ? config.value.Epilog : ""} does not call sublet-hook: what a job held is lent again only when its cgroup is seen to go, and its owner gets no receipt by the epilog`,
    "copy /usr/share/sublet/slurm/prolog.example.sh to /etc/slurm/epilog.d/50-sublet as well, or call sublet-hook in your own epilog",
  );
};

const prologFlags: Rule = ({ slurm: { config, wiring } }) => {
  if (!config.ok || wiring === undefined || !callsHook(wiring.prolog)) return undefined;
  const flags = config.value.PrologFlags ?? "";
  // Contain and X11 mean Alloc, too.
  if (/\b(alloc|contain|x11)\b/i.test(flags)) return undefined;
  return warn(
    "slurm prolog flags",
    `PrologFlags=${flags}: a node that a job reaches later runs its prolog late, and guests stay on cores that Slurm has given away`,
    "set PrologFlags=Alloc in slurm.conf",
  );
};

const pamAdopt: Rule = ({ slurm: { config, wiring } }) => {
  if (!config.ok || wiring?.pamAdopt !== true) return undefined;
  if (/\bcontain\b/i.test(config.value.PrologFlags ?? "")) return undefined;
  return warn(
    "pam_slurm_adopt",
    `PAM uses pam_slurm_adopt, and PrologFlags=${config.value.PrologFlags ?? ""} makes no step that logins could be adopted into: what they start counts to no job, and its memory is taken for spare until it is used`,
    "set PrologFlags=Contain (it includes Alloc)",
  );
};

/** 0x160508 is 22.05.8. */
const versionText = (number: number): string =>
  [number >> 16, (number >> 8) & 0xff, number & 0xff]
    .map((part, index) => (index === 1 ? String(part).padStart(2, "0") : part))
    .join(".");

const plugin: Rule = ({ slurm: { config, wiring } }) => {
  const found = wiring?.plugin;
  if (!config.ok || found === undefined) return undefined;
  const check = "slurm plugin";
  const { conf, kind, path, builtFor } = found;
  if (kind === undefined)
    return warn(
      check,
      `${conf} does not name spank_sublet.so: nobody can say --sublet, and a job's exact cores are not known before it runs`,
      `put "optional spank_sublet.so" into ${conf} on login and compute nodes (docs/neighbours.md)`,
    );
  if (found.missing === true)
    return (kind === "required" ? fail : warn)(
      check,
      `${conf} names ${path}, which is not there${kind === "required" ? ": no job starts on this node" : ""}`,
      "install slurm-spank-sublet, or name the file with its whole path",
    );
  if (kind === "required")
    return warn(
      check,
      `${path} is "required" in ${conf}: a job ends when the plugin cannot be loaded`,
      'make it "optional"',
    );
  const running = /^(\d+)\.(\d+)/.exec(config.value.SLURM_VERSION ?? "");
  if (builtFor === undefined || running === null) return undefined;
  const [, major, minor] = running;
  if (builtFor >> 16 === Number(major) && ((builtFor >> 8) & 0xff) === Number(minor)) return undefined;
  return warn(
    check,
    `${path} was built for Slurm ${versionText(builtFor)}, this is ${config.value.SLURM_VERSION}: Slurm passes over it`,
    "build slurm-spank-sublet again with this Slurm's headers (deploy/slurm/build-spank.sh)",
  );
};

const reserveCores: Rule = ({ slurm: { wiring }, agent }) => {
  if (!agent.ok || wiring?.node?.ok !== true) return undefined;
  const { cpus, cpusForJobs } = wiring.node.value;
  const { cores, "reserve.cores": reserved } = agent.value.findings;
  if (cpus === undefined || cpusForJobs === undefined || cores === undefined || reserved === undefined)
    return undefined;
  const kept = new Set(parseCpuList(reserved));
  const lends = parseCpuList(cores).filter((core) => !kept.has(core)).length;
  if (cpusForJobs >= cpus || lends <= cpusForJobs) return undefined;
  return warn(
    "slurm reserve",
    `Slurm keeps ${cpus - cpusForJobs} of ${cpus} CPUs for the system (CoreSpecCount or CpuSpecList), the agent may lend ${lends}: guests would run on the system's`,
    "name the same in reserve_cores of agent.toml (slurmd -C and scontrol show node tell which), and reload",
  );
};

const reserveMemory: Rule = ({ slurm: { wiring }, agent }) => {
  if (!agent.ok || wiring?.node?.ok !== true) return undefined;
  const spec = wiring.node.value.specMemoryMib ?? 0;
  const reserved = agent.value.findings["reserve.memory_mib"];
  if (reserved === undefined || Number(reserved) >= spec) return undefined;
  return warn(
    "slurm reserve memory",
    `Slurm keeps ${spec} MiB for the system (MemSpecLimit), the agent ${reserved} MiB`,
    `set reserve_memory_mib = ${spec} or more in agent.toml, and reload`,
  );
};

const delegation: Rule = ({ agent }) => {
  if (!agent.ok) return undefined;
  const missing = (agent.value.findings["cgroup.missing"] ?? "")
    .split(",")
    .filter((each) => each !== "" && each !== "freezer");
  const alarms = agent.value.findings["cgroup.alarms"] ?? "";
  if (missing.length === 0 && alarms === "") return undefined;
  return warn(
    "cgroup limits",
    [
      ...(missing.length === 0 ? [] : [`the agent has no ${missing.join(", ")} controller`]),
      ...(alarms === "" ? [] : [`limits that were not taken: ${alarms}`]),
    ].join("; "),
    "keep Delegate= in sublet-starter.service, let nobody else write below the guests' cgroup, and restart sublet-agent",
  );
};

const room: Rule = ({ folders = [] }) => {
  const full = folders.filter(
    ({ freeBytes, freeFiles = minFreeFiles }) => freeBytes < minFreeBytes || freeFiles < minFreeFiles,
  );
  if (full.length === 0) return undefined;
  const [first] = full;
  return warn(
    "disk space",
    full
      .map(
        ({ path, freeBytes, freeFiles }) =>
          `${path} has ${Math.floor(freeBytes / mib)} MiB and ${freeFiles ?? "enough"} files left`,
      )
      .join("; "),
    `make room below ${first?.path}: without it usage is kept in memory only, and without files new leases are refused`,
  );
};

const rules: readonly Rule[] = [
  prolog,
  epilogCalls,
  prologFlags,
  pamAdopt,
  plugin,
  reserveCores,
  reserveMemory,
  delegation,
  room,
];

/** Only what wants a word. */
export function wiringFindings(facts: Facts): Finding[] {
  return rules.flatMap((rule) => rule(facts) ?? []);
}
