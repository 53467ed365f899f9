/** How both daemons begin: command line and settings, and all that ends there (--help, --version, --check-config, anything wrong). */
import { toSubletError } from "../common/errors.ts";
import { version } from "../common/version.ts";
import { type DaemonArguments, daemonArguments, exits } from "./arguments.ts";
import { type Hangups, hearHangups } from "./hangup.ts";
import { settingsJson, settingsText } from "./show.ts";
import type { Configuration } from "./sources.ts";

export interface BeginOptions<C, R> {
  /** agent, controller. */
  readonly name: string;
  readonly usage: string;
  /** Flags of single keys. */
  readonly flags: Readonly<Record<string, string>>;
  readonly switches?: readonly string[];
  /** Reads and checks all that a start would. @throws SubletError. */
  readonly read: (given: DaemonArguments) => Configuration<C, R>;
}

export interface Begun<C, R> {
  /** Hears every SIGHUP from now on, and keeps one that came before there was anybody to tell. */
  readonly hangups: Hangups;
  readonly given: DaemonArguments;
  readonly settings: Configuration<C, R>;
}

function orEnd<T>(name: string, read: () => T, status: number): T {
  try {
    return read();
  } catch (thrown) {
    process.stderr.write(`sublet-${name}: ${toSubletError(thrown).message}\n`);
    process.exit(status);
  }
}

export function begin<C, R>({ name, usage, flags, switches, read }: BeginOptions<C, R>): Begun<C, R> {
  const given = orEnd(name, () => daemonArguments(process.argv.slice(2), flags, switches), exits.usage);
  if (given.help) {
    process.stdout.write(usage);
    process.exit(exits.ok);
  }
  if (given.version) {
    process.stdout.write(`sublet-${name} ${version}\n`);
    process.exit(exits.ok);
  }
  const settings = orEnd(name, () => read(given), exits.config);
  if (!given.checkConfig) {
    return { given, settings, hangups: hearHangups() };
  }
  process.stdout.write(
    given.json
      ? `${JSON.stringify(settingsJson(name, settings), undefined, 2)}\n`
      : settingsText(name, settings),
  );
  process.exit(exits.ok);
}
