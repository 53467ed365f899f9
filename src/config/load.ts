/**
 * Lays the layers of a configuration over each other and checks the result against a schema. Every complaint names the file
 * and line, variable or flag that is wrong, and what to write instead; all complaints come at once. For every key it
 * is known afterwards where its value came from.
 */
import type { z } from "zod";
import { SubletError } from "../common/errors.ts";
import { findKey, type KeySpec, keysOf } from "./keys.ts";
import { isTable, type Layer, type LayerKind, tomlLayer, type Values } from "./layers.ts";
import { nearestWord } from "./nearest.ts";
import { tomlValue } from "./toml-value.ts";
import { typeText } from "./type-text.ts";

export interface Origin {
  readonly kind: LayerKind | "default";
  /** "file:line", a variable, a flag; "" of a default. */
  readonly where: string;
}

export interface Setting {
  readonly key: KeySpec;
  readonly value: unknown;
  readonly origin: Origin;
}

export interface Loaded<T> {
  /** Checked, with defaults, keys as in the file. */
  readonly raw: T;
  /** The same, key by key. */
  readonly settings: readonly Setting[];
  /** What says this path, or the table around it: "file:line", a variable, a flag; else the subject. */
  readonly where: (path: readonly string[]) => string;
}

function laid(under: Values, over: Values): Values {
  const result = { ...under };
  for (const [name, value] of Object.entries(over)) {
    const before = result[name];
    result[name] = isTable(value) && isTable(before) ? laid(before, value) : value;
  }
  return result;
}

export function valueAt(values: unknown, path: readonly string[]): unknown {
  let value = values;
  for (const name of path) value = isTable(value) ? value[name] : undefined;
  return value;
}

/** The layers that say something of this path or of the table around it, the strongest last. */
function saying(layers: readonly Layer[], path: readonly string[]): Layer[] {
  for (let length = path.length; length > 0; length--) {
    const found = layers.filter(({ values }) => valueAt(values, path.slice(0, length)) !== undefined);
    if (found.length > 0) return found;
  }
  return [];
}

function hint(path: readonly string[], keys: readonly KeySpec[]): string {
  const around = path.slice(0, -1);
  const known = new Set(
    keys
      .filter((each) => around.every((name, index) => each.path[index] === name))
      .map((each) => each.path[around.length])
      .filter((name) => name !== undefined),
  );
  const meant = nearestWord(String(path.at(-1)), [...known]);
  return meant === undefined ? `; known keys: ${[...known].join(", ")}` : `; did you mean ${meant}?`;
}

function complaints(
  issue: z.core.$ZodIssue,
  layers: readonly Layer[],
  keys: readonly KeySpec[],
  subject: string,
): string[] {
  const plain = (path: readonly PropertyKey[]): string[] =>
    path.filter((each) => typeof each !== "number").map(String);
  if (issue.code === "unrecognized_keys")
    return issue.keys.flatMap((name) => {
      const path = [...plain(issue.path), name];
      const what = `unknown key ${path.join(".")}${hint(path, keys)}`;
      return saying(layers, path).map((layer) => `${layer.where(path)}: ${what}`);
    });
  const path = plain(issue.path);
  const said = saying(layers, path).at(-1);
  const what = wanted(issue, path, said, keys) ?? issue.message;
  return [`${said?.where(path) ?? subject}: ${issue.path.map(String).join(".")}: ${what}`];
}

/** Zod's own words; else the schema says itself what is wrong: "beyond the node: it has 8 cores". */
const usualWords = /^(Too big|Too small|Invalid input|Invalid option): /;

/** A wrong kind or size of value in the words of the documentation, which name the unit; undefined: the issue says more itself. */
function wanted(
  issue: z.core.$ZodIssue,
  path: readonly string[],
  layer: Layer | undefined,
  keys: readonly KeySpec[],
): string | undefined {
  const found = findKey(keys, path);
  // What a table of names has under one of them.
  const member = found !== undefined && found.path.length < path.length;
  const key = member ? { ...found, kind: found.member ?? "string", member: undefined } : found;
  const size = issue.code === "too_big" || issue.code === "too_small";
  const kind = issue.code === "invalid_type" || issue.code === "invalid_value";
  // How long a text or a list may be stands in the issue alone.
  if (
    key === undefined ||
    !usualWords.test(issue.message) ||
    !(kind || (size && /^(number|int)$/.test(issue.origin)))
  )
    return undefined;
  const value = valueAt(layer?.values, path);
  const got =
    value === undefined ? "missing" : key.secret || key.secretFile ? "wrong" : `got ${tomlValue(value)}`;
  return `${got}, expected ${typeText(key)} (${key.description})`;
}

/** `subject`: what is named where no layer says anything. @throws SubletError INVALID_ARGUMENT, one complaint a line. */
export function checkLayers<S extends z.ZodType>(
  schema: S,
  layers: readonly Layer[],
  subject: string,
): Loaded<z.output<S>> {
  const keys = keysOf(schema);
  const merged = layers.reduce((under: Values, { values }) => laid(under, values), {});
  const checked = schema.safeParse(merged);
  if (!checked.success) {
    const all = checked.error.issues.flatMap((issue) => complaints(issue, layers, keys, subject));
    throw new SubletError("INVALID_ARGUMENT", [...new Set(all)].join("\n"));
  }
  const settings = keys.map((key): Setting => {
    const layer = layers.findLast(({ values }) => valueAt(values, key.path) !== undefined);
    const value = valueAt(checked.data, key.path);
    if (layer === undefined) return { key, value, origin: { kind: "default", where: "" } };
    return { key, value, origin: { kind: layer.kind, where: layer.where(key.path) } };
  });
  const where = (path: readonly string[]): string => saying(layers, path).at(-1)?.where(path) ?? subject;
  return { raw: checked.data, settings, where };
}

/** The settings of one text alone, checked and with their defaults, keys as in the text. Throws like checkLayers. */
export function parseToml<S extends z.ZodType>(text: string, path: string, schema: S): z.output<S> {
  return checkLayers(schema, [tomlLayer(text, path)], path).raw;
}
