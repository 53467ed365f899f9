/**
 * The settings as the daemons use them: all defaults filled in, camelCase, readonly, units in the names. What a default is
 * computed from (host name, addresses) is looked up here, once, and told to who asks where a setting came from.
 */
import { existsSync } from "node:fs";
import { hostname, networkInterfaces } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { z } from "zod";
import { maxCores, parseCpuList } from "../common/cpulist.ts";
import { SubletError } from "../common/errors.ts";
import { type AccountingConfig, type AgentAccountingConfig, accountingConfig } from "./accounting.ts";
import { type ConsentConfig, consentConfig } from "./consent.ts";
import { type DashboardConfig, dashboardConfig } from "./dashboard.ts";
import { guardPolicyFile } from "./guard.ts";
import { agentKind, controllerKind } from "./kinds.ts";
import { type Environment, readText } from "./layers.ts";
import { type LendingConfig, lendingConfig } from "./lending.ts";
import type { LogConfig } from "./log.ts";
import { checkPartitions, slurmConfHere } from "./partitions.ts";
import { type ReceiptsConfig, receiptsConfig } from "./receipts.ts";
import type { agentSchema, controllerSchema, fabricProviders } from "./schema.ts";
import { type Configuration, type FileReader, type Read, readSources, type Sources } from "./sources.ts";
import { type TlsConfig, tlsOf } from "./tls.ts";

export interface AgentConfig {
  readonly node: string;
  readonly runDir: string;
  readonly listen: string;
  readonly metricsListen: string;
  readonly controllers: readonly string[];
  readonly fabricAddress: string;
  /** What functions/fabric/probe.c takes. */
  readonly fabricProvider: (typeof fabricProviders)[number];
  readonly cgroupName: string;
  readonly slurmCgroup: string;
  readonly nativeDir: string;
  /** Empty = all cores of the machine. */
  readonly cores: readonly number[];
  readonly reserveCores: readonly number[];
  /** undefined = what the kernel says. */
  readonly memoryBytes: number | undefined;
  readonly reserveMemoryBytes: number;
  readonly trustedUids: readonly number[];
  readonly adminGid: number | undefined;
  readonly guestUidFirst: number;
  readonly guestUidCount: number;
  /** Executors kept ready for leases to come; 0: none. */
  readonly poolMax: number;
  /** Code of users that is kept for their next leases; 0: none. */
  readonly codeCacheBytes: number;
  /** Folders below which code is read in place of being sent; none: it is always sent. */
  readonly codeFromPaths: readonly string[];
  /** Grants to clients of this node need no controller where this node can serve them. */
  readonly leaseHereFirst: boolean;
  /** Leases may be granted before they are asked for. */
  readonly grantAhead: boolean;
  readonly leaseTermMs: number;
  readonly leaseTermMaxMs: number;
  readonly announceTimeoutMs: number;
  readonly controllerTimeoutMs: number;
  readonly startTimeoutMs: number;
  readonly spinUs: number;
  readonly mungeSocket: string | undefined;
  readonly tls: TlsConfig | undefined;
  readonly consent: ConsentConfig;
  readonly reclaim: ReclaimConfig;
  /** undefined = the built-in policy. */
  readonly guardPolicyFile: string | undefined;
  readonly lending: LendingConfig;
  readonly accounting: AgentAccountingConfig;
  readonly log: LogConfig;
}

/** What [reclaim] says; see agent/reclaim. */
export interface ReclaimConfig {
  readonly prolog: "all" | "close" | "learned";
  readonly budgetMs: number;
  readonly stateDir: string;
}

export interface ControllerConfig {
  readonly listen: string;
  readonly names: readonly string[];
  readonly metricsListen: string;
  readonly pollIntervalMs: number;
  readonly grantTimeoutMs: number;
  readonly horizonConfidence: number;
  readonly slurmConf: string | undefined;
  readonly trustedUids: readonly number[];
  readonly adminGid: number | undefined;
  readonly mungeSocket: string | undefined;
  readonly stateDir: string;
  readonly tls: TlsConfig | undefined;
  readonly log: LogConfig;
  readonly accounting: AccountingConfig;
  readonly receipts: ReceiptsConfig;
  readonly dashboard: DashboardConfig;
}

