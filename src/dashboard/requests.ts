/** Bodies of POST, checked: they come from whoever reaches the port. */
import { z } from "zod";
import { SubletError } from "../common/errors.ts";
import type { AdminRequest, LoginRequest } from "./api.ts";

const word = z.string().min(1).max(1024);

const adminSchema = z.strictObject({
  nodes: z.array(word).max(10_000).optional(),
  partitions: z.array(word).max(1000).optional(),
  all: z.boolean().optional(),
  leaseIds: z.array(word).max(4096).optional(),
  graceful: z.boolean().optional(),
  budgetMs: z.int().min(0).max(86_400_000).optional(),
  reason: z.string().max(200),
});

const loginSchema = z.strictObject({ credential: z.string().min(1).max(4096) });

function checked<T>(schema: z.ZodType<T>, body: unknown): T {
  const found = schema.safeParse(body);
  if (found.success) return found.data;
  const [issue] = found.error.issues;
  throw new SubletError(
    "INVALID_ARGUMENT",
    `${issue?.path.join(".") || "body"}: ${issue?.message ?? "wrong"}`,
  );
}

export const adminRequest = (body: unknown): AdminRequest => checked(adminSchema, body) as AdminRequest;
export const loginRequest = (body: unknown): LoginRequest => checked(loginSchema, body);
