/** The text of a variable or a flag as what its key wants; what does not fit stays a text, and the schema complains. */
import { parse } from "smol-toml";
import type { KeySpec, ValueKind } from "./keys.ts";

function one(text: string, kind: ValueKind | undefined): unknown {
  if (kind === "integer") return /^-?\d+$/.test(text.trim()) ? Number(text) : text;
  if (kind === "number") return /^-?\d+(\.\d+)?$/.test(text.trim()) ? Number(text) : text;
  if (kind === "boolean") return text === "true" ? true : text === "false" ? false : text;
  return text;
}

function asToml(text: string): unknown {
  try {
    return parse(`value = ${text}`).value;
  } catch {
    return text;
  }
}

/** Lists are `a,b` or TOML's `["a", "b"]`; tables of names TOML's `{ a = "b" }`. */
export function typed(text: string, key: KeySpec | undefined, path: readonly string[]): unknown {
  if (key === undefined) return text;
  if (path.length > key.path.length) return one(text, key.member);
  if (key.kind === "names") return asToml(text);
  if (key.kind !== "list") return one(text, key.kind);
  if (text.trim().startsWith("[")) return asToml(text);
  const parts = text.split(",").map((part) => part.trim());
  return parts.filter((part) => part !== "").map((part) => one(part, key.member));
}
