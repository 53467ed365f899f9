/**
 * The part of libsublet (include/sublet/sublet.h) that `sublet invoke` and `sublet trace` need. A thin bridge: same names, no policy,
 * every status turned into an error in one place. Loaded only when it is used. Handles must be freed by the caller.
 */
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import koffi from "koffi";
import { type ErrorCode, SubletError } from "../common/errors.ts";

/** An opaque pointer. */
export type Handle = bigint | object;

const ok = 0;
const busy = 3;
const timeout = 4;
export const noLocal = 2;

/** By status number; what is not here is INTERNAL. */
const codes: Readonly<Record<number, ErrorCode>> = {
  1: "INVALID_ARGUMENT",
  2: "RESOURCE_EXHAUSTED",
  [busy]: "RESOURCE_EXHAUSTED",
  [timeout]: "DEADLINE_EXCEEDED",
  5: "ABORTED",
  6: "INVALID_ARGUMENT",
  7: "NOT_FOUND",
  8: "PERMISSION_DENIED",
  9: "ABORTED",
  10: "UNAVAILABLE",
  11: "FAILED_PRECONDITION",
  13: "ABORTED",
  14: "ABORTED",
  15: "ABORTED",
  16: "ABORTED",
  17: "ABORTED",
};

export interface LeaseWish {
  readonly cores: number;
  readonly node: string | undefined;
  readonly inBytes: number;
  readonly outBytes: number;
}

export interface CallResult {
  readonly out: Buffer;
  /** Where it ran; "" = in this process. */
  readonly node: string;
}

/** Where the time of one call went, in this order; see sublet_trace. */
export const traceParts = [
  "send",
  "wire",
  "wake",
  "queue",
  "prepare",
  "run",
  "answer",
  "back",
  "caller",
  "receive",
] as const;
export type TracePart = (typeof traceParts)[number];

export interface Trace {
  readonly path: "memory" | "connection" | "here";
  readonly workerTold: boolean;
  readonly workerSlept: boolean;
  readonly callerSlept: boolean;
  readonly totalNs: number;
  readonly partsNs: Readonly<Record<TracePart, number>>;
}

const traceFlag = { connection: 2, here: 4, workerTold: 8, workerSlept: 16, callerSlept: 64 } as const;

export interface Libsublet {
  open(agentSocket: string, timeoutMs: number): Handle;
  close(session: Handle): void;
  acquire(session: Handle, wish: LeaseWish): Handle;
  release(lease: Handle): void;
  openLibrary(session: Handle, path: string): Handle;
  findFunction(library: Handle, name: string): Handle;
  /** Calls and waits. */
  call(
    session: Handle,
    fn: Handle,
    input: Buffer,
    outCapacity: number,
    options: { readonly timeoutMs: number; readonly flags: number },
  ): CallResult;
  /** Calls on a lease and waits; the result is thrown away. */
  trace(
    session: Handle,
    fn: Handle,
    input: Buffer,
    outCapacity: number,
    options: { readonly timeoutMs: number; readonly lease: Handle },
  ): Trace;
  leaseNode(lease: Handle): string;
}

/** Where the library is: beside a source tree's build, else where the system has it. */
export function libsubletPath(): string {
  const built = fileURLToPath(new URL("../../build/native/lib/libsublet.so.1", import.meta.url));
  return existsSync(built) ? built : "libsublet.so.1";
}

