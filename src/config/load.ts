/**
 * Reads a TOML file, lays `SUBLET_<KEY>` of the environment over it, and checks it against a schema. Every
 * complaint names file, line and key, and what to write instead; all complaints come at once.
 */
import { readFileSync } from "node:fs";
import { parse, TomlError } from "smol-toml";
import { z } from "zod";
import { SubletError } from "../common/errors.ts";
import { nearestWord } from "./nearest.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

/** Line (from 1) on which the file sets the key, or begins its table; undefined when another source does. */
function lineOf(text: string, keyPath: readonly PropertyKey[]): number | undefined {
  // Of `a.b.c` what the table [a.b] sets; of `a.b` what [a] sets.
  const names = keyPath.filter((key) => typeof key !== "number").map(String);
  const [first, second] = names.length > 2 ? [names.slice(0, -1).join("."), names.at(-1)] : names;
  if (first === undefined) return undefined;
  const escaped = (key: string): string => key.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  const lines = text.split("\n");
  const assigns = (key: string): RegExp => new RegExp(`^\\s*["']?${escaped(key)}["']?\\s*(=|\\.)`);
  const table = new RegExp(`^\\s*\\[\\s*${escaped(first)}\\s*[\\].]`);
  let inTable = false;
  let top = true;
  let tableLine: number | undefined;
  for (const [index, line] of lines.entries()) {
    if (/^\s*\[/.test(line)) {
      top = false;
      inTable = table.test(line);
      if (inTable && second === undefined) return index + 1;
      if (inTable) tableLine = index + 1;
      continue;
    }
    if (top && assigns(first).test(line)) return index + 1;
    if (inTable && second !== undefined && assigns(second).test(line)) return index + 1;
  }
  return tableLine;
}

/** The text of an environment variable as what its key wants. Lists are separated by commas. */
function fromEnvironment(text: string, schema: z.ZodType): unknown {
  const kind = innerKind(schema);
  if (kind === "number") return /^-?\d+$/.test(text.trim()) ? Number(text) : text;
  if (kind === "boolean") return text === "true" ? true : text === "false" ? false : text;
  if (kind === "array") {
    const parts = text.split(",").map((part) => part.trim());
    return parts.filter((part) => part !== "").map((part) => (/^\d+$/.test(part) ? Number(part) : part));
  }
  return text;
}

/** The schema without its default, or that it may be left out. */
function unwrapped(schema: unknown): unknown {
  let inner = schema;
  while (inner instanceof z.ZodOptional || inner instanceof z.ZodDefault || inner instanceof z.ZodPrefault)
    inner = inner.unwrap();
  return inner;
}

function innerKind(schema: z.ZodType): string {
  return (unwrapped(schema) as { def?: { type?: string } }).def?.type ?? "";
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    const why = (cause as NodeJS.ErrnoException).code === "ENOENT" ? "is not there" : "cannot be read";
    throw new SubletError("FAILED_PRECONDITION", `config ${path} ${why}`, { cause });
  }
}

/**
 * The settings of one file, checked and with their defaults, keys as in the file.
 * @throws SubletError FAILED_PRECONDITION (no such file), INVALID_ARGUMENT (anything wrong in it).
 */
export function loadToml<S extends z.ZodObject>(
  path: string,
  schema: S,
  environment: Environment,
): z.output<S> {
  return parseToml(readText(path), path, schema, environment);
}

export function parseToml<S extends z.ZodObject>(
  text: string,
  path: string,
  schema: S,
  environment: Environment,
): z.output<S> {
  let raw: Record<string, unknown>;
  try {
    raw = { ...parse(text) };
  } catch (cause) {
    if (!(cause instanceof TomlError)) throw cause;
    const why = cause.message.split("\n")[0];
    throw new SubletError("INVALID_ARGUMENT", `${path}:${cause.line}:${cause.column}: ${why}`, { cause });
  }
  const shape = schema.shape as Readonly<Record<string, z.ZodType>>;
  const fromVariable = new Map<string, string>();
  for (const [key, field] of Object.entries(shape)) {
    const variable = `SUBLET_${key.toUpperCase()}`;
    const value = environment[variable];
    if (value === undefined || innerKind(field) === "object") continue;
    raw[key] = fromEnvironment(value, field);
    fromVariable.set(key, variable);
  }
  const checked = schema.safeParse(raw);
  if (checked.success) return checked.data;
  const complaints = checked.error.issues.flatMap((issue) => {
    const paths =
      issue.code === "unrecognized_keys" ? issue.keys.map((key) => [...issue.path, key]) : [issue.path];
    return paths.map((keyPath) => {
      const variable = fromVariable.get(String(keyPath[0]));
      const line = lineOf(text, keyPath);
      const where = variable ?? (line === undefined ? path : `${path}:${line}`);
      const key = keyPath.join(".");
      if (issue.code !== "unrecognized_keys") return `${where}: ${key}: ${issue.message}`;
      return `${where}: unknown key ${key}${hint(keyPath, shape)}`;
    });
  });
  throw new SubletError("INVALID_ARGUMENT", complaints.join("\n"));
}

function hint(keyPath: readonly PropertyKey[], shape: Readonly<Record<string, z.ZodType>>): string {
  const key = String(keyPath.at(-1));
  let known = Object.keys(shape);
  if (keyPath.length > 1) {
    const inner = unwrapped(shape[String(keyPath[0])]);
    if (inner instanceof z.ZodObject) known = Object.keys(inner.shape);
  }
  const meant = nearestWord(key, known);
  return meant === undefined ? `; known keys: ${known.join(", ")}` : `; did you mean ${meant}?`;
}
