/**
 * Entry of the `sublet` command. What it compiles is kept for the next time, below the user's home as the system knows it:
 * who can write there could have us run what he likes, so it is neither /tmp nor what $HOME says.
 */
import { enableCompileCache } from "node:module";
import { userInfo } from "node:os";
import { join } from "node:path";

try {
  enableCompileCache(join(userInfo().homedir, ".cache", "sublet"));
} catch {
  // A uid without a name has no home: each start compiles anew.
}
const { run } = await import("./program.ts");

/** Of the terminal as it is now; undefined without one. */
function size(now: number | undefined, variable: string): number | undefined {
  const value = Number(now ?? (process.stdout.isTTY ? process.env[variable] : undefined));
  return Number.isFinite(value) && value > 0 ? value : undefined;
}

// Whoever reads us may stop early (`sublet leases | head`): that is no error.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  process.exit(0);
});

process.exitCode = await run(process.argv.slice(2), {
  write: (text) => void process.stdout.write(text),
  writeBytes: (bytes) => void process.stdout.write(bytes),
  error: (text) => void process.stderr.write(text),
  live: process.stderr.isTTY === true && process.env.TERM !== "dumb",
  get width() {
    return size(process.stdout.columns, "COLUMNS");
  },
  get height() {
    return size(process.stdout.rows, "LINES");
  },
});
