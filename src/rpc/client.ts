/**
 * gRPC clients of agents and the controller. Every unary call has a deadline, and fails at once when there is
 * no connection (nothing waits for one). Errors are SubletErrors; refusals carry reason, node and retryAfterMs
 * in their details.
 */
import { Client, type ClientDuplexStream, Metadata, type MethodDefinition } from "@grpc/grpc-js";
import { SubletError } from "../common/errors.ts";
import { channelCredentials, clientOptions, type TlsFiles } from "./channel.ts";
import type { Identity } from "./identity.ts";
import type { ControllerMethods, Init, NodeMethods, ReportRequest, ReportResponse } from "./messages.ts";
import { serviceDefinition } from "./schema.ts";
import { credentialKey } from "./server.ts";
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

type AnyMethod = MethodDefinition<object, object>;

interface Connection extends Closable {
  readonly client: Client;
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

function connect(address: string, options: ConnectOptions): Connection {
  const client = new Client(address, channelCredentials(options.tls), clientOptions);

  const metadata = async (method: string, timeoutMs: number): Promise<Metadata> => {
    const credential = await withTimeout(
      options.identity.credential(address, method),
      timeoutMs,
      `no credential for ${address} within ${timeoutMs} ms; is munged answering?`,
    );
    const result = new Metadata({ waitForReady: false });
    result.set(credentialKey, credential);
    return result;
  };

  const unary = async (definition: AnyMethod, request: object, call: CallOptions): Promise<object> => {
    const timeoutMs = call.timeoutMs ?? options.timeoutMs ?? defaultTimeoutMs;
    const endMs = performance.now() + timeoutMs;
    call.signal?.throwIfAborted();
    const headers = await metadata(definition.path, timeoutMs);
    call.signal?.throwIfAborted();
    const leftMs = Math.max(1, endMs - performance.now());
    return await new Promise<object>((resolve, reject) => {
      const cancel = (): void => running.cancel();
      const running = client.makeUnaryRequest(
        definition.path,
        definition.requestSerialize,
        definition.responseDeserialize,
        request,
        headers,
        { deadline: Date.now() + leftMs },
        (error, response) => {
          call.signal?.removeEventListener("abort", cancel);
          if (error === null && response !== undefined) resolve(response);
          else reject(fromGrpcError(error, address, definition.path));
        },
      );
      call.signal?.addEventListener("abort", cancel, { once: true });
    });
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
