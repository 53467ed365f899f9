/** The configuration files of the testbed's Slurm, as text. */
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { formatCpuList } from "../../src/common/cpulist.ts";
import { type Core, controllerAddress, type Layout, type NodeLayout } from "./layout.ts";
import { slowness } from "./shell.ts";

export interface SlurmSettings {
  readonly cgroupPlugin: "cgroup/v1" | "cgroup/v2";
  /** Whether the machine runs systemd. */
  readonly systemd: boolean;
  /** Program that is both Prolog and Epilog; undefined leaves them out. */
  readonly hook: string | undefined;
  /** How long slurmctld waits for a silent node before it is DOWN and its jobs are lost. */
  readonly slurmdTimeoutS: number;
  /** More lines, after all others but the nodes'. */
  readonly more: readonly string[];
}

export const slurmConfPath = (stateDir: string): string => join(stateDir, "slurm.conf");
export const mungeSocket = (stateDir: string): string => join(stateDir, "munge", "munge.socket");

/**
 * slurm.conf. Ports differ from Slurm's own, so that a Slurm that already runs on this machine is left alone.
 * A node may use only its own cores: all others are CpuSpecList, that is cores set aside for the system.
 * Prologs: in any case a node's prolog ends before the first instruction of the job on that node. PrologFlags=Alloc makes the
 * prologs of all nodes start together when the job gets them; without it a node that the job reaches later, or never, would run
 * it then, or never, and guests would stay on cores that Slurm has given away. Measured with 22.05: the batch script waits for
 * the prolog of its own node only, tasks on other nodes for theirs; the flag itself adds about 90 ms to the start of a job.
 */
export function slurmConf(layout: Layout, settings: SlurmSettings): string {
  const s = layout.stateDir;
  const lines = [
    "ClusterName=sublet",
    `SlurmctldHost=sublet-ctl(${controllerAddress})`,
    "SlurmctldPort=17817",
    "SlurmdPort=17818",
    "SlurmUser=root",
    "SlurmdUser=root",
    "AuthType=auth/munge",
    `AuthInfo=socket=${mungeSocket(s)}`,
    "CredType=cred/munge",
    `StateSaveLocation=${s}/ctl`,
    `SlurmdSpoolDir=${s}/%n/spool`,
    `SlurmctldPidFile=${s}/ctl/slurmctld.own.pid`,
    `SlurmdPidFile=${s}/%n/slurmd.own.pid`,
    `SlurmctldLogFile=${s}/log/slurmctld.log`,
    `SlurmdLogFile=${s}/log/slurmd-%n.log`,
    "SlurmctldDebug=info",
    "SlurmdDebug=info",
    "ProctrackType=proctrack/cgroup",
    "TaskPlugin=task/affinity,task/cgroup",
    "SelectType=select/cons_tres",
    "SelectTypeParameters=CR_Core_Memory",
    "SlurmdParameters=config_overrides",
    "SchedulerParameters=batch_sched_delay=0,sched_min_interval=0",
    "JobAcctGatherType=jobacct_gather/none",
    "MpiDefault=pmix",
    "PropagateResourceLimits=NONE",
    "ReturnToService=2",
    "MinJobAge=3600",
    "KillWait=5",
    "UnkillableStepTimeout=30",
    `SlurmdTimeout=${settings.slurmdTimeoutS}`,
    `TCPTimeout=${5 * slowness}`,
    `MessageTimeout=${10 * slowness}`,
    "DefMemPerCPU=512",
  ];
  if (settings.hook !== undefined)
    lines.push(
      `Prolog=${settings.hook}`,
      `Epilog=${settings.hook}`,
      "PrologFlags=Alloc",
      "PrologEpilogTimeout=20",
    );
  lines.push(...settings.more);
  lines.push(...layout.nodes.map((node) => nodeLine(layout.cores, node)));
  const names = layout.nodes.map((node) => node.name).join(",");
  lines.push(`PartitionName=main Nodes=${names} Default=YES MaxTime=1-00:00:00 State=UP`);
  return `${lines.join("\n")}\n`;
}

function nodeLine(cores: readonly Core[], node: NodeLayout): string {
  const sockets = new Set(cores.map((core) => core.socket)).size;
  const threads = Math.max(1, ...cores.map((core) => core.cpus.length));
  const cpus = cores.reduce((sum, core) => sum + core.cpus.length, 0) || availableParallelism();
  const spec =
    node.foreignSlurmCpus.length === 0 ? "" : ` CpuSpecList=${formatCpuList(node.foreignSlurmCpus)}`;
  return (
    `NodeName=${node.name} NodeAddr=${node.address} NodeHostname=${node.name} CPUs=${cpus} Sockets=${sockets} ` +
    `CoresPerSocket=${Math.ceil(cores.length / sockets)} ThreadsPerCore=${threads} RealMemory=${node.memoryMib}${spec} ` +
    `${node.slurmWords === "" ? "" : `${node.slurmWords} `}State=UNKNOWN`
  );
}

export function cgroupConf(settings: SlurmSettings): string {
  const lines = [
    `CgroupPlugin=${settings.cgroupPlugin}`,
    "CgroupMountpoint=/sys/fs/cgroup",
    "ConstrainCores=yes",
    "ConstrainRAMSpace=yes",
  ];
  // The slurmds are nobody's unit, but each asks systemd for the scope of its jobs, as a site's does.
  if (settings.cgroupPlugin === "cgroup/v2")
    lines.push(settings.systemd ? "IgnoreSystemdOnFailure=yes" : "IgnoreSystemd=yes");
  return `${lines.join("\n")}\n`;
}

/** plugstack.conf with our plugin; without one, a comment. */
export function plugstackConf(plugin: string | undefined, timeoutMs: number): string {
  return plugin === undefined ? "# no plugin\n" : `optional ${plugin} timeout_ms=${timeoutMs}\n`;
}

/** mpi.conf: PMIx names its directory after the job only, and the nodes share /tmp, but not /dev/shm. */
export const mpiConf = "PMIxCliTmpDirBase=/dev/shm\n";

/** A hosts file that knows every node. */
export function hostsFile(layout: Layout): string {
  const lines = [
    "127.0.0.1 localhost",
    `${controllerAddress} sublet-ctl`,
    ...layout.nodes.map((node) => `${node.address} ${node.name}`),
  ];
  return `${lines.join("\n")}\n`;
}
