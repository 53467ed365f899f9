/**
 * The settings in effect and where each came from: for --check-config, `sublet config` and the support bundle. As text it is
 * TOML again; settings of another file (the guard's policy) follow as comments. What the schema calls secret is never in it.
 */
import type { KeySpec } from "./keys.ts";
import type { Setting } from "./load.ts";
import type { Configuration } from "./sources.ts";
import { tomlValue } from "./toml-value.ts";

export const hidden = "(secret)";

export interface ShownSetting {
  readonly key: string;
  /** null: unset. */
  readonly value: unknown;
  /** default, file, drop-in, environment or flag. */
  readonly from: string;
  /** "file:line", the variable, the flag; empty of a default. */
  readonly where: string;
  /** SIGHUP changes it. */
  readonly live: boolean;
}

function shown({ key, value, origin }: Setting, computed: Readonly<Record<string, unknown>>): ShownSetting {
  const found = value ?? computed[key.key];
  return {
    key: key.key,
    value: found === undefined ? null : key.secret ? hidden : found,
    from: origin.kind,
    where: origin.where,
    live: key.live,
  };
}

type Any = Configuration<unknown, unknown>;

export function shownSettings({ read, computed }: Any): ShownSetting[] {
  return read.settings.map((each) => shown(each, computed));
}

export function settingsJson(name: string, configuration: Any): object {
  const { read, parts = {} } = configuration;
  const inner = Object.entries(parts).map(([part, each]) => [part, settingsJson(part, each)]);
  return {
    config: name,
    files: read.files,
    settings: shownSettings(configuration),
    ...(inner.length === 0 ? {} : { parts: Object.fromEntries(inner) }),
  };
}

function originText({ from, where, value }: ShownSetting, key: KeySpec): string {
  if (from !== "default") return where;
  return value !== null && key.default === undefined ? "default, computed" : "default";
}

export function settingsText(name: string, configuration: Any): string {
  const { files, settings } = configuration.read;
  const lines = [`# Settings of ${name} in effect. Files read: ${files.join(", ") || "none"}`];
  let table = "";
  for (const setting of settings) {
    const each = shown(setting, configuration.computed);
    const path = setting.key.path.slice(0, -1).join(".");
    // A table without values is not one that is there.
    if (path !== table && each.value !== null) {
      lines.push("", `[${path}]`);
      table = path;
    }
    const name = setting.key.path.at(-1);
    const text = each.value === null ? `# ${setting.key.key} is unset` : `${name} = ${tomlValue(each.value)}`;
    lines.push(`${text.padEnd(40)}  # ${originText(each, setting.key)}`.replace(/ {2}# $/, ""));
  }
  const parts = Object.entries(configuration.parts ?? {}).map(([part, each]) =>
    settingsText(part, each).replace(/^(?!#|$)/gm, "# "),
  );
  return [`${lines.join("\n")}\n`, ...parts].join("\n");
}
