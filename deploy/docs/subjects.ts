/** The configurations that are documented, each from its schema. */
import type { z } from "zod";
import { policySchema } from "../../agent/guard/policy.ts";
import { agentFlags, controllerFlags } from "../../src/config/arguments.ts";
import { cliSchema } from "../../src/config/cli.ts";
import { defaultGuardPolicyFile } from "../../src/config/guard.ts";
import { agentSchema, controllerSchema } from "../../src/config/schema.ts";

export interface Subject {
  /** Of its example file and in its page: agent.toml. */
  readonly file: string;
  /** Of its manual page, section 5. */
  readonly man: string;
  readonly program: string;
  /** What it is about, in a line. */
  readonly about: string;
  readonly schema: z.ZodType;
  readonly paths: readonly string[];
  /** Of variables; undefined: there are none. */
  readonly prefix: string | undefined;
  /** Flag of the program by key. */
  readonly flags: Readonly<Record<string, string>>;
  /** Whose settings SIGHUP reads again. */
  readonly daemon: boolean;
  /** What the file that is installed sets: where the packages' folders are. */
  readonly ships?: Readonly<Record<string, unknown>>;
}

/** Bounds that are a node's own are not in the pages. */
const anyNode = { cores: Number.MAX_SAFE_INTEGER, memoryBytes: Number.MAX_SAFE_INTEGER };

export const subjects: readonly Subject[] = [
  {
    file: "agent.toml",
    man: "sublet-agent.toml",
    program: "sublet-agent",
    about: "what the agent of a node lends, to whom, and how it takes it back",
    schema: agentSchema,
    paths: ["/etc/sublet/agent.toml"],
    prefix: "SUBLET_AGENT_",
    flags: agentFlags,
    daemon: true,
    ships: { "reclaim.state_dir": "/var/lib/sublet-agent" },
  },
  {
    file: "controller.toml",
    man: "sublet-controller.toml",
    program: "sublet-controller",
    about: "what the controller asks of Slurm, whom it trusts, what it keeps",
    schema: controllerSchema,
    paths: ["/etc/sublet/controller.toml"],
    prefix: "SUBLET_CONTROLLER_",
    flags: controllerFlags,
    daemon: true,
  },
  {
    file: "guard.toml",
    man: "sublet-guard.toml",
    program: "sublet-agent",
    about: "what the agent's guard does when a batch job suffers from guests",
    schema: policySchema(anyNode),
    paths: [defaultGuardPolicyFile],
    prefix: undefined,
    flags: {},
    daemon: true,
  },
  {
    file: "sublet.toml",
    man: "sublet.toml",
    program: "sublet",
    about: "whom the command asks",
    schema: cliSchema,
    paths: ["/etc/sublet/sublet.toml", "~/.config/sublet/sublet.toml"],
    prefix: "SUBLET_",
    flags: { controller: "controller", "agent-socket": "agent_socket" },
    daemon: false,
  },
];