const mib = 1024 * 1024;

function invalid(where: string, message: string): SubletError {
  return new SubletError("INVALID_ARGUMENT", `${where}: ${message}`);
}

type AgentRead = Pick<Read<AgentRaw>, "raw" | "subject" | "where">;

function coreList({ raw, where }: AgentRead, key: "cores" | "reserve_cores"): readonly number[] {
  try {
    return parseCpuList(raw[key]);
  } catch (cause) {
    const message = `${where([key])}: ${key}: expected a CPU list below ${maxCores}`;
    throw new SubletError("INVALID_ARGUMENT", message, { cause });
  }
}

function defaultNode(): string {
  return hostname().split(".")[0] ?? hostname();
}

/** Where executors listen when nobody said: the host of `listen`, else this machine's first IPv4 address. */
function defaultFabricAddress(path: string, listen: string): string {
  const host = listen.slice(0, listen.lastIndexOf(":"));
  if (host !== "0.0.0.0" && host !== "[::]") return host;
  for (const list of Object.values(networkInterfaces()))
    for (const item of list ?? []) if (item.family === "IPv4" && !item.internal) return item.address;
  throw invalid(path, 'this machine has no IPv4 address but loopback; set fabric_address = "<address>"');
}

/** Executor and starter: as built, as they lie beside this program, or as installed. */
export function defaultNativeDir(): string {
  const [built, beside] = ["../../build/native", "../.."].map((path) =>
    fileURLToPath(new URL(path, import.meta.url)),
  );
  const found = [built, beside].find((path) => existsSync(join(path ?? "", "bin/sublet-starter")));
  return found ?? "/usr/lib/sublet";
}

export type AgentRaw = z.output<typeof agentSchema>;
export type ControllerRaw = z.output<typeof controllerSchema>;

/** What one key alone cannot say. */
function checkAgent(read: AgentRead): void {
  const { raw, where } = read;
  const cores = coreList(read, "cores");
  const foreign = cores.length === 0 ? [] : coreList(read, "reserve_cores");
  const outside = foreign.filter((core) => !cores.includes(core));
  if (outside.length > 0)
    throw invalid(where(["reserve_cores"]), `reserve_cores: ${outside.join(",")} not among cores`);
  if (raw.lease_term_ms > raw.lease_term_max_ms)
    throw invalid(
      where(["lease_term_ms"]),
      `lease_term_ms ${raw.lease_term_ms} is beyond lease_term_max_ms ${raw.lease_term_max_ms}`,
    );
  if (raw.memory_mib !== undefined && raw.memory_mib < raw.reserve_memory_mib)
    throw invalid(
      where(["memory_mib"]),
      `reserve_memory_mib ${raw.reserve_memory_mib} is more than memory_mib ${raw.memory_mib}`,
    );
}

