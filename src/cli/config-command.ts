/** The words of `sublet config`; what they do is loaded when it is asked for. */
import { Argument, type Command } from "commander";
import type { ConfigContext, ConfigOptions } from "./config.ts";

/** `end`: with this exit status. */
export function addConfigCommands(
  program: Command,
  context: () => ConfigContext,
  end: (status: number) => void,
): void {
  const config = program
    .command("config")
    .description("settings of agent, controller or this command: what is in effect, and why")
    .helpCommand(false);
  const which = (): Argument => new Argument("<which>", "whose").choices(["agent", "controller", "sublet"]);
  const file = "a file instead of the default ones; its drop-ins count";
  config
    .command("show")
    .addArgument(which())
    .option("--file <file>", file)
    .description("all settings in effect, and where each came from")
    .action(async (name: string, options: ConfigOptions) =>
      (await import("./config.ts")).show(context(), name, options),
    );
  config
    .command("check")
    .addArgument(which())
    .option("--file <file>", file)
    .description("are they right? exit status 78 when not, with file and line of what is wrong")
    .action(async (name: string, options: ConfigOptions) => {
      const { check, exits } = await import("./config.ts");
      if (!check(context(), name, options)) end(exits.config);
    });
  config
    .command("explain")
    .addArgument(which())
    .argument("<key>", "as reclaim.budget_ms")
    .option("--file <file>", file)
    .description("one key: its value, source, bounds and meaning")
    .action(async (name: string, key: string, options: ConfigOptions) =>
      (await import("./config.ts")).explain(context(), name, key, options),
    );
}
