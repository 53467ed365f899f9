/**
 * Linux CPU lists ("0-3,8"), as in cpuset.cpus and /sys/devices/system/cpu/online.
 * Parsing is bounded: a list from a file that a guest could influence must not cost memory or time.
 */
import { SubletError } from "./errors.ts";

/** Highest core number accepted, exclusive: the kernel's largest NR_CPUS. */
export const maxCores = 8192;

const maxText = 65536;

/**
 * Parses a CPU list into ascending core numbers without repeats. Empty text is the empty list.
 * Accepts the kernel's strides ("0-31:2/4" = the first 2 of each 4).
 * @throws SubletError INVALID_ARGUMENT on anything else.
 */
export function parseCpuList(text: string): number[] {
  const bad = (why: string): SubletError =>
    new SubletError("INVALID_ARGUMENT", `CPU list ${JSON.stringify(text.slice(0, 80))}: ${why}`);
  const body = text.trim();
  if (body === "") return [];
  if (body.length > maxText) throw bad("too long");
  const cores = new Set<number>();
  for (const part of body.split(",")) {
    const match = /^(\d{1,5})(?:-(\d{1,5})(?::(\d{1,5})\/(\d{1,5}))?)?$/.exec(part);
    if (match === null) throw bad(`cannot read ${JSON.stringify(part.slice(0, 20))}`);
    const first = Number(match[1]);
    const last = match[2] === undefined ? first : Number(match[2]);
    const used = match[3] === undefined ? 1 : Number(match[3]);
    const group = match[4] === undefined ? 1 : Number(match[4]);
    if (last >= maxCores) throw bad(`core ${last} is beyond ${maxCores - 1}`);
    if (last < first) throw bad(`range ${part} runs backwards`);
    if (used < 1 || group < used) throw bad(`stride ${part} is empty`);
    for (let start = first; start <= last; start += group)
      for (let core = start; core < start + used && core <= last; core++) cores.add(core);
  }
  return [...cores].sort((a, b) => a - b);
}

/** Formats core numbers in the kernel's form: ascending, runs folded. Order and repeats do not matter. */
export function formatCpuList(cores: Iterable<number>): string {
  const sorted = [...new Set(cores)].sort((a, b) => a - b);
  const parts: string[] = [];
  for (let i = 0; i < sorted.length; ) {
    let end = i;
    while (end + 1 < sorted.length && sorted[end + 1] === (sorted[end] as number) + 1) end++;
    parts.push(end === i ? `${sorted[i]}` : `${sorted[i]}-${sorted[end]}`);
    i = end + 1;
  }
  return parts.join(",");
}
