/**
 * sublet-agent: lends what Slurm leaves over on its node, and takes it back the moment a job wants it.
 *
 * This file only sees to the agent's budget of memory, then becomes the agent (agent/daemon.ts) by execve, with the same
 * pid. The part of Node that strips types from TypeScript keeps some 20 MB for good; so everything is loaded here once
 * with a compile cache, and the agent itself takes it from there. Its short-lived objects need no 16 MB semi-spaces either.
 * Where the cache cannot be written (disk full) the agent runs all the same, only fatter.
 */
import { enableCompileCache, flushCompileCache } from "node:module";
import { fileURLToPath } from "node:url";

const cache = fileURLToPath(new URL("../build/node-cache", import.meta.url));
const daemon = fileURLToPath(new URL("daemon.ts", import.meta.url));
enableCompileCache(cache);
await import("./daemon.ts");
flushCompileCache();
const flags = ["--disable-warning=ExperimentalWarning", "--max-semi-space-size=1"];
const inherited = Object.entries(process.env).filter(
  (entry): entry is [string, string] => entry[1] !== undefined,
);
const execve = process.execve;
if (execve === undefined)
  throw new Error("this Node has no process.execve: use the one that the project pins");
execve(process.execPath, [process.execPath, ...flags, daemon, ...process.argv.slice(2)], {
  ...Object.fromEntries(inherited),
  NODE_COMPILE_CACHE: cache,
});
