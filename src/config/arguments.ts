/** The command line of the daemons, as far as it is about settings: --config, --set, --check-config, and flags of single keys. */
import { parseArgs } from "node:util";
import { SubletError, toSubletError } from "../common/errors.ts";
import type { Flag } from "./layers.ts";

/** Exit statuses of the daemons. */
export const exits = {
  ok: 0,
  failed: 1,
  usage: 2,
  /** EX_CONFIG of sysexits.h: a unit may say RestartPreventExitStatus=78, since trying again does not help. */
  config: 78,
} as const;

/** Flag → key. */
export const agentFlags = {
  node: "node",
  controllers: "controllers",
  listen: "listen",
  "metrics-listen": "metrics_listen",
  "run-dir": "run_dir",
  "log-level": "log.level",
} as const;

export const controllerFlags = {
  listen: "listen",
  "metrics-listen": "metrics_listen",
  "log-level": "log.level",
} as const;

export interface DaemonArguments {
  readonly file: string | undefined;
  readonly flags: readonly Flag[];
  readonly checkConfig: boolean;
  readonly json: boolean;
  readonly version: boolean;
  readonly help: boolean;
  /** Switches of this daemon alone. */
  readonly switches: ReadonlySet<string>;
}

function setFlag(text: string): Flag {
  const at = text.indexOf("=");
  if (at < 1) throw new SubletError("INVALID_ARGUMENT", `--set ${text}: expected --set key=value`);
  const key = text.slice(0, at).trim();
  return { flag: `--set ${key}`, key, text: text.slice(at + 1).trim() };
}

/** `keyFlags`: see above. @throws SubletError INVALID_ARGUMENT: wrong usage. */
export function daemonArguments(
  argv: readonly string[],
  keyFlags: Readonly<Record<string, string>>,
  switches: readonly string[] = [],
): DaemonArguments {
  const single = { type: "string" } as const;
  const toggle = { type: "boolean", default: false } as const;
  let values: Record<string, unknown>;
  try {
    ({ values } = parseArgs({
      args: [...argv],
      options: {
        config: single,
        set: { type: "string", multiple: true },
        "check-config": toggle,
        json: toggle,
        version: toggle,
        help: toggle,
        ...Object.fromEntries(Object.keys(keyFlags).map((name) => [name, single])),
        ...Object.fromEntries(switches.map((name) => [name, toggle])),
      },
    }));
  } catch (thrown) {
    throw new SubletError("INVALID_ARGUMENT", toSubletError(thrown).message, { cause: thrown });
  }
  const named = Object.entries(keyFlags).flatMap(([name, key]): Flag[] => {
    const text = values[name];
    return typeof text === "string" ? [{ flag: `--${name}`, key, text }] : [];
  });
  return {
    file: typeof values.config === "string" ? values.config : undefined,
    flags: [...((values.set as string[] | undefined) ?? []).map(setFlag), ...named],
    checkConfig: values["check-config"] === true,
    json: values.json === true,
    version: values.version === true,
    help: values.help === true,
    switches: new Set(switches.filter((name) => values[name] === true)),
  };
}

/** The part of a daemon's usage that is about settings. */
export function settingsUsage(name: string, keyFlags: Readonly<Record<string, string>>): string {
  const flags = Object.entries(keyFlags).map(([flag, key]) => `  ${`--${flag} TEXT`.padEnd(22)} sets ${key}`);
  return `  --config FILE          settings instead of /etc/sublet/${name}.toml; drop-ins beside it: ${name}.conf.d/*.toml
  --set KEY=VALUE        one setting, e.g. --set log.level=debug; may be repeated
${flags.join("\n")}
  --check-config         check all settings, print those in effect and where each came from, and end
  --json                 print them as JSON
  --version              print the version and end
Settings: defaults < file < drop-ins < SUBLET_${name.toUpperCase()}_KEY (table and key: TABLE__KEY) < flags. See sublet-${name}.toml(5).
SIGHUP reads them again: all or nothing, and the log says what changed.
Exit status: 0 done, 1 failed, 2 wrong usage, 78 settings are wrong.
`;
}
