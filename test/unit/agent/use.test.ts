/** What a job uses, read from files as kernels of both cgroup versions have them. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { type TestContext, test } from "node:test";
import type { CgroupLayout } from "../../../agent/cgroup/layout.ts";
import { jobRoots } from "../../../agent/jobs/roots.ts";
import { UseReader } from "../../../agent/jobs/use.ts";
import { mib } from "./setup.ts";

interface World {
  readonly reader: UseReader;
  write(path: string, text: string): void;
  /** Ticks of cores 0 and 1 that were not idle. */
  stat(busy: readonly [number, number]): void;
}

function world(t: TestContext, version: 1 | 2, cpuacct = false): World {
  const dir = mkdtempSync(join(tmpdir(), "sublet-use-"));
  t.after(() => rmSync(dir, { recursive: true }));
  const mounts = new Map(
    (["cpuset", "cpu", "memory"] as const).map((name) => [name, version === 2 ? dir : join(dir, name)]),
  );
  const layout: CgroupLayout = { version, mounts, missing: [] };
  const reader = new UseReader({
    roots: jobRoots(layout, { slurm: "slurm", node: "n1" }),
    tree: { layout, root: "sublet" },
    cpuacct: cpuacct ? join(dir, "cpuacct") : undefined,
    proc: dir,
  });
  const write = (path: string, text: string): void => {
    mkdirSync(dirname(join(dir, path)), { recursive: true });
    writeFileSync(join(dir, path), text);
  };
  const stat = ([a, b]: readonly [number, number]): void =>
    write("stat", `cpu  1 2 3 4\ncpu0 ${a} 0 0 900 5 0 0 0 0 0\ncpu1 0 0 ${b} 900 5 0 0 0 0 0\nintr 5\n`);
  return { reader, write, stat };
}

const job = { jobId: 7, cores: [0, 1], memoryLimitBytes: 512 * mib };
const v1Job = "memory/slurm/uid_5000/job_7";
const v2Job = "system.slice/slurmstepd.scope/job_7";

test("v1 with cpuacct: the job's own time by core, and what it touches of its memory", (t) => {
  const { reader, write } = world(t, 1, true);
  write(`${v1Job}/memory.usage_in_bytes`, `${300 * mib}\n`);
  write(`${v1Job}/memory.stat`, `cache 9\ninactive_file 1\ntotal_inactive_file ${100 * mib}\n`);
  write("cpuacct/slurm/uid_5000/job_7/cpuacct.usage_percpu", "123 456 789 \n");
  assert.deepEqual(reader.read([job], [], 50).get(7), {
    atMs: 50,
    usedNs: new Map([
      [0, 123],
      [1, 456],
    ]),
    totalNs: undefined,
    memoryLimitBytes: 512 * mib,
    memoryCurrentBytes: 300 * mib,
    memoryInactiveFileBytes: 100 * mib,
  });
  assert.equal(reader.source, "cpuacct");
});

test("v2: what the core did less what our guest did there, and the whole job's time", (t) => {
  const { reader, write, stat } = world(t, 2);
  write(`${v2Job}/memory.current`, "1000\n");
  write(`${v2Job}/memory.stat`, "anon 5\ninactive_file 200\n");
  write(`${v2Job}/cpu.stat`, "usage_usec 70\nuser_usec 1\n");
  const guest = { id: "a", cores: [1] };
  write("sublet/lease_a/cpu.stat", "usage_usec 0\n");
  stat([100, 100]);
  const first = reader.read([job], [guest], 0).get(7);
  assert.equal(first?.usedNs?.size, 0);
  assert.equal(first?.totalNs, 70_000);
  assert.equal((first?.memoryCurrentBytes ?? 0) - (first?.memoryInactiveFileBytes ?? 0), 800);
  // A second later core 0 was busy for 200 ms; the guest used 500 ms of the 900 ms of core 1.
  stat([120, 190]);
  write("sublet/lease_a/cpu.stat", "usage_usec 500000\n");
  assert.deepEqual(
    reader.read([job], [guest], 1000).get(7)?.usedNs,
    new Map([
      [0, 200e6],
      [1, 390e6],
    ]),
  );
  assert.equal(reader.source, "stat");
});

test("where a guest's time cannot be read, nobody knows what the job does there", (t) => {
  const { reader, stat } = world(t, 1);
  const guest = { id: "a", cores: [1] };
  stat([0, 0]);
  reader.read([job], [guest], 0);
  stat([1, 1]);
  assert.deepEqual([...(reader.read([job], [guest], 1000).get(7)?.usedNs?.keys() ?? [])], [0]);
});

test("a job whose cgroup is gone shares no memory", (t) => {
  const { reader } = world(t, 2);
  const sample = reader.read([job], [], 0).get(7);
  assert.equal(sample?.memoryLimitBytes, undefined);
  assert.equal(reader.source, "none");
});
