/** What both ends of every gRPC connection agree on: keepalive, sizes, TLS. */
import { readFileSync } from "node:fs";
import { type ChannelCredentials, type ChannelOptions, credentials, ServerCredentials } from "@grpc/grpc-js";
import { SubletError } from "../common/errors.ts";

/** PEM files of mutual TLS. Both sides show a certificate that the authority in caFile signed. */
export interface TlsFiles {
  readonly caFile: string;
  readonly certFile: string;
  readonly keyFile: string;
}

/** A report of a node with thousands of leases, or the node list of a large cluster, fits; nothing larger does. */
export const maxMessageBytes = 16 * 1024 * 1024;

/** A peer that vanished without closing is noticed after the two together. */
const keepaliveTimeMs = 5_000;
const keepaliveTimeoutMs = 4_000;

const common: ChannelOptions = {
  "grpc.keepalive_time_ms": keepaliveTimeMs,
  "grpc.keepalive_timeout_ms": keepaliveTimeoutMs,
  "grpc.keepalive_permit_without_calls": 1,
  "grpc.max_receive_message_length": maxMessageBytes,
  "grpc.max_send_message_length": maxMessageBytes,
  "grpc.enable_channelz": 0,
};

export const serverOptions: ChannelOptions = { ...common, "grpc.max_concurrent_streams": 1024 };

/**
 * Reconnects fast, since a controller that returns must be whole again in seconds; never through a proxy of the
 * environment; connections are not shared between clients, so that close() closes. An answer comes in one go: with HTTP/2's
 * own window the callee would ask for leave every 64 KB, and a list of ten thousand nodes wait ten times for it.
 */
export const clientOptions: ChannelOptions = {
  ...common,
  "grpc.initial_reconnect_backoff_ms": 200,
  "grpc.max_reconnect_backoff_ms": 2_000,
  "grpc.dns_min_time_between_resolutions_ms": 2_000,
  "grpc.enable_retries": 0,
  "grpc.enable_http_proxy": 0,
  "grpc.use_local_subchannel_pool": 1,
  "grpc.service_config_disable_resolution": 1,
  "grpc-node.flow_control_window": maxMessageBytes,
};

function read(what: string, path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (cause) {
    throw new SubletError(
      "FAILED_PRECONDITION",
      `${what} ${path} cannot be read; check [tls] in the config`,
      {
        cause,
      },
    );
  }
}

export function serverCredentials(tls: TlsFiles | undefined): ServerCredentials {
  if (tls === undefined) return ServerCredentials.createInsecure();
  const pair = {
    private_key: read("TLS key", tls.keyFile),
    cert_chain: read("TLS certificate", tls.certFile),
  };
  return ServerCredentials.createSsl(read("TLS authority", tls.caFile), [pair], true);
}

export function channelCredentials(tls: TlsFiles | undefined): ChannelCredentials {
  if (tls === undefined) return credentials.createInsecure();
  return credentials.createSsl(
    read("TLS authority", tls.caFile),
    read("TLS key", tls.keyFile),
    read("TLS certificate", tls.certFile),
  );
}
