/** Client of the controller for users and tools on or off the cluster's nodes, with this user's MUNGE identity. */
import type { TlsFiles } from "../rpc/channel.ts";
import { type ControllerClient, connectController } from "../rpc/client.ts";
import { mungeIdentity } from "../rpc/munge.ts";

export interface OpenControllerOptions {
  /** host:port, as the controller listens: the credential is made for this name. */
  readonly address: string;
  readonly mungeSocket?: string | undefined;
  readonly tls?: TlsFiles | undefined;
  readonly timeoutMs?: number;
}

export function openController(options: OpenControllerOptions): ControllerClient {
  const { address, mungeSocket, tls, timeoutMs = 10_000 } = options;
  return connectController(address, { identity: mungeIdentity({ socket: mungeSocket }), tls, timeoutMs });
}
