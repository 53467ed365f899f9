/**
 * Counters of the tasks in a cgroup (perf_event_open with PERF_FLAG_PID_CGROUP, kernel 2.6.39): cycles, instructions and misses
 * of the last-level cache of a job, in user mode, on the cores that it may use. The kernel switches them on and off as tasks
 * of the cgroup come and go; to read them is one system call per core. No process of ours, no fork.
 *
 * The hardware has few counters. Where others use them too (a profiler in the job), the kernel hands them round, and says for how
 * long ours counted: growth is scaled by that.
 *
 * Wants cgroup v2 (with v1 Slurm's jobs are in no perf_event hierarchy), CAP_PERFMON, and a machine whose counters are not
 * hidden: most virtual machines have none.
 */
import { closeSync, constants, openSync, readdirSync, readFileSync, readSync } from "node:fs";
import koffi from "koffi";

export interface CounterSpec {
  /** PERF_TYPE_HARDWARE 0, PERF_TYPE_SOFTWARE 1. */
  readonly type: number;
  readonly config: number;
}

export const hardwareCounters: readonly CounterSpec[] = [
  { type: 0, config: 0 }, // cycles
  { type: 0, config: 1 }, // instructions
  { type: 0, config: 3 }, // misses of the last-level cache
];

/** Of every kernel; the tests count with them where there is no hardware to count. */
export const softwareCounters: readonly CounterSpec[] = [
  { type: 1, config: 1 }, // task-clock, ns
  { type: 1, config: 2 }, // page faults
];

const systemCalls: Readonly<Record<string, number>> = { x64: 298, arm64: 241, riscv64: 241 };
const attributeBytes = 112; // PERF_ATTR_SIZE_VER5, kernel 4.1
const readFormat = 1 | 2 | 8; // total time enabled, running; all of the group at once
const disabledBit = 1n;
const excludeKernelBits = (1n << 5n) | (1n << 6n); // and the hypervisor
const byCgroup = 4;
const closeOnExec = 8;
const capabilities = { perfmon: 38n, sysAdmin: 21n };
const coresMost = 1024;

function attribute({ type, config }: CounterSpec, leader: boolean): Buffer {
  const bytes = Buffer.alloc(attributeBytes);
  bytes.writeUInt32LE(type, 0);
  bytes.writeUInt32LE(attributeBytes, 4);
  bytes.writeBigUInt64LE(BigInt(config), 8);
  bytes.writeBigUInt64LE(BigInt(readFormat), 32);
  bytes.writeBigUInt64LE((leader ? disabledBit : 0n) | excludeKernelBits, 40);
  return bytes;
}

type Open = (attr: Buffer, dir: number, cpu: number, group: number) => number;

let opener: Open | undefined;
function perfEventOpen(): Open {
  if (opener !== undefined) return opener;
  const number = systemCalls[process.arch];
  if (number === undefined) throw new Error(`no number of perf_event_open for ${process.arch}`);
  const libc = koffi.load("libc.so.6");
  const call = libc.func(
    "long syscall(long number, void *attr, long pid, long cpu, long group, ulong flags)",
  );
  opener = (attr, dir, cpu, group) => {
    const fd = Number(call(number, attr, dir, cpu, group, byCgroup | closeOnExec));
    if (fd < 0) throw new Error(`perf_event_open: errno ${koffi.errno()}`);
    return fd;
  };
  return opener;
}

/** PERF_EVENT_IOC_ENABLE, of all of a group. */
const enableRequest = 0x2400;
function enable(fd: number): void {
  const ioctl = koffi.load("libc.so.6").func("int ioctl(int fd, ulong request, ulong argument)");
  if (ioctl(fd, enableRequest, 1) !== 0) throw new Error(`PERF_EVENT_IOC_ENABLE: errno ${koffi.errno()}`);
}

