/**
 * gRPC clients of agents and the controller. Every unary call has a deadline, and fails at once when there is
 * no connection (nothing waits for one). The first calls of a connection show credentials, later ones a session's code
 * (session.ts); a call whose code is refused goes out once more with a credential. Errors are SubletErrors; refusals
 * carry reason, node and retryAfterMs in their details.
 */
import {
  Client,
  type ClientDuplexStream,
  Metadata,
  type MethodDefinition,
  type ServiceError,
  status,
} from "@grpc/grpc-js";
import { SubletError } from "../common/errors.ts";
import { channelCredentials, clientOptions, type TlsFiles } from "./channel.ts";
import { credentialKey, type Identity } from "./identity.ts";
import type { ControllerMethods, Init, NodeMethods, ReportRequest, ReportResponse } from "./messages.ts";
import { serviceDefinition } from "./schema.ts";
import {
  type CallerSession,
  type Clocks,
  newNonce,
  openGrant,
  sessionGrantKey,
  sessionKey,
  sessionNonceKey,
  sessionRefused,
} from "./session.ts";
import { fromGrpcError } from "./status.ts";

export interface ConnectOptions {
  readonly identity: Identity;
  readonly tls?: TlsFiles | undefined;
  /** Deadline of calls that name none. */
  readonly timeoutMs?: number;
}

export interface CallOptions {
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

interface Method {
  request: object;
  response: object;
}

export type UnaryCall<M extends Method> = (
  request: Init<M["request"]>,
  options?: CallOptions,
) => Promise<M["response"]>;

/** Closes the connection; calls that run end with ABORTED. */
interface Closable {
  readonly address: string;
  close(): void;
}

export type NodeClient = Closable & { readonly [K in keyof NodeMethods]: UnaryCall<NodeMethods[K]> };

export interface ReportStream {
  /** False when the controller reads too slowly: send no more before the next response came. */
  send(report: Init<ReportRequest>): boolean;
  /** Ends when the controller ends the stream; throws a SubletError when it breaks. Read it once. */
  readonly responses: AsyncIterable<ReportResponse>;
  close(): void;
}

export type ControllerClient = Closable & {
  readonly [K in keyof ControllerMethods]: UnaryCall<ControllerMethods[K]>;
} & {
  /** Opens the stream; its responses throw UNAVAILABLE when nobody answers. The signal ends it. */
  report(options?: { readonly signal?: AbortSignal }): Promise<ReportStream>;
};

const defaultTimeoutMs = 10_000;

/** How every version of a callee begins to say so; see server.ts. */
const withoutCredential = `call without ${credentialKey}`;

type AnyMethod = MethodDefinition<object, object>;

interface Connection extends Closable {
  readonly client: Client;
  /** With a credential for this method. */
  metadata(method: string, timeoutMs: number): Promise<Metadata>;
  unary(definition: AnyMethod, request: object, call: CallOptions): Promise<object>;
}

function withTimeout<T>(work: Promise<T>, timeoutMs: number, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new SubletError("DEADLINE_EXCEEDED", what)), timeoutMs);
  });
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}

/**
 * The callee did nothing with the call but to find its session wanting; or it was replaced by one of a version that knows no
 * sessions, and misses the credential.
 */
function isSessionRefused(thrown: unknown): boolean {
  const { code, metadata, details } = ((thrown as Partial<SubletError>).cause ?? {}) as Partial<ServiceError>;
  if (code !== status.UNAUTHENTICATED) return false;
  return metadata?.get(sessionKey)[0] === sessionRefused || details?.startsWith(withoutCredential) === true;
}

