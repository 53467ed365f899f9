/** All generated files, by their path in the tree. */
import { exampleFile } from "./example.ts";
import { manPage } from "./man.ts";
import { configurationPage } from "./markdown.ts";
import { subjects } from "./subjects.ts";

export function pages(): ReadonlyMap<string, string> {
  return new Map([
    ["docs/configuration.md", configurationPage()],
    ...subjects.map((each): [string, string] => [`deploy/config/${each.file}`, exampleFile(each)]),
    ...subjects.map((each): [string, string] => [`deploy/man/${each.man}.5`, manPage(each)]),
  ]);
}
