/** The part of agent.toml about the guard. Its policy is a file of its own (agent/guard/policy.ts): it is read again at SIGHUP. */
import { existsSync } from "node:fs";
import * as z from "zod";
import { live } from "./meta.ts";

export const defaultGuardPolicyFile = "/etc/sublet/guard.toml";

export const guardSchema = z
  .strictObject({
    policy_file: z
      .string()
      .regex(/^\//, "expected an absolute path")
      .optional()
      .describe(`what the guard does when a job suffers; default: ${defaultGuardPolicyFile} where it exists`)
      .meta(live)
      .meta({ example: "/etc/sublet/guard.toml" }),
  })
  .prefault({})
  .describe("when guests are held back; the policy is a file of its own");

/** The file to read; undefined: the built-in policy. */
export function guardPolicyFile(guard: z.output<typeof guardSchema>): string | undefined {
  if (guard.policy_file !== undefined) return guard.policy_file;
  return existsSync(defaultGuardPolicyFile) ? defaultGuardPolicyFile : undefined;
}
