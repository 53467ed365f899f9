/**
 * The partitions that slurm.conf names, against which rules by partition are checked: a rule for a partition that does not
 * exist protects nobody. Of slurm.conf only what names them is read: Include and PartitionName, as Slurm reads them
 * (src/common/parse_config.c: keys in any case, `#` begins a comment, a backslash at the end of a line goes on).
 */
import { existsSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { SubletError } from "../common/errors.ts";
import type { Environment } from "./layers.ts";
import { nearestWord } from "./nearest.ts";
import type { FileReader } from "./sources.ts";

/** The second is slurmd's copy where the controller hands out the file (configless). */
const usualFiles = ["/etc/slurm/slurm.conf", "/run/slurm/conf/slurm.conf"];
const maxIncludes = 64;

function linesOf(text: string): string[] {
  return text
    .replaceAll(/\\\r?\n/g, "")
    .split(/\r?\n/)
    .map((line) => line.replace(/(^|[^\\])#.*$/, "$1").trim());
}

/** @throws what `read` throws: a file is not there, or cannot be read. */
export function partitionsIn(path: string, read: FileReader): Set<string> {
  const names = new Set<string>();
  const seen = new Set<string>();
  const cluster = { name: "" };
  const look = (file: string): void => {
    if (seen.has(file) || seen.size >= maxIncludes) return;
    seen.add(file);
    for (const line of linesOf(read(file))) {
      const [, named] = /^ClusterName\s*=\s*(\S+)/i.exec(line) ?? [];
      if (named !== undefined) cluster.name = named.toLowerCase();
      const [, included] = /^Include\s+(\S+)/i.exec(line) ?? [];
      if (included !== undefined) look(resolve(dirname(path), included.replaceAll("%c", cluster.name)));
      const [, list = ""] = /^PartitionName\s*=\s*(\S+)/i.exec(line) ?? [];
      for (const name of list.split(","))
        if (name !== "" && name.toUpperCase() !== "DEFAULT") names.add(name);
    }
  };
  look(path);
  return names;
}

/** Where slurm.conf is, if it was not said: as Slurm's own commands look for it. */
export function slurmConfHere(environment: Environment): string | undefined {
  const named = environment.SLURM_CONF;
  if (named !== undefined && named !== "") return existsSync(named) ? named : undefined;
  return usualFiles.find(existsSync);
}

/**
 * @param where names the place of a rule, for the complaint
 * @throws SubletError INVALID_ARGUMENT: a rule is about a partition that Slurm does not know. FAILED_PRECONDITION: the file
 * cannot be read.
 */
export function checkPartitions(
  rules: Readonly<Record<string, unknown>>,
  slurmConf: string,
  read: FileReader,
  where: (partition: string) => string,
): void {
  const wanted = Object.keys(rules);
  if (wanted.length === 0) return;
  const known = partitionsIn(slurmConf, read);
  const complaints = wanted
    .filter((name) => !known.has(name))
    .map((name) => {
      const meant = nearestWord(name, [...known]);
      const hint = meant === undefined ? `; there are ${[...known].join(", ")}` : `; did you mean ${meant}?`;
      return (
        `${where(name)}: consent.partition: ${slurmConf} has no partition ${name}${hint}` +
        ' (slurm_conf = "none": do not look)'
      );
    });
  if (complaints.length > 0) throw new SubletError("INVALID_ARGUMENT", complaints.join("\n"));
}
