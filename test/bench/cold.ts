/**
 * Lease to first answer: from a cold start, and from the pool of prepared executors, on the client's node and across; and
 * on the client's node by way of a controller (lease_here_first = false), against which granting there is compared.
 * Every round also takes a bare spawn (fork, exec of /bin/true, wait), the floor of any start of a process.
 */
import { cpSync } from "node:fs";
import { join } from "node:path";
import { treeRoot } from "../../deploy/testbed/sublet-conf.ts";
import { type Bed, outputOf, submit, whole, withBed } from "./bed.ts";
import { medianOf, percentileOf, type Row } from "./table.ts";

/** Time for the node to be offered again, and for the pool to fill. */
const pauseMs = 150;

interface Round {
  readonly lease_us: number;
  readonly call_us: number;
  readonly spawn_us: number;
}

async function roundsOf(bed: Bed, from: string, rounds: number): Promise<Round[]> {
  const program = join(bed.base, "bin/sublet-cold-leases");
  cpSync(join(treeRoot, "build/native/bin/sublet-cold-leases"), program);
  const library = join(bed.base, "functions/libecho.so");
  const script = `#!/bin/bash\nsrun '${program}' n1 ${rounds} ${pauseMs} '${library}'\n`;
  const text = await outputOf(bed, await submit(bed, from, script));
  const lines = text.split("\n").filter((line) => line.startsWith("{"));
  return lines.map((line) => JSON.parse(line) as Round).slice(2); // the first ones connect, and fill the pool
}

function rowsOf(what: string, found: readonly Round[], mark: number): Row[] {
  const totals = found.map((each) => (each.lease_us + each.call_us) / 1000);
  const spawn = medianOf(found.map((each) => each.spawn_us)) / 1000;
  const part = (name: "lease_us" | "call_us"): Row => ({
    what: `  of it ${name === "lease_us" ? "the lease" : "library and first call"}`,
    value: medianOf(found.map((each) => each[name])) / 1000,
    p99: percentileOf(
      found.map((each) => each[name] / 1000),
      0.99,
    ),
    unit: "ms",
  });
  return [
    {
      what: `lease to first answer, ${what}`,
      value: medianOf(totals),
      p99: percentileOf(totals, 0.99),
      unit: "ms",
      mark,
    },
    part("lease_us"),
    part("call_us"),
    {
      what: "  against a bare spawn",
      value: medianOf(totals),
      unit: "ms",
      baseline: { what: "fork, exec, wait", value: spawn },
    },
  ];
}

/** What granting on the client's node saves. */
function againstController(what: string, here: readonly Round[], asked: readonly Round[]): Row {
  const lease = (found: readonly Round[]): number => medianOf(found.map((each) => each.lease_us)) / 1000;
  return {
    what: `  of it the lease, ${what}`,
    value: lease(here),
    unit: "ms",
    baseline: { what: "by a controller", value: lease(asked) },
  };
}

export async function run(progress: (message: string) => void, extent = whole): Promise<Row[]> {
  const rounds = extent.small ? 5 : 40;
  const rows: Row[] = [];
  for (const [how, settings, mark] of [
    ["cold", { pool_max: 0 }, 5],
    ["from the pool", {}, 2],
  ] as const) {
    const [same, across] = [`${how}, same node`, `${how}, across nodes`];
    const asked = await withBed(
      { agentSettings: { ...settings, lease_here_first: false } },
      async (bed) => {
        progress(`${same}, by a controller`);
        return await roundsOf(bed, "n1", rounds);
      },
      extent,
    );
    await withBed(
      { agentSettings: settings },
      async (bed) => {
        progress(same);
        const here = await roundsOf(bed, "n1", rounds);
        rows.push(...rowsOf(same, here, mark), againstController(same, here, asked));
        progress(across);
        rows.push(...rowsOf(across, await roundsOf(bed, "n3", rounds), mark));
      },
      extent,
    );
  }
  return rows;
}
