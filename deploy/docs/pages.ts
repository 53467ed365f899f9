/** All generated files, by their path in the tree. */
import { commandPage, commandReference } from "./commands.ts";
import { daemonPages } from "./daemons.ts";
import { exampleFile } from "./example.ts";
import { grafanaDashboard } from "./grafana.ts";
import { harmPage, keptHarm } from "./harm.ts";
import { catalog, logsPage } from "./logs.ts";
import { manPage } from "./man.ts";
import { configurationPage } from "./markdown.ts";
import { metricsPage } from "./metrics.ts";
import { keptSpeed, speedPage } from "./speed.ts";
import { subjects } from "./subjects.ts";

export function pages(): ReadonlyMap<string, string> {
  return new Map([
    ["docs/configuration.md", configurationPage()],
    ["docs/cli.md", commandReference()],
    ["docs/logs.md", logsPage()],
    ["docs/metrics.md", metricsPage()],
    ["docs/harm.md", harmPage(keptHarm())],
    ["docs/speed.md", speedPage(keptSpeed())],
    ["deploy/grafana/sublet.json", grafanaDashboard()],
    ["deploy/man/sublet.1", commandPage()],
    ...daemonPages(),
    ["deploy/systemd/sublet.catalog", catalog()],
    ...subjects.map((each): [string, string] => [`deploy/config/${each.file}`, exampleFile(each)]),
    ...subjects.map((each): [string, string] => [`deploy/man/${each.man}.5`, manPage(each)]),
  ]);
}