function connect(address: string, options: ConnectOptions): Connection {
  const client = new Client(address, channelCredentials(options.tls), clientOptions);

  const metadata = async (method: string, timeoutMs: number): Promise<Metadata> => {
    // Connects while munged is asked.
    client.getChannel().getConnectivityState(true);
    const credential = await withTimeout(
      options.identity.credential(address, method),
      timeoutMs,
      `no credential for ${address} within ${timeoutMs} ms; is munged answering?`,
    );
    const result = new Metadata({ waitForReady: false });
    result.set(credentialKey, credential);
    return result;
  };

  const { open, nowUnixMs: unixMs = Date.now } = options.identity;
  const clocks: Clocks = { monotonicMs: () => performance.now(), unixMs };
  let session: CallerSession | undefined;
  let proven = false;
  let asking = false;

  /** Takes the key that came with an answer. Without one the next call shows a credential again, and asks again. */
  const take = async (trailer: Metadata, nonce: string): Promise<void> => {
    try {
      const sealed = trailer.get(sessionGrantKey)[0];
      if (open === undefined || typeof sealed !== "string") return;
      session = openGrant(await open(sealed), address, nonce, clocks);
    } catch {
      session = undefined;
    } finally {
      asking = false;
    }
  };

  /** One try, until endMs of the monotonic clock. onTrailer is called however it ends. */
  const send = (
    method: AnyMethod,
    body: Buffer,
    headers: Metadata,
    { call, endMs }: { readonly call: CallOptions; readonly endMs: number },
    onTrailer: (trailer: Metadata) => void = () => undefined,
  ): Promise<object> =>
    new Promise<object>((resolve, reject) => {
      const cancel = (): void => running.cancel();
      const running = client.makeUnaryRequest(
        method.path,
        (bytes: Buffer) => bytes,
        method.responseDeserialize,
        body,
        headers,
        { deadline: Date.now() + Math.max(1, endMs - performance.now()) },
        (error, response) => {
          call.signal?.removeEventListener("abort", cancel);
          if (error === null && response !== undefined) resolve(response);
          else reject(fromGrpcError(error, address, method.path));
        },
      );
      running.on("status", (status_) => onTrailer(status_.metadata));
      call.signal?.addEventListener("abort", cancel, { once: true });
    });

  /** With a credential. From the second time on it asks for a key: who calls once need not be given one. */
  const callWithCredential = async (
    method: AnyMethod,
    body: Buffer,
    within: { readonly call: CallOptions; readonly endMs: number },
  ): Promise<object> => {
    const headers = await metadata(method.path, Math.max(1, within.endMs - performance.now()));
    within.call.signal?.throwIfAborted();
    const wanted = open !== undefined && proven && !asking;
    proven = true;
    if (!wanted) return await send(method, body, headers, within);
    const nonce = newNonce();
    asking = true;
    headers.set(sessionNonceKey, nonce);
    return await send(method, body, headers, within, (trailer) => void take(trailer, nonce));
  };

  const unary = async (definition: AnyMethod, request: object, call: CallOptions): Promise<object> => {
    const endMs = performance.now() + (call.timeoutMs ?? options.timeoutMs ?? defaultTimeoutMs);
    const within = { call, endMs };
    call.signal?.throwIfAborted();
    const body = definition.requestSerialize(request);
    const used = session;
    if (used === undefined || !used.usable) return await callWithCredential(definition, body, within);
    try {
      const headers = new Metadata({ waitForReady: false });
      headers.set(sessionKey, used.sign({ method: definition.path, body }));
      return await send(definition, body, headers, within);
    } catch (thrown) {
      if (!isSessionRefused(thrown)) throw thrown;
      if (session === used) session = undefined;
      call.signal?.throwIfAborted();
      return await callWithCredential(definition, body, within);
    }
  };

  return { address, client, metadata, unary, close: () => client.close() };
}

function unaryMethods(connection: Connection, service: "NodeService" | "ControllerService"): Closable {
  const methods: Record<string, unknown> = {};
  for (const [name, definition] of Object.entries(serviceDefinition(service))) {
    if (definition.requestStream) continue;
    methods[definition.originalName ?? name] = (request: object, call: CallOptions = {}) =>
      connection.unary(definition as AnyMethod, request, call);
  }
  return { ...methods, address: connection.address, close: connection.close };
}

/** A client of one agent. Connects with its first call. address: host:port as the agent announces it. */
export function connectNode(address: string, options: ConnectOptions): NodeClient {
  return unaryMethods(connect(address, options), "NodeService") as NodeClient;
}

/** A client of one controller. */
export function connectController(address: string, options: ConnectOptions): ControllerClient {
  const connection = connect(address, options);
  const definition = serviceDefinition("ControllerService").Report as AnyMethod;

  const report: ControllerClient["report"] = async (streamOptions = {}) => {
    const { signal } = streamOptions;
    signal?.throwIfAborted();
    const headers = await connection.metadata(definition.path, options.timeoutMs ?? defaultTimeoutMs);
    signal?.throwIfAborted();
    const stream = connection.client.makeBidiStreamRequest(
      definition.path,
      definition.requestSerialize,
      definition.responseDeserialize,
      headers,
      {},
    ) as ClientDuplexStream<ReportRequest, ReportResponse>;
    const close = (): void => stream.cancel();
    signal?.addEventListener("abort", close, { once: true });
    stream.once("close", () => signal?.removeEventListener("abort", close));
    // A stream that breaks while nobody reads its responses yet must not end the process.
    let broken: unknown;
    stream.on("error", (error) => {
      broken = error;
    });
    return {
      send: (message) => stream.writable && stream.write(message as ReportRequest),
      responses: responsesOf(stream, () => broken, address, definition.path),
      close,
    };
  };
  return { ...unaryMethods(connection, "ControllerService"), report } as ControllerClient;
}

async function* responsesOf(
  stream: ClientDuplexStream<ReportRequest, ReportResponse>,
  broken: () => unknown,
  address: string,
  method: string,
): AsyncGenerator<ReportResponse> {
  try {
    yield* stream as AsyncIterable<ReportResponse>;
  } catch (thrown) {
    throw fromGrpcError(broken() ?? thrown, address, method);
  }
}
