/** The manual page sublet(1) and docs/cli.md, out of the tree of commands. */
import type { Argument, Command, Option } from "commander";
import { visibleCommands } from "../../src/cli/completion.ts";
import { commandTree } from "../../src/cli/program.ts";
import { roff } from "./man.ts";
import { sentence } from "./text.ts";

const nowhere = { write() {}, writeBytes() {}, error() {}, width: undefined };

export interface CommandEntry {
  /** "config show" */
  readonly name: string;
  readonly usage: string;
  readonly about: string;
  readonly args: readonly { readonly term: string; readonly about: string }[];
}

function optionAbout({ description, argChoices, defaultValue }: Option): string {
  const shown = Array.isArray(defaultValue) ? defaultValue.join(",") : String(defaultValue);
  const more = [
    argChoices === undefined ? "" : `one of ${argChoices.join(", ")}`,
    defaultValue === undefined || shown === "" || typeof defaultValue === "boolean" ? "" : `default ${shown}`,
  ].filter((text) => text !== "");
  return sentence(more.length === 0 ? description : `${description} (${more.join("; ")})`);
}

function argumentAbout({ description, argChoices }: Argument): string {
  const choices = argChoices === undefined ? "" : `: ${argChoices.join(", ")}`;
  return sentence(`${description}${choices}`);
}

function argumentTerm(argument: Argument): string {
  const name = `${argument.name()}${argument.variadic ? "..." : ""}`;
  return argument.required ? `<${name}>` : `[${name}]`;
}

function entry(command: Command, before: string): CommandEntry[] {
  const name = `${before}${command.name()}`;
  const inner = visibleCommands(command);
  if (inner.length > 0) return inner.flatMap((each) => entry(each, `${name} `));
  const terms = command.registeredArguments.map(argumentTerm);
  return [
    {
      name,
      usage: ["sublet", name, ...terms, ...(command.options.length > 0 ? ["[options]"] : [])].join(" "),
      about: sentence(command.description()),
      args: [
        ...command.registeredArguments.map((each) => ({
          term: argumentTerm(each),
          about: argumentAbout(each),
        })),
        ...command.options.map((each) => ({ term: each.flags, about: optionAbout(each) })),
      ],
    },
  ];
}

export function commandEntries(): CommandEntry[] {
  return visibleCommands(commandTree(nowhere, {}).program).flatMap((command) => entry(command, ""));
}

function globals(): { term: string; about: string }[] {
  const { program } = commandTree(nowhere, {});
  return program.options.map((each) => ({ term: each.flags, about: optionAbout(each) }));
}

const statuses = [
  ["0", "done"],
  ["1", "failed: refused, not found, no node did its part, or the doctor found something broken"],
  ["2", "wrong usage or settings; nothing was done"],
  ["3", "unavailable: no daemon answers in time, or nothing is spare"],
  [
    "4",
    "partly: of several nodes some did their part and some not (drain, resume, reclaim), or some are well and some not (doctor --cluster); the output names them",
  ],
  ["78", "config check: the settings are wrong"],
] as const;

const notes = [
  "Tables fit the window: columns that matter least are left out first, and named below. In a pipe nothing is cut. --json prints the whole answer, in a shape to which fields are only added; errors are JSON as well, as {error: {code, message}}. With --watch it is one document a line.",
  "Columns are named by their titles in lower case with a dash for a blank: --sort -spare-cores --format node,spare-cores. Host lists are Slurm's: n[1-3],gpu7.",
  "NO_COLOR and TERM=dumb are heeded.",
] as const;

const drainNote =
  "drain --all is the off switch of the cluster. The controller keeps it below its state_dir until resume --all: it outlives restarts of controllers and agents, and agents that were away are told when they come back. Nodes that are resumed by name are let be.";

export function commandPage(): string {
  const term = ({ term: text, about }: { term: string; about: string }): string[] => [
    ".TP",
    `.B ${roff(text)}`,
    roff(about),
  ];
  return `${[
    '.\\" Generated from the commands by deploy/docs/generate.ts: edit those.',
    '.TH SUBLET 1 "" Sublet "Sublet"',
    ".SH NAME",
    "sublet \\- idle cores and memory of a Slurm cluster: what is spare, who has it, how to use it",
    ".SH SYNOPSIS",
    ".B sublet",
    roff("[options] command [arguments]"),
    ".SH DESCRIPTION",
    ...notes.flatMap((text) => [".PP", roff(text)]).slice(1),
    ".SH OPTIONS OF ALL COMMANDS",
    ...globals().flatMap(term),
    ".SH COMMANDS",
    ...commandEntries().flatMap(({ usage, about, args }) => [
      `.SS ${roff(usage)}`,
      roff(about),
      ...args.flatMap(term),
    ]),
    ".SH THE OFF SWITCH",
    roff(drainNote),
    ".SH COMPLETION",
    roff("sublet completion bash, zsh or fish prints a script for the shell."),
    ".SH EXIT STATUS",
    ...statuses.flatMap(([status, about]) => [".TP", `.B ${status}`, roff(sentence(about))]),
    ".SH SEE ALSO",
    roff("sublet.toml(5), sublet-agent(8), sublet-controller(8), sublet-starter(8)"),
  ].join("\n")}\n`;
}

export function commandReference(): string {
  const row = ({ term, about }: { term: string; about: string }): string =>
    `| \`${term.replaceAll("|", "\\|")}\` | ${about.replaceAll("|", "\\|")} |`;
  const table = (rows: readonly { term: string; about: string }[]): string[] =>
    rows.length === 0 ? [] : ["", "| | |", "|---|---|", ...rows.map(row)];
  return `${[
    "# The command `sublet`",
    "",
    "<!-- Generated from the commands by deploy/docs/generate.ts: edit those. -->",
    "",
    notes.join("\n\n"),
    "",
    "## Options of all commands",
    ...table(globals()),
    ...commandEntries().flatMap(({ name, usage, about, args }) => [
      "",
      `## ${name}`,
      "",
      `    ${usage}`,
      "",
      about.replaceAll("<", "&lt;"),
      ...(name === "drain" ? ["", drainNote] : []),
      ...table(args),
    ]),
    "",
    "## Exit status",
    "",
    "| status | |",
    "|---|---|",
    ...statuses.map(([status, about]) => `| ${status} | ${about} |`),
    "",
    "## Completion",
    "",
    "    sublet completion bash > /etc/bash_completion.d/sublet",
    "    sublet completion zsh > /usr/local/share/zsh/site-functions/_sublet",
    "    sublet completion fish > /etc/fish/completions/sublet.fish",
  ].join("\n")}\n`;
}
