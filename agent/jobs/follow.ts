/** Follows the jobs of this node beyond their cgroups' coming and going: what sharing ones use, and who was beside them. */
import type { ReceiptMessage } from "../../src/rpc/messages.ts";
import type { GuestTree } from "../cgroup/guests.ts";
import { v1Mount } from "../cgroup/layout.ts";
import { keepReceipts, type Receipts } from "../receipts/keep.ts";
import type { Shell } from "../shell.ts";
import type { JobRoots } from "./roots.ts";
import { startUseSampler } from "./sampler.ts";
import { UseReader, type UseSource } from "./use.ts";
import { JobWaiting, type WaitingSums } from "./waiting.ts";

export interface JobFollower {
  readonly receipts: Receipts;
  /** From where it is known how jobs use their cores. */
  readonly source: UseSource;
  /** How long the jobs waited. */
  readonly waiting: WaitingSums;
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
  const waiting = new JobWaiting({
    roots,
    nowMs: () => shell.nowMs(),
    // One whose cores are not known may run anywhere.
    cores: (jobId) => (shell.state.jobs.get(jobId)?.cores ?? shell.state.setup.cores).length,
  });
  const receipts = keepReceipts(shell, (jobId) => waiting.look(jobId), options.onReceipts);
  return {
    receipts,
    get source() {
      return reader.source;
    },
    get waiting() {
      return waiting.sums;
    },
    tick() {
      sampler.sample();
      waiting.tick([...shell.state.jobs.keys()]);
      receipts.tick();
    },
    close: sampler.close,
  };
}
