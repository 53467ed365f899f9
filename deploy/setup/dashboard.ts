/**
 * Builds the dashboard's pages into build/dashboard: one script, one style sheet and a font, all with their content's
 * hash in the name, an index.html that names them, and each compressed beside itself (.gz, .br), so that the controller
 * compresses nothing. Two builds give the same bytes. Skipped when neither sources nor tools changed.
 */
import { createHash } from "node:crypto";
import {
  cpSync,
  existsSync,
  globSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { basename, join } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import { build } from "esbuild";

const root = join(import.meta.dirname, "../..");
const source = join(root, "src/dashboard/page");
const target = join(root, "build/dashboard");
const font = join(root, "node_modules/@fontsource-variable/inter/files/inter-latin-wght-normal.woff2");

/** Changes when anything changes that goes into the bundle. */
function inputHash(): string {
  const hash = createHash("sha256");
  const files = [
    ...globSync("**/*", { cwd: source, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name)),
    join(root, "src/dashboard/api.ts"),
    join(root, "package-lock.json"),
    import.meta.filename,
  ].sort();
  for (const file of files)
    hash.update(file.slice(root.length)).update("\0").update(readFileSync(file)).update("\0");
  return hash.digest("hex");
}

function hashed(name: string, content: Buffer): string {
  const [stem, ending] = [basename(name).replace(/\.[^.]*$/, ""), name.replace(/^.*\./, ".")];
  return `${stem}-${createHash("sha256").update(content).digest("hex").slice(0, 10)}${ending}`;
}

async function bundle(into: string): Promise<Record<"main" | "style" | "theme", string>> {
  const result = await build({
    absWorkingDir: root,
    // Names have a hash that paths go into: a node_modules that is a link is the same node_modules.
    preserveSymlinks: true,
    entryPoints: { main: join(source, "main.tsx"), theme: join(source, "theme.ts") },
    outdir: join(into, "assets"),
    bundle: true,
    minify: true,
    format: "esm",
    target: ["es2022", "chrome109", "firefox115", "safari16"],
    jsx: "automatic",
    jsxImportSource: "preact",
    alias: { "inter.woff2": font },
    loader: { ".woff2": "file" },
    entryNames: "[name]-[hash]",
    assetNames: "[name]-[hash]",
    legalComments: "linked",
    metafile: true,
    logLevel: "warning",
  });
  const names = Object.keys(result.metafile.outputs).map((path) => basename(path));
  const find = (pattern: RegExp) => `assets/${names.find((name) => pattern.test(name)) ?? ""}`;
  return { main: find(/^main-.*\.js$/), style: find(/^main-.*\.css$/), theme: find(/^theme-.*\.js$/) };
}

function writeIndex(into: string, parts: Record<"main" | "style" | "theme", string>): void {
  const icon = readFileSync(join(source, "icon.svg"));
  const iconName = `assets/${hashed("icon.svg", icon)}`;
  writeFileSync(join(into, iconName), icon);
  const [fontName = ""] = globSync("assets/*.woff2", { cwd: into });
  const values: Record<string, string> = { ...parts, icon: iconName, font: fontName };
  const html = readFileSync(join(source, "index.html"), "utf8").replaceAll(
    /\{\{(\w+)\}\}/g,
    (_, key: string) => {
      const value = values[key];
      if (!value) throw new Error(`the bundle has no ${key}`);
      return value;
    },
  );
  writeFileSync(join(into, "index.html"), html);
}

/** Writes .gz and .br beside everything that gets smaller; gives the sum of what a first visit loads, gzip. */
function compress(into: string): number {
  let sum = 0;
  for (const name of globSync("**/*.{js,css,svg,html}", { cwd: into }).sort()) {
    const content = readFileSync(join(into, name));
    const gzip = gzipSync(content, { level: 9 });
    writeFileSync(join(into, `${name}.gz`), gzip);
    writeFileSync(
      join(into, `${name}.br`),
      brotliCompressSync(content, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } }),
    );
    sum += gzip.length;
  }
  return sum;
}

const stamp = join(target, ".inputs.sha256");
const wanted = inputHash();
if (!existsSync(stamp) || readFileSync(stamp, "utf8") !== wanted) {
  const fresh = `${target}.new-${process.pid}`;
  mkdirSync(join(fresh, "assets"), { recursive: true });
  try {
    writeIndex(fresh, await bundle(fresh));
    const gzipBytes = compress(fresh);
    cpSync(
      join(root, "node_modules/@fontsource-variable/inter/LICENSE"),
      join(fresh, "assets/inter-license.txt"),
    );
    writeFileSync(join(fresh, ".inputs.sha256"), wanted);
    rmSync(target, { recursive: true, force: true });
    renameSync(fresh, target);
    const fontBytes = readFileSync(font).length;
    console.error(
      `setup: dashboard built, ${(gzipBytes / 1024).toFixed(1)} KiB gzip and a font of ${(fontBytes / 1024).toFixed(1)} KiB`,
    );
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
}
