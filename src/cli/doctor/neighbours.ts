/** Checks of `sublet doctor` on what else a site does with Slurm; docs/neighbours.md says more on each. */
import type { Facts, Finding } from "./facts.ts";

type Config = Readonly<Record<string, string>>;
type Rule = (config: Config, slurm: Facts["slurm"]) => Omit<Finding, "result"> | undefined;

const set = (value: string | undefined): boolean =>
  value !== undefined && !["", "(null)", "none", "n/a"].includes(value.toLowerCase());

/** What kills the processes of a user who has no job here, as epilogs of many sites do. */
const killsByUser = /\b(?:killall|pkill|skill)\b[^\n]*\s-(?:u|U|-user|-uid|-euid)\b/;

const constrained: Rule = ({ ConstrainCores, ConstrainRAMSpace }) => {
  // Slurm before 21.08 does not show its cgroup.conf.
  const off = Object.entries({ ConstrainCores, ConstrainRAMSpace }).filter(([, value]) => value === "no");
  if (off.length === 0) return undefined;
  return {
    check: "slurm limits",
    found: `${off.map(([name]) => `${name}=no`).join(", ")}: jobs may use more than they were given, so that a node with a job lends ${ConstrainCores === "no" ? "nothing" : "no memory"}`,
    mend: "set ConstrainCores=yes and ConstrainRAMSpace=yes in cgroup.conf",
  };
};

const epilog: Rule = ({ Epilog, HealthCheckProgram }, { scripts = {} }) => {
  const killers = Object.entries(scripts).filter(([, text]) => killsByUser.test(text));
  if (killers.length === 0) return undefined;
  const which = killers.map(([path]) => path).join(", ");
  return {
    check: "slurm epilog",
    found: `${which} (${[Epilog, HealthCheckProgram].includes(killers[0]?.[0]) ? "Epilog or HealthCheckProgram" : "called by Slurm"}) kills processes by user`,
    mend: "let it spare the guests' uids (guest_uid_first and guest_uid_count of agent.toml), as it spares those below 1000",
  };
};

const powerSaving: Rule = ({ SuspendProgram, SuspendTime, SuspendExcNodes }) => {
  const seconds = /^\d+/.exec(SuspendTime ?? "")?.[0];
  if (!set(SuspendProgram) || seconds === undefined) return undefined;
  return {
    check: "slurm power saving",
    found: `idle nodes are switched off after ${seconds} s${set(SuspendExcNodes) ? ` but ${SuspendExcNodes}` : ""}: leases do not keep them on`,
    mend: "name the nodes that lend in SuspendExcNodes, or accept that their leases end with them",
  };
};

const gang: Rule = ({ PreemptMode }) =>
  PreemptMode?.includes("GANG") === true
    ? {
        check: "slurm gang",
        found: `PreemptMode=${PreemptMode}: jobs take turns on the same cores, and each of them holds them all the time`,
        mend: "nothing to mend: cores of a job that is suspended are not lent",
      }
    : undefined;

const forced: Rule = (_, { wiring }) => {
  const names = wiring?.forcedPartitions ?? [];
  if (names.length === 0) return undefined;
  return {
    check: "slurm oversubscribe",
    found: `OverSubscribe=FORCE in ${names.join(", ")}: jobs share cores whether they ask for it or not`,
    mend: "nothing to mend: a core is lent when the last job on it has gone, and shared only if all of them share; little is spare there, so lend from other partitions",
  };
};

const rules: readonly Rule[] = [constrained, epilog, powerSaving, gang, forced];

/** Only what wants a word: a site that does none of this sees nothing. */
export function neighbourFindings({ slurm }: Facts): Finding[] {
  const { config } = slurm;
  if (!config.ok) return [];
  return rules.flatMap((rule) => {
    const finding = rule(config.value, slurm);
    return finding === undefined ? [] : [{ ...finding, result: "warn" as const }];
  });
}
