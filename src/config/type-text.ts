/** What a key may be, in the words that pages, manuals and complaints share. */
import type { KeySpec } from "./keys.ts";

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
