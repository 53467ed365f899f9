/**
 * Reads `scontrol show nodes -o`: the cheapest full view of a cluster's nodes (one line a node, fields `Key=Value`).
 * Only fields with values without blanks are read; free text (OS, Reason, Comment) is skipped over, not trusted.
 */
import { SubletError } from "../common/errors.ts";

/** One word for what Slurm says in several. Everything but the first three must not be lent. */
export type NodeState =
  | "idle"
  | "mixed"
  | "allocated"
  | "draining"
  | "down"
  | "reserved"
  | "planned"
  | "powering"
  | "unknown";

export interface SlurmNode {
  readonly name: string;
  readonly state: NodeState;
  /** What Slurm may allocate: without specialized cores, where Slurm says so (from 22.05). */
  readonly cores: number;
  readonly allocatedCores: number;
  readonly memoryBytes: number;
  readonly allocatedMemoryBytes: number;
  readonly partitions: readonly string[];
}

const mebibyte = 1024 * 1024;

/** Flags of Slurm's State field that decide whatever the base state is, strongest first. */
const decidingFlags: readonly (readonly [RegExp, NodeState])[] = [
  [/^(DOWN|FAIL|FAILING|ERROR|FUTURE|NOT_RESPONDING|NO_RESPOND|INVALID_REG)\*?$/, "down"],
  [/^(DRAIN|DRAINING|DRAINED)\*?$/, "draining"],
  [/^(MAINT|MAINTENANCE|RESERVED)\*?$/, "reserved"],
  [/^(POWER|POWERED|POWERING|REBOOT|CLOUD$).*$/, "powering"],
  [/^PLANNED\*?$/, "planned"],
];

/** Slurm's State field ("MIXED+DRAIN", "IDLE*+POWERED_DOWN") as one word. */
export function nodeStateOf(text: string): NodeState {
  const words = text.toUpperCase().split("+");
  if (words.some((word) => /[*]$/.test(word))) return "down"; // a star: the node does not answer
  for (const [pattern, state] of decidingFlags) if (words.some((word) => pattern.test(word))) return state;
  const base = words[0] ?? "";
  if (words.includes("COMPLETING") || base === "ALLOCATED") return base === "MIXED" ? "mixed" : "allocated";
  return base === "IDLE" ? "idle" : base === "MIXED" ? "mixed" : "unknown";
}

const fieldPatterns = {
  NodeName: /(?:^| )NodeName=(\S*)/,
  State: / State=(\S*)/,
  CPUTot: / CPUTot=(\S*)/,
  CPUEfctv: / CPUEfctv=(\S*)/,
  CPUAlloc: / CPUAlloc=(\S*)/,
  RealMemory: / RealMemory=(\S*)/,
  AllocMem: / AllocMem=(\S*)/,
};

/**
 * Parses the whole output.
 * @throws SubletError INTERNAL when it is cut, or a line is no node or lacks a field (another Slurm than we know).
 */
export function parseNodes(text: string): SlurmNode[] {
  if (text !== "" && !text.endsWith("\n"))
    throw new SubletError("INTERNAL", "scontrol show nodes: the output is cut (no end of line at its end)");
  const nodes: SlurmNode[] = [];
  for (const line of text.split("\n")) {
    if (line.trim() === "") continue;
    if (!line.startsWith("NodeName="))
      throw new SubletError("INTERNAL", `scontrol show nodes: no node in: ${line.slice(0, 120)}`);
    const field = (name: keyof typeof fieldPatterns): string => {
      const match = fieldPatterns[name].exec(line);
      if (match?.[1] === undefined)
        throw new SubletError("INTERNAL", `scontrol show nodes has no ${name} in: ${line.slice(0, 120)}`);
      return match[1];
    };
    const number = (name: keyof typeof fieldPatterns): number => {
      const value = Number(field(name));
      if (!Number.isSafeInteger(value) || value < 0)
        throw new SubletError(
          "INTERNAL",
          `scontrol show nodes: ${name} is not a number in: ${line.slice(0, 120)}`,
        );
      return value;
    };
    nodes.push({
      name: field("NodeName"),
      state: nodeStateOf(field("State")),
      cores: number(fieldPatterns.CPUEfctv.test(line) ? "CPUEfctv" : "CPUTot"),
      allocatedCores: number("CPUAlloc"),
      memoryBytes: number("RealMemory") * mebibyte,
      allocatedMemoryBytes: number("AllocMem") * mebibyte,
      partitions: / Partitions=(\S+)/.exec(line)?.[1]?.split(",") ?? [],
    });
  }
  return nodes;
}
