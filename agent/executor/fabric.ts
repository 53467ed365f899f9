/**
 * Which provider of libfabric executors may use: asked once, when the agent starts, of a helper process
 * (functions/fabric/probe.c), since loading libfabric takes some tenths of a second and may crash on ill hardware. On a
 * node without an adapter nothing is run. Whatever goes wrong means "none": then calls come over TCP, as at sites
 * without a fabric, and the agent's findings say why.
 */
import { execFile } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { toSubletError } from "../../src/common/errors.ts";

export interface FabricFound {
  /** "none": no fabric. */
  readonly provider: string;
  /** Of "none": why, where one was wanted. */
  readonly why?: string;
}

export interface FabricOptions {
  /** A provider's name, "auto" or "none". */
  readonly provider: string;
  readonly program: string;
  /** A user that guests are: what root may use, they may not. */
  readonly uid: number;
  /** Where there is an entry when there is an adapter. */
  readonly signs?: readonly string[];
  readonly timeoutMs?: number;
}

const signsOfAdapters = ["/sys/class/infiniband", "/sys/class/cxi", "/dev/hfi1_0"];
const maxOutput = 4096;

function isThere(sign: string): boolean {
  try {
    return readdirSync(sign).length > 0;
  } catch {
    return existsSync(sign); // a device file
  }
}

/** What the helper printed. */
export function fabricOf(text: string): FabricFound {
  const provider = /^provider=([a-z0-9_;]{1,31})$/m.exec(text)?.[1];
  if (provider === undefined) return { provider: "none", why: "the probe said nothing" };
  if (provider !== "none") return { provider };
  return { provider, why: /^why=(.{1,200})$/m.exec(text)?.[1] ?? "the probe did not say why" };
}

/** Never fails. */
export async function probeFabric(options: FabricOptions): Promise<FabricFound> {
  const { provider, program, uid, signs = signsOfAdapters, timeoutMs = 15_000 } = options;
  if (provider === "none") return { provider };
  if (provider === "auto" && !signs.some(isThere)) return { provider: "none" };
  return new Promise((resolve) => {
    execFile(
      program,
      ["--uid", `${uid}`, provider],
      { timeout: timeoutMs, killSignal: "SIGKILL", maxBuffer: maxOutput, cwd: "/" },
      (error, stdout) => {
        const found = fabricOf(stdout);
        if (error === null || (error.code === 1 && stdout !== "")) resolve(found);
        else resolve({ provider: "none", why: `${program}: ${toSubletError(error).message.split("\n")[0]}` });
      },
    );
  });
}
