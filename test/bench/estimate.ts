/**
 * `sublet estimate` over a record of a million jobs on 2,000 nodes, 14 days, as packages install it, from its start to its
 * end, beside awk that sums one column of the same record. The jobs are made up: each node has one after the other, of 1 to
 * 128 cores and up to an hour, with holes of up to five minutes.
 */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { installCommand } from "../unit/cli/installed.ts";
import { type Extent, whole } from "./bed.ts";
import { medianOf, pairedRatio, type Row } from "./table.ts";

const coresEach = 128;
const fromS = 1_790_000_000;
const days = 14;
/** Of /proc, on every Linux that there is. */
const ticksPerSecond = 100;

/** Numbers from 0 to below 1, the same in every run. */
function generator(): () => number {
  let state = 88_172_645;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

const clock = (seconds: number): string =>
  [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, Math.floor(seconds) % 60]
    .map((part) => String(part).padStart(2, "0"))
    .join(":");

/** Writes what sinfo and sacct would have said. @returns the number of jobs. */
function record(folder: string, nodes: number, jobsEach: number): number {
  const random = generator();
  const names = Array.from({ length: nodes }, (_, index) => `n${String(index + 1).padStart(5, "0")}`);
  writeFileSync(
    join(folder, "sinfo"),
    names.map((name) => `${name}|${coresEach}|524288|batch*|mixed\n`).join(""),
  );
  const slotS = (days * 86_400) / jobsEach;
  const lines = ["JobIDRaw|Start|End|NNodes|AllocTRES|NodeList|CPUTimeRAW|TotalCPU\n"];
  for (let job = 0; job < jobsEach; job++)
    for (const [index, name] of names.entries()) {
      const cores = 2 ** Math.floor(8 * random());
      const startS = Math.floor(fromS + job * slotS + random() * 300);
      const endS = Math.floor(fromS + (job + 1) * slotS - random() * Math.min(300, slotS / 4));
      const held = cores * (endS - startS);
      lines.push(
        `${job * nodes + index + 1}|${startS}|${endS}|1|billing=${cores},cpu=${cores},mem=${4 * cores}G,node=1|` +
          `${name}|${held}|${clock(held * random())}\n`,
      );
    }
  writeFileSync(join(folder, "sacct"), lines.join(""));
  return lines.length - 1;
}

/** The most memory that it had and the processor time that it took, as of the last look. */
function usedBy(pid: number | undefined): { mib: number; cpuSeconds: number } {
  try {
    const found = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
    const [user, system] =
      readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.split(" ").slice(11) ?? [];
    return {
      mib: Number(found?.[1] ?? 0) / 1024,
      cpuSeconds: (Number(user) + Number(system)) / ticksPerSecond,
    };
  } catch {
    return { mib: 0, cpuSeconds: 0 };
  }
}

interface Timed {
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly mib: number;
}

async function timed(args: readonly string[], jobs: number): Promise<Timed> {
  const began = performance.now();
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  let used = { mib: 0, cpuSeconds: 0 };
  const look = setInterval(() => {
    const now = usedBy(child.pid);
    // One that has ended, and is waited for, has no memory any more.
    used = { mib: Math.max(used.mib, now.mib), cpuSeconds: Math.max(used.cpuSeconds, now.cpuSeconds) };
  }, 100);
  const parts: Buffer[] = [];
  child.stdout.on("data", (part: Buffer) => parts.push(part));
  const [status] = (await once(child, "close")) as [number | null];
  clearInterval(look);
  const seconds = (performance.now() - began) / 1000;
  if (status !== 0) throw new Error(`sublet estimate ended with ${status}`);
  const found = JSON.parse(Buffer.concat(parts).toString()) as { jobs: number };
  if (found.jobs !== jobs) throw new Error(`it counts ${found.jobs} jobs of ${jobs}`);
  return { seconds, ...used };
}

export async function run(progress: (message: string) => void, extent: Extent = whole): Promise<Row[]> {
  const [nodes, jobsEach, rounds] = extent.small ? [20, 50, 1] : [2000, 500, 3];
  const folder = mkdtempSync(join(tmpdir(), "sublet-estimate-"));
  const installed = await installCommand();
  try {
    progress(`writing a record of ${nodes * jobsEach} jobs`);
    const jobs = record(folder, nodes, jobsEach);
    const [sacct, sinfo] = [join(folder, "sacct"), join(folder, "sinfo")];
    const span = [fromS, fromS + days * 86_400].map((seconds) => new Date(seconds * 1000).toISOString());
    const args = [...installed.nodeOptions, installed.main, "--json", "estimate"];
    args.push("--sacct", sacct, "--sinfo", sinfo, "--from", span[0] ?? "", "--to", span[1] ?? "");
    const found: Timed[] = [];
    const sums: number[] = [];
    for (let round = 0; round < rounds; round++) {
      progress(`round ${round + 1} of ${rounds}`);
      found.push(await timed(args, jobs));
      const began = performance.now();
      spawnSync("awk", ["-F|", "{ held += $7 } END { print held }", sacct]);
      sums.push((performance.now() - began) / 1000);
    }
    const seconds = found.map((each) => each.seconds);
    return [
      {
        what: `sublet estimate, ${jobs} jobs on ${nodes} nodes`,
        value: medianOf(seconds),
        unit: "s",
        baseline: { what: "awk, one column", value: medianOf(sums) },
        ...pairedRatio(seconds, sums),
        mark: 60,
        markOn: "value",
        issue: "5.4",
      },
      {
        what: "  its processor time, which others on the machine do not lengthen much",
        value: medianOf(found.map(({ cpuSeconds }) => cpuSeconds)),
        unit: "s",
      },
      {
        what: "  the most memory that it had",
        value: medianOf(found.map(({ mib }) => mib)),
        unit: "MiB",
      },
    ];
  } finally {
    installed.remove();
    rmSync(folder, { recursive: true });
  }
}
