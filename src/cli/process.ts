/** `sublet` as a process: its arguments, its terminal, its end. */
import { run } from "./program.ts";

/** Of the terminal as it is now; undefined without one. */
function size(now: number | undefined, variable: string): number | undefined {
  const value = Number(now ?? (process.stdout.isTTY ? process.env[variable] : undefined));
  return Number.isFinite(value) && value > 0 ? value : undefined;
}

function written(stream: NodeJS.WriteStream): Promise<void> {
  return new Promise((resolve) => {
    stream.write("", () => resolve());
  });
}

/** Runs the command line that the process was given, and ends the process. */
export async function main(): Promise<never> {
  // Whoever reads us may stop early (`sublet leases | head`): that is no error.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
    process.exit(0);
  });
  const status = await run(process.argv.slice(2), {
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
  await Promise.all([written(process.stdout), written(process.stderr)]);
  // Nobody waits for connections to say goodbye, nor for the heap to be taken apart.
  process.exit(status);
}
