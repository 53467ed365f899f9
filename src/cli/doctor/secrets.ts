/**
 * What must not leave the site with a support bundle. Which settings are secret, and which name a file that is, is said in the
 * schema, where the key is declared; such a value is shown nowhere, and is taken out of every text that has it (a log line, a
 * metric) as well. What has the form of a secret (a credential, a private key, a password of a URL or a script) is taken out
 * whosever it is. Everything else in a bundle is chosen: of Slurm's configuration only settings that are listed, of
 * files only what ours say in effect, never a file as it is.
 */
import { readFileSync } from "node:fs";
import type { z } from "zod";
import { cliKind } from "../../config/cli.ts";
import { agentKind, controllerKind } from "../../config/kinds.ts";
import { hidden } from "../../config/show.ts";
import { type Kind, markedValues, type Sources } from "../../config/sources.ts";

/** Variables that hold a secret by themselves: [accounting] password_file says so. */
const secretVariables = ["SUBLET_ACCOUNTING_PASSWORD"];
/** Secrets by their form, and what stays of them. */
const forms: readonly (readonly [RegExp, string])[] = [
  [/-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?-----END [A-Z ]*PRIVATE KEY-----/g, hidden],
  [/\bMUNGE:[A-Za-z0-9+/=]{16,}:?/g, hidden],
  [/\b(authorization["']?\s*[:=]\s*["']?)(?:[A-Za-z]+ +)?[^\s"',]+/gi, `$1${hidden}`],
  [/\b(bearer +)[A-Za-z0-9._~+/=-]{16,}/gi, `$1${hidden}`],
  [/\b(sublet_session=)[\w-]+/g, `$1${hidden}`],
  [/(:\/\/[^\s/:@]*:)[^\s/@]+@/g, `$1${hidden}@`],
  // As scripts and environments write them.
  [/\b([A-Z0-9_]*(?:PASSWORD|PASSWD|SECRET|TOKEN|_KEY)=)("[^"]*"|'[^']*'|\S+)/g, `$1${hidden}`],
];
/** Shorter ones would be found by chance all over the texts. */
const minSecret = 4;

/** Where each program's settings come from. */
export type AllSources = Readonly<Record<"agent" | "controller" | "sublet", Sources>>;

/** Lines of a file that is a secret, but for those that frame a PEM. What cannot be read here was not shown from here. */
function linesOf(path: unknown): string[] {
  if (typeof path !== "string") return [];
  try {
    const lines = readFileSync(path, "utf8").split("\n");
    return lines.map((line) => line.trim()).filter((line) => !line.startsWith("-----"));
  } catch {
    return [];
  }
}

/** Values of the settings that the schema calls secret, also of files that are refused, what is in the files that it calls so, and of variables. */
export function secretsOf(sources: AllSources, environment: NodeJS.ProcessEnv): string[] {
  const kinds: readonly (readonly [Kind<z.ZodType>, Sources])[] = [
    [agentKind, sources.agent],
    [controllerKind, sources.controller],
    [cliKind, sources.sublet],
  ];
  const values = kinds.flatMap(([kind, each]) => {
    try {
      return [
        ...markedValues(kind, each, "secret"),
        ...markedValues(kind, each, "secretFile").flatMap(linesOf),
      ];
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
  const written = new Set(
    secrets.flatMap((each) => [each, JSON.stringify(each).slice(1, -1), encodeURIComponent(each)]),
  );
  const found = [...written]
    .filter((each) => each.length >= minSecret)
    .sort((a, b) => b.length - a.length)
    .map((each) => each.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  // In one go: what was put in is not looked at again.
  const clean = found.length === 0 ? text : text.replaceAll(new RegExp(found.join("|"), "g"), hidden);
  return forms.reduce((rest, [form, left]) => rest.replace(form, left), clean);
}
