/** The messages and services of proto/sublet/v1, to and from bytes. */
import type { MethodDefinition, ServiceDefinition } from "@grpc/grpc-js";
import { SubletError } from "../common/errors.ts";
import { codecs, services } from "./codecs.ts";
import type { Init, MessageName, Messages } from "./messages.ts";
import { type Codec, decode, encode } from "./wire.ts";

export const protoPackage = "sublet.v1";

type Service = keyof typeof services;

interface Method {
  readonly path: string;
  readonly request: MessageName;
  readonly requestStream: boolean;
  readonly response: MessageName;
  readonly responseStream: boolean;
}

function methodDefinition(name: string, method: Method): MethodDefinition<object, object> {
  const request = codecs[method.request] as Codec<object>;
  const response = codecs[method.response] as Codec<object>;
  return {
    path: method.path,
    originalName: name.charAt(0).toLowerCase() + name.slice(1),
    requestStream: method.requestStream,
    responseStream: method.responseStream,
    requestSerialize: (message) => encode(request, message),
    requestDeserialize: (bytes) => decode(request, bytes),
    responseSerialize: (message) => encode(response, message),
    responseDeserialize: (bytes) => decode(response, bytes),
  };
}

/** The service as grpc-js wants it. */
export function serviceDefinition(name: Service): ServiceDefinition {
  return Object.fromEntries(
    Object.entries(services[name]).map(([method, its]) => [method, methodDefinition(method, its)]),
  );
}

export function encodeMessage<N extends MessageName>(name: N, message: Init<Messages[N]>): Buffer {
  return encode(codecs[name] as Codec<Messages[N]>, message);
}

/** @throws SubletError INVALID_ARGUMENT when the bytes are not such a message. */
export function decodeMessage<N extends MessageName>(name: N, bytes: Buffer): Messages[N] {
  try {
    return decode(codecs[name] as Codec<Messages[N]>, bytes);
  } catch (thrown) {
    throw new SubletError("INVALID_ARGUMENT", `bytes are not a ${name}`, { cause: thrown });
  }
}
