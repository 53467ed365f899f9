/**
 * Codecs of proto/sublet/v1 as TypeScript: a function per message that writes it, one that reads it, and the services' tables.
 * What they do is what proto-loader does with the same files (test/unit/rpc/codecs.test.ts compares the two), without
 * parsing .proto and compiling functions at every start, and without an object in between. The types are those of
 * src/rpc/messages.ts, so that the compiler holds the two together.
 */
import { fileURLToPath } from "node:url";
import protobuf from "protobufjs";

const files = ["types", "controller", "node", "local"] as const;

/** In messages.ts some messages have a name of their own; there a type is looked up by the name in the .proto file. */
const typeOf = (type: protobuf.Type): string => `Messages["${type.name}"]`;

function loadAll(): protobuf.Namespace {
  const root = new protobuf.Root();
  root.resolvePath = (_, target) =>
    target.startsWith("/") ? target : fileURLToPath(new URL(`../../proto/${target}`, import.meta.url));
  root.loadSync(files.map((name) => `sublet/v1/${name}.proto`));
  root.resolveAll();
  return root.lookup("sublet.v1") as protobuf.Namespace;
}

const enumOf = ({ resolvedType }: protobuf.Field): protobuf.Enum | undefined =>
  resolvedType instanceof protobuf.Enum ? resolvedType : undefined;
const messageOf = ({ resolvedType }: protobuf.Field): protobuf.Type | undefined =>
  resolvedType instanceof protobuf.Type ? resolvedType : undefined;

/** The scalar as the wire has it. */
function scalarOf(field: protobuf.Field): string {
  const scalar = enumOf(field) === undefined ? field.type : "int32";
  if (!/^(u?int32|uint64|double|bool|string|bytes)$/.test(scalar))
    throw new Error(`${field.fullName}: no codec for ${scalar}; add it here and to its test`);
  return scalar;
}

const wireTypes: Record<string, number> = {
  int32: 0,
  uint32: 0,
  uint64: 0,
  bool: 0,
  double: 1,
  string: 2,
  bytes: 2,
};
const tagOf = (field: protobuf.Field, wireType: number): number => ((field.id << 3) | wireType) >>> 0;
const isPackable = (field: protobuf.Field): boolean =>
  messageOf(field) === undefined && wireTypes[scalarOf(field)] !== 2;

/** What is written for a value; numbers as proto-loader turns them. */
function put(field: protobuf.Field, value: string): string {
  const scalar = scalarOf(field);
  if (scalar === "uint32") return `uint32(${value} >>> 0)`;
  if (scalar === "int32" && enumOf(field) === undefined) return `int32(${value} | 0)`;
  return `${scalar}(${value})`;
}

function writerOf(field: protobuf.Field): string[] {
  const name = `m.${field.name}`;
  const message = messageOf(field);
  const names = enumOf(field);
  if (field instanceof protobuf.MapField) {
    if (field.keyType !== "string" || field.type !== "string")
      throw new Error(`${field.fullName}: no codec for this map; add it here and to its test`);
    return [
      `if (${name} != null)`,
      `  for (const [key, value] of Object.entries(${name}))`,
      `    w.uint32(${tagOf(field, 2)}).fork().uint32(10).string(key).uint32(18).string(String(value)).ldelim();`,
    ];
  }
  if (field.repeated) {
    if (message !== undefined)
      return [
        `if (${name} != null)`,
        `  for (const each of ${name}) {`,
        `    w.uint32(${tagOf(field, 2)}).fork();`,
        `    write${message.name}(w, each);`,
        "    w.ldelim();",
        "  }",
      ];
    if (!isPackable(field))
      return [
        `if (${name} != null) for (const each of ${name}) w.uint32(${tagOf(field, 2)}).${put(field, "each")};`,
      ];
    if (scalarOf(field) === "uint64")
      return [`if (${name} != null && ${name}.length > 0) packed(w.uint32(${tagOf(field, 2)}), ${name});`];
    if (scalarOf(field) === "uint32")
      return [
        `if (${name} != null && ${name}.length > 0)`,
        `  packed(w.uint32(${tagOf(field, 2)}), ${name}.map((each) => each >>> 0));`,
      ];
    const value = names === undefined ? "each" : `${names.name}.number(each) ?? 0`;
    return [
      `if (${name} != null && ${name}.length > 0) {`,
      `  w.uint32(${tagOf(field, 2)}).fork();`,
      `  for (const each of ${name}) w.${put(field, value)};`,
      "  w.ldelim();",
      "}",
    ];
  }
  if (message !== undefined)
    return [
      `if (${name} != null) {`,
      `  w.uint32(${tagOf(field, 2)}).fork();`,
      `  write${message.name}(w, ${name});`,
      "  w.ldelim();",
      "}",
    ];
  const tag = tagOf(field, wireTypes[scalarOf(field)] ?? 0);
  if (names !== undefined)
    return [
      `if (${name} != null) {`,
      `  const value = ${names.name}.number(${name});`,
      `  if (value !== undefined) w.uint32(${tag}).int32(value);`,
      "}",
    ];
  return [`if (${name} != null) w.uint32(${tag}).${put(field, name)};`];
}

function get(field: protobuf.Field): string {
  const names = enumOf(field);
  const scalar = scalarOf(field);
  if (names !== undefined) return `${names.name}.word(r.int32())`;
  return scalar === "uint64" ? "uint64(r)" : `r.${scalar}()`;
}

