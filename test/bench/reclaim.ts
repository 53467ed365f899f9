/**
 * Reclaim of four guests with 256 MiB each by Slurm's prolog, against the floor: kill, wait, rmdir, nothing else. The
 * floor is taken before and after every round, with memory of the kind that guests hold (and, beside it, with the
 * cheaper anonymous kind).
 */
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { metricValues } from "../../deploy/testbed/main-job/figures.ts";
import { page } from "../../deploy/testbed/main-job/sampler.ts";
import { until } from "../../deploy/testbed/shell.ts";
import { treeRoot } from "../../deploy/testbed/sublet-conf.ts";
import { outputOf, submit, whole, withBed } from "./bed.ts";
import { medianOf, type Row } from "./table.ts";

interface Floor {
  readonly shared_p50_ms: number;
  readonly anonymous_p50_ms: number;
}

/** The floor, in cgroups of its own. */
function floorMs(floorRounds: number): Floor {
  const parents = ["cpuset", "cpu", "memory", "pids", "freezer"]
    .map((name) => `/sys/fs/cgroup/${name}/sublet_floor`)
    .filter((path) => existsSync(join(path, "..")));
  for (const path of parents) mkdirSync(path, { recursive: true });
  try {
    for (const name of ["cpuset.cpus", "cpuset.mems"])
      writeFileSync(
        `/sys/fs/cgroup/cpuset/sublet_floor/${name}`,
        readFileSync(`/sys/fs/cgroup/cpuset/${name}`),
      );
    const program = join(treeRoot, "build/native/bin/sublet-reclaim-floor");
    const text = execFileSync(program, [`${floorRounds}`, ...parents], { encoding: "utf8", timeout: 60_000 });
    return JSON.parse(text) as Floor;
  } finally {
    for (const path of parents) rmdirSync(path);
  }
}

export async function run(progress: (message: string) => void, extent = whole): Promise<Row[]> {
  const [rounds, floorRounds, mib] = extent.small ? [1, 1, 32] : [9, 3, 256];
  const floors = [floorMs(floorRounds)];
  const times = await withBed(
    { progress },
    async (bed) => {
      const program = join(bed.base, "bin/sublet-hold-regions");
      cpSync(join(treeRoot, "build/native/bin/sublet-hold-regions"), program);
      const url = `${bed.cluster.metricsUrl("agent-n1")}/metrics`;
      const read = async (name: string) =>
        [...metricValues(await page(url), name).values()].reduce((sum, value) => sum + value, 0);
      const found: number[] = [];
      for (let round = 0; round < rounds; round++) {
        progress(`round ${round + 1}: four guests with ${mib} MiB each, then a job`);
        const holder = await submit(bed, "n3", `#!/bin/bash\nsrun '${program}' n1 4 ${mib}\n`);
        await until("four guests hold their memory", 30_000, async () =>
          (await bed.cluster.outputOf(holder)).includes("ready") && (await read("sublet_leases")) === 4
            ? true
            : undefined,
        );
        const before = await read("sublet_reclaim_seconds_sum");
        await outputOf(bed, await submit(bed, "n1", "#!/bin/bash\ntrue\n"));
        found.push(((await read("sublet_reclaim_seconds_sum")) - before) * 1000);
        await bed.cluster.waitJob(holder, 30_000);
        floors.push(floorMs(floorRounds));
      }
      return found;
    },
    extent,
  );
  const [shared, anonymous] = [
    medianOf(floors.map((floor) => floor.shared_p50_ms)),
    medianOf(floors.map((floor) => floor.anonymous_p50_ms)),
  ];
  return [
    {
      what: "reclaim of 4 x 256 MiB, prolog asked to prolog answered",
      value: medianOf(times),
      p99: Math.max(...times),
      unit: "ms",
      baseline: { what: "kill, wait, rmdir, same memory", value: shared },
      mark: 2,
    },
    {
      what: "the same against processes with anonymous memory",
      value: medianOf(times),
      p99: Math.max(...times),
      unit: "ms",
      baseline: { what: "kill, wait, rmdir, anonymous", value: anonymous },
    },
  ];
}
