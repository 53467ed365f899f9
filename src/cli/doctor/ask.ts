/** How the doctor asks: each question by itself, with a deadline; what cannot be had is said. */
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { toSubletError } from "../../common/errors.ts";
import type { Asked } from "./facts.ts";

const maxOutputBytes = 1024 * 1024;

export async function asked<T>(work: () => Promise<T>): Promise<Asked<T>> {
  try {
    return { ok: true, value: await work() };
  } catch (thrown) {
    return { ok: false, why: toSubletError(thrown).message };
  }
}

export async function readOptional(path: string): Promise<string | undefined> {
  try {
    return (await readFile(path, "utf8")).trim();
  } catch {
    return undefined; // This kernel does not have it, or does not show it to us.
  }
}

/** What scontrol printed. */
export function runSlurm(args: readonly string[], timeoutMs: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = { timeout: timeoutMs, killSignal: "SIGKILL" as const, maxBuffer: maxOutputBytes };
    execFile("scontrol", args, options, (error, stdout, stderr) => {
      // `scontrol ping` says DOWN on its output and by its status.
      if (error === null || stdout.trim() !== "") resolve(stdout);
      else if (error.killed === true) reject(new Error(`scontrol did not answer within ${timeoutMs} ms`));
      else reject(new Error(stderr.trim() === "" ? error.message : stderr.trim()));
    });
  });
}
