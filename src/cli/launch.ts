/**
 * Entry of the `sublet` command as packages install it (deploy/package/cli.ts): all of it is one script beside this file, with what
 * V8 made of it when the same word ran last. That is kept below the user's home as the system knows it: who can write there
 * could have us run what he likes, so it is neither /tmp nor what $HOME says.
 */
import { createRequire } from "node:module";
import { userInfo } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { runCompiled } from "./compiled.ts";

/** Set by deploy/package/cli.ts, which also wraps the script so. */
declare const scriptDigest: string;
type Wrapped = (
  module: { exports: { main?(): Promise<never> } },
  require: NodeJS.Require,
  url: string,
) => void;

/** A file for each word, since each calls other functions; words that are none end with a status that keeps nothing. */
function cacheOf(word: string | undefined): string | undefined {
  const name = word !== undefined && /^[a-z_]{1,20}$/.test(word) ? word : "sublet";
  try {
    return join(userInfo().homedir, ".cache", "sublet", `${name}.compiled`);
  } catch {
    return undefined; // A uid without a name has no home: each start compiles anew.
  }
}

const path = join(import.meta.dirname, "sublet.js");
const { value, warm, keep } = runCompiled(path, scriptDigest, cacheOf(process.argv[2]));
// One that failed has not called all that it calls when it succeeds.
if (!warm)
  process.once("exit", (status) => {
    if (status === 0) keep();
  });
const command: { exports: { main?(): Promise<never> } } = { exports: {} };
(value as Wrapped)(command, createRequire(path), pathToFileURL(path).href);
void command.exports.main?.();
