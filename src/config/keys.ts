/** The keys of a schema as a table: what the loader, the pages, `sublet config` and the support bundle go by. */
import * as z from "zod";

export type ValueKind = "string" | "integer" | "number" | "boolean" | "list" | "names";

export interface KeySpec {
  readonly path: readonly string[];
  /** As in `--set`: path with dots. */
  readonly key: string;
  /** names: a table whose keys the site chooses (accounts, partitions). */
  readonly kind: ValueKind;
  /** Of the members of a list or of a table of names. */
  readonly member: ValueKind | undefined;
  readonly description: string;
  /** undefined: unset, or computed as the description says. */
  readonly default: unknown;
  /** Words that it may be; of a list or a table its members. */
  readonly words: readonly string[];
  readonly minimum: number | undefined;
  readonly maximum: number | undefined;
  /** It must be set if its table is there at all. */
  readonly required: boolean;
  /** SIGHUP changes it. */
  readonly live: boolean;
  readonly secret: boolean;
  readonly secretFile: boolean;
  readonly example: unknown;
}

export interface TableSpec {
  readonly name: string;
  readonly description: string;
  /** Without any of its keys there is no such table. */
  readonly optional: boolean;
}

interface JsonSchema {
  readonly type?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly enum?: readonly string[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly items?: JsonSchema;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly additionalProperties?: JsonSchema | false;
  readonly required?: readonly string[];
  readonly apply?: "live";
  readonly secret?: boolean;
  readonly secretFile?: boolean;
  readonly example?: unknown;
}

function kindOf(schema: JsonSchema): ValueKind {
  if (schema.type === "array") return "list";
  if (schema.type === "object") return "names";
  if (schema.type === "integer" || schema.type === "number" || schema.type === "boolean") return schema.type;
  return "string";
}

/** zod notes the bounds of safe integers where a key has none of its own. */
function bound(value: number | undefined): number | undefined {
  return value === undefined || Math.abs(value) >= Number.MAX_SAFE_INTEGER ? undefined : value;
}

function keySpec(path: readonly string[], schema: JsonSchema, required: boolean): KeySpec {
  const inner = schema.items ?? (schema.additionalProperties || undefined);
  return {
    path,
    key: path.join("."),
    kind: kindOf(schema),
    member: inner === undefined ? undefined : kindOf(inner),
    description: schema.description ?? "",
    default: schema.default,
    words: schema.enum ?? inner?.enum ?? [],
    minimum: bound(schema.minimum ?? inner?.minimum),
    maximum: bound(schema.maximum ?? inner?.maximum),
    required,
    live: schema.apply === "live",
    secret: schema.secret === true,
    secretFile: schema.secretFile === true,
    example: schema.example,
  };
}

function toJson(schema: z.ZodType): JsonSchema {
  return z.toJSONSchema(schema, { io: "input", unrepresentable: "any" }) as JsonSchema;
}

const known = new WeakMap<z.ZodType, readonly KeySpec[]>();

/** All keys, in the order of the schema; those of a table together. */
export function keysOf(schema: z.ZodType): readonly KeySpec[] {
  const keys = known.get(schema) ?? readKeys(schema);
  known.set(schema, keys);
  return keys;
}

function readKeys(schema: z.ZodType): readonly KeySpec[] {
  const keys: KeySpec[] = [];
  const walk = (table: JsonSchema, path: readonly string[]): void => {
    for (const [name, field] of Object.entries(table.properties ?? {}))
      if (field.properties !== undefined) walk(field, [...path, name]);
      else keys.push(keySpec([...path, name], field, table.required?.includes(name) ?? false));
  };
  walk(toJson(schema), []);
  // TOML wants the keys without a table first.
  return [...keys.filter((each) => each.path.length === 1), ...keys.filter((each) => each.path.length > 1)];
}

/** Tables, those within tables by their path: dashboard.price. */
export function tablesOf(schema: z.ZodType): readonly TableSpec[] {
  const inner = (table: JsonSchema, path: readonly string[]): TableSpec[] =>
    Object.entries(table.properties ?? {}).flatMap(([name, field]) => {
      if (field.properties === undefined) return [];
      const at = [...path, name];
      const optional = (field.required?.length ?? 0) > 0;
      const spec = { name: at.join("."), description: field.description ?? "", optional };
      return [spec, ...inner(field, at)];
    });
  return inner(toJson(schema), []);
}

/** The key at this path, or the table of names that has it as a member. */
export function findKey(keys: readonly KeySpec[], path: readonly string[]): KeySpec | undefined {
  return keys.find(
    (each) =>
      each.path.every((name, index) => name === path[index]) &&
      (each.path.length === path.length || (each.kind === "names" && path.length === each.path.length + 1)),
  );
}
