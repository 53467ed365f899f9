/**
 * The only code that imports prom-client. Its default metrics stay off: they keep a fast tick running. What a
 * process costs is read from /proc/self when Prometheus asks, and at no other time.
 */
import { readFileSync } from "node:fs";
import { Counter, Gauge, Histogram, Registry } from "prom-client";

export type { Counter, Gauge, Histogram, Registry };

const prefix = "sublet_";

interface Spec<Label extends string> {
  readonly help: string;
  readonly labels?: readonly Label[];
}

/** A counter `sublet_<name>`; the name ends in _total. */
export function counter<Label extends string = never>(
  registry: Registry,
  name: string,
  spec: Spec<Label>,
): Counter<Label> {
  return new Counter({
    name: `${prefix}${name}`,
    help: spec.help,
    labelNames: [...(spec.labels ?? [])],
    registers: [registry],
  });
}

/** A gauge `sublet_<name>`. collect runs at each scrape and sets it. */
export function gauge<Label extends string = never>(
  registry: Registry,
  name: string,
  spec: Spec<Label> & { readonly collect?: (gauge: Gauge<Label>) => void | Promise<void> },
): Gauge<Label> {
  const { collect } = spec;
  const made: Gauge<Label> = new Gauge<Label>({
    name: `${prefix}${name}`,
    help: spec.help,
    labelNames: [...(spec.labels ?? [])],
    registers: [registry],
    ...(collect === undefined ? {} : { collect: () => collect(made) }),
  });
  return made;
}

/** A histogram `sublet_<name>` in base units. */
export function histogram<Label extends string = never>(
  registry: Registry,
  name: string,
  spec: Spec<Label> & { readonly buckets: readonly number[] },
): Histogram<Label> {
  return new Histogram({
    name: `${prefix}${name}`,
    help: spec.help,
    labelNames: [...(spec.labels ?? [])],
    buckets: [...spec.buckets],
    registers: [registry],
  });
}

/** A histogram of nanoseconds that somebody else has counted, in buckets of powers of two; shown in seconds. */
export interface PowersHistogram {
  /** buckets[i]: 2^i to 2^(i+1) - 1 ns. */
  set(buckets: readonly number[], sumNs: number): void;
}

/** 256 ns to 69 s, two powers apart: the last is 2^36. */
const powersShown = Array.from({ length: 15 }, (_, index) => 8 + 2 * index);

export function powersHistogram(
  registry: Registry,
  name: string,
  spec: { readonly help: string },
): PowersHistogram {
  let buckets: readonly number[] = [];
  let sumNs = 0;
  const shape = new Histogram<"le">({ name: `${prefix}${name}`, help: spec.help, registers: [] });
  class Powers extends Histogram<"le"> {
    override async get() {
      const full = `${prefix}${name}`;
      const below = (power: number): number =>
        buckets.reduce((sum, count, index) => (index < power ? sum + count : sum), 0);
      const all = below(Number.POSITIVE_INFINITY);
      const value = (metricName: string, number: number, le?: number | string) => ({
        metricName,
        value: number,
        labels: le === undefined ? {} : { le },
        exemplar: undefined,
      });
      return {
        ...(await shape.get()),
        values: [
          ...powersShown.map((power) => value(`${full}_bucket`, below(power), 2 ** power / 1e9)),
          value(`${full}_bucket`, all, "+Inf"),
          value(`${full}_sum`, sumNs / 1e9),
          value(`${full}_count`, all),
        ],
      };
    }
    getForPromString() {
      return this.get();
    }
  }
  new Powers({ name: `${prefix}${name}`, help: spec.help, registers: [registry] });
  return {
    set(next, nextSumNs) {
      buckets = [...next];
      sumNs = nextSumNs;
    },
  };
}

/** Where a process' own figures come from; tests give their own. */
export interface ProcessFigures {
  readonly cpuSeconds: number;
  readonly residentBytes: number;
  readonly voluntarySwitches: number;
  readonly involuntarySwitches: number;
}

/** Switches are summed over all threads: a wake-up of a pool thread costs the node as much as one of ours. */
export function ownFigures(): ProcessFigures {
  const usage = process.resourceUsage();
  const status = readFileSync("/proc/self/status", "utf8");
  const residentKib = Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1] ?? Number.NaN);
  return {
    cpuSeconds: (usage.userCPUTime + usage.systemCPUTime) / 1e6,
    residentBytes: residentKib * 1024,
    voluntarySwitches: usage.voluntaryContextSwitches,
    involuntarySwitches: usage.involuntaryContextSwitches,
  };
}

/** A registry with the figures of this process in it. */
export function createRegistry(figures: () => ProcessFigures = ownFigures): Registry {
  const registry = new Registry();
  new Counter({
    name: "process_cpu_seconds_total",
    help: "User and system CPU time of this process, in seconds.",
    registers: [registry],
    collect() {
      const now = figures();
      this.reset();
      this.inc(now.cpuSeconds);
    },
  });
  new Gauge({
    name: "process_resident_memory_bytes",
    help: "Resident memory of this process, in bytes.",
    registers: [registry],
    collect() {
      this.set(figures().residentBytes);
    },
  });
  new Counter({
    name: "process_context_switches_total",
    help: "Times that threads of this process left a core: voluntary (each is followed by a wake-up) or not.",
    labelNames: ["kind"],
    registers: [registry],
    collect() {
      const now = figures();
      this.reset();
      this.inc({ kind: "voluntary" }, now.voluntarySwitches);
      this.inc({ kind: "involuntary" }, now.involuntarySwitches);
    },
  });
  new Gauge({
    name: "process_start_time_seconds",
    help: "Start of this process, in seconds since 1970.",
    registers: [registry],
  }).set(Math.round(Date.now() / 1000 - process.uptime()));
  return registry;
}
