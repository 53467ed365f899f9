/** Manual pages of section 8: the daemons and what Slurm calls. */
import { agentFlags, controllerFlags } from "../../src/config/arguments.ts";
import { roff } from "./man.ts";

interface Page {
  readonly name: string;
  readonly about: string;
  readonly synopsis: string;
  readonly text: readonly string[];
  readonly options: readonly (readonly [term: string, about: string])[];
  readonly signals: readonly (readonly [name: string, about: string])[];
  readonly statuses: readonly (readonly [status: string, about: string])[];
  readonly see: string;
}

function flagsOf(flags: Readonly<Record<string, string>>): (readonly [string, string])[] {
  return [
    ["--config FILE", "Settings from this file in place of the default one."],
    ["--set KEY=VALUE", "One setting; may be given more than once."],
    ...Object.entries(flags).map(([flag, key]) => [`--${flag} VALUE`, `The setting ${key}.`] as const),
    [
      "--check-config",
      "Print the settings in effect and where each came from, and end. With --json as JSON.",
    ],
    ["--version, --help", "What they say."],
  ];
}

const daemonSignals = [
  ["SIGHUP", "Read all settings again; they are applied as a whole or not at all."],
  ["SIGTERM, SIGINT", "End. Guests and leases go on; the next start finds them."],
] as const;
const daemonStatuses = [
  ["0", "Ended as it was told."],
  ["1", "Failed."],
  ["2", "Wrong usage."],
  ["78", "The settings are wrong: trying again does not help."],
] as const;

const pages: readonly Page[] = [
  {
    name: "sublet-agent",
    about: "lends what a compute node has to spare",
    synopsis: "[options]",
    text: [
      "One runs on each node. It finds what Slurm's jobs leave idle, offers it to the controllers, grants leases, and gives all back the moment that a job wants it. It can be killed at any time: guests go on, and the next one takes them over.",
    ],
    options: [
      ...flagsOf(agentFlags),
      ["--drain", "At SIGTERM, end all guests instead of leaving them to the next agent."],
      ["--supervised", "The starter is a service of its own: wait for it, never start one."],
    ],
    signals: daemonSignals,
    statuses: daemonStatuses,
    see: "sublet(1), sublet-agent.toml(5), sublet-controller(8), sublet-starter(8), sublet-hook(8)",
  },
  {
    name: "sublet-controller",
    about: "brings the offers and the lease requests of a cluster together",
    synopsis: "[options]",
    text: [
      "One or more run in a cluster. What it knows of agents and leases comes back from the agents within seconds after a start. What it keeps itself is below state_dir: the accounting, the history of the dashboard, and drain.json, the drain of the whole cluster, while one stands: agents that come while it does are told to drain. A drain.json that cannot be read counts as a drain.",
    ],
    options: flagsOf(controllerFlags),
    signals: daemonSignals,
    statuses: daemonStatuses,
    see: "sublet(1), sublet-controller.toml(5), sublet-agent(8)",
  },
  {
    name: "sublet-starter",
    about: "starts and ends guests for the agent",
    synopsis: "[options]",
    text: [
      "The only part with privileges. It is asked by the agent through a socket in its run directory, and puts each guest into its own namespaces and cgroup, as the user who leased.",
    ],
    options: [
      ["--run-dir DIR", "Where starter.sock and starter.lock are (/run/sublet)."],
      ["--ready-timeout-ms N", "An executor that is not ready by then is ended (5000)."],
      ["--stop-timeout-ms N", "An executor that is not gone by then is reported as such (5000)."],
      ["--client-timeout-ms N", "A client that is slower with a frame is dropped (5000)."],
      ["--ro-path PATH", "Shown read-only to all guests, at most 16 times."],
      ["--pilot", "As an ordinary user, without cgroups and namespaces, for guests of this user."],
    ],
    signals: [],
    statuses: [["2", "Wrong usage."]],
    see: "sublet-agent(8)",
  },
  {
    name: "sublet-hook",
    about: "tells the agent of a node that a job comes or goes",
    synopsis: "[prolog|epilog] [options]",
    text: [
      "Slurm's Prolog and Epilog, or a line in the site's own: it is root's, told by slurmd's variables. In the prolog it waits until the job's cores and memory are free of guests, at most 2 s.",
    ],
    options: [
      ["--socket PATH", "The agent's socket."],
      [
        "--roots PATH",
        "The file that says where guests' cgroups are: when the agent does not answer, they are emptied.",
      ],
      ["--timeout-ms N", "Longest wait for the agent."],
    ],
    signals: [],
    statuses: [["0", "Always: a job is never kept from its start."]],
    see: "sublet-agent(8), slurm.conf(5)",
  },
];

const terms = (list: readonly (readonly [string, string])[]): string[] =>
  list.flatMap(([term, about]) => [".TP", `.B ${roff(term)}`, roff(about)]);
const section = (title: string, list: readonly (readonly [string, string])[]): string[] =>
  list.length === 0 ? [] : [`.SH ${title}`, ...terms(list)];

function text(page: Page): string {
  return `${[
    '.\\" Generated by deploy/docs/generate.ts: edit deploy/docs/daemons.ts.',
    `.TH ${roff(page.name.toUpperCase())} 8 "" Sublet "Sublet's daemons"`,
    ".SH NAME",
    `${roff(page.name)} \\- ${roff(page.about)}`,
    ".SH SYNOPSIS",
    `.B ${roff(page.name)}`,
    roff(page.synopsis),
    ".SH DESCRIPTION",
    ...page.text.map(roff),
    ...section("OPTIONS", page.options),
    ...section("SIGNALS", page.signals),
    ...section("EXIT STATUS", page.statuses),
    ".SH SEE ALSO",
    roff(page.see),
  ].join("\n")}\n`;
}

export function daemonPages(): [string, string][] {
  return pages.map((page) => [`deploy/man/${page.name}.8`, text(page)]);
}
