/**
 * codecs.ts against proto-loader, which reads the same .proto files: the same bytes for every message, the same message for
 * all bytes, and an error for the same.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { loadSync, type MessageTypeDefinition } from "@grpc/proto-loader";
import fc from "fast-check";
import protobuf from "protobufjs";
import { codecs as generated } from "../../../deploy/codecs/codecs.ts";
import { codecs } from "../../../src/rpc/codecs.ts";
import type { MessageName } from "../../../src/rpc/messages.ts";
import { serviceDefinition } from "../../../src/rpc/schema.ts";
import { type Codec, decode, encode } from "../../../src/rpc/wire.ts";

const path = (name: string): string => fileURLToPath(new URL(`../../../${name}`, import.meta.url));
const files = ["types", "controller", "node", "local"].map((name) => `sublet/v1/${name}.proto`);
const definitions = loadSync(files, {
  includeDirs: [path("proto")],
  longs: Number,
  enums: String,
  defaults: true,
  oneofs: true,
});
const root = new protobuf.Root();
root.resolvePath = (_, target) => path(`proto/${target}`);
root.loadSync(files).resolveAll();

const codecOf = (name: string) => codecs[name as MessageName] as Codec<object>;
const reflected = (name: string) => definitions[`sublet.v1.${name}`] as MessageTypeDefinition<object, object>;

const scalars: Record<string, fc.Arbitrary<unknown>> = {
  uint32: fc.oneof(fc.constant(0), fc.nat(), fc.constant(2 ** 32 - 1)),
  int32: fc.integer(),
  uint64: fc.oneof(fc.constant(0), fc.maxSafeNat(), fc.nat(300), fc.constantFrom(2 ** 49, 2 ** 53, 2 ** 60)),
  double: fc.double(),
  bool: fc.boolean(),
  string: fc.oneof(fc.string(), fc.string({ unit: "grapheme" }), fc.constant("__proto__")),
  bytes: fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
};

function anyValue(field: protobuf.Field): fc.Arbitrary<unknown> {
  const { resolvedType } = field;
  if (resolvedType instanceof protobuf.Type) return anyMessage(resolvedType);
  if (resolvedType instanceof protobuf.Enum) {
    const words = fc.constantFrom(...Object.keys(resolvedType.values));
    // What a later version may say, by number; and a word that nobody knows.
    return fc.oneof({ weight: 8, arbitrary: words }, fc.constantFrom<unknown>(77, -1, "LATER"));
  }
  const scalar = scalars[field.type];
  assert.ok(scalar, `no values for ${field.fullName}`);
  return scalar;
}

/** Any such message: each field there or not, null, its default, or anything. */
function anyMessage(type: protobuf.Type): fc.Arbitrary<object> {
  const fields = type.fieldsArray.map((field) => {
    const value = anyValue(field);
    const arbitrary =
      field instanceof protobuf.MapField
        ? fc.dictionary(fc.oneof(fc.string(), fc.constant("__proto__")), value, {
            maxKeys: 4,
            noNullPrototype: true,
          })
        : field.repeated
          ? fc.array(value, { maxLength: 4 })
          : value;
    return [field.name, fc.option(arbitrary, { freq: 8 })] as const;
  });
  return fc.record(Object.fromEntries(fields), { requiredKeys: [], noNullPrototype: true });
}

function outcome(work: () => object): object | "refused" {
  try {
    return work();
  } catch {
    return "refused";
  }
}

/** Bytes of a message with something wrong in them. */
const broken = (bytes: Buffer): fc.Arbitrary<Buffer> =>
  fc
    .tuple(fc.nat(bytes.length), fc.nat(3), fc.uint8Array({ maxLength: 12 }))
    .map(([at, removed, added]) =>
      Buffer.concat([bytes.subarray(0, at), added, bytes.subarray(at + removed)]),
    );

describe("codecs.ts", () => {
  it("is what deploy/codecs makes of proto/ (npm run codecs)", () => {
    assert.ok(readFileSync(path("src/rpc/codecs.ts"), "utf8") === generated(), "run npm run codecs");
  });
  for (const [name] of Object.entries(codecs)) {
    const type = root.lookupType(`sublet.v1.${name}`);
    const [ours, theirs] = [codecOf(name), reflected(name)];
    it(`${name}: the same bytes as by reflection, and the same message again`, () => {
      fc.assert(
        fc.property(anyMessage(type), (message) => {
          const bytes = theirs.serialize(message);
          assert.deepEqual(encode(ours, message), bytes);
          assert.deepEqual(decode(ours, bytes), theirs.deserialize(bytes));
        }),
        { numRuns: 60 },
      );
    });
    it(`${name}: bytes that are no such message, and fields of another version`, () => {
      const bytes = anyMessage(type).map((message) => theirs.serialize(message));
      fc.assert(
        fc.property(
          fc.oneof(bytes.chain(broken), fc.uint8Array({ maxLength: 64 }).map(Buffer.from)),
          (any) => {
            assert.deepEqual(
              outcome(() => decode(ours, any)),
              outcome(() => theirs.deserialize(any)),
            );
          },
        ),
        { numRuns: 150 },
      );
    });
  }
  it("knows the services as proto-loader does", () => {
    for (const name of ["NodeService", "ControllerService"] as const) {
      const plain = (service: object): unknown =>
        Object.entries(service).map(([method, { path, originalName, requestStream, responseStream }]) => ({
          method,
          path,
          originalName,
          requestStream,
          responseStream,
        }));
      assert.deepEqual(plain(serviceDefinition(name)), plain(definitions[`sublet.v1.${name}`] as object));
    }
  });
});