export function loadLibsublet(path: string): Libsublet {
  let library: ReturnType<typeof koffi.load>;
  try {
    library = koffi.load(path);
  } catch (cause) {
    throw new SubletError(
      "FAILED_PRECONDITION",
      `${path} cannot be loaded; build it (npm run build) or install it`,
      {
        cause,
      },
    );
  }
  const u32 = "uint32_t";
  const u64 = "uint64_t";
  const sessionOptions = koffi.struct({
    struct_bytes: u32,
    flags: u32,
    agent_socket: "const char *",
    timeout_ms: u64,
    spin_us: u64,
    spill_folder: "const char *",
    spill_bytes: u64,
    fabric: "const char *",
  });
  const leaseOptions = koffi.struct({
    struct_bytes: u32,
    cores: u32,
    min_cores: u32,
    slots: u32,
    memory_bytes: u64,
    in_bytes: u64,
    out_bytes: u64,
    term_ms: u64,
    node: "const char *",
    exclude_nodes: "const char *",
  });
  const callOptions = koffi.struct({
    struct_bytes: u32,
    flags: u32,
    lease: "void *",
    worker: "int32_t",
    reserved: u32,
    timeout_ms: u64,
    trace: "void *",
  });
  const trace = koffi.struct({
    struct_bytes: u32,
    flags: u32,
    total_ns: u64,
    parts_ns: koffi.array(u64, traceParts.length, "Array"),
  });
  /** The head of sublet_lease_info; the library fills what there is room for. */
  const leaseInfo = koffi.struct({
    struct_bytes: u32,
    state: "int",
    workers: u32,
    same_node: u32,
    id: koffi.array("char", 64, "String"),
    node: koffi.array("char", 64, "String"),
  });
  const at = (type: koffi.TypeSpec) => koffi.pointer(type);
  const handleOut = koffi.out(at("void *"));
  const native = {
    open: library.func("sublet_open", "int", [at(sessionOptions), handleOut]),
    close: library.func("sublet_close", "void", ["void *"]),
    lastError: library.func("sublet_last_error", "str", []),
    acquire: library.func("sublet_lease_acquire", "int", ["void *", at(leaseOptions), handleOut]),
    release: library.func("sublet_lease_release", "void", ["void *"]),
    openLibrary: library.func("sublet_library_open", "int", ["void *", "str", handleOut]),
    find: library.func("sublet_function_find", "int", ["void *", "str", handleOut]),
    submit: library.func("sublet_submit", "int", [
      "void *",
      "void *",
      "void *",
      "size_t",
      "void *",
      "size_t",
      at(callOptions),
      handleOut,
    ]),
    invoke: library.func("sublet_invoke", "int", [
      "void *",
      "void *",
      "void *",
      "size_t",
      "void *",
      "size_t",
      koffi.out(at("size_t")),
      at(callOptions),
    ]),
    info: library.func("sublet_lease_info_get", "int", ["void *", koffi.inout(at(leaseInfo))]),
    wait: library.func("sublet_wait", "int", ["void *", u64]),
    result: library.func("sublet_call_result", "int", [
      "void *",
      koffi.out(at("size_t")),
      koffi.out(at("str")),
    ]),
    free: library.func("sublet_call_free", "void", ["void *"]),
  };

  /** `what` is named before what the library says; "": it says that itself. */
  const check = (status: number, what: string): void => {
    if (status === ok) return;
    const said = native.lastError() as string;
    throw new SubletError(
      codes[status] ?? "INTERNAL",
      `${what === "" ? "" : `${what}: `}${said === "" ? `status ${status}` : said}`,
      {
        details: { status },
      },
    );
  };
  const made = (what: string, make: (out: [Handle | null]) => number): Handle => {
    const out: [Handle | null] = [null];
    check(make(out), what);
    if (out[0] === null) throw new SubletError("INTERNAL", `${what}: libsublet gave no handle`);
    return out[0];
  };

  return {
    open: (agentSocket, timeoutMs) =>
      made("session", (out) =>
        native.open(
          {
            struct_bytes: koffi.sizeof(sessionOptions),
            flags: 0,
            agent_socket: agentSocket,
            timeout_ms: timeoutMs,
            spin_us: 0,
          },
          out,
        ),
      ),
    close: (session) => native.close(session),
    acquire: (session, wish) =>
      made("lease", (out) =>
        native.acquire(
          session,
          {
            struct_bytes: koffi.sizeof(leaseOptions),
            cores: wish.cores,
            min_cores: 0,
            slots: 0,
            memory_bytes: 0,
            in_bytes: wish.inBytes,
            out_bytes: wish.outBytes,
            term_ms: 0,
            node: wish.node ?? null,
            exclude_nodes: null,
          },
          out,
        ),
      ),
    release: (lease) => native.release(lease),
    openLibrary: (session, path) => made("", (out) => native.openLibrary(session, path, out)),
    findFunction: (handle, name) => made("", (out) => native.find(handle, name, out)),
    call: (session, fn, input, outCapacity, options) => {
      const result = Buffer.alloc(outCapacity);
      const call = made("call", (out) =>
        native.submit(
          session,
          fn,
          input,
          input.length,
          result,
          outCapacity,
          {
            struct_bytes: koffi.sizeof(callOptions),
            flags: options.flags,
            lease: null,
            worker: -1,
            reserved: 0,
            timeout_ms: options.timeoutMs,
            trace: null,
          },
          out,
        ),
      );
      try {
        // The call ends by its own deadline; the second only guards the wait.
        check(native.wait(call, options.timeoutMs + 1_000), "call");
        const bytes = [0];
        const node: [string | null] = [null];
        check(native.result(call, bytes, node), "call");
        return { out: result.subarray(0, bytes[0]), node: node[0] ?? "" };
      } finally {
        native.free(call);
      }
    },
    trace: (session, fn, input, outCapacity, options) => {
      const place = koffi.alloc(trace, 1);
      try {
        koffi.encode(place, trace, {
          struct_bytes: koffi.sizeof(trace),
          flags: 0,
          total_ns: 0,
          parts_ns: traceParts.map(() => 0),
        });
        const status = native.invoke(
          session,
          fn,
          input,
          input.length,
          Buffer.alloc(outCapacity),
          outCapacity,
          [0],
          {
            struct_bytes: koffi.sizeof(callOptions),
            flags: 0,
            lease: options.lease,
            worker: -1,
            reserved: 0,
            timeout_ms: options.timeoutMs,
            trace: place,
          },
        );
        check(status, "call");
        const told = koffi.decode(place, trace) as { flags: number; total_ns: number; parts_ns: number[] };
        const has = (flag: number): boolean => (told.flags & flag) !== 0;
        return {
          path: has(traceFlag.here) ? "here" : has(traceFlag.connection) ? "connection" : "memory",
          workerTold: has(traceFlag.workerTold),
          workerSlept: has(traceFlag.workerSlept),
          callerSlept: has(traceFlag.callerSlept),
          totalNs: Number(told.total_ns),
          partsNs: Object.fromEntries(
            traceParts.map((part, index) => [part, Number(told.parts_ns[index])]),
          ) as Record<TracePart, number>,
        };
      } finally {
        koffi.free(place);
      }
    },
    leaseNode: (lease) => {
      const info = {
        struct_bytes: koffi.sizeof(leaseInfo),
        state: 0,
        workers: 0,
        same_node: 0,
        id: "",
        node: "",
      };
      check(native.info(lease, info), "lease");
      return info.node;
    },
  };
}
