/**
 * What ran on a cluster, from its accounting: `sinfo` for the nodes as they are now, `sacct` for the jobs, `sacctmgr` for
 * the times in which nodes were down. An ordinary user may ask all three, once, from a login node. The same text can be
 * recorded there and read here.
 *
 * sacct is asked day by day: slurmdbd answers a question over weeks from memory, and refuses it beyond MaxQueryTimeRange.
 * A job is told for each day that it touches, and counted on the day of its end.
 */
import { SubletError } from "../common/errors.ts";
import { parseHostList } from "./hostlist.ts";

export const sinfoArgs: readonly string[] = ["--noheader", "--all", "--Node", "--format=%N|%c|%m|%P|%T"];

const fields = ["JobIDRaw", "Start", "End", "NNodes", "AllocTRES", "NodeList", "CPUTimeRAW", "TotalCPU"];
const stepFields = ["MaxRSS", "NTasks"];

/** Of one span; unix ms. `steps` asks for what jobs used of their memory, too: three times the lines. */
export function sacctArgs(
  fromMs: number,
  toMs: number,
  steps: boolean,
  partition: string | undefined,
): string[] {
  return [
    "--allusers",
    "--parsable2",
    ...(steps ? [] : ["--allocations"]),
    `--format=${[...fields, ...(steps ? stepFields : [])].join(",")}`,
    `--starttime=${localTime(fromMs)}`,
    `--endtime=${localTime(toMs)}`,
    ...(partition === undefined ? [] : [`--partition=${partition}`]),
  ];
}

export function eventArgs(fromMs: number, toMs: number): string[] {
  return [
    "--noheader",
    "--parsable2",
    "show",
    "event",
    `start=${localTime(fromMs)}`,
    `end=${localTime(toMs)}`,
    "format=NodeName,TimeStart,TimeEnd,State",
  ];
}

