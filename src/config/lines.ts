/** On which line of a TOML file a key is set, for complaints. The parser has accepted the file before; this only looks. */

const name = `(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')`;
const dotted = String.raw`${name}(?:\s*\.\s*${name})*`;
const header = new RegExp(String.raw`^\s*\[\[?\s*(${dotted})\s*\]`);
const assignment = new RegExp(String.raw`^\s*(${dotted})\s*=(.*)$`);

function namesOf(text: string): string[] {
  return [...text.matchAll(new RegExp(name, "g"))].map(([each]) => each.replace(/^["']|["']$/g, ""));
}

export type LineIndex = ReadonlyMap<string, number>;

const keyOf = (path: readonly string[]): string => path.join("\0");

/** Lines, from 1, of tables and keys. */
export function linesOf(text: string): LineIndex {
  const lines = new Map<string, number>();
  let table: string[] = [];
  let quoted: string | undefined;
  const note = (path: readonly string[], line: number): void => {
    for (let length = 1; length <= path.length; length++) {
      const key = keyOf(path.slice(0, length));
      if (length === path.length || !lines.has(key)) lines.set(key, line);
    }
  };
  for (const [index, line] of text.split("\n").entries()) {
    if (quoted !== undefined) {
      if (line.includes(quoted)) quoted = undefined;
      continue;
    }
    const [, opened] = header.exec(line) ?? [];
    const [, assigned, value = ""] = assignment.exec(line) ?? [];
    if (opened !== undefined) {
      table = namesOf(opened);
      note(table, index + 1);
    } else if (assigned !== undefined) note([...table, ...namesOf(assigned)], index + 1);
    quoted = ['"""', "'''"].find((mark) => value.split(mark).length === 2);
  }
  return lines;
}

/** Of the key, else of the nearest table around it; undefined: the file has nothing of it. */
export function lineOf(lines: LineIndex, path: readonly string[]): number | undefined {
  for (let length = path.length; length > 0; length--) {
    const line = lines.get(keyOf(path.slice(0, length)));
    if (line !== undefined) return line;
  }
  return undefined;
}
