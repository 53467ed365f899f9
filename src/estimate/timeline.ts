/**
 * What was free on each node, over time, from the jobs that ran. Pure. Times are seconds after the beginning of the span
 * (Slurm's own grain), memory is MiB: a million jobs on thousands of nodes fit into small arrays.
 */

export interface NodeSize {
  readonly node: string;
  readonly cores: number;
  readonly memoryMib: number;
}

/** A job, or a time in which nodes were down (it takes them whole). */
export interface Run {
  readonly startMs: number;
  readonly endMs: number;
  readonly nodes: readonly string[];
  /** On each of its nodes. */
  readonly cores: number;
  readonly memoryMib: number;
}

/** Entry i holds from atS[i] until atS[i + 1], the last one until the end of the span. */
export interface Timeline {
  readonly node: string;
  readonly cores: number;
  readonly memoryMib: number;
  readonly atS: Uint32Array;
  readonly freeCores: Int32Array;
  readonly freeMib: Int32Array;
}

/** A list of 32-bit numbers that grows. */
class Numbers {
  #items = new Int32Array(1 << 16);
  length = 0;

  push(value: number): void {
    if (this.length === this.#items.length) {
      const next = new Int32Array(this.length * 2);
      next.set(this.#items);
      this.#items = next;
    }
    this.#items[this.length++] = value;
  }

  at(index: number): number {
    return this.#items[index] ?? 0;
  }
}

/** Takes runs one by one, in any order, and gives the timelines of all nodes at the end. */
export class TimelineBuilder {
  readonly fromMs: number;
  readonly toMs: number;
  readonly #sizes: readonly NodeSize[];
  readonly #index: Map<string, number>;
  readonly #node = new Numbers();
  readonly #at = new Numbers();
  readonly #cores = new Numbers();
  readonly #mib = new Numbers();
  /** Runs on nodes that the cluster does not have (any more). */
  unknownNodes = 0;

  constructor(sizes: readonly NodeSize[], fromMs: number, toMs: number) {
    this.#sizes = sizes;
    this.#index = new Map(sizes.map(({ node }, index) => [node, index]));
    this.fromMs = fromMs;
    this.toMs = toMs;
  }

  add(run: Run): void {
    const startS = Math.floor((Math.max(run.startMs, this.fromMs) - this.fromMs) / 1000);
    const endS = Math.floor((Math.min(run.endMs, this.toMs) - this.fromMs) / 1000);
    if (endS <= startS) return;
    for (const name of run.nodes) {
      const node = this.#index.get(name);
      if (node === undefined) {
        this.unknownNodes++;
        continue;
      }
      this.#event(node, startS, run.cores, run.memoryMib);
      this.#event(node, endS, -run.cores, -run.memoryMib);
    }
  }

  #event(node: number, atS: number, cores: number, mib: number): void {
    this.#node.push(node);
    this.#at.push(atS);
    this.#cores.push(cores);
    this.#mib.push(mib);
  }

  build(): Timeline[] {
    const events = this.#node.length;
    const first = new Int32Array(this.#sizes.length + 1);
    for (let i = 0; i < events; i++) first[this.#node.at(i) + 1] = (first[this.#node.at(i) + 1] ?? 0) + 1;
    for (let n = 0; n < this.#sizes.length; n++) first[n + 1] = (first[n + 1] ?? 0) + (first[n] ?? 0);
    const order = new Int32Array(events);
    const next = first.slice();
    for (let i = 0; i < events; i++) {
      const node = this.#node.at(i);
      const place = next[node] ?? 0;
      order[place] = i;
      next[node] = place + 1;
    }
    return this.#sizes.map((size, n) => this.#timeline(size, order.subarray(first[n], first[n + 1])));
  }

  #timeline(size: NodeSize, events: Int32Array): Timeline {
    // Time and place in one number, so that the sort is a sort of plain numbers.
    const keys = Float64Array.from(events, (event, place) => this.#at.at(event) * 2 ** 26 + place).sort();
    const atS: number[] = [0];
    const freeCores: number[] = [size.cores];
    const freeMib: number[] = [size.memoryMib];
    let cores = 0;
    let mib = 0;
    for (const key of keys) {
      const at = Math.floor(key / 2 ** 26);
      const event = events[key - at * 2 ** 26] ?? 0;
      cores += this.#cores.at(event);
      mib += this.#mib.at(event);
      if (atS.at(-1) !== at) {
        atS.push(at);
        freeCores.push(0);
        freeMib.push(0);
      }
      // Cores that are given twice (OverSubscribe) are free no earlier than the last job's end.
      freeCores[freeCores.length - 1] = Math.max(0, size.cores - cores);
      freeMib[freeMib.length - 1] = Math.max(0, size.memoryMib - mib);
    }
    return {
      ...size,
      atS: Uint32Array.from(atS),
      freeCores: Int32Array.from(freeCores),
      freeMib: Int32Array.from(freeMib),
    };
  }
}