function readerOf(field: protobuf.Field): string[] {
  const name = `m.${field.name}`;
  const message = messageOf(field);
  const nested = (how: (value: string) => string): string[] => [
    "const outer = enter(r);",
    `${how(`read${message?.name}(r)`)};`,
    "leave(r, outer);",
  ];
  if (field instanceof protobuf.MapField) return [`readEntry(r, ${name});`];
  if (field.repeated && message !== undefined) return nested((value) => `${name}.push(${value})`);
  if (field.repeated && /^uint(32|64)$/.test(scalarOf(field)))
    return [
      `if ((tag & 7) === 2) unpack(r, ${name}, ${scalarOf(field)});`,
      `else ${name}.push(${get(field)});`,
    ];
  if (field.repeated && isPackable(field))
    return [
      "if ((tag & 7) === 2) {",
      "  const outer = enter(r);",
      `  while (r.pos < r.len) ${name}.push(${get(field)});`,
      "  leave(r, outer);",
      `} else ${name}.push(${get(field)});`,
    ];
  if (field.repeated) return [`${name}.push(${get(field)});`];
  if (message !== undefined) return nested((value) => `${name} = ${value}`);
  return [`${name} = ${get(field)};`];
}

function defaultOf(field: protobuf.Field): string {
  if (field instanceof protobuf.MapField) return "{}";
  if (field.repeated) return "[]";
  if (messageOf(field) !== undefined) return "null";
  const names = enumOf(field);
  if (names !== undefined) return JSON.stringify(names.valuesById[0]);
  return { string: '""', bool: "false", bytes: "Buffer.alloc(0)" }[scalarOf(field)] ?? "0";
}

const indent = (lines: readonly string[], by: string): string[] => lines.map((line) => by + line);

function message(type: protobuf.Type): string[] {
  const fields = [...type.fieldsArray].sort((a, b) => a.id - b.id);
  const plain = fields.filter(({ partOf }) => partOf === null);
  const choices = fields.filter(({ partOf }) => partOf !== null);
  const own = typeOf(type);
  // The fields of a union are set one by one, which its type does not allow.
  const loose = choices.length > 0 ? `Loose<${own}>` : own;
  const unused = fields.length === 0 ? "_" : "";
  return [
    `function write${type.name}(${unused}w: Writer, ${unused}${choices.length > 0 ? "message" : "m"}: Init<${own}>): void {`,
    ...(choices.length > 0 ? [`  const m = message as Init<${loose}>;`] : []),
    ...indent(fields.flatMap(writerOf), "  "),
    "}",
    "",
    `function read${type.name}(r: Reader): ${own} {`,
    ...(plain.length === 0
      ? [`  const m: ${loose} = {};`]
      : [
          `  const m: ${loose} = { ${plain.map((field) => `${field.name}: ${defaultOf(field)}`).join(", ")} };`,
        ]),
    "  while (r.pos < r.len) {",
    "    const tag = r.uint32();",
    ...(fields.length === 0
      ? ["    r.skipType(tag & 7);"]
      : [
          "    switch (tag >>> 3) {",
          ...fields.flatMap((field) => {
            const [first, ...more] = readerOf(field);
            if (more.length === 0) return [`      case ${field.id}: ${first} break;`];
            return [
              `      case ${field.id}: {`,
              ...indent([first ?? "", ...more, "break;"], "        "),
              "      }",
            ];
          }),
          "      default: r.skipType(tag & 7);",
          "    }",
        ]),
    "  }",
    ...choices.map(
      (field) => `  if (m.${field.name} !== undefined) m.${field.partOf?.name} = "${field.name}";`,
    ),
    choices.length > 0 ? `  return m as ${own};` : "  return m;",
    "}",
    "",
  ];
}

function service({ name, fullName, methodsArray }: protobuf.Service): string[] {
  return [
    `  ${name}: {`,
    ...methodsArray.map((method) => {
      const sides = [
        `request: "${method.resolvedRequestType?.name}", requestStream: ${method.requestStream === true}`,
        `response: "${method.resolvedResponseType?.name}", responseStream: ${method.responseStream === true}`,
      ];
      return `    ${method.name}: { path: "${fullName.replace(/^\./, "/")}/${method.name}", ${sides.join(", ")} },`;
    }),
    "  },",
  ];
}

/** The text of src/rpc/codecs.ts. */
export function codecs(): string {
  const all = loadAll().nestedArray;
  const enums = all.filter((each) => each instanceof protobuf.Enum);
  const types = all.filter((each) => each instanceof protobuf.Type);
  const services = all.filter((each) => each instanceof protobuf.Service);
  return [
    "// Made from proto/sublet/v1 by `npm run codecs`: change that, or deploy/codecs.",
    'import type { Init, MessageName, Messages } from "./messages.ts";',
    'import { type Codec, Enum, enter, leave, type Loose, packed, type Reader, readEntry, uint32, uint64, unpack, type Writer } from "./wire.ts";',
    "",
    ...enums.map(
      ({ name, values }) =>
        `const ${name} = new Enum(${JSON.stringify(values)
          .replaceAll(/"(\w+)":/g, " $1: ")
          .replace("}", " }")});`,
    ),
    "",
    ...types.flatMap(message),
    "export const codecs: { readonly [N in MessageName]: Codec<Messages[N]> } = {",
    ...types.map(({ name }) => `  ${name}: { write: write${name}, read: read${name} },`),
    "};",
    "",
    "export const services = {",
    ...services.flatMap(service),
    "} as const;",
    "",
  ].join("\n");
}
