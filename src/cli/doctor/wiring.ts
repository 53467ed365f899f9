/** Reads how Slurm is wired to us on this machine: hooks, the plugin's line and version, PAM, this node and its partitions. */
import { glob, readFile } from "node:fs/promises";
import { dirname, isAbsolute, join } from "node:path";
import { asked, readOptional, runSlurm } from "./ask.ts";
import { exportedNumber } from "./elf.ts";
import type { PluginFacts, SlurmNodeFacts, Wiring } from "./facts.ts";

type Config = Readonly<Record<string, string>>;
const maxFiles = 200;
const maxIncludes = 4;
const pamFolder = "/etc/pam.d";

async function matching(pattern: string): Promise<string[]> {
  const found: string[] = [];
  for await (const path of glob(pattern)) if (found.push(path) >= maxFiles) break;
  return found.sort();
}

/** The files that Slurm's Prolog= or Epilog= means: paths, patterns, several of them. */
export async function hookFiles(setting: string | undefined): Promise<string[]> {
  const patterns = (setting ?? "").split(",").filter((each) => each.startsWith("/"));
  return (await Promise.all(patterns.map(matching))).flat();
}

/** Text by path of those that are scripts; of programs that can be read, nothing but that they are there. */
export async function readHooks(setting: string | undefined): Promise<Record<string, string>> {
  const texts = await Promise.all(
    (await hookFiles(setting)).map(async (path) => [path, await readOptional(path)] as const),
  );
  const read = texts.filter((each): each is [string, string] => each[1] !== undefined);
  return Object.fromEntries(read.map(([path, text]) => [path, text.startsWith("#!") ? text : ""]));
}

/** Lines of plugstack.conf and what it includes, comments left out. */
async function plugstackLines(path: string, depth = 0): Promise<string[] | undefined> {
  const text = await readOptional(path);
  if (text === undefined) return undefined;
  const lines: string[] = [];
  for (const line of text.split("\n").map((each) => each.replace(/#.*/, "").trim())) {
    const included = /^include\s+(\S+)/.exec(line)?.[1];
    if (included === undefined) lines.push(line);
    else if (depth < maxIncludes)
      for (const each of await matching(isAbsolute(included) ? included : join(dirname(path), included)))
        lines.push(...((await plugstackLines(each, depth + 1)) ?? []));
  }
  return lines.filter((line) => line !== "");
}

/** undefined: plugstack.conf is not on this machine. */
export async function readPlugin(config: Config): Promise<PluginFacts | undefined> {
  const said = config.PlugStackConfig ?? "(null)";
  const beside = join(dirname(config.SLURM_CONF ?? ""), "plugstack.conf");
  const conf = said === "(null)" ? beside : said;
  const lines = isAbsolute(conf) ? await plugstackLines(conf) : undefined;
  if (lines === undefined) return undefined;
  const [, kind, named] =
    lines.map((line) => /^(\w+)\s+(\S*spank_sublet\.so)/.exec(line)).find((match) => match !== null) ?? [];
  if (named === undefined) return { conf, kind: undefined, path: undefined, builtFor: undefined };
  const folders = isAbsolute(named) ? [""] : (config.PluginDir ?? "").split(":");
  for (const folder of folders) {
    const path = join(folder, named);
    const file = await readFile(path).catch(() => undefined);
    if (file !== undefined) return { conf, kind, path, builtFor: exportedNumber(file, "plugin_version") };
  }
  return { conf, kind, path: named, builtFor: undefined, missing: true };
}

/** Fields of `scontrol show node -o`, as far as they have no blanks. */
export function parseNode(text: string): SlurmNodeFacts {
  const number = (key: string): number | undefined => {
    const value = new RegExp(`(?:^|\\s)${key}=(\\d+)`).exec(text)?.[1];
    return value === undefined ? undefined : Number(value);
  };
  return {
    cpus: number("CPUTot"),
    cpusForJobs: number("CPUEfctv"),
    specMemoryMib: number("MemSpecLimit"),
  };
}

/** Names of partitions that let jobs share cores whatever they ask for. */
export function parseForced(text: string): string[] {
  return text.split("\n").flatMap((line) => {
    const forced = / OverSubscribe=FORCE(?::(\d+))?/.exec(line);
    const name = /^PartitionName=(\S+)/.exec(line)?.[1];
    return forced === null || name === undefined || forced[1] === "1" ? [] : [name];
  });
}

async function usesPamAdopt(): Promise<boolean> {
  const texts = await Promise.all((await matching(join(pamFolder, "*"))).map(readOptional));
  return texts.some((text) => /^[^#\n]*\bpam_slurm_adopt\.so/m.test(text ?? ""));
}

/** `node`: as the agent here calls it; undefined where there is none. */
export async function readWiring(
  config: Config,
  node: string | undefined,
  timeoutMs: number,
): Promise<Wiring> {
  const [prolog, epilog, found, pamAdopt, slurmNode, partitions] = await Promise.all([
    readHooks(config.Prolog),
    readHooks(config.Epilog),
    readPlugin(config),
    usesPamAdopt(),
    node === undefined
      ? undefined
      : asked(async () => parseNode(await runSlurm(["show", "node", node, "--oneliner"], timeoutMs))),
    asked(async () => parseForced(await runSlurm(["show", "partition", "--oneliner"], timeoutMs))),
  ]);
  const forcedPartitions = partitions.ok ? partitions.value : [];
  return { prolog, epilog, plugin: found, pamAdopt, node: slurmNode, forcedPartitions };
}
