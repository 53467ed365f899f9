/** Runs a command line of `sublet` in this process and keeps what it writes. */
import { run } from "../../../src/cli/program.ts";

export interface Captured {
  readonly status: number;
  readonly out: string;
  readonly error: string;
}

export async function captured(args: readonly string[], environment: NodeJS.ProcessEnv): Promise<Captured> {
  let out = "";
  let error = "";
  const output = {
    write: (text: string) => {
      out += text;
    },
    writeBytes: () => undefined,
    error: (text: string) => {
      error += text;
    },
    width: 80,
  };
  const status = await run(args, output, environment);
  return { status, out, error };
}
