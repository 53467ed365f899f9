/** SubletError to gRPC status and back. A refusal travels as `sublet-refusal-bin`, a Refusal message. */
import { Metadata, type ServiceError, type StatusObject, status } from "@grpc/grpc-js";
import { type ErrorCode, errorCodes, SubletError, toSubletError } from "../common/errors.ts";
import { isReasonNoun, reasonFromWire, reasonToWire } from "./convert.ts";
import { decodeMessage, encodeMessage } from "./schema.ts";

export const refusalKey = "sublet-refusal-bin";
/** On all that a handler answers with: what is not from here is grpc-js's own, as when there is no connection. */
const answeredKey = "sublet-answered";

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
  metadata.set(answeredKey, "1");
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

/** In Node's words for why there is no connection. */
const noConnection: readonly (readonly [RegExp, string])[] = [
  [/\bECONNREFUSED\b/, "connection refused, nothing listens there"],
  [/\b(ENOTFOUND|EAI_AGAIN)\b|^Name resolution failed/, "its name is not known here"],
  [/\b(EHOSTUNREACH|ENETUNREACH)\b/, "no route to it"],
  [/\b(ECONNRESET|EPIPE)\b/, "it closed the connection"],
];

/**
 * What grpc-js says of its own inside ("Waiting for LB pick", "Resolution note: ") helps nobody who runs a job: said as a
 * person would. What a callee said is left as it is.
 */
function inWords(code: number, said: string, address: string): string {
  const late = /^Deadline exceeded after ([\d.]+) ?s/.exec(said);
  if (code === status.DEADLINE_EXCEEDED && late !== null) {
    const connected = said.includes("remote_addr");
    return (
      `${address} did not answer within ${Number(Number(late[1]).toPrecision(2))} s` +
      (connected
        ? ""
        : ": no connection came about; is it up, is this its address, does a firewall drop what is sent?")
    );
  }
  if (code !== status.UNAVAILABLE) return said;
  const known = noConnection.find(([pattern]) => pattern.test(said))?.[1];
  const why = said
    .replace(/^No connection established\. Last error: (?:Error: )?/, "")
    .replace(/\.? Resolution note: *$/, "");
  return `${address} does not answer: ${known ?? why}`;
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
      : error.metadata.get(answeredKey).length > 0
        ? said
        : inWords(error.code, said, address);
  return new SubletError(errorCodeOf(error.code), text, {
    cause: thrown,
    details: refusalDetails(error.metadata),
  });
}
