/** Entry of the `sublet` command. */
import { run } from "./program.ts";

const columns = Number(process.stdout.columns ?? (process.stdout.isTTY ? process.env.COLUMNS : undefined));

// Whoever reads us may stop early (`sublet leases | head`): that is no error.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  process.exit(0);
});

process.exitCode = await run(process.argv.slice(2), {
  write: (text) => void process.stdout.write(text),
  writeBytes: (bytes) => void process.stdout.write(bytes),
  error: (text) => void process.stderr.write(text),
  width: Number.isFinite(columns) && columns > 0 ? columns : undefined,
});
