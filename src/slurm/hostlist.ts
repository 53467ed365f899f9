/**
 * Slurm host lists: `n1,gpu[01-03,7],r[1-2]c[0-3]`. Later brackets run fastest, leading zeros keep their width.
 * Bounded, since a list may come from a job's fields.
 */
import { SubletError } from "../common/errors.ts";

/** Most names that one list may stand for. */
export const maxHosts = 100_000;

const maxText = 1 << 20;

/** Expands a host list into names, in the order written; repeats stay. @throws SubletError INVALID_ARGUMENT. */
export function parseHostList(text: string): string[] {
  const bad = (why: string): SubletError =>
    new SubletError("INVALID_ARGUMENT", `host list ${JSON.stringify(text.slice(0, 80))}: ${why}`);
  if (text.length > maxText) throw bad("too long");
  const names: string[] = [];
  for (const part of splitOutside(text.trim(), bad)) {
    let expanded = [""];
    for (const piece of part.matchAll(/\[([^[\]]*)\]|([^[\]]+)/g)) {
      const choices = piece[2] === undefined ? expandRanges(piece[1] ?? "", bad) : [piece[2]];
      if (names.length + expanded.length * choices.length > maxHosts)
        throw bad(`more than ${maxHosts} names`);
      expanded = expanded.flatMap((head) => choices.map((tail) => head + tail));
    }
    for (const name of expanded) names.push(name);
  }
  return names;
}

/** Splits at commas outside brackets; every bracket must close, every part hold plain name characters. */
function splitOutside(text: string, bad: (why: string) => SubletError): string[] {
  if (text === "") return [];
  const parts: string[] = [];
  let inside = false;
  let start = 0;
  for (let i = 0; i <= text.length; i++) {
    const c = text[i];
    if (c === undefined ? inside : c === "[" ? inside : c === "]" && !inside)
      throw bad("brackets do not match");
    if (c === "[") inside = true;
    else if (c === "]") inside = false;
    else if (c === undefined || (c === "," && !inside)) {
      const part = text.slice(start, i);
      if (!/^[A-Za-z0-9._[\],-]+$/.test(part)) throw bad(`cannot read ${JSON.stringify(part.slice(0, 20))}`);
      parts.push(part);
      start = i + 1;
    }
  }
  return parts;
}

function expandRanges(text: string, bad: (why: string) => SubletError): string[] {
  const numbers: string[] = [];
  for (const range of text.split(",")) {
    const match = /^(\d{1,9})(?:-(\d{1,9}))?$/.exec(range);
    const first = match?.[1];
    if (first === undefined) throw bad(`cannot read range ${JSON.stringify(range.slice(0, 20))}`);
    const last = Number(match?.[2] ?? first);
    if (last < Number(first)) throw bad(`range ${range} runs backwards`);
    if (numbers.length + last - Number(first) >= maxHosts) throw bad(`more than ${maxHosts} names`);
    for (let n = Number(first); n <= last; n++) numbers.push(String(n).padStart(first.length, "0"));
  }
  return numbers;
}
