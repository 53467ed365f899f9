/** From srun's call to the first instruction of the task: without Sublet, with an idle agent, with a guest in the way. */

import { metricValues, optionsRunOf, parseEvents } from "../../deploy/testbed/main-job/figures.ts";
import { optionsScript } from "../../deploy/testbed/main-job/jobs.ts";
import { page } from "../../deploy/testbed/main-job/sampler.ts";
import { until } from "../../deploy/testbed/shell.ts";
import { type Bed, submit, withBed } from "./bed.ts";
import { medianOf, percentileOf, type Row } from "./table.ts";

const starts = 25;

/** Milliseconds until the task's first instruction. */
async function startMs(bed: Bed): Promise<number> {
  const text = await bed.cluster.run([
    "bash",
    "-c",
    'a=$(date +%s%N); b=$(srun -w n2 -n1 --mem=100 date +%s%N); echo "$a $b"',
  ]);
  const [before = "0", after = "0"] = text.trim().split(" ");
  return Number(BigInt(after) - BigInt(before)) / 1e6;
}

async function several(bed: Bed, ready?: () => Promise<void>): Promise<number[]> {
  const times: number[] = [];
  for (let i = 0; i < starts; i++) {
    await ready?.();
    times.push(await startMs(bed));
  }
  return times.slice(2); // the first ones warm caches
}

export async function run(progress: (message: string) => void): Promise<Row[]> {
  progress("without Sublet, without any prolog");
  const none = await withBed({ agents: false, hook: false }, (bed) => several(bed));
  progress("without Sublet, with the prolog that does nothing");
  const bare = await withBed({ agents: false, hook: "/bin/true" }, (bed) => several(bed));
  const [idle, guests] = await withBed({}, async (bed) => {
    progress("with agents, nothing lent");
    const alone = await several(bed);
    progress("with a guest on the node at every start");
    const url = `${bed.cluster.metricsUrl("agent-n2")}/metrics`;
    const script = optionsScript(bed.base, { rounds: 1_000_000, options: 20_000, leases: 1, lendNode: "n2" });
    const holder = await submit(bed, "n1", script);
    await until("the first lease", 30_000, async () =>
      optionsRunOf(parseEvents(await bed.cluster.outputOf(holder))).leases.length > 0 ? true : undefined,
    );
    const lent = await several(bed, () =>
      until("n2 is lent again", 30_000, async () =>
        [...metricValues(await page(url), "sublet_leases").values()].some((value) => value > 0)
          ? true
          : undefined,
      ).then(() => {}),
    );
    await bed.cluster.cancelAll();
    return [alone, lent];
  });
  const row = (what: string, times: readonly number[], mark?: number): Row => ({
    what,
    value: medianOf(times) - medianOf(bare),
    p99: percentileOf(times, 0.99) - medianOf(bare),
    unit: "ms",
    ...(mark === undefined ? {} : { mark }),
  });
  return [
    {
      what: "job start without any prolog",
      value: medianOf(none),
      p99: percentileOf(none, 0.99),
      unit: "ms",
    },
    {
      what: "job start, prolog and epilog are /bin/true",
      value: medianOf(bare),
      p99: percentileOf(bare, 0.99),
      unit: "ms",
    },
    row("added by an idle agent and its hook", idle),
    row("added with a guest in the way", guests, 20),
  ];
}
