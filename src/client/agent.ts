/**
 * Client of the agent on this node, over its unix socket. Requests are answered by id in any order; every one has
 * a deadline. Leases asked for here end with the connection: keep it open for as long as they are used.
 *
 * When the agent goes away, all requests that wait fail with UNAVAILABLE and `closed` settles; nothing reconnects
 * by itself, since the leases of the connection are gone with it.
 */
import { createConnection, type Socket } from "node:net";
import { SubletError, toSubletError } from "../common/errors.ts";
import { decodeLocalResponse, encodeLocalRequest, FrameReader } from "../rpc/local.ts";
import type {
  Init,
  LeaseMessage,
  LeaseRequestMessage,
  LocalDrain,
  LocalDraining,
  LocalLeased,
  LocalReceipts,
  LocalReclaim,
  LocalRequest,
  LocalResponse,
  LocalRevoked,
  LocalStatusReport,
  NodeOutcome,
} from "../rpc/messages.ts";
import { errorCodeOf } from "../rpc/status.ts";

export interface AgentClientOptions {
  /** Path of the agent's socket. */
  readonly socket: string;
  /** Deadline to connect, and of requests that name none. */
  readonly timeoutMs?: number;
  /** A lease of this connection ended without us. */
  readonly onRevoked?: (notice: LocalRevoked) => void;
  /** A lease of this connection is wanted back within the time that the notice names. */
  readonly onDraining?: (notice: LocalDraining) => void;
}

export interface RequestOptions {
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

export interface AgentClient {
  lease(
    request: Init<LeaseRequestMessage>,
    options?: RequestOptions & { readonly jobId?: number },
  ): Promise<LocalLeased>;
  renew(leaseId: string, node: string, options?: RequestOptions): Promise<LeaseMessage>;
  release(leaseId: string, node: string, options?: RequestOptions): Promise<LeaseMessage>;
  /** The caller's own leases in the cluster; root and the admin group see all. */
  list(options?: RequestOptions): Promise<LeaseMessage[]>;
  status(options?: RequestOptions): Promise<LocalStatusReport>;
  /** For root and the admin group: lend nothing more; lend again; take leases back. */
  drain(request: Init<LocalDrain>, options?: RequestOptions): Promise<NodeOutcome>;
  resume(options?: RequestOptions): Promise<NodeOutcome>;
  reclaim(request: Init<LocalReclaim>, options?: RequestOptions): Promise<NodeOutcome>;
  /** Receipts of a job of the caller; root and the admin group see all. */
  job(jobId: number, options?: RequestOptions): Promise<LocalReceipts>;
  /** Settles when the connection has ended; with the error unless close() ended it. */
  readonly closed: Promise<SubletError | undefined>;
  close(): void;
}

export const defaultAgentSocket = "/run/sublet/agent.sock";

const defaultTimeoutMs = 10_000;
const maxId = 0xffff_ffff;

interface Waiting {
  resolve(response: LocalResponse): void;
  reject(error: SubletError): void;
}

function unavailable(socket: string, cause: unknown): SubletError {
  const code = (cause as NodeJS.ErrnoException | undefined)?.code;
  const why =
    code === "ENOENT" || code === "ECONNREFUSED"
      ? "no agent listens there; start sublet-agent, or name its socket"
      : toSubletError(cause).message;
  return new SubletError("UNAVAILABLE", `${socket}: ${why}`, { cause });
}

function open(path: string, timeoutMs: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(path);
    const fail = (cause: Error): void => {
      clearTimeout(timer);
      socket.destroy();
      reject(unavailable(path, cause));
    };
    const timer = setTimeout(() => fail(new Error(`no connection within ${timeoutMs} ms`)), timeoutMs);
    socket.once("error", fail);
    socket.once("connect", () => {
      clearTimeout(timer);
      socket.off("error", fail);
      resolve(socket);
    });
  });
}

