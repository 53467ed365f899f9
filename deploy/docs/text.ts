/** What all generated pages say of a key in the same words. */
import type { KeySpec } from "../../src/config/keys.ts";
import { tomlValue } from "../../src/config/show.ts";

const kinds = {
  string: "text",
  integer: "whole number",
  number: "number",
  boolean: "true or false",
  list: "list",
  names: "table of names",
} as const;

/** "whole number, 1 to 64", "one of a, b". */
export function typeText(key: KeySpec): string {
  const of = key.member === undefined || key.words.length > 0 ? "" : ` of ${kinds[key.member]}`;
  const words =
    key.words.length === 0
      ? ""
      : `${key.member === undefined ? "one of" : " each one of"} ${key.words.map((word) => `"${word}"`).join(", ")}`;
  const base = key.words.length > 0 && key.member === undefined ? "" : `${kinds[key.kind]}${of}`;
  const { minimum, maximum } = key;
  const bounds =
    minimum !== undefined && maximum !== undefined
      ? `, ${minimum} to ${maximum}`
      : minimum !== undefined
        ? `, ${minimum} or more`
        : maximum !== undefined
          ? `, ${maximum} or less`
          : "";
  return `${base}${words}${bounds}`.trim();
}

export function defaultText(key: KeySpec): string {
  return key.default === undefined ? "" : tomlValue(key.default);
}

/** A sentence, from what the schema says. */
export function sentence(text: string): string {
  // A word that is a key, a value or a name stays as it is written.
  const begun = /^[a-z_]+[:=]|^[a-z][A-Z]/.test(text) ? text : text.slice(0, 1).toUpperCase() + text.slice(1);
  return /[.)]$/.test(begun) ? begun : `${begun}.`;
}