function agentConfig(read: AgentRead): AgentConfig {
  const { raw, subject } = read;
  checkAgent(read);
  const node = raw.node ?? defaultNode();
  return {
    node,
    runDir: raw.run_dir,
    listen: raw.listen,
    metricsListen: raw.metrics_listen,
    controllers: raw.controllers,
    fabricAddress: raw.fabric_address ?? defaultFabricAddress(subject, raw.listen),
    fabricProvider: raw.fabric_provider,
    cgroupName: raw.cgroup_name ?? `sublet_${node}`,
    slurmCgroup: raw.slurm_cgroup,
    nativeDir: raw.native_dir ?? defaultNativeDir(),
    cores: coreList(read, "cores"),
    reserveCores: coreList(read, "reserve_cores"),
    memoryBytes: raw.memory_mib === undefined ? undefined : raw.memory_mib * mib,
    reserveMemoryBytes: raw.reserve_memory_mib * mib,
    trustedUids: raw.trusted_uids,
    adminGid: raw.admin_gid,
    guestUidFirst: raw.guest_uid_first,
    guestUidCount: raw.guest_uid_count,
    poolMax: raw.pool_max,
    codeCacheBytes: raw.code_cache_mib * mib,
    codeFromPaths: raw.code_from_paths,
    leaseHereFirst: raw.lease_here_first,
    grantAhead: raw.grant_ahead,
    leaseTermMs: raw.lease_term_ms,
    leaseTermMaxMs: raw.lease_term_max_ms,
    announceTimeoutMs: raw.announce_timeout_ms,
    controllerTimeoutMs: raw.controller_timeout_ms,
    startTimeoutMs: raw.start_timeout_ms,
    spinUs: raw.spin_us,
    mungeSocket: raw.munge_socket,
    tls: tlsOf(raw.tls),
    consent: consentConfig(raw.consent),
    reclaim: {
      prolog: raw.reclaim.prolog,
      budgetMs: raw.reclaim.budget_ms,
      stateDir: raw.reclaim.state_dir ?? raw.run_dir,
    },
    guardPolicyFile: guardPolicyFile(raw.guard),
    lending: lendingConfig(raw.lending),
    accounting: { sliceMs: raw.accounting.slice_ms, spoolBytes: raw.accounting.spool_mib * mib },
    log: raw.log,
  };
}

/** The agent's settings. @throws SubletError FAILED_PRECONDITION or INVALID_ARGUMENT; its message is for the sysadmin. */
export function readAgent(
  sources: Sources,
  reader: FileReader = readText,
): Configuration<AgentConfig, AgentRaw> {
  const read = readSources(agentKind, sources, reader);
  const { consent, slurm_conf } = read.raw;
  const slurmConf = slurm_conf ?? slurmConfHere(sources.environment ?? process.env);
  if (slurmConf !== undefined && slurmConf !== "none")
    checkPartitions(consent.partition, slurmConf, reader, (name) =>
      read.where(["consent", "partition", name]),
    );
  return compileAgent(read);
}

/** @throws SubletError INVALID_ARGUMENT: what does not fit together. */
export function compileAgent(read: Read<AgentRaw>): Configuration<AgentConfig, AgentRaw> {
  const config = agentConfig(read);
  const computed = {
    node: config.node,
    fabric_address: config.fabricAddress,
    cgroup_name: config.cgroupName,
    native_dir: config.nativeDir,
    "reclaim.state_dir": config.reclaim.stateDir,
    "guard.policy_file": config.guardPolicyFile,
  };
  return { config, read, computed };
}

/** The controller's settings. Throws like readAgent. */
export function readController(
  sources: Sources,
  reader?: FileReader,
): Configuration<ControllerConfig, ControllerRaw> {
  return compileController(readSources(controllerKind, sources, reader));
}

export function compileController(read: Read<ControllerRaw>): Configuration<ControllerConfig, ControllerRaw> {
  const { raw } = read;
  const config = {
    listen: raw.listen,
    names: raw.names,
    metricsListen: raw.metrics_listen,
    pollIntervalMs: raw.poll_interval_ms,
    grantTimeoutMs: raw.grant_timeout_ms,
    horizonConfidence: raw.horizon_confidence,
    slurmConf: raw.slurm_conf,
    trustedUids: raw.trusted_uids,
    adminGid: raw.admin_gid,
    mungeSocket: raw.munge_socket,
    stateDir: raw.state_dir,
    tls: tlsOf(raw.tls),
    log: raw.log,
    accounting: accountingConfig(raw.accounting, read.subject),
    receipts: receiptsConfig(raw.receipts),
    dashboard: dashboardConfig(raw.dashboard),
  };
  return { config, read, computed: {} };
}

export function loadAgentConfig(file: string, environment: Environment = process.env): AgentConfig {
  return readAgent({ file, environment }).config;
}

export function loadControllerConfig(file: string, environment: Environment = process.env): ControllerConfig {
  return readController({ file, environment }).config;
}
