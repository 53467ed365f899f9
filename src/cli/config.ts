/**
 * `sublet config`: what the files, variables and flags of a program come to, without starting it. For the agent's guard policy, which is
 * read by the agent alone, `sublet-agent --check-config` has the last word.
 */
import { SubletError, toSubletError } from "../common/errors.ts";
import { readCli } from "../config/cli.ts";
import { readAgent, readController } from "../config/config.ts";
import type { KeySpec } from "../config/keys.ts";
import { nearestWord } from "../config/nearest.ts";
import { settingsJson, settingsText, shownSettings } from "../config/show.ts";
import type { Configuration, Sources } from "../config/sources.ts";
import { tomlValue } from "../config/toml-value.ts";
import { type Output, wrap, writeError, writeJson } from "./output.ts";

export { exits } from "../config/arguments.ts";

const readers: Readonly<Record<string, (sources: Sources) => Configuration<unknown, unknown>>> = {
  agent: readAgent,
  controller: readController,
  sublet: readCli,
};

export interface ConfigContext {
  readonly output: Output;
  readonly json: boolean;
  readonly environment: NodeJS.ProcessEnv;
}

export interface ConfigOptions {
  readonly file?: string;
}

function read(
  name: string,
  { file }: ConfigOptions,
  environment: NodeJS.ProcessEnv,
): Configuration<unknown, unknown> {
  const reader = readers[name];
  if (reader === undefined) throw new SubletError("INVALID_ARGUMENT", `no settings of ${name}`);
  return reader({ file, environment });
}

export function show(context: ConfigContext, name: string, options: ConfigOptions): void {
  const found = read(name, options, context.environment);
  if (context.json) writeJson(context.output, settingsJson(name, found));
  else context.output.write(settingsText(name, found));
}

/** True when all is well. */
export function check(context: ConfigContext, name: string, options: ConfigOptions): boolean {
  const { output, json } = context;
  try {
    const { files } = read(name, options, context.environment).read;
    if (json) writeJson(output, { config: name, ok: true, files });
    else output.write(`${name}: ok (${files.join(", ") || "no file: all defaults"})\n`);
    return true;
  } catch (thrown) {
    const error = toSubletError(thrown);
    if (json) writeJson(output, { config: name, ok: false, complaints: error.message.split("\n") });
    else writeError(output, error, false);
    return false;
  }
}

function keyOf(keys: readonly KeySpec[], wanted: string): KeySpec {
  const found = keys.find(({ key }) => key === wanted);
  if (found !== undefined) return found;
  const names = keys.map(({ key }) => key);
  const meant = names.find((name) => name.endsWith(`.${wanted}`)) ?? nearestWord(wanted, names);
  throw new SubletError(
    "NOT_FOUND",
    `no key ${wanted}${meant === undefined ? `; there are ${names.join(", ")}` : `; did you mean ${meant}?`}`,
  );
}

export function explain(context: ConfigContext, name: string, wanted: string, options: ConfigOptions): void {
  const found = read(name, options, context.environment);
  const key = keyOf(
    found.read.settings.map((setting) => setting.key),
    wanted,
  );
  const now = shownSettings(found).find((each) => each.key === key.key);
  const { output } = context;
  if (context.json) {
    writeJson(output, { ...now, description: key.description, default: key.default ?? null });
    return;
  }
  const value = now?.value === null ? "unset" : tomlValue(now?.value);
  const lines = [
    `${key.key} = ${value}`,
    `  from      ${now?.from}${now?.where === "" ? "" : ` ${now?.where}`}`,
    `  default   ${key.default === undefined ? "unset, or as said below" : tomlValue(key.default)}`,
    ...(key.words.length > 0 ? [`  one of    ${key.words.join(", ")}`] : []),
    ...(key.minimum === undefined ? [] : [`  at least  ${key.minimum}`]),
    ...(key.maximum === undefined ? [] : [`  at most   ${key.maximum}`]),
    `  reload    ${name === "sublet" ? "read at each command" : key.live ? "changes it at once" : "wants a restart"}`,
    wrap(key.description, output.width, "  "),
  ];
  output.write(`${lines.join("\n")}\n`);
}
