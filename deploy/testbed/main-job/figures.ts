/** What the main job measured, and the checks on it. Pure: events and samples in, figures and verdicts out. */

/** One line of JSON that options-job prints. */
export interface JobEvent {
  readonly event: string;
  readonly unix_s: number;
  readonly [field: string]: unknown;
}

export interface Latency {
  readonly what: string;
  readonly path: string;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly count: number;
}

export interface Region {
  readonly node: string;
  readonly bytes: number;
  readonly wrongPieces: number;
  readonly putBytesPerS: number;
  readonly getBytesPerS: number;
}

/** What one run of job B said. */
export interface OptionsRun {
  readonly checksum: string | undefined;
  readonly seconds: number;
  readonly local: number;
  readonly remote: number;
  readonly retried: number;
  readonly leases: readonly { readonly node: string; readonly requestUs: number }[];
  readonly ended: readonly { readonly node: string; readonly revoked: boolean; readonly reason: string }[];
  readonly region: Region | undefined;
  readonly rounds: readonly {
    readonly unixS: number;
    readonly seconds: number;
    readonly remote: number;
    readonly local: number;
  }[];
}

/** Cores and bytes of the cluster at one moment. */
export interface Sample {
  readonly atMs: number;
  readonly cores: { readonly total: number; readonly jobs: number; readonly leased: number };
  readonly memoryBytes: { readonly total: number; readonly jobs: number; readonly leased: number };
}

export interface Utilisation {
  readonly slurmAlone: number;
  readonly withSublet: number;
}

export interface Check {
  readonly name: string;
  readonly held: boolean;
  readonly detail: string;
}

/** Reads the events out of a job's output; other lines (of MPI, of Slurm) are not ours and are passed over. */
export function parseEvents(text: string): JobEvent[] {
  const events: JobEvent[] = [];
  for (const line of text.split("\n")) {
    if (!line.startsWith('{"event":') || !line.endsWith("}")) continue;
    events.push(JSON.parse(line) as JobEvent);
  }
  return events;
}

const numberOf = (event: JobEvent, field: string): number => Number(event[field] ?? Number.NaN);
const textOf = (event: JobEvent, field: string): string => String(event[field] ?? "");

export function latenciesOf(events: readonly JobEvent[]): Latency[] {
  return events
    .filter((event) => event.event === "latency")
    .map((event) => ({
      what: textOf(event, "what"),
      path: textOf(event, "path"),
      p50Us: numberOf(event, "p50_us"),
      p99Us: numberOf(event, "p99_us"),
      count: numberOf(event, "count"),
    }));
}

export function optionsRunOf(events: readonly JobEvent[]): OptionsRun {
  const of = (name: string) => events.filter((event) => event.event === name);
  const priced = of("priced")[0];
  const region = of("region")[0];
  return {
    checksum: priced === undefined ? undefined : textOf(priced, "checksum"),
    seconds: priced === undefined ? Number.NaN : numberOf(priced, "seconds"),
    local: priced === undefined ? 0 : numberOf(priced, "local"),
    remote: priced === undefined ? 0 : numberOf(priced, "remote"),
    retried: priced === undefined ? 0 : numberOf(priced, "retried"),
    leases: of("lease").map((event) => ({
      node: textOf(event, "node"),
      requestUs: numberOf(event, "request_us"),
    })),
    ended: of("lease_ended").map((event) => ({
      node: textOf(event, "node"),
      revoked: numberOf(event, "state") === 3,
      reason: textOf(event, "reason"),
    })),
    region:
      region === undefined
        ? undefined
        : {
            node: textOf(region, "node"),
            bytes: numberOf(region, "bytes"),
            wrongPieces: numberOf(region, "wrong_pieces"),
            putBytesPerS: numberOf(region, "put_bytes_per_s"),
            getBytesPerS: numberOf(region, "get_bytes_per_s"),
          },
    rounds: of("round").map((event) => ({
      unixS: event.unix_s,
      seconds: numberOf(event, "seconds"),
      remote: numberOf(event, "remote"),
      local: numberOf(event, "local"),
    })),
  };
}

/** LAMMPS prints "Loop time of 12.3 on 1 procs for 250 steps with 32000 atoms". Seconds; undefined if it did not. */
export function loopTimeOf(text: string): number | undefined {
  const match = /^Loop time of ([0-9.e+-]+) on/m.exec(text);
  return match === null ? undefined : Number(match[1]);
}

/** Time-weighted mean shares of a kind of capacity; each sample holds until the next. */
export function utilisationOf(samples: readonly Sample[], kind: "cores" | "memoryBytes"): Utilisation {
  let whole = 0;
  let jobs = 0;
  let leased = 0;
  for (const [i, sample] of samples.entries()) {
    const next = samples[i + 1];
    if (next === undefined) break;
    const spanMs = next.atMs - sample.atMs;
    whole += sample[kind].total * spanMs;
    jobs += sample[kind].jobs * spanMs;
    leased += sample[kind].leased * spanMs;
  }
  return whole === 0
    ? { slurmAlone: Number.NaN, withSublet: Number.NaN }
    : { slurmAlone: jobs / whole, withSublet: (jobs + leased) / whole };
}

/** Values of one metric on a page in Prometheus' text format, by its label text. */
export function metricValues(page: string, name: string): Map<string, number> {
  const values = new Map<string, number>();
  for (const line of page.split("\n")) {
    if (!line.startsWith(name)) continue;
    const match = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{([^}]*)\})? (\S+)$/.exec(line);
    if (match === null || match[1] !== name) continue;
    values.set(match[2] ?? "", Number(match[3]));
  }
  return values;
}
