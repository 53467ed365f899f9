/** Example files: every key with its default as a comment, so that taking the "#" away changes nothing. */
import { wrap } from "../../src/cli/output.ts";
import { type KeySpec, keysOf, tablesOf } from "../../src/config/keys.ts";
import { dropInFolder } from "../../src/config/layers.ts";
import { tomlValue } from "../../src/config/toml-value.ts";
import type { Subject } from "./subjects.ts";
import { sentence, typeText } from "./text.ts";

const width = 110;

function comment(text: string): string[] {
  const lines = wrap(text, width, "# ").split("\n");
  const like = lines.find((line) => /^# [a-z_]+ = /.test(line));
  if (like !== undefined) throw new Error(`a comment that looks like a setting: ${like}`);
  return lines;
}

function keyLines(key: KeySpec, ships: unknown): string[] {
  const restart = key.live ? "" : " Wants a restart.";
  const lines = comment(`${sentence(key.description)} (${typeText(key)})${restart}`);
  const name = key.path.at(-1);
  if (ships !== undefined) return [...lines, `${name} = ${tomlValue(ships)}`, ""];
  if (key.default !== undefined) return [...lines, `#${name} = ${tomlValue(key.default)}`, ""];
  const example = key.example === undefined ? "" : ` = ${tomlValue(key.example)}`;
  return [...lines, `# ${name}${example}`, ""];
}

export function exampleFile(subject: Subject): string {
  const { schema, paths, daemon, program } = subject;
  const tables = tablesOf(schema);
  const [path = ""] = paths;
  const lines = [
    ...comment(`${path}: ${subject.about}. See ${subject.man}(5).`),
    ...comment(
      `"#key = value" is a default: take the "#" away to change it. "# key = value" is an example of a key that is unset by default. ` +
        `The unit is the end of the key's name. Drop-ins: ${dropInFolder(path)}/*.toml.`,
    ),
    ...(daemon
      ? comment(
          `Reload with "systemctl reload ${program}" (SIGHUP): all or nothing. Check with "${program} --check-config".`,
        )
      : []),
    "",
  ];
  let table = "";
  for (const key of keysOf(schema)) {
    const at = key.path.slice(0, -1).join(".");
    if (at !== table) {
      const spec = tables.find(({ name }) => name === at);
      lines.push(...comment(sentence(spec?.description ?? "")), spec?.optional ? `# [${at}]` : `[${at}]`);
      table = at;
    }
    lines.push(...keyLines(daemon ? key : { ...key, live: true }, subject.ships?.[key.key]));
  }
  return `${lines.join("\n").trimEnd()}\n`;
}
