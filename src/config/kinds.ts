/** The daemons' configurations; that of the command is in cli.ts, which starts without theirs. */
import { agentSchema, controllerSchema } from "./schema.ts";
import type { Kind } from "./sources.ts";

export const agentKind: Kind<typeof agentSchema> = {
  name: "agent",
  schema: agentSchema,
  defaultFiles: () => ["/etc/sublet/agent.toml"],
  prefix: "SUBLET_AGENT_",
  foreign: ["SUBLET_AGENT_SOCKET"],
};

export const controllerKind: Kind<typeof controllerSchema> = {
  name: "controller",
  schema: controllerSchema,
  defaultFiles: () => ["/etc/sublet/controller.toml"],
  prefix: "SUBLET_CONTROLLER_",
  foreign: [],
};
