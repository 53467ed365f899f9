/**
 * Identity by MUNGE, the way Slurm's own daemons know each other. A thin bridge to libmunge: every call runs on
 * a thread of the pool, since munged is another process that may be slow; each uses a context of its own, since
 * contexts are not safe between threads. munged itself refuses credentials that it decoded before or that are
 * older than its time to live; audience, method and our shorter age are checked on the payload.
 */
import koffi from "koffi";
import { SubletError } from "../common/errors.ts";
import { type Caller, checkCredentialPayload, credentialPayload, type Identity } from "./identity.ts";

/** Pointers are opaque here. */
type Pointer = bigint | object | null;
type Async = (...args: readonly unknown[]) => void;

interface Library {
  ctxCreate(): Pointer;
  ctxDestroy(context: Pointer): void;
  setSocket(context: Pointer, option: number, type: string, path: string): number;
  setNumber(context: Pointer, option: number, type: string, value: number): number;
  encode: { async: Async };
  decode: { async: Async };
  strerror(code: number): string;
  free(memory: Pointer): void;
}

const optionCipher = 0;
const optionTtl = 4;
const optionSocket = 8;
const optionUidRestriction = 9;
const cipherAes128 = 4;
const sealTtlS = 60;
const socketError = 6;
const credentialReplayed = 17;
/** Longest credential looked at; ours are about 300 bytes. */
const maxCredentialBytes = 4096;
/** More calls at once than this are refused: munged is shared with Slurm. */
const maxPending = 256;

let library: Library | undefined;

function load(): Library {
  if (library !== undefined) return library;
  let munge: ReturnType<typeof koffi.load>;
  try {
    munge = koffi.load("libmunge.so.2");
  } catch (cause) {
    throw new SubletError(
      "FAILED_PRECONDITION",
      "libmunge.so.2 cannot be loaded; install munge (libmunge2)",
      {
        cause,
      },
    );
  }
  library = {
    ctxCreate: munge.func("void *munge_ctx_create()"),
    ctxDestroy: munge.func("void munge_ctx_destroy(void *context)"),
    setSocket: munge.func("int munge_ctx_set(void *context, int option, ...)"),
    setNumber: munge.func("int munge_ctx_set(void *context, int option, ...)"),
    encode: munge.func(
      "int munge_encode(_Out_ void **credential, void *context, const void *bytes, int length)",
    ),
    decode: munge.func(
      "int munge_decode(const char *credential, void *context, _Out_ void **bytes, _Out_ int *length, " +
        "_Out_ uint32_t *uid, _Out_ uint32_t *gid)",
    ),
    strerror: munge.func("const char *munge_strerror(int code)"),
    free: koffi.load("libc.so.6").func("void free(void *memory)"),
  };
  return library;
}

export interface MungeOptions {
  /** munged's socket; libmunge's own default if not given. */
  readonly socket?: string | undefined;
  /** Injected by tests. */
  readonly nowUnixMs?: () => number;
}

/** Runs `call` on a pool thread with a context of its own; gives libmunge's status. set: options of the context. */
async function withContext(
  munge: Library,
  socket: string | undefined,
  set: readonly (readonly [number, number])[],
  call: (context: Pointer, done: (failed: unknown, code: number) => void) => void,
): Promise<number> {
  const context = munge.ctxCreate();
  if (context === null) throw new SubletError("INTERNAL", "libmunge is out of memory");
  try {
    if (socket !== undefined) {
      const code = munge.setSocket(context, optionSocket, "const char *", socket);
      if (code !== 0) throw new SubletError("INVALID_ARGUMENT", `munge socket ${socket} is not accepted`);
    }
    for (const [option, value] of set)
      if (munge.setNumber(context, option, "uint32_t", value) !== 0)
        throw new SubletError("INTERNAL", `munge option ${option} is not accepted`);
    return await new Promise<number>((resolve, reject) => {
      call(context, (failed, code) => (failed ? reject(failed) : resolve(code)));
    });
  } finally {
    munge.ctxDestroy(context);
  }
}

function unavailable(munge: Library, code: number, socket: string | undefined): SubletError {
  const where = socket ?? "libmunge's default socket";
  return new SubletError(
    "UNAVAILABLE",
    `munged does not answer on ${where}: ${munge.strerror(code)}; start munge`,
  );
}

/** Identity over the munged of this machine. libmunge is loaded with the first call. */
export function mungeIdentity(options: MungeOptions = {}): Identity {
  const { socket, nowUnixMs = Date.now } = options;
  let pending = 0;

  const limited = async <T>(work: () => Promise<T>): Promise<T> => {
    if (pending >= maxPending)
      throw new SubletError("RESOURCE_EXHAUSTED", `${maxPending} munge calls are under way; try again`);
    pending++;
    try {
      return await work();
    } finally {
      pending--;
    }
  };

  const encode = (text: string, set: readonly (readonly [number, number])[]): Promise<string> =>
    limited(async () => {
      const munge = load();
      const payload = Buffer.from(text);
      const out: [Pointer] = [null];
      const code = await withContext(munge, socket, set, (context, done) =>
        munge.encode.async(out, context, payload, payload.length, done),
      );
      try {
        if (code === socketError) throw unavailable(munge, code, socket);
        if (code !== 0 || out[0] === null)
          throw new SubletError("INTERNAL", `munge_encode: ${munge.strerror(code)}`);
        return koffi.decode(out[0], "char", -1) as string;
      } finally {
        if (out[0] !== null) munge.free(out[0]);
      }
    });

  const decode = (text: string): Promise<Caller & { readonly payload: string }> =>
    limited(async () => {
      if (text.length > maxCredentialBytes)
        throw new SubletError("UNAUTHENTICATED", `credential of ${text.length} bytes is too long`);
      const munge = load();
      const bytes: [Pointer] = [null];
      const length = [0];
      const uid = [0];
      const gid = [0];
      const code = await withContext(munge, socket, [], (context, done) =>
        munge.decode.async(text, context, bytes, length, uid, gid, done),
      );
      try {
        if (code === socketError) throw unavailable(munge, code, socket);
        if (code === credentialReplayed)
          throw new SubletError("UNAUTHENTICATED", "credential was used before");
        if (code !== 0) throw new SubletError("UNAUTHENTICATED", `credential: ${munge.strerror(code)}`);
        const size = length[0] ?? 0;
        const payload =
          bytes[0] === null || size <= 0
            ? ""
            : Buffer.from(
                koffi.decode(bytes[0], koffi.array("uint8_t", size, "Typed")) as Uint8Array,
              ).toString("latin1");
        return { uid: uid[0] ?? Number.NaN, gid: gid[0] ?? Number.NaN, payload };
      } finally {
        if (bytes[0] !== null) munge.free(bytes[0]);
      }
    });

  return {
    nowUnixMs,
    credential: (audience, method) => encode(credentialPayload(audience, method, nowUnixMs()), []),
    async verify(text, audiences, method) {
      const { uid, gid, payload } = await decode(text);
      return { uid, gid, audience: checkCredentialPayload(payload, audiences, method, nowUnixMs()) };
    },
    seal: (text, { uid }) =>
      encode(text, [
        [optionUidRestriction, uid],
        [optionCipher, cipherAes128],
        [optionTtl, sealTtlS],
      ]),
    open: async (sealed) => (await decode(sealed)).payload,
  };
}
