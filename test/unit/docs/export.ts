/** `export.ts PLACE FOLDER`: the blocks of the pages that are executed there, each as a file, "/" of its name as "_". */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { readPageFile } from "../../../deploy/site/markdown.ts";
import { entries } from "../../../deploy/site/navigation.ts";
import { edited, executed, shellBlocks } from "./blocks.ts";

const root = fileURLToPath(new URL("../../..", import.meta.url));
const [place = "", folder = ""] = process.argv.slice(2);
for (const { source } of entries)
  for (const block of shellBlocks(root, readPageFile(root, source))) {
    const how = executed[block.id];
    if (how !== undefined && "in" in how && how.in === place)
      writeFileSync(join(folder, block.id.replaceAll("/", "_")), edited(block, how.edits));
  }
