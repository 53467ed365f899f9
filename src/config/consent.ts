/** `[consent]` of agent.toml: whose jobs share what they hold and do not use, and how carefully that is taken. */
import * as z from "zod";
import type { Consent } from "../common/nouns.ts";
import { live } from "./meta.ts";

const consent = z.enum(["share", "no"]);
const names = z.record(
  z.string().regex(/^[A-Za-z0-9_.-]{1,64}$/, "expected a name as Slurm has it"),
  consent,
);
const maxMs = 3_600_000;

export const consentSchema = z
  .strictObject({
    default: consent
      .default("no")
      .describe("of a job of which neither its owner nor a rule below says anything")
      .meta(live),
    account: names.default({}).describe("by account; comes before qos and partition").meta(live),
    qos: names.default({}).describe("by QOS; comes before partition").meta(live),
    partition: names.default({}).describe("by partition").meta(live),
    unallocated: z
      .enum(["lend", "ask"])
      .default("lend")
      .describe("the rest of a node beside jobs of which nobody said anything: lent, or only beside consent")
      .meta(live),
    quiet_ms: z
      .int()
      .min(100)
      .max(maxMs)
      .default(10_000)
      .describe("how long a core is unused before it is lent")
      .meta(live),
    wake_ms: z
      .int()
      .min(50)
      .max(60_000)
      .default(500)
      .describe("a job that uses its core again has it for itself after this, and the time to end a guest")
      .meta(live),
    memory_margin_mib: z
      .int()
      .min(0)
      .max(1 << 30)
      .default(1024)
      .describe("of a job's memory that it does not touch, this much is never lent")
      .meta(live),
  })
  .describe("whose jobs share what they do not use");

export interface ConsentConfig {
  readonly default: Consent;
  readonly account: Readonly<Record<string, Consent>>;
  readonly qos: Readonly<Record<string, Consent>>;
  readonly partition: Readonly<Record<string, Consent>>;
  readonly unallocated: "lend" | "ask";
  readonly quietMs: number;
  readonly wakeMs: number;
  readonly memoryMarginBytes: number;
}

const mib = 1024 * 1024;

/** Without a table: all defaults. */
export function consentConfig(raw: z.output<typeof consentSchema> = consentSchema.parse({})): ConsentConfig {
  const { quiet_ms, wake_ms, memory_margin_mib, ...rules } = raw;
  return {
    ...rules,
    quietMs: quiet_ms,
    wakeMs: wake_ms,
    memoryMarginBytes: memory_margin_mib * mib,
  };
}