/** @throws SubletError UNAVAILABLE when no agent answers. */
export async function connectAgent(options: AgentClientOptions): Promise<AgentClient> {
  const timeoutMs = options.timeoutMs ?? defaultTimeoutMs;
  const socket = await open(options.socket, timeoutMs);
  const waiting = new Map<number, Waiting>();
  const reader = new FrameReader();
  const ended = Promise.withResolvers<SubletError | undefined>();
  let lastId = 0;
  let over: SubletError | undefined;

  const end = (error: SubletError | undefined): void => {
    if (over !== undefined) return;
    over = error ?? new SubletError("ABORTED", "this connection to the agent was closed");
    socket.destroy();
    for (const { reject } of waiting.values()) reject(over);
    waiting.clear();
    ended.resolve(error);
  };
  const receive = (body: Buffer): void => {
    const response = decodeLocalResponse(body);
    if (response.id === 0) {
      if (response.body === "revoked") options.onRevoked?.(response.revoked);
      if (response.body === "draining") options.onDraining?.(response.draining);
      return;
    }
    // An id that nobody waits for: its request reached its deadline before.
    waiting.get(response.id)?.resolve(response);
  };
  socket.on("data", (chunk: Buffer) => {
    try {
      for (const body of reader.push(chunk)) receive(body);
    } catch (thrown) {
      end(new SubletError("INTERNAL", `${options.socket}: the agent sent garbage`, { cause: thrown }));
    }
  });
  socket.on("error", (cause) => end(unavailable(options.socket, cause)));
  socket.on("close", () =>
    end(new SubletError("UNAVAILABLE", `${options.socket}: the agent closed the connection`)),
  );

  const nextId = (): number => {
    do lastId = lastId === maxId ? 1 : lastId + 1;
    while (waiting.has(lastId));
    return lastId;
  };

  const request = async (body: Init<LocalRequest>, call: RequestOptions = {}): Promise<LocalResponse> => {
    call.signal?.throwIfAborted();
    if (over !== undefined) throw over;
    const id = nextId();
    const limitMs = call.timeoutMs ?? timeoutMs;
    const frame = encodeLocalRequest({ ...body, id });
    const answer = Promise.withResolvers<LocalResponse>();
    const abort = (): void => answer.reject(toSubletError(call.signal?.reason));
    const timer = setTimeout(
      () =>
        answer.reject(new SubletError("DEADLINE_EXCEEDED", `the agent did not answer within ${limitMs} ms`)),
      limitMs,
    );
    waiting.set(id, answer);
    call.signal?.addEventListener("abort", abort, { once: true });
    try {
      socket.write(frame);
      const response = await answer.promise;
      if (response.code !== 0) throw new SubletError(errorCodeOf(response.code), response.message);
      return response;
    } finally {
      clearTimeout(timer);
      waiting.delete(id);
      call.signal?.removeEventListener("abort", abort);
    }
  };

  const leaseOf = (response: LocalResponse): LeaseMessage => {
    if (response.body !== "lease") throw unexpected(response);
    return response.lease;
  };

  const outcomeOf = (response: LocalResponse): NodeOutcome => {
    if (response.body !== "outcome") throw unexpected(response);
    return response.outcome;
  };

  return {
    async lease(wanted, call = {}) {
      const response = await request({ lease: { request: wanted, jobId: call.jobId ?? 0 } }, call);
      if (response.body !== "leased") throw unexpected(response);
      return response.leased;
    },
    renew: async (leaseId, node, call) => leaseOf(await request({ renew: { leaseId, node } }, call)),
    release: async (leaseId, node, call) => leaseOf(await request({ release: { leaseId, node } }, call)),
    async list(call) {
      const response = await request({ list: {} }, call);
      if (response.body !== "leases") throw unexpected(response);
      return response.leases.leases;
    },
    async status(call) {
      const response = await request({ status: {} }, call);
      if (response.body !== "status") throw unexpected(response);
      return response.status;
    },
    drain: async (drain, call) => outcomeOf(await request({ drain }, call)),
    resume: async (call) => outcomeOf(await request({ resume: {} }, call)),
    reclaim: async (reclaim, call) => outcomeOf(await request({ reclaim }, call)),
    async job(jobId, call) {
      const response = await request({ job: { jobId } }, call);
      if (response.body !== "receipts") throw unexpected(response);
      return response.receipts;
    },
    closed: ended.promise,
    close: () => end(undefined),
  };
}

function unexpected(response: LocalResponse): SubletError {
  return new SubletError(
    "INTERNAL",
    `the agent answered with ${response.body ?? "nothing"}: it runs another version`,
  );
}
