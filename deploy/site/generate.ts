/**
 * `npm run docs:site [-- FOLDER]`: build/site (or FOLDER) from README.md, ARCHITECTURE.md, CHANGELOG.md and docs/. Plain files that need nothing from
 * elsewhere: they open from a disk as well as from any web server, and obey a strict Content-Security-Policy. The search
 * index is a script, since a page that was opened from a disk may not fetch.
 */
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import MiniSearch from "minisearch";
import { type ImageSize, type Page, readPageFile } from "./markdown.ts";
import { entries, pageOf } from "./navigation.ts";
import { htmlOf } from "./page.ts";
import { type Entry, options } from "./search.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const here = join(root, "deploy/site");
const font = "node_modules/@fontsource-variable/inter/files/inter-latin-wght-normal.woff2";

/** Of a PNG, from its first chunk. */
const imageSize: ImageSize = (path) => {
  const file = join(root, path);
  if (!path.endsWith(".png") || !existsSync(file)) return undefined;
  const bytes = readFileSync(file);
  return { width: bytes.readUInt32BE(16), height: bytes.readUInt32BE(20) };
};

function searchEntries(pages: readonly Page[]): Entry[] {
  return pages
    .flatMap((page) =>
      page.sections.map(({ level, text, anchor, body }) => ({
        page: page.title,
        href: `${pageOf(page.source)}${level === 1 ? "" : `#${anchor}`}`,
        heading: text,
        body: body.replace(/\s+/g, " "),
      })),
    )
    .map((entry, id) => ({ id, ...entry }));
}

function searchScript(pages: readonly Page[]): string {
  const search = new MiniSearch<Entry>(options);
  search.addAll(searchEntries(pages));
  return `window.subletSearch = ${JSON.stringify(JSON.stringify(search))};\n`;
}

/** Writes the site and gives its pages. */
export async function generate(out: string): Promise<readonly Page[]> {
  rmSync(out, { recursive: true, force: true });
  mkdirSync(join(out, "assets"), { recursive: true });
  mkdirSync(join(out, "images"));
  const pages = entries.map(({ source }) => readPageFile(root, source, imageSize));
  for (const page of pages) writeFileSync(join(out, pageOf(page.source)), htmlOf(page));
  for (const name of readdirSync(join(root, "docs/images")))
    copyFileSync(join(root, "docs/images", name), join(out, "images", name));
  copyFileSync(join(root, font), join(out, "assets/inter.woff2"));
  copyFileSync(join(root, "src/dashboard/page/icon.svg"), join(out, "assets/icon.svg"));
  copyFileSync(join(here, "site.css"), join(out, "assets/site.css"));
  writeFileSync(join(out, "assets/search.js"), searchScript(pages));
  await build({
    entryPoints: [join(here, "browser/site.ts"), join(here, "browser/theme.ts")],
    outdir: join(out, "assets"),
    bundle: true,
    minify: true,
    format: "iife",
    target: "es2022",
    logLevel: "warning",
  });
  return pages;
}

if (import.meta.main) {
  const out = process.argv[2] ?? join(root, "build/site");
  const pages = await generate(out);
  process.stdout.write(`${pages.length} pages: ${join(out, "index.html")}\n`);
}
