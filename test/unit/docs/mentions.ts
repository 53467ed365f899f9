/** What the pages say that can be checked: command lines, as shells would split them, settings, paths and names. */
import type { Page } from "../../../deploy/site/markdown.ts";

export interface Mention {
  /** "docs/install.md:31", for messages. */
  readonly where: string;
  readonly text: string;
}

/** One simple command: its words, quotes taken off. */
export interface CommandLine extends Mention {
  readonly words: readonly string[];
}

export interface TomlBlock extends Mention {
  /** "agent" where the page says into which file it goes. */
  readonly file: string | undefined;
}

const separators = new Set(["|", "||", "&&", "&", ";", ">", ">>", "<", "2>"]);

/** Words of a line; what separates commands stands alone; a comment ends it. */
export function shellWords(line: string): string[] {
  const words: string[] = [];
  const pattern = /\s+|#.*$|&&|\|\||>>|[|;&<>]|(?:"(?:\\.|[^"\\])*"|'[^']*'|\$\([^)]*\)|\\.|[^\s|;&<>"'])+/g;
  let fresh = true;
  for (const [piece] of line.matchAll(pattern)) {
    if (/^\s/.test(piece)) fresh = true;
    else if (piece.startsWith("#") && fresh) break;
    else {
      words.push(piece.replace(/"((?:\\.|[^"\\])*)"|'([^']*)'/g, (_, double, single) => double ?? single));
      fresh = false;
    }
  }
  return words;
}

function simpleCommands(line: string): string[][] {
  const commands: string[][] = [[]];
  let skip = false;
  for (const word of shellWords(line)) {
    if (skip) skip = false;
    else if (word === ">" || word === ">>" || word === "<") skip = true;
    else if (separators.has(word)) commands.push([]);
    else commands.at(-1)?.push(word);
  }
  const within = [...line.matchAll(/\$\(([^)]*)\)/g)].flatMap((match) => simpleCommands(match[1] ?? ""));
  return [
    ...commands.map((words) => words.slice(words.findIndex((word) => !/^[A-Za-z_]+=/.test(word)))),
    ...within,
  ].filter((words) => words.length > 0);
}

interface Line {
  readonly text: string;
  readonly number: number;
}

/** Lines of a block; those that end with a backslash go on. */
function joined(text: string, first: number): Line[] {
  const lines: Line[] = [];
  let open = false;
  for (const [at, line] of text.split("\n").entries()) {
    const last = lines.at(-1);
    const part = line.replace(/\\$/, "");
    if (open && last !== undefined) lines[lines.length - 1] = { ...last, text: `${last.text}${part}` };
    else lines.push({ text: part, number: first + at });
    open = line.endsWith("\\");
  }
  return lines;
}

/** Here-documents: what goes into which file. The rest of the block is shell. */
function withoutDocuments(lines: readonly Line[]): { shell: Line[]; documents: (Line & { into: string })[] } {
  const shell: Line[] = [];
  const documents: (Line & { into: string })[] = [];
  let end = "";
  for (const line of lines) {
    const begins = /^cat > (\S+) << '(\w+)'$/.exec(line.text);
    if (end === "" && begins !== null) {
      end = begins[2] ?? "";
      documents.push({ text: "", number: line.number + 1, into: begins[1] ?? "" });
    } else if (end === "") shell.push(line);
    else if (line.text === end) end = "";
    else {
      const open = documents.at(-1);
      if (open !== undefined)
        documents[documents.length - 1] = { ...open, text: `${open.text}${line.text}\n` };
    }
  }
  return { shell, documents };
}

const settingLine = /^(\[\[?[a-z_.]+\]\]?|[a-z][a-z0-9_.]*\s*=\s\S.*)\s*(#.*)?$/;

/** Ours are lower-case names with blanks around "=": slurm.conf has neither. */
function isToml(language: string, text: string): boolean {
  if (language === "toml") return true;
  const lines = text.split("\n").filter((line) => line.trim() !== "" && !line.trim().startsWith("#"));
  return language === "" && lines.length > 0 && lines.every((line) => settingLine.test(line));
}

const shellLanguages = new Set(["", "sh", "bash", "shell", "console"]);

export function isShell({ language, text }: Page["blocks"][number]): boolean {
  return shellLanguages.has(language) && !isToml(language, text);
}

export function commandLines(page: Page): CommandLine[] {
  return page.blocks.filter(isShell).flatMap(({ text, line }) =>
    withoutDocuments(joined(text, line)).shell.flatMap(({ text: each, number }) =>
      simpleCommands(each).map((words) => ({
        where: `${page.source}:${number}`,
        text: each.trim(),
        words,
      })),
    ),
  );
}

/** Command lines within sentences and tables, where some words stand for others. */
export function commandWords(page: Page): CommandLine[] {
  return page.words.flatMap((text) =>
    simpleCommands(text.replace(/\\\|/g, "|")).map((words) => ({ where: page.source, text, words })),
  );
}

export function tomlBlocks(page: Page): TomlBlock[] {
  return page.blocks.flatMap(({ language, text, line }) => {
    if (isToml(language, text)) {
      const file = /^# (agent|controller|guard|sublet)\.toml/.exec(text)?.[1];
      return [{ where: `${page.source}:${line}`, text, file }];
    }
    if (!shellLanguages.has(language)) return [];
    return withoutDocuments(joined(text, line))
      .documents.filter(({ into }) => into.endsWith(".toml"))
      .map((each) => ({
        where: `${page.source}:${each.number}`,
        text: each.text,
        file: /(agent|controller|guard|sublet)(\.conf\.d\/[^/]+)?\.toml$/.exec(each.into)?.[1],
      }));
  });
}
