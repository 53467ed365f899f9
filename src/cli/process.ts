/** `sublet` as a process: its arguments, its terminal, its end. */
import { inAscii } from "./output.ts";
import { exitStatus, run } from "./program.ts";

/** Of the terminal as it is now; undefined without one. */
function size(now: number | undefined, variable: string): number | undefined {
  const value = Number(now ?? (process.stdout.isTTY ? process.env[variable] : undefined));
  return Number.isFinite(value) && value > 0 ? value : undefined;
}

/** Whether a terminal shows more than ASCII; what it is told by is what C programs go by. */
function isUtf8(): boolean {
  const { LC_ALL, LC_CTYPE, LANG } = process.env;
  return /utf-?8/i.test(LC_ALL || LC_CTYPE || LANG || "");
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
    if (error.code === "EPIPE") process.exit(0);
    process.stderr.write(`sublet: cannot write what was asked for: ${error.message}\n`);
    process.exit(exitStatus.failed);
  });
  // Nobody is left to tell.
  process.stderr.on("error", () => undefined);
  const text = process.stdout.isTTY && !isUtf8() ? inAscii : (whole: string) => whole;
  const errorText = process.stderr.isTTY && !isUtf8() ? inAscii : (whole: string) => whole;
  const status = await run(process.argv.slice(2), {
    write: (whole) => void process.stdout.write(text(whole)),
    writeBytes: (bytes) => void process.stdout.write(bytes),
    error: (whole) => void process.stderr.write(errorText(whole)),
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
