/** Runs a command line of `sublet` in this process and keeps what it writes. */
import type { Output } from "../../../src/cli/output.ts";
import { run } from "../../../src/cli/program.ts";

export interface Captured {
  readonly status: number;
  readonly out: string;
  readonly err: string;
}

/** What is written, kept. */
export function collector(width?: number): Output & { out: string; err: string } {
  return {
    out: "",
    err: "",
    width,
    write(text) {
      this.out += text;
    },
    writeBytes(bytes) {
      this.out += bytes.toString("latin1");
    },
    error(text) {
      this.err += text;
    },
  };
}

export async function captured(
  args: readonly string[],
  environment: NodeJS.ProcessEnv,
  width?: number,
): Promise<Captured> {
  const output = collector(width);
  const status = await run(args, output, environment);
  return { status, out: output.out, err: output.err };
}
