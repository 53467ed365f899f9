/** All generated files, by their path in the tree. */
import { exampleFile } from "./example.ts";
import { catalog, logsPage } from "./logs.ts";
import { manPage } from "./man.ts";
import { configurationPage } from "./markdown.ts";
import { subjects } from "./subjects.ts";

export function pages(): ReadonlyMap<string, string> {
  return new Map([
    ["docs/configuration.md", configurationPage()],
    ["docs/logs.md", logsPage()],
    ["deploy/systemd/sublet.catalog", catalog()],
    ...subjects.map((each): [string, string] => [`deploy/config/${each.file}`, exampleFile(each)]),
    ...subjects.map((each): [string, string] => [`deploy/man/${each.man}.5`, manPage(each)]),
  ]);
}
