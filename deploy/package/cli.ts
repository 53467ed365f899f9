/**
 * Bundles the command into few files: of 300 modules each would be looked for, read and compiled at every start. What a
 * command does stays in files of its own, loaded when it runs. Two builds give the same bytes.
 *
 *   cli.ts DESTINATION      writes DESTINATION/src/cli/main.js and what it loads; beside it belong package.json, node_modules
 */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";

const root = join(import.meta.dirname, "../..");

/** Above the one file that looks for it; each call takes a start time. */
const requireForCommonJs =
  'import{createRequire}from"node:module";const require=createRequire(import.meta.url);';

export async function bundleCommand(destination: string): Promise<void> {
  const outdir = join(destination, "src/cli");
  rmSync(outdir, { recursive: true, force: true });
  const result = await build({
    absWorkingDir: root,
    // Names have a hash that paths go into: a node_modules that is a link is the same node_modules.
    preserveSymlinks: true,
    entryPoints: [join(root, "src/cli/main.ts")],
    outdir,
    bundle: true,
    splitting: true,
    format: "esm",
    platform: "node",
    target: "node24",
    minifySyntax: true,
    minifyWhitespace: true,
    legalComments: "none", // the packages' licences are installed with them
    // A native module, what only some commands need, and what grpc-js loads for services that we do not have.
    external: ["koffi", "execa", "mysql2", "@grpc/proto-loader"],
    logLevel: "warning",
    write: false,
  });
  mkdirSync(outdir, { recursive: true });
  for (const { path, text } of result.outputFiles)
    writeFileSync(path, text.includes("typeof require") ? `${requireForCommonJs}\n${text}` : text);
}

if (import.meta.main) {
  const [destination] = process.argv.slice(2);
  if (destination === undefined) throw new Error("usage: cli.ts DESTINATION");
  await bundleCommand(destination);
}
