/**
 * Bundles the command into one script: of 300 modules each would be looked for, read and compiled at every start. The script is
 * a function that src/cli/launch.ts calls. Two builds give the same bytes.
 *
 *   cli.ts DESTINATION      writes DESTINATION/src/cli/main.cjs, which Node is to run, and sublet.js; beside it belong package.json, node_modules
 */
import { createHash } from "node:crypto";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type BuildOptions, build } from "esbuild";

const root = join(import.meta.dirname, "../..");

async function bundle(entry: string, options: BuildOptions): Promise<string> {
  const result = await build({
    absWorkingDir: root,
    // Names have a hash that paths go into: a node_modules that is a link is the same node_modules.
    preserveSymlinks: true,
    entryPoints: [join(root, "src/cli", entry)],
    bundle: true,
    format: "cjs",
    platform: "node",
    target: "node24",
    minifySyntax: true,
    minifyWhitespace: true,
    legalComments: "none", // the packages' licences are installed with them
    charset: "ascii",
    logLevel: "warning",
    write: false,
    ...options,
  });
  return result.outputFiles?.[0]?.text ?? "";
}

export async function bundleCommand(destination: string): Promise<void> {
  const script = await bundle("process.ts", {
    // A native module, what only some commands need, and what grpc-js loads for services that we do not have.
    external: ["koffi", "execa", "mysql2", "@grpc/proto-loader"],
    define: { "import.meta.url": "scriptUrl" },
    banner: { js: "(function(module,require,scriptUrl){" },
    footer: { js: "})" },
  });
  const launch = await bundle("launch.ts", {
    define: {
      "import.meta.dirname": "__dirname",
      scriptDigest: JSON.stringify(createHash("sha256").update(script).digest("hex")),
    },
  });
  const outdir = join(destination, "src/cli");
  rmSync(outdir, { recursive: true, force: true });
  mkdirSync(outdir, { recursive: true });
  writeFileSync(join(outdir, "sublet.js"), script);
  writeFileSync(join(outdir, "main.cjs"), launch);
}

if (import.meta.main) {
  const [destination] = process.argv.slice(2);
  if (destination === undefined) throw new Error("usage: cli.ts DESTINATION");
  await bundleCommand(destination);
}
