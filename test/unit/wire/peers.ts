/** The released protocol as a peer that was never upgraded has it, and messages that use every field of a protocol. */
import { fileURLToPath } from "node:url";
import {
  type EnumTypeDefinition,
  loadSync,
  type MessageTypeDefinition,
  type PackageDefinition,
  type ServiceDefinition,
} from "@grpc/proto-loader";

/** A protocol folder, read as src/rpc/schema.ts reads ours. */
export function protocol(folder: string): PackageDefinition {
  return loadSync(
    ["types", "controller", "node", "local"].map((name) => `sublet/v1/${name}.proto`),
    {
      includeDirs: [fileURLToPath(new URL(`../../../${folder}`, import.meta.url))],
      keepCase: false,
      longs: Number,
      enums: String,
      defaults: true,
      oneofs: true,
    },
  );
}

interface Field {
  readonly name: string;
  readonly number: number;
  readonly label: string;
  readonly type: string;
  readonly typeName: string;
}

type Message = MessageTypeDefinition<object, object>;
const fieldsOf = (message: Message): readonly Field[] => (message.type as { field: Field[] }).field;
const camel = (name: string): string =>
  name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());

const isMessage = (found: PackageDefinition[string] | undefined): found is Message =>
  (found as Message | undefined)?.format === "Protocol Buffer 3 DescriptorProto";
const isEnum = (found: PackageDefinition[string] | undefined): found is EnumTypeDefinition =>
  (found as EnumTypeDefinition | undefined)?.format === "Protocol Buffer 3 EnumDescriptorProto";

export function messageNames(definitions: PackageDefinition): string[] {
  return Object.keys(definitions).filter((name) => isMessage(definitions[name]));
}

export function messageOf(definitions: PackageDefinition, name: string): Message {
  const found = definitions[name];
  if (!isMessage(found)) throw new Error(`there is no message ${name}`);
  return found;
}

export function serviceOf(definitions: PackageDefinition, name: string): ServiceDefinition {
  return definitions[`sublet.v1.${name}`] as ServiceDefinition;
}

/** Values of an enumeration: the released one's first that is not 0, so that both sides know it. */
function enumValue(definitions: PackageDefinition, name: string): string {
  const found = definitions[`sublet.v1.${name}`];
  if (!isEnum(found)) throw new Error(`there is no enum ${name}`);
  const { value } = found.type as { value: { name: string; number: number }[] };
  return value.find(({ number }) => number === 1)?.name ?? "";
}

function sample(definitions: PackageDefinition, field: Field): unknown {
  const { type, number, typeName } = field;
  if (type === "TYPE_MESSAGE") {
    const name = typeName.split(".").at(-1) ?? "";
    return filled(definitions, `sublet.v1.${name}`);
  }
  if (type === "TYPE_ENUM") return enumValue(definitions, typeName.split(".").at(-1) ?? "");
  if (type === "TYPE_STRING") return `text ${number}`;
  if (type === "TYPE_BYTES") return Buffer.from([number]);
  if (type === "TYPE_BOOL") return true;
  if (type === "TYPE_DOUBLE") return number + 0.5;
  return 1000 + number;
}

const isMap = (message: Message, { type, typeName }: Field): boolean =>
  type === "TYPE_MESSAGE" &&
  (message.type as { nestedType: { name: string }[] }).nestedType.some(({ name }) => name === typeName);

/** The message with every field set; what a field holds depends on the field alone, never on the version. */
export function filled(
  definitions: PackageDefinition,
  name: string,
  only: (field: string) => boolean = () => true,
): Record<string, unknown> {
  const message = messageOf(definitions, name);
  const entries = fieldsOf(message)
    .filter((field) => only(field.name))
    .map((field): [string, unknown] => {
      if (isMap(message, field)) return [camel(field.name), { key: "value" }];
      const value = sample(definitions, field);
      return [camel(field.name), field.label === "LABEL_REPEATED" ? [value] : value];
    });
  return Object.fromEntries(entries);
}

/** Fields of a message of the local socket that exclude each other: all but its id. */
export const kindsOf = (definitions: PackageDefinition, name: string): string[] =>
  fieldsOf(messageOf(definitions, name))
    .map((field) => field.name)
    .filter((field) => field !== "id");
