/**
 * What a page of Markdown holds: HTML for the site, headings with the anchors that GitHub gives them, links, fenced and
 * indented blocks, and text by section for the search. Links between pages lead to pages of the site; those to other
 * files of the tree, which the site does not have, are shown as what they say.
 */
import { readFileSync } from "node:fs";
import { posix } from "node:path";
import MarkdownIt, { type Token } from "markdown-it";
import { entries, pageOf } from "./navigation.ts";

export interface Heading {
  readonly level: number;
  readonly text: string;
  readonly anchor: string;
}

export interface Section extends Heading {
  /** All that stands below it, as words. */
  readonly body: string;
}

export interface Block {
  /** "c", "toml", "" where nothing is said. */
  readonly language: string;
  readonly text: string;
  /** Of its first line in the file, from 1. */
  readonly line: number;
}

export interface Page {
  readonly source: string;
  readonly title: string;
  readonly html: string;
  readonly headings: readonly Heading[];
  readonly sections: readonly Section[];
  readonly blocks: readonly Block[];
  /** Code within sentences and tables. */
  readonly words: readonly string[];
  /** As written: addresses of links and images. */
  readonly links: readonly string[];
}

/** Width and height of an image of the tree, so that a page does not move when it is there. */
export type ImageSize = (path: string) => { readonly width: number; readonly height: number } | undefined;

/** Where an address leads in the tree; undefined where it leaves it. */
export function target(source: string, href: string): { path: string; anchor: string } | undefined {
  if (/^[a-z][a-z0-9+.-]*:|^\/\//i.test(href)) return undefined;
  const [path = "", anchor = ""] = href.split("#", 2);
  return { path: path === "" ? source : posix.join(posix.dirname(source), path), anchor };
}

/** As GitHub names the anchor of a heading, the n-th of its kind. */
export function anchorOf(text: string, taken: Map<string, number>): string {
  const base = text
    .trim()
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\p{M} _-]/gu, "")
    .replace(/ /g, "-");
  const before = taken.get(base);
  taken.set(base, (before ?? 0) + 1);
  return before === undefined ? base : `${base}-${before}`;
}

function attribute(token: Token | undefined, name: string): string {
  return String(token?.attrGet(name) ?? "");
}

export function plain(token: Token | undefined): string {
  return (token?.children ?? [])
    .map((each) => (each.type === "softbreak" ? " " : each.type === "html_inline" ? "" : each.content))
    .join("");
}

const pages: ReadonlySet<string> = new Set(entries.map(({ source }) => source));

function hrefInSite(source: string, href: string): string | undefined {
  const to = target(source, href);
  if (to === undefined) return href;
  if (!pages.has(to.path)) return undefined;
  const anchor = to.anchor === "" ? "" : `#${to.anchor}`;
  return to.path === source && anchor !== "" ? anchor : `${pageOf(to.path)}${anchor}`;
}

function relink(source: string, children: readonly Token[]): void {
  let closing = "a";
  for (const token of children) {
    if (token.type === "link_open") {
      const href = hrefInSite(source, attribute(token, "href"));
      closing = href === undefined ? "span" : "a";
      if (href !== undefined) token.attrSet("href", href);
      else token.attrs = null;
      token.tag = closing;
    } else if (token.type === "link_close") token.tag = closing;
  }
}

function imageInSite(source: string, src: string): string {
  return `images/${posix.basename(target(source, src)?.path ?? src)}`;
}

function placeImages(source: string, children: readonly Token[], size: ImageSize): void {
  for (const token of children) {
    if (token.type === "image") {
      const path = target(source, attribute(token, "src"))?.path ?? "";
      const { width, height } = size(path) ?? {};
      token.attrSet("src", imageInSite(source, path));
      token.attrSet("loading", "lazy");
      if (width !== undefined) token.attrSet("width", String(width));
      if (height !== undefined) token.attrSet("height", String(height));
    } else if (token.type === "html_inline")
      token.content = token.content.replace(/src="([^"]+)"/, (_, src) => `src="${imageInSite(source, src)}"`);
  }
}

function linksIn(children: readonly Token[]): string[] {
  return children.flatMap((token) => {
    if (token.type === "link_open") return [attribute(token, "href")];
    if (token.type === "image") return [attribute(token, "src")];
    if (token.type === "html_inline")
      return [...token.content.matchAll(/(?:src|href)="([^"]+)"/g)].map((match) => match[1] ?? "");
    return [];
  });
}

function headingsOf(tokens: readonly Token[]): Heading[] {
  const taken = new Map<string, number>();
  const found: Heading[] = [];
  for (const [index, token] of tokens.entries()) {
    if (token.type !== "heading_open") continue;
    const text = plain(tokens[index + 1]);
    const anchor = anchorOf(text, taken);
    token.attrSet("id", anchor);
    found.push({ level: Number(token.tag.slice(1)), text, anchor });
  }
  return found;
}

