/** [reclaim] of agent.toml: how capacity is taken back for batch jobs. */
import * as z from "zod";
import { live } from "./meta.ts";

export const reclaimSchema = z
  .strictObject({
    prolog: z
      .enum(["all", "close", "learned"])
      .default("all")
      .describe(
        "what a prolog takes back: all leases; none (close), for sites where spank_sublet.so names each job's cores; or " +
          "learned: close once steps were heard here, all again when one was not",
      )
      .meta(live),
    budget_ms: z
      .int()
      .min(0)
      .max(60_000)
      .default(1_000)
      .describe(
        "time to move an evacuated region that a job needs (the guard, and a job that wakes, give it to mirrored ones, too); " +
          "0: none; bounded by what a hook waits",
      )
      .meta(live),
    state_dir: z
      .string()
      .regex(/^\//, "expected an absolute path")
      .optional()
      .describe("where `sublet drain` is remembered; default: run_dir, so until the next boot")
      .meta({ example: "/var/lib/sublet" }),
  })
  .prefault({})
  .describe("taking capacity back for jobs");
