/** What a benchmark ran on, for its JSON. */
import { cpus, loadavg, release } from "node:os";
import { version } from "../../src/common/version.ts";

export interface Machine {
  readonly cores: number;
  readonly model: string;
  readonly kernel: string;
  /** Of the minute before. */
  readonly load: number;
  /** YYYY-MM-DD */
  readonly date: string;
  readonly version: string;
}

/** To be asked before the run, which is a load itself. */
export function thisMachine(): Machine {
  return {
    cores: cpus().length,
    model: cpus()[0]?.model ?? "?",
    kernel: release(),
    load: loadavg()[0] ?? 0,
    date: new Date().toISOString().slice(0, 10),
    version,
  };
}
