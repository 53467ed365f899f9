/** Runs of benchmarks that somebody put into a page of docs/: their shape, and what is said of the machine. */
import { existsSync, readFileSync } from "node:fs";
import { z } from "zod";

/** With fewer the interval of a median is all of its values. */
const roundsLeast = 5;
/** Above this load of the minute before, others worked on the machine. */
const quietLoad = 0.3;

const figure = z.number().nullable();

export const measuredRow = z.object({
  what: z.string(),
  value: figure,
  p99: figure.optional(),
  unit: z.string(),
  baseline: z.object({ what: z.string(), value: figure }).optional(),
  ratio: figure,
  interval: z.tuple([figure, figure]).optional(),
  mark: z.number().optional(),
  least: z.number().optional(),
  markOn: z.literal("value").optional(),
  issue: z.string().optional(),
  verdict: z.enum(["met", "NOT met", "not shown here", "not measured", ""]),
  notShown: z.string().optional(),
  note: z.string().optional(),
});
export type MeasuredRow = z.output<typeof measuredRow>;

/** @param again the command that makes enough rounds */
export function measuredRun(again: string) {
  return z.object({
    machine: z.object({
      cores: z.int(),
      model: z.string(),
      kernel: z.string(),
      /** Of the minute before the run. */
      load: z.number(),
      date: z.string().regex(/^\d{4}-\d\d-\d\d$/),
      version: z.string(),
    }),
    rounds: z.int().min(roundsLeast, `fewer than ${roundsLeast} rounds say nothing: ${again}`),
    rows: z.array(measuredRow).min(1),
  });
}
export type MeasuredRun = z.output<ReturnType<typeof measuredRun>>;

/** When, on what, and whether it was quiet. */
export function machineText({ machine, rounds }: Pick<MeasuredRun, "machine" | "rounds">): string {
  const quiet =
    machine.load < quietLoad ? "" : " **The machine was not quiet**: read the intervals before the medians.";
  return (
    `${machine.date}, Sublet ${machine.version}: ${machine.cores} cores (${machine.model}), Linux ${machine.kernel}, ` +
    `${rounds} rounds, load ${machine.load.toFixed(2)} before the run.${quiet}`
  );
}

export const tableLine = (cells: readonly string[]): string =>
  `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;

/** The run that was put in; undefined: none. */
export function keptRun<T>(file: string, parse: (text: string) => T): T | undefined {
  return existsSync(file) ? parse(readFileSync(file, "utf8")) : undefined;
}

/** What is said where a run is refused; the page stays as it is. */
export function refuse(name: string, bench: string, thrown: unknown): never {
  const why = thrown instanceof z.ZodError ? z.prettifyError(thrown) : String(thrown);
  console.error(`${name}: not what ${bench} writes; nothing is changed.\n${why}`);
  process.exit(1);
}
