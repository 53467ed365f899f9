/** Usage records for tests. */
import type { UsageRecord } from "../../../src/common/nouns.ts";

/** Two cores and a gibibyte for 100 s, unless said otherwise: sums follow cores, memory and time. */
export function record(changes: Partial<UsageRecord> = {}): UsageRecord {
  const beginUnixMs = changes.beginUnixMs ?? Date.parse("2026-11-24T12:00:00Z");
  const all = {
    leaseId: "L1",
    slice: 0,
    node: "n1",
    uid: 20001,
    account: "physics",
    jobId: 7,
    partition: "main",
    class: "idle",
    kind: "function",
    cores: 2,
    memoryBytes: 2 ** 30,
    invocations: 10,
    state: "RELEASED",
    reason: "released",
    beginUnixMs,
    endUnixMs: beginUnixMs + 100_000,
    ...changes,
  } as const;
  const seconds = (all.endUnixMs - all.beginUnixMs) / 1000;
  return { coreSeconds: seconds * all.cores, byteSeconds: seconds * all.memoryBytes, ...all };
}
