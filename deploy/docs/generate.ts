/** Writes the files that are generated from schemas and tables in the code; a unit test fails when they drift. */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { pages } from "./pages.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
for (const [path, text] of pages()) {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), text);
}
