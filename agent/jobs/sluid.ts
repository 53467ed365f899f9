/**
 * From Slurm 26.05 on, the directory of a job in the unified hierarchy is named by its SLUID ("s" and 13 characters of
 * Crockford's base 32), unless CgroupJobIdPaths=yes (26.05.2). Its number is in the title of its slurmstepds, "slurmstepd:
 * [123.batch]", which are in step_S/slurm. The title of a process counts only when Slurm's own user has it: a user's
 * task epilog runs there too. And only when the process is in that cgroup after its title was read, for pids come again.
 *
 * A SLUID is one job's for ever (a requeued job gets a new one), so each is read once, and never again while its
 * directory is there. slurmstepd is in its place before the job has cores. One that cannot be read (hidepid, another pid
 * namespace) leaves the job nameless: it counts all the same, under a number of our own, so that its cores are not lent.
 */
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";

/** Looked at of a job: bounds, not expectations. */
const stepsMax = 16;
const pidsMax = 8;

const base32 = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const sluid = /^s[0-9A-HJKMNP-TV-Z]{13}$/;
const title = /^slurmstepd: \[(\d{1,10})[. \]]/;

/** Numbers from here on are ours. Slurm would give them in a federation of 63 clusters only. */
const standInFirst = 0xfff0_0000;

export function isSluid(name: string): boolean {
  return sluid.test(name);
}

/** Time and sequence of a SLUID are in its low bits: jobs of one node have different ones. */
function standIn(name: string): number {
  let low = 0;
  for (const char of name.slice(-4)) low = low * 32 + base32.indexOf(char);
  return standInFirst + (low & 0x7_ffff);
}

export function isStandIn(jobId: number): boolean {
  return jobId >= standInFirst;
}

/** The slurmstepds of a job are in these. */
export function stepdDirs(jobDir: string): string[] {
  try {
    const steps = readdirSync(jobDir).filter((name) => name.startsWith("step_"));
    return steps.slice(0, stepsMax).map((step) => join(jobDir, step, "slurm"));
  } catch {
    return []; // The job has ended.
  }
}

export class SluidNames {
  readonly #proc: string;
  readonly #known = new Map<string, number>();

  constructor(proc: string) {
    this.#proc = proc;
  }

  /** The number of the job in this directory, or the one that stands in for it. */
  jobIdOf(jobDir: string, name: string): number {
    const jobId = this.#known.get(name) ?? this.#ask(jobDir, name);
    if (jobId === undefined) return standIn(name);
    this.#known.set(name, jobId);
    return jobId;
  }

  /** Forgets those that are not among these names. */
  keep(names: ReadonlySet<string>): void {
    for (const name of this.#known.keys()) if (!names.has(name)) this.#known.delete(name);
  }

  #ask(jobDir: string, name: string): number | undefined {
    for (const dir of stepdDirs(jobDir)) {
      const jobId = this.#askStep(dir, name);
      if (jobId !== undefined) return jobId;
    }
    return undefined;
  }

  #askStep(dir: string, name: string): number | undefined {
    try {
      const slurmUser = statSync(dir).uid;
      const pids = readFileSync(join(dir, "cgroup.procs"), "utf8").split("\n");
      for (const pid of pids.slice(0, pidsMax)) {
        const jobId = /^[1-9]\d{0,9}$/.test(pid) ? this.#askProcess(pid, slurmUser, name) : undefined;
        if (jobId !== undefined) return jobId;
      }
    } catch {
      // The step has ended, or just begins.
    }
    return undefined;
  }

  #askProcess(pid: string, slurmUser: number, name: string): number | undefined {
    const of = join(this.#proc, pid);
    try {
      const jobId = Number(title.exec(readFileSync(join(of, "cmdline"), "utf8"))?.[1] ?? 0);
      if (jobId === 0 || isStandIn(jobId) || statSync(of).uid !== slurmUser) return undefined;
      return readFileSync(join(of, "cgroup"), "utf8").includes(`/${name}/step_`) ? jobId : undefined;
    } catch {
      return undefined; // It has ended, or we may not see it.
    }
  }
}
