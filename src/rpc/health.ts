/**
 * The standard health service (grpc.health.v1: Check and Watch), by which probes and load balancers ask. Its two messages have
 * a field each, so they are written here: the package that offers it parses .proto in every agent.
 */
import {
  type ServerUnaryCall,
  type ServerWritableStream,
  type ServiceDefinition,
  type sendUnaryData,
  status,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { type Codec, decode, encode } from "./wire.ts";

const notServing = 2;
const serviceUnknown = 3;
const serving = 1;

interface Asked {
  service: string;
}

interface Told {
  status: number;
}

const askedCodec: Codec<Asked> = {
  write: (w, { service }) => void w.uint32(10).string(service ?? ""),
  read: (r) => {
    const message = { service: "" };
    while (r.pos < r.len) {
      const tag = r.uint32();
      if (tag >>> 3 === 1) message.service = r.string();
      else r.skipType(tag & 7);
    }
    return message;
  },
};
const toldCodec: Codec<Told> = {
  write: (w, message) => void w.uint32(8).int32(message.status ?? 0),
  read: (r) => {
    const message = { status: 0 };
    while (r.pos < r.len) {
      const tag = r.uint32();
      if (tag >>> 3 === 1) message.status = r.int32();
      else r.skipType(tag & 7);
    }
    return message;
  },
};

const method = (name: string, responseStream: boolean) => ({
  path: `/grpc.health.v1.Health/${name}`,
  requestStream: false,
  responseStream,
  requestSerialize: (message: Asked) => encode(askedCodec, message),
  requestDeserialize: (bytes: Buffer) => decode(askedCodec, bytes),
  responseSerialize: (message: Told) => encode(toldCodec, message),
  responseDeserialize: (bytes: Buffer) => decode(toldCodec, bytes),
});

export const healthService: ServiceDefinition = {
  Check: method("Check", false),
  Watch: method("Watch", true),
};

export interface Health {
  readonly implementation: UntypedServiceImplementation;
  /** Of all services, and those who watch are told. */
  set(isServing: boolean): void;
}

/** services: the names that are known beside "", which stands for the server. */
export function health(services: readonly string[]): Health {
  let now = serving;
  const watchers = new Set<ServerWritableStream<Asked, Told>>();
  const knows = (service: string): boolean => service === "" || services.includes(service);
  return {
    implementation: {
      Check: ({ request }: ServerUnaryCall<Asked, Told>, answer: sendUnaryData<Told>) => {
        if (knows(request.service)) answer(null, { status: now });
        else
          answer({ code: status.NOT_FOUND, details: `no service ${JSON.stringify(request.service)} here` });
      },
      Watch: (call: ServerWritableStream<Asked, Told>) => {
        if (!knows(call.request.service)) {
          call.write({ status: serviceUnknown });
          return;
        }
        watchers.add(call);
        call.on("cancelled", () => watchers.delete(call));
        call.write({ status: now });
      },
    },
    set: (isServing) => {
      const next = isServing ? serving : notServing;
      if (next === now) return;
      now = next;
      for (const watcher of watchers) watcher.write({ status: now });
    },
  };
}
