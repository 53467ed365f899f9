/** [lending] of agent.toml: whether this node lends at all. */
import * as z from "zod";
import { live } from "./meta.ts";

export const lendingSchema = z
  .strictObject({
    mode: z
      .enum(["on", "shadow"])
      .default("on")
      .describe("shadow: lend nothing, but tell what would have been lent, and how well it would have gone")
      .meta(live),
    hold_out: z
      .number()
      .min(0)
      .max(0.5)
      .default(0)
      .describe(
        "share of the nodes, by lot, that lend nothing, so that jobs beside guests can be compared with jobs alone",
      )
      .meta(live),
    hold_out_days: z
      .int()
      .min(1)
      .max(365)
      .default(7)
      .describe("the lots are drawn again after this")
      .meta(live),
    shadow_term_ms: z
      .int()
      .min(1_000)
      .max(86_400_000)
      .default(300_000)
      .describe("term of the leases that are imagined where nothing is lent")
      .meta(live),
  })
  .prefault({})
  .describe("whether this node lends");

export interface LendingConfig {
  readonly mode: "on" | "shadow";
  readonly holdOut: number;
  readonly holdOutDays: number;
  readonly shadowTermMs: number;
}

export function lendingConfig(raw: z.output<typeof lendingSchema>): LendingConfig {
  return {
    mode: raw.mode,
    holdOut: raw.hold_out,
    holdOutDays: raw.hold_out_days,
    shadowTermMs: raw.shadow_term_ms,
  };
}
