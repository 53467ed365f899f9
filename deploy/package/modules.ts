/**
 * Copies what of node_modules runs in an installed system: the production packages of package-lock.json, their code,
 * data and licences, and of koffi's native modules the one for this platform. What only the accounting needs lies beside it:
 * compute nodes have no controller.
 *
 *   modules.ts ROOT DESTINATION      ROOT holds package-lock.json and node_modules; DESTINATION gets node_modules and src/accounting/node_modules
 */
import { cpSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";

interface Locked {
  readonly dev?: boolean;
  readonly optional?: boolean;
  readonly dependencies?: Readonly<Record<string, string>>;
}

/** The driver of MariaDB, loaded by src/accounting alone. */
const accountings = "mysql2";

/** Declared by somebody, loaded by nothing of ours (test/packages loads every module to show it). */
const unused = new Set([
  "node-cron",
  "systeminformation",
  // The command line of proto-loader.
  "yargs",
  "yargs-parser",
  "cliui",
  "y18n",
  "escalade",
  "get-caller-file",
  "require-directory",
  "string-width",
  "strip-ansi",
  "wrap-ansi",
  "ansi-regex",
  "ansi-styles",
  "color-convert",
  "color-name",
  "emoji-regex",
  "is-fullwidth-code-point",
]);

/** Folders at the top of a package that are for its authors, and those of types. */
const authors = /^(test|tests|docs?|benchmarks?|examples?|vendor|bin|scripts|coverage|\.github|cli|gen)$/;
const wanted = /(\.(js|cjs|mjs|json|proto)|^licen[cs]e.*|^copying.*|^notice.*)$/i;

function isWanted(name: string, path: readonly string[], file: string): boolean {
  if (path.length > 0 && authors.test(path[0] ?? "")) return false;
  if (file.endsWith(".node")) return path.join("/") === "build/koffi/linux_x64";
  if (name === "pino" && file === "bin.js") return false;
  if (/\.(test|spec|min)\.[cm]?js$|(^|\.)(tsconfig|eslint|biome)|^tsdoc/.test(file)) return false;
  // Modules for bundlers; Node loads the others.
  if (name === "@opentelemetry/api" && /^build\/(esm|esnext)/.test(path.join("/"))) return false;
  if (name === "zod" && (/^(v3|v4-mini|mini)$/.test(path[0] ?? "") || file.endsWith(".cjs"))) return false;
  if (name === "koffi" && path[0] === "src") return false;
  if (name === "@grpc/proto-loader" && path.join("/") === "build/bin") return false;
  if (name === "protobufjs" && path[0] === "dist") return false;
  return wanted.test(file);
}

function copyPackage(root: string, name: string, destination: string): void {
  const walk = (path: readonly string[]): void => {
    for (const entry of readdirSync(join(root, ...path), { withFileTypes: true })) {
      if (entry.name === "node_modules") continue; // has an entry of its own in the lock file
      if (entry.isDirectory()) walk([...path, entry.name]);
      else if (isWanted(name, path, entry.name)) {
        const to = join(destination, ...path, entry.name);
        mkdirSync(dirname(to), { recursive: true });
        cpSync(join(root, ...path, entry.name), to);
      }
    }
  };
  walk([]);
}

const [root, destination] = process.argv.slice(2);
if (root === undefined || destination === undefined) throw new Error("usage: modules.ts ROOT DESTINATION");
const lock: { packages: Record<string, Locked> } = JSON.parse(
  readFileSync(join(root, "package-lock.json"), "utf8"),
);

/** Names of packages at the top that these need, and they themselves. */
function neededBy(names: readonly string[]): Set<string> {
  const needed = new Set(names);
  for (const name of needed)
    for (const each of Object.keys(lock.packages[`node_modules/${name}`]?.dependencies ?? {}))
      needed.add(each);
  return needed;
}

const direct = Object.keys(lock.packages[""]?.dependencies ?? {});
const everybodys = neededBy(direct.filter((name) => name !== accountings));
const onlyAccountings = new Set([...neededBy([accountings])].filter((name) => !everybodys.has(name)));
for (const [path, { dev, optional }] of Object.entries(lock.packages)) {
  const name = path.slice(path.lastIndexOf("node_modules/") + "node_modules/".length);
  if (path === "" || dev === true || optional === true || unused.has(name) || name.startsWith("@types/"))
    continue;
  const top = /^node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1] ?? "";
  copyPackage(
    join(root, path),
    name,
    join(destination, onlyAccountings.has(top) ? "src/accounting" : "", path),
  );
}
