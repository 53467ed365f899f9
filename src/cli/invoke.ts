/** `sublet invoke`: calls one function of a library, on leased cores if there are any, else here. */
import { isUtf8 } from "node:buffer";
import { readFileSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { SubletError, toSubletError } from "../common/errors.ts";
import { type Handle, libsubletPath, loadLibsublet, noLocal } from "./libsublet.ts";
import { formatDuration, writeJson } from "./output.ts";
import type { Session } from "./session.ts";

export interface InvokeOptions {
  readonly in?: string;
  readonly data?: string;
  readonly out?: string;
  readonly maxOut: number;
  readonly cores: number;
  readonly node?: string;
  /** false: fail rather than run here. */
  readonly local: boolean;
}

function readInput(options: InvokeOptions): Buffer {
  if (options.data !== undefined) return Buffer.from(options.data);
  if (options.in === undefined) return Buffer.alloc(0);
  try {
    return readFileSync(options.in === "-" ? 0 : options.in);
  } catch (cause) {
    throw new SubletError("INVALID_ARGUMENT", `--in ${options.in}: ${toSubletError(cause).message}`, {
      cause,
    });
  }
}

/** Bytes that are no text may do anything to a terminal. */
function isText(bytes: Buffer): boolean {
  return isUtf8(bytes) && !/[\p{Cc}--[\t\n\r]]/v.test(bytes.toString());
}

export function invoke(
  session: Session,
  libraryPath: string,
  functionName: string,
  options: InvokeOptions,
  nativeLibrary = libsubletPath(),
): void {
  const { config, output, json } = session;
  const input = readInput(options);
  const native = loadLibsublet(nativeLibrary);
  const handle = native.open(config.agentSocket, config.timeoutMs);
  let lease: Handle | undefined;
  let note: string | undefined;
  const started = performance.now();
  try {
    const fn = native.findFunction(native.openLibrary(handle, resolve(libraryPath)), functionName);
    if (options.cores > 0)
      try {
        lease = native.acquire(handle, {
          cores: options.cores,
          node: options.node,
          inBytes: input.length,
          outBytes: options.maxOut,
        });
      } catch (thrown) {
        if (!options.local) throw thrown;
        note = toSubletError(thrown).message;
        if (!json) output.error(`sublet: ${note}; it runs here\n`);
      }
    const leased = performance.now();
    const { out, node } = native.call(handle, fn, input, options.maxOut, {
      timeoutMs: config.timeoutMs,
      flags: options.local ? 0 : noLocal,
    });
    const ended = performance.now();
    if (options.out !== undefined) writeFileSync(options.out, out);
    if (json)
      writeJson(output, {
        node: node === "" ? null : node,
        leaseMs: leased - started,
        callMs: ended - leased,
        outBytes: out.length,
        ...(options.out === undefined ? { outBase64: out.toString("base64") } : { out: options.out }),
        ...(note === undefined ? {} : { note }),
      });
    else {
      if (options.out === undefined && output.width !== undefined && !isText(out))
        output.error(
          "sublet: the result is no text: --out FILE or a pipe takes it, --json shows it as base64\n",
        );
      else if (options.out === undefined) output.writeBytes(out);
      const where = node === "" ? "here" : `on ${node}`;
      output.error(
        `ran ${where}: lease ${formatDuration(leased - started)}, call ${formatDuration(ended - leased)}, ` +
          `${out.length} bytes\n`,
      );
    }
  } finally {
    if (lease !== undefined) native.release(lease);
    native.close(handle);
  }
}
