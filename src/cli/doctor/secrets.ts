/**
 * What must not leave the site with a support bundle. Nothing is guessed from names: which settings are secret is said in the
 * schema, where the key is declared; such a value is shown nowhere, and is taken out of every text that has it (a log line, a
 * metric) as well. Everything else in a bundle is chosen: of Slurm's configuration only settings that are listed, of
 * files only what ours say in effect, never a file as it is.
 */
import type { z } from "zod";
import { cliKind } from "../../config/cli.ts";
import { agentKind, controllerKind } from "../../config/kinds.ts";
import { hidden } from "../../config/show.ts";
import { type Kind, type Sources, secretValues } from "../../config/sources.ts";

/** Variables that hold a secret by themselves: [accounting] password_file says so. */
const secretVariables = ["SUBLET_ACCOUNTING_PASSWORD"];
/** Shorter ones would be found by chance all over the texts. */
const minSecret = 4;

/** Where each program's settings come from. */
export type AllSources = Readonly<Record<"agent" | "controller" | "sublet", Sources>>;

/** Values of the settings that the schema calls secret, also of files that are refused, and of variables. */
export function secretsOf(sources: AllSources, environment: NodeJS.ProcessEnv): string[] {
  const kinds: readonly (readonly [Kind<z.ZodType>, Sources])[] = [
    [agentKind, sources.agent],
    [controllerKind, sources.controller],
    [cliKind, sources.sublet],
  ];
  const values = kinds.flatMap(([kind, each]) => {
    try {
      return secretValues(kind, each);
    } catch {
      return []; // No TOML, or not there: config/NAME.json says so, and shows nothing of it.
    }
  });
  return [...values, ...secretVariables.map((name) => environment[name])].filter(
    (value) => typeof value === "string",
  );
}

/** Without any of them, also where they stand in JSON or in a URL. The longest first: one may be part of another. */
export function withoutSecrets(text: string, secrets: readonly string[]): string {
  const forms = new Set(
    secrets.flatMap((each) => [each, JSON.stringify(each).slice(1, -1), encodeURIComponent(each)]),
  );
  const assigned = new RegExp(`\\b(${secretVariables.join("|")})=("[^"]*"|'[^']*'|\\S*)`, "g");
  const found = [...forms]
    .filter((each) => each.length >= minSecret)
    .sort((a, b) => b.length - a.length)
    .map((each) => each.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  // In one go: what was put in is not looked at again.
  const clean = found.length === 0 ? text : text.replaceAll(new RegExp(found.join("|"), "g"), hidden);
  return clean.replace(assigned, `$1=${hidden}`);
}
