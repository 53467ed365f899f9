/**
 * Lease to first answer: from a cold start, and from the pool of prepared executors, on the client's node and across; and
 * on the client's node by way of a controller (lease_here_first = false), against which granting there is compared.
 * Libraries of two sizes: what the first call costs where the node has the library, where it is sent, and where the node reads
 * it from a folder that it shares (code_from_paths).
 * Every round also takes a bare spawn (fork, exec of /bin/true, wait), the floor of any start of a process, and a byte to a
 * process that slept before and back: from the pool, on the client's node, a lease and its first call are seven such trips (two
 * by door and starter; greeting, library, which asks the starter, name and call).
 * The client asks for the same again and again, so the lease was granted ahead in most rounds; how many is said.
 */
import { chmodSync, cpSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { defaultStateDir } from "../../deploy/testbed/layout.ts";
import { treeRoot } from "../../deploy/testbed/sublet-conf.ts";
import { type Bed, outputOf, submit, whole, withBed } from "./bed.ts";
import { medianOf, percentileOf, type Row } from "./table.ts";

/** Time for the node to be offered again, and for the pool to fill. */
const pauseMs = 150;

interface Round {
  readonly lease_us: number;
  readonly call_us: number;
  readonly spawn_us: number;
  readonly wake_us: number;
  /** Of a library that was made for it: number of its folder, first or again; else empty. */
  readonly which: string;
}

async function roundsOf(
  bed: Bed,
  from: string,
  rounds: number,
  made: readonly string[] = [],
): Promise<Round[]> {
  const program = join(bed.base, "bin/sublet-cold-leases");
  cpSync(join(treeRoot, "build/native/bin/sublet-cold-leases"), program);
  const library = join(bed.base, "functions/libecho.so");
  const script = `#!/bin/bash\nsrun '${program}' n1 ${rounds} ${pauseMs} '${library}' ${made.join(" ")}\n`;
  const text = await outputOf(bed, await submit(bed, from, script));
  const lines = text.split("\n").filter((line) => line.startsWith("{"));
  return lines.map((line) => JSON.parse(line) as Round).slice(2); // the first ones connect, and fill the pool
}

function rowsOf(what: string, found: readonly Round[], mark: number): Row[] {
  const totals = found.map((each) => (each.lease_us + each.call_us) / 1000);
  const spawn = medianOf(found.map((each) => each.spawn_us)) / 1000;
  const wake = medianOf(found.map((each) => each.wake_us)) / 1000;
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
    {
      what: "  against a sleeping process's answer",
      value: medianOf(totals),
      unit: "ms",
      baseline: { what: "a byte there and back", value: wake },
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

/** Folders of libraries on the testbed: only what lies in the second is read by nodes. */
const folders = (base: string): readonly [sent: string, read: string] => [
  join(base, "sent"),
  join(base, "shared"),
];

async function figure(bed: Bed, series: string): Promise<number> {
  const page = await (await fetch(`${bed.cluster.metricsUrl("agent-n1")}/metrics`)).text();
  const line = page.split("\n").find((each) => each.startsWith(`${series} `));
  return Number(line?.slice(series.length + 1));
}

/** Libraries that the node with the leases has read from their paths. */
const readByNode = (bed: Bed): Promise<number> =>
  figure(bed, 'sublet_code_cache_lookups_total{outcome="path"}');
/** Leases of this node that were granted ahead. */
const redeemed = (bed: Bed): Promise<number> => figure(bed, 'sublet_pool_takes_total{outcome="redeemed"}');

/** What a granted lease takes to its first answer, of a library that the node has, is sent, or reads. */
async function loadRows(bed: Bed, from: string, where: string, rounds: number): Promise<Row[]> {
  const rows: Row[] = [];
  for (const [size, bytes] of [
    ["64 KiB", 64 * 1024],
    ["8 MiB", 8 * 1024 * 1024],
  ] as const) {
    const made = folders(bed.base);
    for (const path of made) {
      mkdirSync(path, { recursive: true });
      chmodSync(path, 0o1777);
    }
    const before = await readByNode(bed);
    const found = await roundsOf(bed, from, rounds, [`${bytes}`, ...made]);
    const read = (await readByNode(bed)) - before;
    const of = (which: string): number[] =>
      found.filter((each) => each.which === which).map((each) => each.call_us / 1000);
    const row = (what: string, which: string, baseline?: Row["baseline"]): Row => ({
      what: `library of ${size} and first call, ${where}: ${what}`,
      value: medianOf(of(which)),
      p99: percentileOf(of(which), 0.99),
      unit: "ms",
      ...(baseline === undefined ? {} : { baseline }),
    });
    const kept = { what: "kept", value: medianOf(of("0 again")) };
    rows.push(row("kept by the node", "0 again"), row("sent", "0 first", kept), {
      ...row("read from its path", "1 first", { what: "sent", value: medianOf(of("0 first")) }),
      note: `the node read ${read} of ${rounds}; one that takes more than 250 ms is sent all the same`,
    });
  }
  return rows;
}

export async function run(progress: (message: string) => void, extent = whole): Promise<Row[]> {
  const rounds = extent.small ? 5 : 40;
  const rows: Row[] = [];
  const [, shared] = folders(join(defaultStateDir, "opt"));
  for (const [how, settings, mark] of [
    ["cold", { pool_max: 0 }, 5],
    ["from the pool", { code_from_paths: [shared] }, 2],
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
        const measured = async (what: string, from: string): Promise<readonly Round[]> => {
          progress(what);
          const before = await redeemed(bed);
          const found = await roundsOf(bed, from, rounds);
          const ahead = (await redeemed(bed)) - before;
          const [total, ...parts] = rowsOf(what, found, mark);
          if (total !== undefined) rows.push({ ...total, note: `${ahead} of ${rounds} were granted ahead` });
          rows.push(...parts);
          return found;
        };
        rows.push(againstController(same, await measured(same, "n1"), asked));
        await measured(across, "n3");
        if (mark !== 2) return;
        progress("libraries");
        rows.push(...(await loadRows(bed, "n3", "across nodes", extent.small ? 2 : rounds)));
      },
      extent,
    );
  }
  return rows;
}
