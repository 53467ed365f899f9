/** From what Slurm's accounting tells to what `estimate` wants. Pure. */
import { type NodeSize, type Run, type Timeline, TimelineBuilder } from "./timeline.ts";

/** A job as the accounting has it; see src/slurm/history.ts, whose type this is a part of. */
export interface PastJob {
  readonly startMs: number;
  readonly endMs: number | undefined;
  readonly nodes: readonly string[];
  readonly cores: number;
  readonly memoryMib: number;
  readonly busy: number | undefined;
  readonly usedMib: number | undefined;
}

/** Collects jobs and the times in which nodes were down; sums what jobs held and did not use. */
export class HistoryCollector {
  readonly #builder: TimelineBuilder;
  readonly #sizes: ReadonlyMap<string, NodeSize>;
  #coreHours = 0;
  #gibHours = 0;
  #knowsCores = false;
  #knowsMemory = false;

  constructor(nodes: readonly NodeSize[], fromMs: number, toMs: number) {
    this.#builder = new TimelineBuilder(nodes, fromMs, toMs);
    this.#sizes = new Map(nodes.map((node) => [node.node, node]));
  }

  job(job: PastJob): void {
    const { fromMs, toMs } = this.#builder;
    const endMs = job.endMs ?? toMs;
    this.#builder.add({ ...job, endMs });
    const hours = Math.max(0, Math.min(endMs, toMs) - Math.max(job.startMs, fromMs)) / 3_600_000;
    if (job.busy !== undefined) {
      this.#knowsCores = true;
      this.#coreHours += hours * job.cores * job.nodes.length * (1 - job.busy);
    }
    if (job.usedMib !== undefined) {
      this.#knowsMemory = true;
      this.#gibHours += (hours * job.nodes.length * (job.memoryMib - job.usedMib)) / 1024;
    }
  }

  /** The whole node is taken, whatever a job holds of it. */
  down(span: { readonly node: string; readonly startMs: number; readonly endMs: number }): void {
    const size = this.#sizes.get(span.node);
    if (size === undefined) return;
    const run: Run = { ...span, nodes: [span.node], cores: size.cores, memoryMib: size.memoryMib };
    this.#builder.add(run);
  }

  get unknownNodes(): number {
    return this.#builder.unknownNodes;
  }

  heldUnused(): { coreHours: number | undefined; gibHours: number | undefined } {
    return {
      coreHours: this.#knowsCores ? this.#coreHours : undefined,
      gibHours: this.#knowsMemory ? this.#gibHours : undefined,
    };
  }

  timelines(): Timeline[] {
    return this.#builder.build();
  }
}
