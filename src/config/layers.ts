/**
 * Where settings come from, each source as a layer: the file, its drop-ins, the environment, the flags. Later layers win,
 * key by key; lists are replaced as a whole, tables of names grow.
 *
 * Drop-ins of `agent.toml` are `agent.conf.d/*.toml` beside it, in the order of their names. A folder per file, as systemd
 * has it, and not one `conf.d` for all: a node that is also the controller's host has both files in one folder, and a drop-in
 * must not reach a daemon by accident. Names that begin with a dot or do not end in .toml (editors' copies, packages'
 * leftovers) are passed over.
 */
import { readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { parse, TomlError } from "smol-toml";
import { SubletError } from "../common/errors.ts";
import { findKey, type KeySpec } from "./keys.ts";
import { lineOf, linesOf } from "./lines.ts";
import { typed } from "./typed.ts";

export type Environment = Readonly<Record<string, string | undefined>>;
export type LayerKind = "file" | "drop-in" | "environment" | "flag";
export type Values = Record<string, unknown>;

export interface Layer {
  readonly kind: LayerKind;
  readonly values: Values;
  /** For complaints and for who asks where a setting came from: "file:line", a variable, a flag. */
  where(path: readonly string[]): string;
}

/** `key=value` of the command line. `flag`: how it was written there. */
export interface Flag {
  readonly flag: string;
  readonly key: string;
  readonly text: string;
}

export function isTable(value: unknown): value is Values {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Date);
}

function put(values: Values, path: readonly string[], value: unknown): void {
  const [first = "", ...rest] = path;
  if (rest.length === 0) values[first] = value;
  else {
    const inner = isTable(values[first]) ? values[first] : Object.create(null);
    values[first] = inner;
    put(inner, rest, value);
  }
}

/** @throws SubletError INVALID_ARGUMENT with line and column when it is not TOML. */
export function tomlLayer(text: string, path: string, kind: LayerKind = "file"): Layer {
  let values: Values;
  try {
    values = parse(text);
  } catch (cause) {
    if (!(cause instanceof TomlError)) throw cause;
    const why = cause.message.split("\n")[0];
    throw new SubletError("INVALID_ARGUMENT", `${path}:${cause.line}:${cause.column}: ${why}`, { cause });
  }
  const lines = linesOf(text);
  return {
    kind,
    values,
    where(keyPath) {
      const line = lineOf(lines, keyPath);
      return line === undefined ? path : `${path}:${line}`;
    },
  };
}

export interface FileText {
  readonly path: string;
  readonly text: string;
}

/** @throws SubletError FAILED_PRECONDITION. */
export function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    const why = (cause as NodeJS.ErrnoException).code === "ENOENT" ? "is not there" : "cannot be read";
    throw new SubletError("FAILED_PRECONDITION", `config ${path} ${why}`, { cause });
  }
}

export function dropInFolder(path: string): string {
  return join(dirname(path), `${basename(path).replace(/\.toml$/, "")}.conf.d`);
}

/** In the order in which they apply. @throws SubletError FAILED_PRECONDITION when the folder is there and cannot be read. */
export function dropInsOf(path: string): string[] {
  const folder = dropInFolder(path);
  try {
    const names = readdirSync(folder).filter((each) => each.endsWith(".toml") && !each.startsWith("."));
    return names.sort().map((each) => join(folder, each));
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code;
    if (code === "ENOENT" || code === "ENOTDIR") return [];
    throw new SubletError("FAILED_PRECONDITION", `config ${folder} cannot be read`, { cause });
  }
}

/** Fixed names in lower case; a name that the site chose stays as it is written. */
function pathOfVariable(rest: string, keys: readonly KeySpec[]): string[] {
  const parts = rest.split("__");
  const path: string[] = [];
  for (const part of parts) {
    const chosen = keys.some((each) => each.kind === "names" && each.key === path.join("."));
    path.push(chosen ? part : part.toLowerCase());
  }
  return path;
}

/**
 * Variables that begin with `prefix`; tables are parted by two underscores.
 * `known`: others are passed over instead of refused, where the prefix is not ours alone.
 */
export function environmentLayer(
  environment: Environment,
  prefix: string,
  keys: readonly KeySpec[],
  known: "known" | readonly string[] = [],
): Layer {
  const values: Values = Object.create(null);
  const variables = new Map<string, string>();
  for (const [variable, text] of Object.entries(environment)) {
    if (text === undefined || !variable.startsWith(prefix) || variable === prefix) continue;
    const path = pathOfVariable(variable.slice(prefix.length), keys);
    const key = findKey(keys, path);
    if (key === undefined && (known === "known" || known.includes(variable))) continue;
    put(values, path, typed(text, key, path));
    variables.set(path.join("."), variable);
  }
  return {
    kind: "environment",
    values,
    where: (path) => variables.get(path.join(".")) ?? variables.get(path.slice(0, -1).join(".")) ?? prefix,
  };
}

export function flagLayer(flags: readonly Flag[], keys: readonly KeySpec[]): Layer {
  const values: Values = Object.create(null);
  const names = new Map<string, string>();
  for (const { flag, key, text } of flags) {
    const path = key.split(".");
    put(values, path, typed(text, findKey(keys, path), path));
    names.set(key, flag);
  }
  return { kind: "flag", values, where: (path) => names.get(path.join(".")) ?? "flags" };
}
