/** Manual pages of section 5, in the macros of man(7). */
import { type KeySpec, keysOf, tablesOf } from "../../src/config/keys.ts";
import { dropInFolder } from "../../src/config/layers.ts";
import { type Subject, subjects } from "./subjects.ts";
import { defaultText, sentence, typeText } from "./text.ts";

/** Text as roff takes it literally. */
export function roff(text: string): string {
  return text
    .replace(/\\/g, "\\e")
    .replace(/-/g, "\\-")
    .replace(/^([.'])/gm, "\\&$1")
    .replace(/"/g, "\\(dq");
}

const bold = (text: string): string => `.B ${roff(text)}`;

function keyLines(key: KeySpec, daemon: boolean): string[] {
  const name = key.path.at(-1) ?? "";
  const value = defaultText(key);
  const facts = [
    sentence(typeText(key)),
    value === "" ? "" : `Default: ${value}.`,
    !daemon ? "" : key.live ? "Changed by a reload." : "Wants a restart.",
    key.required ? "Must be set if its table is there." : "",
    key.secret ? "Never shown." : "",
  ];
  return [
    ".TP",
    bold(name),
    roff(sentence(key.description)),
    ".br",
    roff(facts.filter((fact) => fact !== "").join(" ")),
  ];
}

function settings({ schema, daemon }: Subject): string[] {
  const tables = tablesOf(schema);
  const lines: string[] = [];
  let table = "";
  for (const key of keysOf(schema)) {
    const at = key.path.slice(0, -1).join(".");
    if (at !== table) {
      const about = tables.find(({ name }) => name === at)?.description ?? "";
      lines.push(`.SS ${roff(`[${at}]`)}`, roff(sentence(about)));
      table = at;
    }
    lines.push(...keyLines(key, daemon));
  }
  return lines;
}

function sources({ file, paths, prefix, flags, program, daemon }: Subject): string[] {
  const [path = ""] = paths;
  const drop = `${dropInFolder(path)}/*.toml`;
  if (prefix === undefined)
    return [
      roff(
        `The file ${path}, or the one that guard.policy_file of sublet-agent.toml(5) names, then ${drop} in the order of their names, key by key. Without a file the defaults are in force.`,
      ),
    ];
  const example = file === "sublet.toml" ? "TLS__CA_FILE" : "LOG__LEVEL";
  const named = Object.entries(flags).map(([flag, key]) => `--${flag} (${key})`);
  return [
    roff("The later wins, key by key; lists are replaced as a whole, tables of names grow:"),
    ...[
      "defaults, as below",
      `${paths.join(", then ")} (or the file of --config)`,
      `drop-ins, ${drop}, in the order of their names; names that begin with a dot or do not end in .toml are passed over`,
      `variables, ${prefix}KEY; of a key in a table ${prefix}TABLE__KEY, as ${prefix}${example}; lists as a,b`,
      `flags: ${daemon ? "--set KEY=VALUE (of a table TABLE.KEY), " : ""}${named.join(", ")}`,
    ].flatMap((text, index) => [`.IP ${index + 1}. 4`, roff(text)]),
    ".PP",
    roff(
      "Unknown keys are refused in every layer, with the file and line, variable or flag and the nearest known key.",
    ),
    ...(daemon
      ? [
          roff(
            `${program} --check-config prints the settings in effect and where each came from (--json: as JSON).`,
          ),
        ]
      : []),
  ];
}

function reload(): string[] {
  return [
    ".SH RELOAD",
    roff(
      "SIGHUP (systemctl reload) reads all files again. They are applied together or, if anything is wrong in any of them, not at all; the log names the keys that changed, those that want a restart, and what was refused. A file that changes while it is read, is empty, or lacks its last newline is taken for half-written and refused.",
    ),
    ".SH EXIT STATUS",
    roff("Of the daemon and of --check-config: 0 done, 1 failed, 2 wrong usage, 78 settings are wrong."),
  ];
}

export function manPage(subject: Subject): string {
  const { man, about, daemon, paths, program } = subject;
  const others = subjects
    .filter((each) => each.man !== man)
    .map((each) => `${each.man}(5)`)
    .join(", ");
  return `${[
    '.\\" Generated from the schema by deploy/docs/generate.ts: edit that.',
    `.TH ${roff(man.toUpperCase())} 5 "" Sublet "Sublet's files"`,
    ".SH NAME",
    `${roff(man)} \\- ${roff(about)}`,
    ".SH DESCRIPTION",
    roff(
      `A TOML file of ${program}. Units are in the names of the keys. Every key may be left out unless the text says otherwise.`,
    ),
    ".SH WHERE SETTINGS COME FROM",
    ...sources(subject),
    ".SH SETTINGS",
    ...settings(subject),
    ...(daemon ? reload() : []),
    ".SH FILES",
    ...paths.flatMap((path, index) => [
      ".TP",
      bold(path),
      roff(index === 0 ? `Drop-ins beside it: ${dropInFolder(path)}/*.toml` : "The user's own."),
    ]),
    ".SH SEE ALSO",
    roff(others),
  ].join("\n")}\n`;
}
