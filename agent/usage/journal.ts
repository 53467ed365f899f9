/**
 * What the spool's lines mean, and what an earlier life has left in them. Read with suspicion: a line that is not ours is
 * passed over.
 *   {"o": lease}             a lease that is open, and where its next slice begins, by both clocks
 *   {"r": record, "c": n}    a slice, which moves that beginning; n: calls told so far
 *   {"k": [keys], "by": who} acknowledged by a controller
 *   {"t": unixMs, "boot": id, "bootMs": n}  the agent lived
 * A version that knew the wall clock alone wrote neither boot nor bootMs, and passes over them.
 */
import { z } from "zod";
import { type UsageRecord, usageKey } from "../../src/common/nouns.ts";
import type { OpenLease } from "./ledger.ts";
import { type Moment, plusMs } from "./moment.ts";

const amount = z.number().min(0);
const whole = z.int().min(0);
const facts = {
  leaseId: z.string().regex(/^[A-Za-z0-9_-]{1,63}$/),
  kind: z.enum(["function", "region"]),
  class: z.enum(["idle", "unallocated", "shared"]),
  cores: whole,
  memoryBytes: whole,
  uid: whole,
  jobId: whole,
  account: z.string().max(255),
  partition: z.string().max(255),
  slice: whole,
  beginUnixMs: whole,
};
const mark = { boot: z.string().max(64).default(""), bootMs: whole.default(0) };
const openSchema = z.object({ ...facts, ...mark, calls: whole });
const recordSchema = z.object({
  ...facts,
  node: z.string().max(64),
  coreSeconds: amount,
  byteSeconds: amount,
  invocations: whole,
  state: z.enum(["ACTIVE", "RELEASED", "EXPIRED", "REVOKED"]),
  reason: z
    .enum([
      "released",
      "term_ended",
      "batch_job",
      "admin",
      "executor_lost",
      "agent_restart",
      "start_failed",
      "guard",
    ])
    .optional(),
  endUnixMs: whole,
});
const lineSchema = z.union([
  z.object({ o: openSchema }),
  z.object({ r: recordSchema, c: whole, by: z.array(z.string()).optional() }),
  z.object({ k: z.array(z.string()), by: z.string() }),
  z.object({ t: whole, ...mark }),
]);

export function openLine({ begin, ...lease }: OpenLease): string {
  const { unixMs, boot, bootMs } = begin;
  return JSON.stringify({ o: { ...lease, beginUnixMs: unixMs, boot, bootMs } });
}
export const recordLine = (record: UsageRecord, calls: number): string =>
  JSON.stringify({ r: record, c: calls });
export const ackLine = (keys: readonly string[], by: string): string => JSON.stringify({ k: keys, by });
export const aliveLine = ({ unixMs, boot, bootMs }: Moment): string =>
  JSON.stringify({ t: Math.round(unixMs), boot, bootMs });
/** A record from its own text. */
export const keptLine = (text: string, by: readonly string[]): string =>
  `{"r":${text},"c":0,"by":${JSON.stringify(by)}}`;

export interface Past {
  readonly open: Map<string, OpenLease>;
  /** With who has acknowledged each. */
  readonly records: Map<string, { readonly record: UsageRecord; readonly acked: string[] }>;
  /** When the agent was known to live last. */
  alive: Moment;
  /** Lines that are none of ours. */
  strange: number;
}

/** No sign of life is older. */
export const never: Moment = { unixMs: 0, boot: "", bootMs: 0 };

export function readJournal(lines: readonly string[]): Past {
  const past: Past = { open: new Map(), records: new Map(), alive: never, strange: 0 };
  for (const text of lines) {
    const line = parsed(text);
    if (line === undefined) past.strange++;
    else apply(past, line);
  }
  return past;
}

function parsed(text: string): z.output<typeof lineSchema> | undefined {
  try {
    return lineSchema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined; // It is no JSON.
  }
}

/** By the time since the boot where both are of one; a boot that comes later in the file is the later one. */
function later(known: Moment, said: Moment): Moment {
  if (said.boot !== known.boot) return said.boot === "" && known.boot !== "" ? known : said;
  const newer = said.boot === "" ? said.unixMs > known.unixMs : said.bootMs >= known.bootMs;
  return newer ? said : known;
}

function apply(past: Past, line: z.output<typeof lineSchema>): void {
  if ("o" in line) {
    const { beginUnixMs, boot, bootMs, ...lease } = line.o;
    past.open.set(lease.leaseId, { ...lease, begin: { unixMs: beginUnixMs, boot, bootMs } });
  } else if ("t" in line)
    past.alive = later(past.alive, { unixMs: line.t, boot: line.boot, bootMs: line.bootMs });
  else if ("k" in line) for (const key of line.k) past.records.get(key)?.acked.push(line.by);
  else {
    const record: UsageRecord = { ...line.r, reason: line.r.reason };
    past.records.set(usageKey(record), { record, acked: [...(line.by ?? [])] });
    const lease = past.open.get(record.leaseId);
    if (lease === undefined || lease.slice > record.slice) {
      past.alive = later(past.alive, { unixMs: record.endUnixMs, boot: "", bootMs: 0 });
      return;
    }
    const end = plusMs(lease.begin, record.endUnixMs - record.beginUnixMs);
    past.alive = later(past.alive, end);
    if (record.state !== "ACTIVE") past.open.delete(record.leaseId);
    else past.open.set(record.leaseId, { ...lease, slice: record.slice + 1, begin: end, calls: line.c });
  }
}
