/**
 * gRPC server of agents and the controller. Every call is authenticated before its handler sees it; every unary
 * call has a deadline, the caller's or ours; a caller that vanishes is noticed by keepalive within about 10 s.
 * The standard health service answers without identity.
 */

import type { Readable } from "node:stream";
import {
  Metadata,
  Server,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type ServiceDefinition,
  type StatusObject,
  type sendUnaryData,
  type UntypedHandleCall,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { type ErrorCode, SubletError, toSubletError } from "../common/errors.ts";
import { serverCredentials, serverOptions, type TlsFiles } from "./channel.ts";
import { health, healthService } from "./health.ts";
import { type Caller, credentialKey, type Identity } from "./identity.ts";
import type { ControllerMethods, Init, NodeMethods, ReportRequest, ReportResponse } from "./messages.ts";
import { hostFacts, ownNames } from "./own-names.ts";
import { protoPackage, serviceDefinition } from "./schema.ts";
import {
  SessionRefused,
  Sessions,
  sessionGrantKey,
  sessionKey,
  sessionNonceKey,
  sessionRefused,
} from "./session.ts";
import { toGrpcStatus } from "./status.ts";

/** Deadline of unary calls whose caller set none, and the longest that a caller may set. */
const maxDeadlineMs = 60_000;

export interface CallContext {
  /** trusted: may act for the Principal named in the request; everyone else acts for himself. */
  readonly caller: Caller & { readonly trusted: boolean };
  /** Aborted when the caller cancels or goes away, or the deadline passes. */
  readonly signal: AbortSignal;
  /** Time left when the handler was called; Infinity for streams. */
  readonly deadlineMs: number;
}

interface Method {
  request: object;
  response: object;
}

export type UnaryHandler<M extends Method> = (
  request: M["request"],
  context: CallContext,
) => Promise<Init<M["response"]>>;

export type NodeHandlers = { readonly [K in keyof NodeMethods]: UnaryHandler<NodeMethods[K]> };

/**
 * One Report stream. `requests` ends when the agent ends the stream or goes away; `send` is false when the agent
 * reads too slowly or is gone. The stream ends when the promise settles, or with UNAVAILABLE when the server closes.
 */
export type ReportHandler = (
  requests: AsyncIterable<ReportRequest>,
  send: (response: Init<ReportResponse>) => boolean,
  context: CallContext,
) => Promise<void>;

export type ControllerHandlers = {
  readonly [K in keyof ControllerMethods]: UnaryHandler<ControllerMethods[K]>;
} & { readonly report: ReportHandler };

/** One call that ended, for logs and metrics. */
export interface CallEvent {
  readonly method: string;
  readonly code: "OK" | ErrorCode;
  readonly tookMs: number;
  readonly error: SubletError | undefined;
}

export interface ServeOptions {
  /** host:port; port 0 takes a free one. */
  readonly listen: string;
  /** More names under which callers may know this server, without port: an alias, a full name. */
  readonly names?: readonly string[];
  readonly identity: Identity;
  readonly trustedUids: readonly number[];
  readonly node?: NodeHandlers;
  readonly controller?: ControllerHandlers;
  readonly tls?: TlsFiles | undefined;
  readonly onCall?: (event: CallEvent) => void;
}

export interface RpcServer {
  /** host:port with the real port. */
  readonly address: string;
  /** What the health service says from now on. */
  setServing(serving: boolean): void;
  /** Ends within 2 s: calls that run are let finish, then cut. */
  close(): Promise<void>;
}

type AnyHandler = (request: object, context: CallContext) => Promise<object>;
type AnyCall = ServerUnaryCall<object, object> | ServerDuplexStream<object, object>;

const closeTimeoutMs = 2_000;
/** How long an answer that is ready waits for its caller's key to be sealed. */
const sealWaitMs = 50;

/** Splits host:port; the host of an IPv6 address is in brackets. @throws SubletError INVALID_ARGUMENT. */
export function splitAddress(address: string): { host: string; port: number } {
  const match = /^(\[[0-9a-fA-F:.]+\]|[^:\s]+):(\d{1,5})$/.exec(address);
  const port = Number(match?.[2]);
  if (match === null || port > 65535)
    throw new SubletError("INVALID_ARGUMENT", `address ${JSON.stringify(address)}: expected host:port`);
  return { host: match[1] ?? "", port };
}

/** The names under which callers may know this server: what it listens on, its host's names and addresses, what the site says. */
function audiencesOf(address: string, more: readonly string[]): string[] {
  const { host, port } = splitAddress(address);
  const facts = hostFacts();
  const names = [host, ...ownNames(facts), ...more];
  if (host === "0.0.0.0" || host === "[::]") {
    names.push("localhost");
    for (const own of facts.addresses) names.push(own.includes(":") ? `[${own}]` : own);
  }
  return [...new Set(names)].map((name) => `${name}:${port}`);
}

export async function serve(options: ServeOptions): Promise<RpcServer> {
  const server = new Server(serverOptions);
  const services: string[] = [];
  const { implementation, set: setServing } = health(services);
  server.addService(healthService, implementation);
  let audiences: readonly string[] = [];
  /** The streams that are open: they have no end of their own, so that close() ends them. */
  const streams = new Set<AbortController>();

  const { nowUnixMs: unixMs = Date.now } = options.identity;
  const sessions = new Sessions({ monotonicMs: () => performance.now(), unixMs });
  /** The bytes that unary requests came as. */
  const bodies = new WeakMap<object, Buffer>();
  const grants = new WeakMap<AnyCall, Promise<string | undefined>>();

  /** By a session's code, else by a credential; on which a key may be asked for, which is made while the call is served. */
  const identify = async (call: AnyCall): Promise<CallContext["caller"]> => {
    const method = call.getPath();
    const code = call.metadata.get(sessionKey)[0];
    const trusted = (uid: number): boolean => options.trustedUids.includes(uid);
    if (typeof code === "string") {
      const body = "request" in call ? bodies.get(call.request) : undefined;
      if (body === undefined) throw new SessionRefused("session: for unary calls only");
      const caller = sessions.verify(code, { method, body });
      return { ...caller, trusted: trusted(caller.uid) };
    }
    const credential = call.metadata.get(credentialKey)[0];
    if (typeof credential !== "string")
      throw new SubletError("UNAUTHENTICATED", `call without ${credentialKey}: munge identity is required`);
    const { uid, gid, audience } = await options.identity.verify(credential, audiences, method);
    const nonce = call.metadata.get(sessionNonceKey)[0];
    if (typeof nonce === "string" && audience !== undefined && options.identity.seal !== undefined) {
      const grant = sessions.grant({ uid, gid }, audience, nonce);
      // Without a key the caller shows a credential again: nothing is lost but time.
      grants.set(
        call,
        options.identity.seal(grant, { uid, gid }).catch(() => undefined),
      );
    }
    return { uid, gid, trusted: trusted(uid) };
  };

  /** Runs one call from credential to status. */
  const run = async (
    call: AnyCall,
    deadlineMs: number,
    body: (context: CallContext) => Promise<void>,
  ): Promise<SubletError | undefined> => {
    const startedMs = performance.now();
    const abort = new AbortController();
    const cancelled = (): void =>
      abort.abort(new SubletError("ABORTED", `${call.getPath()}: the caller went away`));
    call.once("cancelled", cancelled);
    const streaming = !Number.isFinite(deadlineMs);
    if (streaming) streams.add(abort);
    const timer = !streaming
      ? setTimeout(
          () => abort.abort(new SubletError("DEADLINE_EXCEEDED", `${call.getPath()} took too long`)),
          deadlineMs,
        )
      : undefined;
    const late = new Promise<never>((_, reject) => {
      abort.signal.addEventListener("abort", () => reject(abort.signal.reason), { once: true });
    });
    let error: SubletError | undefined;
    try {
      const work = identify(call).then((caller) => body({ caller, signal: abort.signal, deadlineMs }));
      await Promise.race([work, late]);
    } catch (thrown) {
      error = toSubletError(thrown);
    } finally {
      clearTimeout(timer);
      streams.delete(abort);
      call.off("cancelled", cancelled);
    }
    options.onCall?.({
      method: call.getPath(),
      code: error?.code ?? "OK",
      tookMs: performance.now() - startedMs,
      error,
    });
    return error;
  };

  const unary =
    (handler: AnyHandler): UntypedHandleCall =>
    (call: ServerUnaryCall<object, object>, callback: sendUnaryData<object>): void => {
      let response: object | undefined;
      void run(call, remainingMs(call), async (context) => {
        response = await handler(call.request, context);
      }).then(async (error) => {
        const sealed = await soon(grants.get(call));
        if (error === undefined) callback(null, response, behind(sessionGrantKey, sealed));
        else callback(withRefusedSession(toGrpcStatus(error), error));
      });
    };

  const report =
    (handler: ReportHandler): UntypedHandleCall =>
    (call: ServerDuplexStream<ReportRequest, ReportResponse>): void => {
      const send = (response: Init<ReportResponse>): boolean =>
        call.writable && call.write(response as ReportResponse);
      void run(call, Number.POSITIVE_INFINITY, (context) =>
        handler(untilGone(call, context.signal), send, context),
      ).then((error) => {
        if (error === undefined) call.end();
        else call.emit("error", toGrpcStatus(error));
      });
    };

  const add = (name: "NodeService" | "ControllerService", handlers: object): void => {
    const definition = keepingBodies(serviceDefinition(name), bodies);
    const implementation: UntypedServiceImplementation = {};
    for (const [method, { originalName, requestStream }] of Object.entries(definition)) {
      const handler: unknown = (handlers as Record<string, unknown>)[originalName ?? method];
      if (typeof handler !== "function")
        throw new SubletError("INTERNAL", `${name}.${method} has no handler`);
      implementation[method] = requestStream
        ? report(handler as ReportHandler)
        : unary(handler as AnyHandler);
    }
    server.addService(definition, implementation);
    services.push(`${protoPackage}.${name}`);
  };
  if (options.node !== undefined) add("NodeService", options.node);
  if (options.controller !== undefined) add("ControllerService", options.controller);

  const { host } = splitAddress(options.listen);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(options.listen, serverCredentials(options.tls), (error, bound) =>
      error === null
        ? resolve(bound)
        : reject(
            new SubletError("UNAVAILABLE", `cannot listen on ${options.listen}: ${error.message}`, {
              cause: error,
            }),
          ),
    );
  });
  const address = `${host}:${port}`;
  audiences = audiencesOf(address, options.names ?? []);

  const close = async (): Promise<void> => {
    setServing(false);
    for (const stream of streams) stream.abort(new SubletError("UNAVAILABLE", `${address} shuts down`));
    await new Promise<void>((resolve) => {
      // Cut, not waited for: a session whose peer vanished while it was closing would never say that it is closed.
      const timer = setTimeout(() => {
        server.forceShutdown();
        resolve();
      }, closeTimeoutMs);
      server.tryShutdown(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  };
  return { address, setServing, close };
}

/** The service, whose unary requests can be asked for the bytes they came as. */
function keepingBodies(definition: ServiceDefinition, bodies: WeakMap<object, Buffer>): ServiceDefinition {
  const kept = Object.entries(definition).map(([name, method]) => {
    const requestDeserialize = (bytes: Buffer): object => {
      const request: object = method.requestDeserialize(bytes);
      bodies.set(request, bytes);
      return request;
    };
    return [name, method.requestStream ? method : { ...method, requestDeserialize }];
  });
  return Object.fromEntries(kept);
}

/** What it comes to, if that is soon: no answer waits for a munged that does not answer. */
async function soon(sealed: Promise<string | undefined> | undefined): Promise<string | undefined> {
  if (sealed === undefined) return undefined;
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), sealWaitMs);
  });
  return await Promise.race([sealed, late]).finally(() => clearTimeout(timer));
}

/** What is sent behind an answer. */
function behind(key: string, value: string | undefined): Metadata | undefined {
  if (value === undefined) return undefined;
  const metadata = new Metadata();
  metadata.set(key, value);
  return metadata;
}

function withRefusedSession(status: StatusObject, error: SubletError): StatusObject {
  if (error instanceof SessionRefused) status.metadata.set(sessionKey, sessionRefused);
  return status;
}

function remainingMs(call: AnyCall): number {
  const deadline = Number(call.getDeadline());
  if (!Number.isFinite(deadline)) return maxDeadlineMs;
  return Math.min(maxDeadlineMs, Math.max(0, deadline - Date.now()));
}

/**
 * The messages of a stream; a stream that breaks ends, since the signal says so already. A handler that stops
 * reading leaves the stream open: its status must still go out.
 */
async function* untilGone<T>(call: Readable, signal: AbortSignal): AsyncGenerator<T> {
  try {
    for await (const message of call.iterator({ destroyOnReturn: false })) yield message as T;
  } catch (thrown) {
    if (!signal.aborted && (thrown as NodeJS.ErrnoException).code !== "ERR_STREAM_PREMATURE_CLOSE")
      throw thrown;
  }
}
