/** The one error class of Sublet's TypeScript. Codes are gRPC's status names, so that they cross processes unchanged. */

export const errorCodes = {
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  UNAUTHENTICATED: 16,
} as const;

export type ErrorCode = keyof typeof errorCodes;

/** An error with a stable code. The message says what to do where something can be done. */
export class SubletError extends Error {
  readonly code: ErrorCode;
  readonly details: Readonly<Record<string, string | number>>;

  constructor(
    code: ErrorCode,
    message: string,
    options: { cause?: unknown; details?: Record<string, string | number> } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "SubletError";
    this.code = code;
    this.details = options.details ?? {};
  }
}

/** Any thrown value as a SubletError: unknown ones become INTERNAL with the original as cause. */
export function toSubletError(thrown: unknown): SubletError {
  if (thrown instanceof SubletError) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return new SubletError("INTERNAL", message, { cause: thrown });
}
