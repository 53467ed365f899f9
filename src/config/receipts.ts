/** [receipts] of controller.toml: where else what guests cost a job is written down. */
import * as z from "zod";
import { live } from "./meta.ts";

export const receiptsSchema = z
  .strictObject({
    admin_comment: z
      .boolean()
      .default(false)
      .describe(
        "a job that had guests gets the sums of its receipts into its admin comment in Slurm's accounting (sacct -o AdminComment), behind what is there; " +
          "wants slurmdbd, and AdminLevel=Operator there for the controller's user. Of several controllers one should do it",
      )
      .meta(live),
    admin_comments_per_minute: z
      .int()
      .min(1)
      .max(6_000)
      .default(60)
      .describe("at most so many jobs in a minute, one call of sacctmgr each; beyond that they wait")
      .meta(live),
  })
  .prefault({})
  .describe("what guests cost a job, in the job's own record");

export interface ReceiptsConfig {
  readonly adminComment: boolean;
  readonly adminCommentsPerMinute: number;
}

export function receiptsConfig(raw: z.output<typeof receiptsSchema>): ReceiptsConfig {
  return { adminComment: raw.admin_comment, adminCommentsPerMinute: raw.admin_comments_per_minute };
}
