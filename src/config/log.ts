/** [log] of both daemons: what is logged, and where to. */
import * as z from "zod";
import { live } from "./meta.ts";

export const logLevels = ["debug", "info", "warn", "error"] as const;
export type LogLevel = (typeof logLevels)[number];

export const logSchema = z
  .strictObject({
    level: z
      .enum(logLevels)
      .default("info")
      .describe("the least that is logged; debug has a line for every lease and every call")
      .meta(live),
    to: z
      .enum(["auto", "journal", "stderr"])
      .default("auto")
      .describe(
        "auto: the journal where standard error is connected to it, as under systemd, else standard error as JSON",
      ),
  })
  .prefault({})
  .describe("what is logged, and where to");

export type LogConfig = Readonly<z.output<typeof logSchema>>;