/** Slurm reads times as local ones. */
function localTime(unixMs: number): string {
  const date = new Date(unixMs);
  const two = (value: number): string => String(value).padStart(2, "0");
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day}T${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

export interface HistoryNode {
  readonly node: string;
  readonly cores: number;
  readonly memoryMib: number;
  readonly partitions: readonly string[];
  readonly state: string;
}

/** @throws SubletError INVALID_ARGUMENT: line and reason. */
export function parseSinfo(text: string): HistoryNode[] {
  const nodes = new Map<string, HistoryNode>();
  text.split("\n").forEach((line, i) => {
    if (line.trim() === "") return;
    const [node, cores, memory, partition, state] = line.split("|");
    if (!node || !/^\d+\+?$/.test(cores ?? "") || !/^\d+\+?$/.test(memory ?? "") || !partition || !state)
      throw new SubletError(
        "INVALID_ARGUMENT",
        `line ${i + 1} of sinfo: expected NODE|CORES|MIB|PARTITION|STATE, as sinfo ${sinfoArgs.at(-1)} prints it`,
      );
    const known = nodes.get(node)?.partitions ?? [];
    nodes.set(node, {
      node,
      cores: Number.parseInt(cores ?? "", 10),
      memoryMib: Number.parseInt(memory ?? "", 10),
      partitions: [...known, partition.replace(/\*$/, "")],
      state: state.replace(/[*~#!%$@^+-]+$/, "").toLowerCase(),
    });
  });
  return [...nodes.values()];
}

/** A job that held nodes. */
export interface HistoryJob {
  readonly startMs: number;
  /** undefined: it goes on. */
  readonly endMs: number | undefined;
  readonly nodes: readonly string[];
  /** On each node: Slurm's accounting tells sums only, so they are spread evenly. */
  readonly cores: number;
  readonly memoryMib: number;
  /** Share of its core time in which it computed; undefined: not recorded. */
  readonly busy: number | undefined;
  /** On each node, at most, all its tasks at their peak; undefined: not recorded. */
  readonly usedMib: number | undefined;
}

/** Takes the lines of one `sacct` answer, its header first, and gives the jobs. */
export class SacctParser {
  #columns: ReadonlyMap<string, number> | undefined;
  #line = 0;
  #job: HistoryJob | undefined;
  #jobId = "";
  /** Lines without nodes (never started, or cancelled before), and lines that made no sense. */
  skipped = 0;
  garbage = 0;
  readonly #hosts = new Map<string, readonly string[]>();

  /** The job that this line completes: the one before it, since its steps follow it. */
  take(line: string): HistoryJob | undefined {
    this.#line++;
    if (line === "") return undefined;
    if (this.#columns === undefined) {
      this.#columns = this.#header(line);
      return undefined;
    }
    const cells = line.split("|");
    const cell = (name: string): string => cells[this.#columns?.get(name) ?? -1] ?? "";
    const id = cell("JobIDRaw");
    if (id.includes(".")) {
      this.#step(id, cell);
      return undefined;
    }
    const before = this.#job;
    this.#job = this.#parse(cell);
    this.#jobId = id;
    return before;
  }

  /** The last one. Call once, at the end of an answer; the next answer brings its own header. */
  end(): HistoryJob | undefined {
    const last = this.#job;
    this.#job = undefined;
    this.#columns = undefined;
    return last;
  }

  #header(line: string): ReadonlyMap<string, number> {
    const columns = new Map(line.split("|").map((name, index) => [name, index]));
    const missing = fields.slice(0, 6).filter((name) => !columns.has(name));
    if (missing.length > 0)
      throw new SubletError(
        "INVALID_ARGUMENT",
        `line ${this.#line} of sacct: no column ${missing.join(", ")}; record it with: sacct -a -X -P -o ${fields.join(",")} -S ... -E ...`,
      );
    return columns;
  }

  #parse(cell: (name: string) => string): HistoryJob | undefined {
    const startMs = timeMs(cell("Start"));
    const list = cell("NodeList");
    if (startMs === undefined || list === "" || list === "None assigned") {
      this.skipped++;
      return undefined;
    }
    const tres = cell("AllocTRES");
    const cores = tresValue(tres, "cpu");
    let nodes = this.#hosts.get(list);
    try {
      nodes ??= parseHostList(list);
    } catch {
      nodes = [];
    }
    if (nodes.length === 0 || cores === undefined) {
      this.garbage++;
      return undefined;
    }
    if (this.#hosts.size < 50_000) this.#hosts.set(list, nodes);
    const held = Number(cell("CPUTimeRAW"));
    const used = cpuSeconds(cell("TotalCPU"));
    return {
      startMs,
      endMs: timeMs(cell("End")),
      nodes,
      cores: Math.ceil(cores / nodes.length),
      memoryMib: Math.ceil((tresValue(tres, "mem") ?? 0) / nodes.length),
      busy: held > 0 && used !== undefined && used > 0 ? Math.min(1, used / held) : undefined,
      usedMib: undefined,
    };
  }

  #step(id: string, cell: (name: string) => string): void {
    const job = this.#job;
    if (job === undefined || !id.startsWith(`${this.#jobId}.`)) return;
    const rss = memoryMib(cell("MaxRSS"));
    if (rss === undefined) return;
    const mib = (rss * Math.max(1, Number(cell("NTasks")) || 1)) / job.nodes.length;
    this.#job = { ...job, usedMib: Math.min(job.memoryMib, Math.max(job.usedMib ?? 0, mib)) };
  }
}

/** Times in which nodes were down, drained or gone. */
export function parseEvents(
  text: string,
  nowMs: number,
): { readonly node: string; readonly startMs: number; readonly endMs: number }[] {
  return text.split("\n").flatMap((line) => {
    const [node, start, end] = line.split("|");
    const startMs = timeMs(start ?? "");
    // Without a node it is the cluster's size that changed.
    return node && startMs !== undefined ? [{ node, startMs, endMs: timeMs(end ?? "") ?? nowMs }] : [];
  });
}

/** Seconds since 1970 (SLURM_TIME_FORMAT=%s), or 2026-01-31T23:59:59 in local time. */
function timeMs(text: string): number | undefined {
  if (/^\d{9,11}$/.test(text)) return Number(text) * 1000;
  if (!/^\d{4}-\d\d-\d\dT/.test(text)) return undefined;
  const ms = Date.parse(text);
  return Number.isNaN(ms) ? undefined : ms;
}

/** `cpu=36,mem=64G,node=1`: memory in MiB, everything else as it stands. */
function tresValue(text: string, name: string): number | undefined {
  const found = new RegExp(`(?:^|,)${name}=([0-9.]+[KMGTP]?)`).exec(text)?.[1];
  if (found === undefined) return undefined;
  return name === "mem" ? memoryMib(found) : Number.parseFloat(found);
}

/** 1048576K, 1024M, 1G, or bytes. */
function memoryMib(text: string): number | undefined {
  const match = /^([0-9.]+)([KMGTP]?)$/.exec(text);
  if (match === null) return undefined;
  const power = { K: -1, M: 0, G: 1, T: 2, P: 3 }[match[2] ?? ""] ?? -2;
  return Number(match[1]) * 1024 ** power;
}

/** [days-]hours:minutes:seconds, or minutes:seconds.thousandths. */
function cpuSeconds(text: string): number | undefined {
  const match = /^(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+(?:\.\d+)?)$/.exec(text);
  if (match === null) return undefined;
  const [days, hours, minutes, seconds] = match.slice(1).map((part) => Number(part ?? 0)) as [
    number,
    number,
    number,
    number,
  ];
  return ((days * 24 + hours) * 60 + minutes) * 60 + seconds;
}
