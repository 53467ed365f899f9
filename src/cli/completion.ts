/**
 * `sublet completion bash|zsh|fish`: a script that asks `sublet __complete WORDS...` at each Tab; that walks the tree of
 * commands, so that what is offered is what is understood. Names of nodes and leases come from the daemons, within a second
 * or not at all.
 */
import { type Argument, type Command, Argument as CommandArgument, type Option } from "commander";
import { listNodes } from "./nodes.ts";
import type { Output } from "./output.ts";
import { type Session, withController } from "./session.ts";

export interface Candidate {
  readonly word: string;
  readonly about: string;
}

/** What a value stands for, by the name that its placeholder has. */
export type Wanted = "nodes" | "leases" | "files";

export interface Completion {
  readonly candidates: readonly Candidate[];
  /** What the caller has to look up itself. */
  readonly wanted: Wanted | undefined;
}

const nothing: Completion = { candidates: [], wanted: undefined };

function wantedBy(placeholder: string): Wanted | undefined {
  if (/\b(hosts|node)\b/.test(placeholder)) return "nodes";
  if (/\blease\b/.test(placeholder)) return "leases";
  if (/\b(file|library|folder)\b/.test(placeholder)) return "files";
  return undefined;
}

function choices(list: readonly string[]): Completion {
  return { candidates: list.map((word) => ({ word, about: "" })), wanted: undefined };
}

function ofOption(option: Option): Completion {
  if (option.argChoices !== undefined) return choices(option.argChoices);
  return { candidates: [], wanted: wantedBy(`${option.attributeName()} ${option.flags}`) };
}

function ofArgument(argument: Argument | undefined): Completion {
  if (argument === undefined) return nothing;
  if (argument.argChoices !== undefined) return choices(argument.argChoices);
  return { candidates: [], wanted: wantedBy(argument.name()) };
}

/** Commands that people may see: not those whose names begin with two lines. */
export function visibleCommands(command: Command): readonly Command[] {
  return command.commands.filter((each) => !each.name().startsWith("__"));
}

/** All that may stand for the last of `words`, unfiltered. */
export function complete(program: Command, words: readonly string[]): Completion {
  let command = program;
  let position = 0;
  let pending: Option | undefined;
  const known = (flag: string): Option | undefined =>
    [...command.options, ...program.options].find(({ long, short }) => flag === long || flag === short);
  for (const word of words.slice(0, -1)) {
    if (pending !== undefined) {
      pending = undefined;
      continue;
    }
    if (word.startsWith("-") && word !== "-") {
      const option = known(word);
      pending = option?.required === true ? option : undefined;
      continue;
    }
    const next = position === 0 ? command.commands.find((each) => each.name() === word) : undefined;
    if (next === undefined) position++;
    else command = next;
  }
  if (pending !== undefined) return ofOption(pending);
  const last = words.at(-1) ?? "";
  if (last.startsWith("-")) {
    const options = [...command.options, ...(command === program ? [] : program.options)];
    return {
      candidates: [
        ...options.flatMap(({ long, description }) => (long ? [{ word: long, about: description }] : [])),
        { word: "--help", about: "show what there is" },
      ],
      wanted: undefined,
    };
  }
  const commands = visibleCommands(command);
  if (commands.length > 0 && position === 0)
    return {
      candidates: commands.map((each) => ({ word: each.name(), about: each.description() })),
      wanted: undefined,
    };
  const list = command.registeredArguments;
  return ofArgument(list[Math.min(position, list.length - 1)]);
}

const scripts: Readonly<Record<string, string>> = {
  bash: `# bash completion of sublet: in /usr/share/bash-completion/completions/sublet, or: eval "$(sublet completion bash)"
_sublet() {
  local words=("\${COMP_WORDS[@]:1:COMP_CWORD}") current="\${COMP_WORDS[COMP_CWORD]}" line
  COMPREPLY=()
  while IFS=$'\\t' read -r line _; do
    if [[ $line == :files ]]; then
      compopt -o filenames 2>/dev/null
      mapfile -t COMPREPLY < <(compgen -f -- "$current")
    elif [[ $line == "$current"* ]]; then
      COMPREPLY+=("$line")
    fi
  done < <(sublet __complete -- "\${words[@]}" 2>/dev/null)
}
complete -F _sublet sublet
`,
  zsh: `#compdef sublet
# zsh completion of sublet: as _sublet in a folder of $fpath, or: eval "$(sublet completion zsh)"
_sublet() {
  local line word about
  local -a found
  for line in "\${(@f)$(sublet __complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
    word=\${line%%$'\\t'*} about=\${line#*$'\\t'}
    if [[ $word == :files ]]; then
      _files
      return
    elif [[ -n $word ]]; then
      found+=("\${word//:/\\\\:}\${about:+:$about}")
    fi
  done
  _describe sublet found
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
  _sublet "$@"
else
  compdef _sublet sublet
fi
`,
  fish: `# fish completion of sublet: as completions/sublet.fish, or: sublet completion fish | source
function __sublet_complete
  set -l words (commandline -opc) (commandline -ct)
  for line in (sublet __complete -- $words[2..-1] 2>/dev/null)
    if string match -q ':files*' -- $line
      __fish_complete_path (commandline -ct)
    else
      echo $line
    end
  end
end
complete -c sublet -f -a '(__sublet_complete)'
`,
};

export function completionScript(shell: string): string {
  return scripts[shell] ?? "";
}

const lookupTimeoutMs = 1_000;

async function lookUp(session: Session, wanted: Wanted): Promise<readonly string[]> {
  if (wanted === "files") return [":files"];
  const { config } = session;
  const quick = { ...session, config: { ...config, timeoutMs: Math.min(lookupTimeoutMs, config.timeoutMs) } };
  try {
    if (wanted === "leases") {
      const { listLeases } = await import("./leases.ts");
      return (await listLeases(quick)).map(({ id }) => id);
    }
    return (await withController(quick, (controller) => listNodes(controller, true))).nodes.map(
      ({ node }) => node,
    );
  } catch {
    return []; // A key was pressed, nothing was asked for: no daemon, no names.
  }
}

export function addCompletionCommands(program: Command, session: () => Session, output: Output): void {
  program
    .command("completion")
    .description("a script for your shell that completes the words of this command")
    .addArgument(new CommandArgument("<shell>", "which").choices(Object.keys(scripts)))
    .action((shell: string) => output.write(completionScript(shell)));
  program
    .command("__complete", { hidden: true })
    .argument("[words...]")
    .action(async (words: string[]) => {
      const { candidates, wanted } = complete(program, words);
      const last = words.at(-1) ?? "";
      const names = wanted === undefined ? [] : await lookUp(session(), wanted);
      const all = [...candidates, ...names.map((word) => ({ word, about: "" }))];
      for (const { word, about } of all)
        if (word.startsWith(":") || word.startsWith(last)) output.write(`${word}\t${about}\n`);
    });
}
