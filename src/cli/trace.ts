/**
 * `sublet trace`: calls a function on one leased core, and shows where the time of a call went. The first call brings
 * the library there and is shown apart. Each part is its own median: they do not add up to that of the whole.
 */
import { resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { formatBytes } from "../common/units.ts";
import { type Handle, libsubletPath, loadLibsublet, type Trace, type TracePart } from "./libsublet.ts";
import { type Column, formatTable, wrap, writeJson } from "./output.ts";
import type { Session } from "./session.ts";

export interface TraceOptions {
  readonly count: number;
  readonly payloadBytes?: number;
  readonly data?: string;
  readonly maxOut?: number;
  readonly pauseMs: number;
  readonly node?: string;
}

const parts: readonly { readonly part: TracePart; readonly where: string; readonly what: string }[] = [
  { part: "send", where: "caller", what: "build and send the request" },
  { part: "wire", where: "wire", what: "until the worker sees it" },
  { part: "wake", where: "worker", what: "wake up" },
  { part: "queue", where: "worker", what: "wait for other calls" },
  { part: "prepare", where: "worker", what: "find function and room" },
  { part: "run", where: "worker", what: "the function" },
  { part: "answer", where: "worker", what: "send the answer" },
  { part: "back", where: "wire", what: "until the caller sees it" },
  { part: "caller", where: "caller", what: "wake up" },
  { part: "receive", where: "caller", what: "take the result" },
];

export interface TimeRow {
  readonly name: string;
  readonly where: string;
  readonly what: string;
  readonly firstNs: number;
  /** Of the calls after the first; of that one when there is no other. */
  readonly medianNs: number;
  readonly p99Ns: number;
}

function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? 0;
}

/** One row per part, and the whole as the last. */
export function timeRows(traces: readonly Trace[]): TimeRow[] {
  const later = traces.length > 1 ? traces.slice(1) : traces;
  const row = (name: string, where: string, what: string, of: (trace: Trace) => number): TimeRow => {
    const values = later.map(of);
    const firstNs = traces[0] === undefined ? 0 : of(traces[0]);
    return { name, where, what, firstNs, medianNs: quantile(values, 0.5), p99Ns: quantile(values, 0.99) };
  };
  return [
    ...parts.map(({ part, where, what }) => row(part, where, what, (trace) => trace.partsNs[part])),
    row("total", "", "", (trace) => trace.totalNs),
  ];
}

/** "0.084", "12.3", "10300": microseconds with three digits at least. */
export function formatMicroseconds(ns: number): string {
  const us = ns / 1000;
  return us < 10 ? us.toFixed(3) : us < 100 ? us.toFixed(1) : us.toFixed(0);
}

/** What the reader must know to read the numbers right. */
function notes(traces: readonly Trace[]): string[] {
  const later = traces.length > 1 ? traces.slice(1) : traces;
  const count = (of: (trace: Trace) => boolean): number => later.filter(of).length;
  const told = count(({ workerTold }) => workerTold);
  const lines = [
    `Times in microseconds. The worker slept before ${count(({ workerSlept }) => workerSlept)} of ${later.length} calls, ` +
      `the caller while it waited for ${count(({ callerSlept }) => callerSlept)}.`,
  ];
  if (later.some(({ path }) => path === "connection"))
    lines.push(
      "Over a connection the clocks of both sides are not compared: what neither has spent is the wire, half of it " +
        "each way. Waking up, on either side, is in it.",
    );
  if (told < later.length)
    lines.push(
      `In ${later.length - told} calls the worker did not tell its part (an older executor, or calls over a fabric): ` +
        "it is in the wire.",
    );
  return lines;
}

export function formatTrace(title: string, traces: readonly Trace[], width: number | undefined): string {
  const one = traces.length === 1;
  const rows = timeRows(traces);
  const columns: Column<TimeRow>[] = [
    { title: "part", text: ({ name }) => name },
    { title: "where", text: ({ where }) => where, spare: 1 },
    { title: "what", text: ({ what }) => what, spare: 3 },
    {
      title: one ? "us" : "first",
      text: ({ firstNs }) => formatMicroseconds(firstNs),
      align: "right",
      spare: 2,
    },
    { title: "median", text: ({ medianNs }) => formatMicroseconds(medianNs), align: "right" },
    { title: "p99", text: ({ p99Ns }) => formatMicroseconds(p99Ns), align: "right" },
  ];
  const shown = one ? columns.slice(0, 4) : columns;
  const said = notes(traces).map((note) => wrap(note, width, ""));
  return `${[wrap(title, width, ""), formatTable(shown, rows, width).trimEnd(), ...said].join("\n")}\n`;
}

export async function trace(
  session: Session,
  libraryPath: string,
  functionName: string,
  options: TraceOptions,
  nativeLibrary = libsubletPath(),
): Promise<void> {
  const { config, output, json } = session;
  const input =
    options.data === undefined ? Buffer.alloc(options.payloadBytes ?? 0) : Buffer.from(options.data);
  const maxOut = options.maxOut ?? Math.max(input.length, 64);
  const native = loadLibsublet(nativeLibrary);
  const handle = native.open(config.agentSocket, config.timeoutMs);
  let lease: Handle | undefined;
  try {
    const fn = native.findFunction(native.openLibrary(handle, resolve(libraryPath)), functionName);
    lease = native.acquire(handle, { cores: 1, node: options.node, inBytes: input.length, outBytes: maxOut });
    const node = native.leaseNode(lease);
    const traces: Trace[] = [];
    for (let call = 0; call < options.count; call++) {
      if (options.pauseMs > 0) await sleep(options.pauseMs);
      traces.push(native.trace(handle, fn, input, maxOut, { timeoutMs: config.timeoutMs, lease }));
    }
    const path = traces[0]?.path === "memory" ? "shared memory" : "a connection";
    const calls = options.count === 1 ? "1 call" : `${options.count} calls`;
    if (json) {
      const count = (of: (each: Trace) => boolean): number => traces.filter(of).length;
      writeJson(output, {
        node,
        path: traces[0]?.path,
        count: options.count,
        payloadBytes: input.length,
        workerTold: count(({ workerTold }) => workerTold),
        workerSlept: count(({ workerSlept }) => workerSlept),
        callerSlept: count(({ callerSlept }) => callerSlept),
        times: timeRows(traces).map(({ what: _, ...row }) => row),
      });
    } else
      output.write(
        formatTrace(
          `${calls} of ${functionName} with ${formatBytes(input.length)} on ${node}, by ${path}`,
          traces,
          output.width,
        ),
      );
  } finally {
    if (lease !== undefined) native.release(lease);
    native.close(handle);
  }
}
