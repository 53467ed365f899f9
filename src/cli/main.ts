/** Entry of the `sublet` command. What it compiles is kept for the next time, where there is a home to keep it in. */
import { enableCompileCache } from "node:module";

enableCompileCache();
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
  get width() {
    return size(process.stdout.columns, "COLUMNS");
  },
  get height() {
    return size(process.stdout.rows, "LINES");
  },
});