/** Whether this process may count others' tasks; a call that is not allowed may be its end where system calls are filtered. */
function mayCount(): boolean {
  const status = readFileSync("/proc/self/status", "utf8");
  const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)/m.exec(status)?.[1] ?? "0"}`);
  return Object.values(capabilities).some((bit) => ((effective >> bit) & 1n) === 1n);
}

/** Names of the kernel's counting units that are a core's own. */
const coreUnits = /^(cpu|cpu_core|armv\d.*)$/;

/** Why hardware counters cannot be read here; undefined: nothing speaks against it. Asks the kernel for no counter. */
export function whyNoCounters(version: 1 | 2, devices = "/sys/bus/event_source/devices"): string | undefined {
  let units: string[];
  try {
    units = readdirSync(devices).filter((name) => coreUnits.test(name));
  } catch {
    return "this kernel has no perf events";
  }
  if (units.length === 0) return "no counting unit here (virtual machines often hide it)";
  if (version !== 2) return "cgroup v1: jobs are in no perf_event hierarchy";
  return mayCount() ? undefined : "the agent has no CAP_PERFMON";
}

interface CoreGroup {
  readonly fds: readonly number[];
  /** Raw, as read last. */
  readonly last: { enabled: number; running: number; readonly values: number[] };
}

/** The counters of one cgroup and of those below it. */
export class CgroupCounters {
  readonly #groups: CoreGroup[] = [];
  readonly #totals: number[];
  readonly #buffer: Buffer;

  /** @throws Error: this machine or the rights of this process do not allow it. */
  constructor(dir: string, cores: readonly number[], specs: readonly CounterSpec[] = hardwareCounters) {
    this.#totals = specs.map(() => 0);
    this.#buffer = Buffer.alloc(8 * (3 + specs.length));
    const open = perfEventOpen();
    const cgroup = openSync(dir, constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      for (const core of cores.slice(0, coresMost)) this.#openCore(open, cgroup, core, specs);
    } catch (thrown) {
      this.close();
      throw thrown;
    } finally {
      closeSync(cgroup);
    }
  }

  #openCore(open: Open, cgroup: number, core: number, specs: readonly CounterSpec[]): void {
    const fds: number[] = [];
    this.#groups.push({ fds, last: { enabled: 0, running: 0, values: specs.map(() => 0) } });
    for (const [index, spec] of specs.entries())
      fds.push(open(attribute(spec, index === 0), cgroup, core, fds[0] ?? -1));
    if (fds[0] !== undefined) enable(fds[0]);
  }

  /** Totals since the counters were opened, one per spec, scaled to what they would be had they counted all the time. */
  read(): readonly number[] {
    for (const { fds, last } of this.#groups) {
      const [leader] = fds;
      if (leader === undefined || readSync(leader, this.#buffer) < this.#buffer.length) continue; // A core that is off.
      const number = (index: number): number => Number(this.#buffer.readBigUInt64LE(8 * index));
      const [enabled, running] = [number(1), number(2)];
      const values = last.values.map((_, index) => number(3 + index));
      const by = scaledGrowth(last, { enabled, running, values });
      for (const [index, growth] of by.entries()) this.#totals[index] = (this.#totals[index] ?? 0) + growth;
      if (running > last.running) Object.assign(last, { enabled, running, values });
    }
    return this.#totals;
  }

  close(): void {
    for (const { fds } of this.#groups.splice(0)) for (const fd of fds) closeSync(fd);
  }
}

interface Raw {
  readonly enabled: number;
  readonly running: number;
  readonly values: readonly number[];
}

/** What was counted between two reads, scaled up where the counters were handed round; nothing while they did not run. */
export function scaledGrowth(last: Raw, now: Raw): number[] {
  const running = now.running - last.running;
  if (running <= 0) return now.values.map(() => 0);
  const scale = Math.max(1, (now.enabled - last.enabled) / running);
  return now.values.map((value, index) => Math.max(0, value - (last.values[index] ?? 0)) * scale);
}
