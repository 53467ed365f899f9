/**
 * A script and what V8 made of it in an earlier process, the functions that were called then included: what Node's own cache
 * keeps (module.enableCompileCache) is taken before anything runs, so that each start compiles these anew.
 */
import { mkdirSync, readFileSync, renameSync, unlinkSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { constants, Script } from "node:vm";
import { crc32 } from "node:zlib";

export interface Compiled {
  /** What the script comes to. */
  readonly value: unknown;
  /** V8 had what it made of it earlier. */
  readonly warm: boolean;
  /** Keeps what is compiled by now for later processes. Where it cannot be written each of them compiles anew. */
  keep(): void;
}

const sumDigits = 8;

/** Stands before what is kept: of which text it is, and a sum over it. V8 compares no more than lengths. */
function headOf(digest: string, compiled: Buffer): string {
  return digest + crc32(compiled).toString(16).padStart(sumDigits, "0");
}

function kept(cache: string, digest: string): Buffer | undefined {
  try {
    const bytes = readFileSync(cache);
    const headBytes = digest.length + sumDigits;
    const compiled = bytes.subarray(headBytes);
    const head = bytes.toString("latin1", 0, headBytes);
    return head === headOf(digest, compiled) ? compiled : undefined;
  } catch {
    return undefined;
  }
}

function discard(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // It was not even begun.
  }
}

/**
 * Runs the script of that path, which is ASCII. digest: of its text, hexadecimal. cache: a file that nobody but this user can write;
 * undefined: nothing is kept.
 */
export function runCompiled(path: string, digest: string, cache: string | undefined): Compiled {
  const cachedData = cache === undefined ? undefined : kept(cache, digest);
  const script = new Script(readFileSync(path, "latin1"), {
    filename: path,
    importModuleDynamically: constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
    ...(cachedData === undefined ? {} : { cachedData }),
  });
  const value: unknown = script.runInThisContext();
  return {
    value,
    warm: script.cachedDataRejected === false,
    keep() {
      if (cache === undefined) return;
      // Whole or not at all: others may read it meanwhile.
      const draft = `${cache}.${process.pid}`;
      try {
        mkdirSync(dirname(cache), { recursive: true, mode: 0o700 });
        const compiled = script.createCachedData();
        const bytes = Buffer.concat([Buffer.from(headOf(digest, compiled), "latin1"), compiled]);
        writeFileSync(draft, bytes, { mode: 0o600, flag: "wx" });
        renameSync(draft, cache);
      } catch {
        discard(draft);
      }
    },
  };
}
