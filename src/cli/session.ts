/**
 * What every command needs: the settings, where to write, and the way to agent and controller. The ways are loaded when
 * they are gone: help, completion and the like start without them.
 */
import type { AgentClient } from "../client/agent.ts";
import { SubletError } from "../common/errors.ts";
import type { CliConfig } from "../config/cli.ts";
import type { ControllerClient } from "../rpc/client.ts";
import type { Output } from "./output.ts";

export interface Session {
  readonly config: CliConfig;
  readonly output: Output;
  readonly json: boolean;
}

/** Runs `work` with a client of the controller, which is closed whatever happens. */
export async function withController<T>(
  { config }: Session,
  work: (controller: ControllerClient) => Promise<T>,
): Promise<T> {
  if (config.controller === undefined)
    throw new SubletError(
      "UNAVAILABLE",
      "no controller is named; use --controller HOST:PORT, SUBLET_CONTROLLER, or `controller` in /etc/sublet/sublet.toml",
    );
  const { openController } = await import("../client/controller.ts");
  const client = openController({
    address: config.controller,
    mungeSocket: config.mungeSocket,
    tls: config.tls,
    timeoutMs: config.timeoutMs,
  });
  try {
    return await work(client);
  } finally {
    client.close();
  }
}

/** Runs `work` with a client of this node's agent, which is closed whatever happens. */
export async function withAgent<T>(
  { config }: Session,
  work: (agent: AgentClient) => Promise<T>,
): Promise<T> {
  const { connectAgent } = await import("../client/agent.ts");
  const client = await connectAgent({ socket: config.agentSocket, timeoutMs: config.timeoutMs });
  try {
    return await work(client);
  } finally {
    client.close();
  }
}
