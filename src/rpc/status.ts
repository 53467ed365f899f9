/** SubletError to gRPC status and back. A refusal travels as `sublet-refusal-bin`, a Refusal message. */
import { Metadata, type ServiceError, type StatusObject, status } from "@grpc/grpc-js";
import { type ErrorCode, errorCodes, SubletError, toSubletError } from "../common/errors.ts";
import { isReasonNoun, reasonFromWire, reasonToWire } from "./convert.ts";
import { decodeMessage, encodeMessage } from "./schema.ts";

export const refusalKey = "sublet-refusal-bin";

const codeNames = new Map<number, ErrorCode>(
  Object.entries(errorCodes).map(([name, code]) => [code, name as ErrorCode]),
);
codeNames.set(status.CANCELLED, "ABORTED");
codeNames.set(status.UNIMPLEMENTED, "FAILED_PRECONDITION");
codeNames.set(status.OUT_OF_RANGE, "INVALID_ARGUMENT");

/** The name of a gRPC status number; numbers that Sublet does not use become INTERNAL. */
export function errorCodeOf(code: number): ErrorCode {
  return codeNames.get(code) ?? "INTERNAL";
}

/** Any thrown value as what grpc-js sends. Details with a known `reason` become a Refusal. */
export function toGrpcStatus(thrown: unknown): StatusObject {
  const error = toSubletError(thrown);
  const metadata = new Metadata();
  const { reason, node, retryAfterMs } = error.details;
  if (typeof reason === "string" && isReasonNoun(reason)) {
    const refusal = encodeMessage("Refusal", {
      reason: reasonToWire(reason),
      node: node === undefined ? "" : String(node),
      message: error.message,
      retryAfterMs: Number(retryAfterMs ?? 0),
    });
    metadata.set(refusalKey, refusal);
  }
  return { code: errorCodes[error.code], details: error.message, metadata };
}

function refusalDetails(metadata: Metadata): Record<string, string | number> {
  const value = metadata.get(refusalKey)[0];
  if (!Buffer.isBuffer(value)) return {};
  try {
    const refusal = decodeMessage("Refusal", value);
    const reason = reasonFromWire(refusal.reason);
    return {
      ...(reason === undefined ? {} : { reason }),
      node: refusal.node,
      retryAfterMs: refusal.retryAfterMs,
    };
  } catch (thrown) {
    return { unreadableRefusal: toSubletError(thrown).message };
  }
}

/** What grpc-js throws as a SubletError that names the callee. */
export function fromGrpcError(thrown: unknown, address: string, method: string): SubletError {
  if (thrown instanceof SubletError) return thrown;
  const error = thrown as Partial<ServiceError>;
  if (typeof error.code !== "number" || error.metadata === undefined) return toSubletError(thrown);
  const said = error.details === undefined || error.details === "" ? String(error.message) : error.details;
  const text =
    error.code === status.UNIMPLEMENTED
      ? `${address} does not know ${method}: it runs another version`
      : error.code === status.UNAVAILABLE
        ? `${address} does not answer: ${said}`
        : said;
  return new SubletError(errorCodeOf(error.code), text, {
    cause: thrown,
    details: refusalDetails(error.metadata),
  });
}
