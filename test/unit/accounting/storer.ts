/**
 * A controller's accounting as a process that a test kills: takes records for the SQLite file that is named, and prints each
 * key when it is acknowledged. `storer.ts FILE FROM COUNT`: records FROM to FROM + COUNT - 1 of one lease, twenty every 2 ms.
 */
import { startAccounting } from "../../../src/accounting/accounting.ts";
import { openSqlite } from "../../../src/accounting/db/sqlite.ts";
import { record } from "./records.ts";

const [file = "", from = "0", count = "0"] = process.argv.slice(2);
const accounting = startAccounting({
  config: {
    enabled: true,
    mariadb: undefined,
    timeZone: "UTC",
    retentionDays: 36_500,
    totalsRetentionDays: 36_500,
    quota: {},
  },
  place: file,
  open: async () => openSqlite(file),
  names: () => new Map(),
  running: () => [],
  events: {
    onStored: () => undefined,
    onInvalid: () => undefined,
    onDatabase: () => undefined,
    onForgotten: () => undefined,
  },
});
let slice = Number(from);
setInterval(() => {
  if (slice >= Number(from) + Number(count)) return;
  const records = Array.from({ length: 20 }, (_, index) => record({ slice: slice + index }));
  accounting.take(records, (keys) => process.stdout.write(`${keys.join("\n")}\n`));
  slice += 20;
}, 2);
