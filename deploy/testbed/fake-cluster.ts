/**
 * A dashboard to look at without a cluster: the controller's own HTTP server over a fake one (fake-source.ts).
 *   bash deploy/setup/node24.sh deploy/testbed/fake-cluster.ts [--nodes 10000] [--port 7704] [--changing 0.01]
 * Log in as its administrator with the credential MUNGE:root:
 */

import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { Days, localTimeZone } from "../../src/common/days.ts";
import { HistoryStore } from "../../src/dashboard/history.ts";
import type { Live } from "../../src/dashboard/live.ts";
import { serveDashboard } from "../../src/dashboard/server.ts";
import { FakeSource, fillHistory } from "./fake-source.ts";

const { values } = parseArgs({
  options: {
    nodes: { type: "string", default: "10000" },
    port: { type: "string", default: "7704" },
    /** Part of the nodes that changes in a second. */
    changing: { type: "string", default: "0.01" },
  },
});
const nodes = Number(values.nodes);
const changing = Number(values.changing);
if (!(nodes >= 1 && nodes <= 100_000 && changing >= 0 && changing <= 1)) {
  console.error("usage: fake-cluster.ts [--nodes 1..100000] [--port PORT] [--changing 0..1]");
  process.exit(2);
}
let live: Live | undefined;
const source = new FakeSource(nodes, {
  reclaimed: (row) => live?.reclaimed(row),
  leaseEnded: (row) => live?.leaseEnded(row),
});
const history = await HistoryStore.open({ file: undefined, onTrouble: (why) => console.error(why) });
fillHistory(history, source, Date.now());
const dashboard = await serveDashboard({
  listen: `127.0.0.1:${values.port}`,
  source,
  history,
  cluster: "fake",
  version: "fake",
  days: new Days(localTimeZone()),
  price: { currency: "EUR", perCoreHour: 0.01, perGibHour: 0.001 },
  pagesDir: fileURLToPath(new URL("../../build/dashboard", import.meta.url)),
  onTrouble: (why) => console.error(why),
});
live = dashboard.live;
source.pastReclaims(400);
console.log(`a fake cluster of ${nodes} nodes: http://${dashboard.address}/`);
const timer = setInterval(() => source.step(changing), 1_000);
for (const signal of ["SIGINT", "SIGTERM"] as const)
  process.once(signal, () => {
    clearInterval(timer);
    void dashboard.close();
  });
