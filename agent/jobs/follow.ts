/** Follows the jobs of this node beyond their cgroups' coming and going: what sharing ones use, and who was beside them. */
import type { ReceiptMessage } from "../../src/rpc/messages.ts";
import type { GuestTree } from "../cgroup/guests.ts";
import { v1Mount } from "../cgroup/layout.ts";
import { keepReceipts, type Receipts } from "../receipts/keep.ts";
import { pressureReader } from "../receipts/pressure.ts";
import type { Shell } from "../shell.ts";
import type { JobRoots } from "./roots.ts";
import { startUseSampler } from "./sampler.ts";
import { UseReader, type UseSource } from "./use.ts";

export interface JobFollower {
  readonly receipts: Receipts;
  /** From where it is known how jobs use their cores. */
  readonly source: UseSource;
  /** For the agent's slow tick. */
  tick(): void;
  close(): void;
}

export function followJobs(options: {
  readonly shell: Shell;
  readonly roots: JobRoots;
  readonly tree: GuestTree;
  /** Receipts of jobs that ended. */
  readonly onReceipts: (receipts: readonly ReceiptMessage[]) => void;
}): JobFollower {
  const { shell, roots, tree } = options;
  const cpuacct = tree.layout.version === 1 ? v1Mount("cpuacct") : undefined;
  const reader = new UseReader({
    roots,
    tree,
    cpuacct,
    proc: "/proc",
  });
  const sampler = startUseSampler(shell, reader);
  const receipts = keepReceipts(shell, pressureReader(roots), options.onReceipts);
  return {
    receipts,
    get source() {
      return reader.source;
    },
    tick() {
      sampler.sample();
      receipts.tick();
    },
    close: sampler.close,
  };
}
