/**
 * The only code that imports prom-client. Its default metrics stay off: they keep a fast tick running. What a
 * process costs is read from /proc/self when Prometheus asks, and at no other time.
 */
import { readFileSync } from "node:fs";
import { Counter, Gauge, Histogram, Registry } from "prom-client";

export type { Counter, Gauge, Histogram, Registry };

const prefix = "sublet_";

/** What each label may say. A list of names only: what it says is known where it is set. */
type LabelSpec<Label extends string> = readonly Label[] | Readonly<Record<Label, readonly string[]>>;

interface Spec<Label extends string> {
  readonly help: string;
  readonly labels?: LabelSpec<Label>;
  /** Of all combinations of what labels may say, those that occur; all, when it is missing. */
  readonly occurs?: (labels: Readonly<Record<Label, string>>) => boolean;
}

const namesOf = <Label extends string>(labels: LabelSpec<Label> | undefined): Label[] =>
  isNames(labels) ? [...labels] : (Object.keys(labels ?? {}) as Label[]);

function isNames<Label extends string>(labels: LabelSpec<Label> | undefined): labels is readonly Label[] {
  return Array.isArray(labels);
}

type LabelSets = readonly Readonly<Record<string, string>>[];
const declared = new WeakMap<Registry, Map<string, LabelSets>>();

/** Of every metric that was declared here the label sets that it may have; not of those whose labels are only named. */
export function labelSets(registry: Registry): ReadonlyMap<string, LabelSets> {
  return declared.get(registry) ?? new Map();
}

/** undefined: not known beforehand. */
function declare<Label extends string>(
  registry: Registry,
  name: string,
  { labels, occurs = () => true }: Spec<Label>,
): Record<Label, string>[] | undefined {
  if (isNames(labels) && labels.length > 0) return undefined;
  let found = [{} as Record<Label, string>];
  if (labels !== undefined && !isNames(labels))
    for (const label of namesOf(labels))
      found = found.flatMap((each) => labels[label].map((value) => ({ ...each, [label]: value })));
  const sets = found.filter(occurs);
  const all = declared.get(registry) ?? new Map<string, LabelSets>();
  declared.set(registry, all.set(`${prefix}${name}`, sets));
  return sets;
}

/**
 * A counter `sublet_<name>`; the name ends in _total. Each of its series is there from the start: increase() does not see
 * a series that begins with what it should tell.
 */
export function counter<Label extends string = never>(
  registry: Registry,
  name: string,
  spec: Spec<Label>,
): Counter<Label> {
  const made = new Counter<Label>({
    name: `${prefix}${name}`,
    help: spec.help,
    labelNames: namesOf(spec.labels),
    registers: [registry],
  });
  for (const each of declare(registry, name, spec) ?? []) made.inc(each, 0);
  return made;
}

/** A gauge `sublet_<name>`. collect runs at each scrape and sets it. */
export function gauge<Label extends string = never>(
  registry: Registry,
  name: string,
  spec: Spec<Label> & { readonly collect?: (gauge: Gauge<Label>) => void | Promise<void> },
): Gauge<Label> {
  const { collect } = spec;
  declare(registry, name, spec);
  const made: Gauge<Label> = new Gauge<Label>({
    name: `${prefix}${name}`,
    help: spec.help,
    labelNames: namesOf(spec.labels),
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
  declare(registry, name, spec);
  return new Histogram({
    name: `${prefix}${name}`,
    help: spec.help,
    labelNames: namesOf(spec.labels),
    buckets: [...spec.buckets],
    registers: [registry],
  });
}

/** A histogram of nanoseconds that somebody else has counted, in buckets of powers of two; shown in seconds. */
export interface PowersHistogram {
  /** buckets[i]: 2^i to 2^(i+1) - 1 ns. */
  set(buckets: readonly number[], sumNs: number): void;
}

/** 256 ns to 34 s, three powers apart: the last is 2^35. */
const powersShown = Array.from({ length: 10 }, (_, index) => 8 + 3 * index);

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
  declare(registry, name, spec);
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
