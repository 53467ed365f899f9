/** The settings of `sublet`: few, and loaded at each start of it, so they stand apart from those of the daemons. */
import { homedir } from "node:os";
import { join } from "node:path";
import * as z from "zod";
import { address, ms, path, tls } from "./fields.ts";
import type { Environment } from "./layers.ts";
import { type Configuration, type Kind, readSources, type Sources } from "./sources.ts";
import { type TlsConfig, tlsOf } from "./tls.ts";

export const cliSchema = z.strictObject({
  controller: address.optional().describe("the controller to ask").meta({ example: "head:7700" }),
  dashboard_url: z
    .url({ protocol: /^https?$/, error: 'expected "https://HOST:PORT/"' })
    .optional()
    .describe("where browsers reach the dashboard; default: through a tunnel to the controller's port 7704")
    .meta({ example: "https://head.example.org:7704/" }),
  agent_socket: path.default("/run/sublet/agent.sock").describe("socket of this node's agent"),
  starter_socket: path.default("/run/sublet/starter.sock").describe("socket of its starter, for the doctor"),
  munge_socket: path
    .optional()
    .describe("socket of munged; default: libmunge's")
    .meta({ example: "/run/munge/munge.socket.2" }),
  timeout_ms: ms.default(10_000).describe("longest wait for an answer"),
  tls: tls.optional(),
});

export type CliRaw = z.output<typeof cliSchema>;

export const cliKind: Kind<typeof cliSchema> = {
  name: "sublet",
  schema: cliSchema,
  defaultFiles: (environment) => [
    "/etc/sublet/sublet.toml",
    join(environment.XDG_CONFIG_HOME || join(environment.HOME || homedir(), ".config"), "sublet/sublet.toml"),
  ],
  prefix: "SUBLET_",
  foreign: "known",
};

export interface CliConfig {
  readonly controller: string | undefined;
  readonly dashboardUrl: string | undefined;
  readonly agentSocket: string;
  readonly starterSocket: string;
  readonly mungeSocket: string | undefined;
  readonly timeoutMs: number;
  readonly tls: TlsConfig | undefined;
}

/** The settings of `sublet`. Throws like readAgent. */
export function readCli(sources: Sources): Configuration<CliConfig, CliRaw> {
  const read = readSources(cliKind, sources);
  const { raw } = read;
  const config = {
    controller: raw.controller,
    dashboardUrl: raw.dashboard_url,
    agentSocket: raw.agent_socket,
    starterSocket: raw.starter_socket,
    mungeSocket: raw.munge_socket,
    timeoutMs: raw.timeout_ms,
    tls: tlsOf(raw.tls),
  };
  return { config, read, computed: {} };
}

/** Without a file: the default ones. */
export function loadCliConfig(file?: string, environment: Environment = process.env): CliConfig {
  return readCli({ file, environment }).config;
}