function sectionsOf(tokens: readonly Token[], headings: readonly Heading[]): Section[] {
  const bodies: string[][] = headings.map(() => []);
  let at = -1;
  let inHeading = false;
  for (const token of tokens) {
    if (token.type === "heading_open") {
      at++;
      inHeading = true;
    } else if (token.type === "heading_close") inHeading = false;
    else if (!inHeading && token.type === "inline") bodies[at]?.push(plain(token));
    else if (token.type === "fence" || token.type === "code_block") bodies[at]?.push(token.content);
  }
  return headings.map((heading, index) => ({ ...heading, body: bodies[index]?.join("\n") ?? "" }));
}

/**
 * Phones show each row as a block of its own, where every cell says what it is; roles keep it a table for readers of
 * screens. Tables of two columns fit as they are.
 */
function labelCells(tokens: readonly Token[]): void {
  let titles: string[] = [];
  let column = 0;
  for (const [index, token] of tokens.entries()) {
    if (token.type === "thead_open") titles = [];
    else if (token.type === "tr_open") {
      column = 0;
      token.attrSet("role", "row");
    } else if (token.type === "th_open") {
      const title = plain(tokens[index + 1]);
      titles.push(title);
      // A column without a title has no header, and not an empty one.
      const close = tokens[index + 2];
      if (title === "" && close?.type === "th_close") token.tag = close.tag = "td";
      token.attrSet("role", title === "" ? "cell" : "columnheader");
    } else if (token.type === "td_open") {
      token.attrSet("role", "cell");
      token.attrSet("data-label", titles[column++] ?? "");
    }
  }
}

/** Columns of the table that begins at `index`. */
function columnsOf(tokens: readonly Token[], index: number): number {
  const end = tokens.findIndex((token, at) => at > index && token.type === "thead_close");
  return tokens.slice(index, end).filter((token) => token.type === "th_open").length;
}

function renderer(): ReturnType<typeof MarkdownIt> {
  const markdown = new MarkdownIt({ html: true, linkify: false, typographer: false });
  const { rules } = markdown.renderer;
  // Wide tables and long lines scroll by themselves, by keyboard too; the page never does.
  rules.table_open = (tokens, index) =>
    `<div class="scroll" tabindex="0" role="group" aria-label="Table">` +
    `<table role="table"${columnsOf(tokens, index) > 2 ? ' class="wide"' : ""}>`;
  rules.table_close = () => "</table></div>";
  rules.heading_close = (tokens, index) => {
    const anchor = attribute(tokens[index - 2], "id");
    const tag = tokens[index]?.tag ?? "";
    return tag === "h1"
      ? "</h1>\n"
      : ` <a class="anchor" href="#${anchor}" aria-label="Link to this section">#</a></${tag}>\n`;
  };
  const code = (text: string): string =>
    `<div class="code"><pre tabindex="0"><code>${markdown.utils.escapeHtml(text)}</code></pre></div>\n`;
  rules.fence = (tokens, index) => code(tokens[index]?.content ?? "");
  rules.code_block = rules.fence;
  return markdown;
}

export function readPage(source: string, text: string, size: ImageSize = () => undefined): Page {
  const markdown = renderer();
  const tokens = markdown.parse(text, {});
  const inline = tokens.filter((token) => token.type === "inline").map((token) => token.children ?? []);
  const links = inline.flatMap(linksIn);
  const headings = headingsOf(tokens);
  const sections = sectionsOf(tokens, headings);
  labelCells(tokens);
  for (const children of inline) {
    relink(source, children);
    placeImages(source, children, size);
  }
  for (const token of tokens)
    if (token.type === "html_block")
      token.content = token.content.replace(/src="([^"]+)"/g, (_, src) => {
        links.push(src);
        return `src="${imageInSite(source, src)}"`;
      });
  return {
    source,
    title: headings[0]?.text ?? source,
    html: markdown.renderer.render(tokens, markdown.options, {}),
    headings,
    sections,
    blocks: tokens
      .filter((token) => token.type === "fence" || token.type === "code_block")
      .map((token) => ({
        language: token.info.trim().split(/\s+/)[0] ?? "",
        text: token.content,
        line: (token.map?.[0] ?? 0) + (token.type === "fence" ? 2 : 1),
      })),
    words: inline.flat().flatMap((token) => (token.type === "code_inline" ? [token.content] : [])),
    links,
  };
}

export function readPageFile(root: string, source: string, size?: ImageSize): Page {
  return readPage(source, readFileSync(posix.join(root, source), "utf8"), size);
}
