/** The options of `sublet estimate`; what it does is loaded when it is called. */
import { type Command, InvalidArgumentError, Option } from "commander";
import type { EstimateOptions } from "./estimate.ts";
import type { Session } from "./session.ts";

function positive(most: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!(value > 0 && value <= most))
      throw new InvalidArgumentError(`Expected a number above 0, at most ${most}.`);
    return value;
  };
}

function minutes(text: string): number[] {
  const values = text.split(",").map(positive(10_080));
  if (values.length > 12) throw new InvalidArgumentError("Expected at most 12 terms.");
  return values;
}

export function addEstimateCommand(program: Command, session: () => Session): void {
  program
    .command("estimate")
    .description(
      "what would this site gain? From Slurm's accounting (nothing needs to be installed, any user may ask), a record, or a trace",
    )
    .option("--from <time>", "a date (2026-10-01, 2026-10-01T12:00) or days ago (14d)", "14d")
    .option("--to <time>", "likewise; default: now, or the end of the record")
    .option("--partition <name>", "its nodes and its jobs only")
    .option("--memory-use", "ask what jobs used of their memory, too: slower, three times the lines")
    .option(
      "--sacct <file>",
      "a record in place of asking: sacct -a -X -P -o JobIDRaw,Start,End,NNodes,AllocTRES,NodeList,CPUTimeRAW,TotalCPU",
    )
    .option("--sinfo <file>", "likewise: sinfo -h -a -N -o '%N|%c|%m|%P|%T'")
    .addOption(
      new Option(
        "--trace <file>",
        "counts of nodes over time: CSV with timestamp, idle_nodes, allocated_nodes",
      ).conflicts(["sacct", "sinfo", "partition"]),
    )
    .option("--cores-per-node <n>", "of a trace", positive(65_536))
    .option("--gib-per-node <n>", "of a trace", positive(1 << 20))
    .addOption(
      new Option("--terms <minutes>", "terms of leases, with commas")
        .argParser(minutes)
        .default([1, 5, 15], "1,5,15"),
    )
    .option("--lease-cores <n>", "cores that a lease asks for; it takes fewer", positive(65_536), 4)
    .option("--lease-mib-per-core <n>", "memory that it asks for", positive(1 << 20), 512)
    .option("--html <file>", "write a page with plots, to show")
    .option("--price <money>", "of a core-hour", positive(1e6))
    .option("--currency <name>", "of the price", "EUR")
    .action(async (options: EstimateOptions, command: Command) => {
      // A record or a trace has a span of its own.
      const from = command.getOptionValueSource("from") === "default" ? undefined : options.from;
      const { estimate } = await import("./estimate.ts");
      const { from: _, ...rest } = options;
      await estimate(session(), from === undefined ? rest : { ...rest, from });
    });
}
