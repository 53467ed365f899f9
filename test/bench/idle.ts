/** What an agent costs its node when nothing happens: CPU time, wake-ups and memory over a minute, without and with a lease. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { optionsRunOf, parseEvents } from "../../deploy/testbed/main-job/figures.ts";
import { optionsScript } from "../../deploy/testbed/main-job/jobs.ts";
import { until } from "../../deploy/testbed/shell.ts";
import { submit, whole, withBed } from "./bed.ts";
import type { Row } from "./table.ts";

interface Spans {
  readonly settleMs: number;
  readonly spanMs: number;
}

interface Use {
  readonly cpuMs: number;
  readonly wakeUps: number;
  readonly rssMib: number;
}

/** Milliseconds of a clock tick in /proc, whatever the kernel's own. */
const tickMs = 10;

/** All threads of a process so far. */
function useOf(pid: number): Use {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  let wakeUps = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    const status = readFileSync(`/proc/${pid}/task/${thread}/status`, "utf8");
    wakeUps += Number(/^voluntary_ctxt_switches:\s*(\d+)/m.exec(status)?.[1]);
  }
  const rss = Number(/^VmRSS:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
  return { cpuMs: (Number(fields[11]) + Number(fields[12])) * tickMs, wakeUps, rssMib: rss / 1024 };
}

async function overAMinute(pid: number, what: string, { settleMs, spanMs }: Spans): Promise<Row[]> {
  await new Promise((resolve) => setTimeout(resolve, settleMs));
  const before = useOf(pid);
  await new Promise((resolve) => setTimeout(resolve, spanMs));
  const after = useOf(pid);
  return [
    {
      what: `CPU, ${what}`,
      value: ((after.cpuMs - before.cpuMs) / spanMs) * 100,
      unit: "% of a core",
      mark: 0.5,
    },
    { what: `wake-ups, ${what}`, value: ((after.wakeUps - before.wakeUps) / spanMs) * 1000, unit: "per s" },
    { what: `memory, ${what}`, value: after.rssMib, unit: "MiB", mark: 100 },
  ];
}

export async function run(progress: (message: string) => void, extent = whole): Promise<Row[]> {
  const times = extent.small ? { settleMs: 200, spanMs: 1000 } : { settleMs: 10_000, spanMs: 60_000 };
  return await withBed(
    {},
    async (bed) => {
      const pid = Number(readFileSync(join(bed.cluster.stateDir, "pid", "agent-n2"), "utf8").split(" ")[0]);
      progress("a minute with nothing lent");
      const idle = await overAMinute(pid, "nothing lent", times);
      const script = optionsScript(bed.base, {
        rounds: 1_000_000,
        options: 20_000,
        leases: 1,
        lendNode: "n2",
      });
      const holder = await submit(bed, "n1", script);
      await until("the lease", 30_000, async () =>
        optionsRunOf(parseEvents(await bed.cluster.outputOf(holder))).leases.length > 0 ? true : undefined,
      );
      progress("a minute with one lease in use");
      const lent = await overAMinute(pid, "one lease", times);
      await bed.cluster.cancelAll();
      return [...idle, ...lent];
    },
    extent,
  );
}
