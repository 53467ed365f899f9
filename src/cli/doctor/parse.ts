/** Readers of what kernel and Slurm print, for the doctor. */

export interface CgroupMounts {
  readonly v1: Record<string, string>;
  readonly v2Dir: string | undefined;
  readonly readOnly: string[];
}

const v1Controllers = new Set(["cpuset", "cpu", "cpuacct", "memory", "pids", "freezer"]);

/** Cgroup hierarchies in /proc/self/mounts. The first mount of each is taken. */
export function parseCgroupMounts(mounts: string): CgroupMounts {
  const v1: Record<string, string> = {};
  const readOnly: string[] = [];
  let v2Dir: string | undefined;
  for (const line of mounts.split("\n")) {
    const [, dir, type, options] = line.split(" ");
    if (dir === undefined || options === undefined) continue;
    const flags = options.split(",");
    if (type === "cgroup2") v2Dir ??= dir;
    else if (type === "cgroup") for (const flag of flags) if (v1Controllers.has(flag)) v1[flag] ??= dir;
    if ((type === "cgroup" || type === "cgroup2") && flags.includes("ro")) readOnly.push(dir);
  }
  return { v1, v2Dir, readOnly };
}

/** `Key = value` lines of `scontrol show config`; values of a key with several (`Prolog[0]`) are joined by commas. */
export function parseSlurmConfig(text: string): Record<string, string> {
  const config: Record<string, string> = {};
  for (const line of text.split("\n")) {
    const match = /^(\w+)(\[\d+\])?\s*=\s*(.*?)\s*$/.exec(line);
    if (match?.[1] === undefined) continue;
    const before = match[2] === undefined ? undefined : config[match[1]];
    config[match[1]] = before === undefined ? (match[3] ?? "") : `${before},${match[3]}`;
  }
  return config;
}

/** Offset of a clock from the Date header of its answer, which was sent between two of our times. */
export function clockOffsetMs(dateHeader: string, sentUnixMs: number, receivedUnixMs: number): number {
  // The header is cut to whole seconds: half a second later is the best guess.
  return Date.parse(dateHeader) + 500 - (sentUnixMs + receivedUnixMs) / 2;
}
