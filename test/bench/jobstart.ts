/**
 * From srun's call to the first instruction of the task: without Sublet, with an idle agent, with a guest in the way. Nodes
 * n2 and n3 are alike (they share a core on a small machine): turn by turn a job starts on n3, whose prolog and epilog do
 * nothing, and on n2, whose are sublet-hook. So both see the same machine in the same minute.
 */
import { symlinkSync } from "node:fs";
import { join } from "node:path";
import { metricValues, optionsRunOf, parseEvents } from "../../deploy/testbed/main-job/figures.ts";
import { optionsScript } from "../../deploy/testbed/main-job/jobs.ts";
import { page } from "../../deploy/testbed/main-job/sampler.ts";
import { until } from "../../deploy/testbed/shell.ts";
import { treeRoot } from "../../deploy/testbed/sublet-conf.ts";
import { type Bed, submit, whole, withBed } from "./bed.ts";
import { medianOf, percentileOf, type Row } from "./table.ts";

/** As every node sees it: its own run directory. */
export const hook = "/run/sublet/bench-hook";

/** Milliseconds until the task's first instruction. */
async function startMs(bed: Bed, node: string): Promise<number> {
  const text = await bed.cluster.run([
    "bash",
    "-c",
    `a=$(date +%s%N); b=$(srun -w ${node} -n1 --mem=100 date +%s%N); echo "$a $b"`,
  ]);
  const [before = "0", after = "0"] = text.trim().split(" ");
  return Number(BigInt(after) - BigInt(before)) / 1e6;
}

interface Times {
  readonly bare: number[];
  readonly hooked: number[];
}

async function inTurns(bed: Bed, starts: number, ready?: () => Promise<void>): Promise<Times> {
  const times: Times = { bare: [], hooked: [] };
  for (let i = 0; i < starts; i++) {
    await ready?.();
    // Who is second finds the scheduler awake: each is so in half of the rounds.
    if (i % 2 === 0) times.bare.push(await startMs(bed, "n3"));
    times.hooked.push(await startMs(bed, "n2"));
    if (i % 2 === 1) times.bare.push(await startMs(bed, "n3"));
  }
  for (const list of [times.bare, times.hooked]) list.splice(0, 2); // the first ones warm caches
  return times;
}

export function placeHooks(bed: Bed): void {
  for (const name of ["n1", "n2", "n3"]) {
    const target = name === "n3" ? "/bin/true" : join(treeRoot, "build/native/bin/sublet-hook");
    symlinkSync(target, join(bed.cluster.node(name).runDir, "bench-hook"));
  }
}

export async function run(progress: (message: string) => void, extent = whole): Promise<Row[]> {
  const starts = extent.small ? 3 : 27;
  const [idle, guests, reclaimMs] = await withBed(
    { hook },
    async (bed) => {
      if (extent.bed === undefined) placeHooks(bed);
      progress("with agents, nothing lent");
      const alone = await inTurns(bed, starts);
      progress("with a guest on n2 at every start");
      const url = `${bed.cluster.metricsUrl("agent-n2")}/metrics`;
      const script = optionsScript(bed.base, {
        rounds: 1_000_000,
        options: 20_000,
        leases: 1,
        lendNode: "n2",
      });
      const holder = await submit(bed, "n1", script);
      await until("the first lease", 30_000, async () =>
        optionsRunOf(parseEvents(await bed.cluster.outputOf(holder))).leases.length > 0 ? true : undefined,
      );
      const lent = await inTurns(bed, starts, () =>
        until("n2 is lent again", 30_000, async () =>
          [...metricValues(await page(url), "sublet_leases").values()].some((value) => value > 0)
            ? true
            : undefined,
        ).then(() => {}),
      );
      const sumOf = async (name: string): Promise<number> =>
        [...metricValues(await page(url), name).values()].reduce((sum, value) => sum + value, 0);
      const meanMs =
        ((await sumOf("sublet_reclaim_seconds_sum")) / (await sumOf("sublet_reclaim_seconds_count"))) * 1000;
      await bed.cluster.cancelAll();
      return [alone, lent, meanMs] as const;
    },
    extent,
  );
  const bare = [...idle.bare, ...guests.bare];
  const row = (what: string, times: Times, mark?: number): Row => ({
    what,
    value: medianOf(times.hooked) - medianOf(times.bare),
    p99: percentileOf(times.hooked, 0.99) - medianOf(times.bare),
    unit: "ms",
    ...(mark === undefined ? {} : { mark }),
  });
  return [
    {
      what: "job start, prolog and epilog are /bin/true",
      value: medianOf(bare),
      p99: percentileOf(bare, 0.99),
      unit: "ms",
    },
    row("added by an idle agent's hook", idle),
    row("added with a guest in the way", guests, 20),
    { what: "  of it, until the guest was gone (mean, by the agent)", value: reclaimMs, unit: "ms" },
  ];
}
