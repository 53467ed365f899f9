/** Loads proto/sublet/v1 once and hands out services and message codecs. */
import { fileURLToPath } from "node:url";
import { loadSync, type MessageTypeDefinition, type ServiceDefinition } from "@grpc/proto-loader";
import protobuf from "protobufjs";
import { SubletError } from "../common/errors.ts";
import type { Init, MessageName, Messages } from "./messages.ts";

export const protoPackage = "sublet.v1";

// 64-bit fields become numbers in any case (`longs` below). Without this each is made an object on the way there, which is
// a third of the time of reading a large answer.
protobuf.util.Long = undefined as never;
protobuf.configure();

type Service = "NodeService" | "ControllerService";

const files = ["types", "controller", "node", "local"] as const;
const fileOf = { NodeService: "node", ControllerService: "controller" } as const;

function load(names: readonly (typeof files)[number][]) {
  return loadSync(
    names.map((name) => `sublet/v1/${name}.proto`),
    {
      includeDirs: [fileURLToPath(new URL("../../proto", import.meta.url))],
      keepCase: false,
      longs: Number,
      enums: String,
      defaults: true,
      oneofs: true,
    },
  );
}

let loaded: ReturnType<typeof load> | undefined;
/** What was loaded for one service alone: the command asks the controller, and each file costs its start milliseconds. */
let alone: { readonly service: Service; readonly definitions: ReturnType<typeof load> } | undefined;

function definitions(service?: Service): ReturnType<typeof load> {
  if (loaded === undefined && service !== undefined) {
    alone ??= { service, definitions: load([fileOf[service]]) };
    if (alone.service === service) return alone.definitions;
  }
  loaded ??= load(files);
  return loaded;
}

/** The service as grpc-js wants it. */
export function serviceDefinition(name: Service): ServiceDefinition {
  const found = definitions(name)[`${protoPackage}.${name}`];
  if (found === undefined) throw new SubletError("INTERNAL", `proto has no service ${name}`);
  return found as ServiceDefinition;
}

function messageDefinition(name: MessageName): MessageTypeDefinition<object, object> {
  const found = definitions()[`${protoPackage}.${name}`];
  if (found === undefined) throw new SubletError("INTERNAL", `proto has no message ${name}`);
  return found as MessageTypeDefinition<object, object>;
}

export function encodeMessage<N extends MessageName>(name: N, message: Init<Messages[N]>): Buffer {
  return messageDefinition(name).serialize(message as object);
}

/** @throws SubletError INVALID_ARGUMENT when the bytes are not such a message. */
export function decodeMessage<N extends MessageName>(name: N, bytes: Buffer): Messages[N] {
  try {
    return messageDefinition(name).deserialize(bytes) as Messages[N];
  } catch (thrown) {
    throw new SubletError("INVALID_ARGUMENT", `bytes are not a ${name}`, { cause: thrown });
  }
}
