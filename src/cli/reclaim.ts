/**
 * `sublet drain`, `resume` and `reclaim`, for administrators: through the controller to all nodes that are selected, or,
 * where no controller is named, to this node's agent. Ends when every lease that has a budget is gone or its budget is
 * over (or at once, with --no-wait), and tells what came of it node by node.
 */
import { type Command, InvalidArgumentError, Option } from "commander";
import { type ErrorCode, errorCodes, SubletError } from "../common/errors.ts";
import type { NodeOutcome, ReclaimModeName } from "../rpc/messages.ts";
import { listLeases } from "./leases.ts";
import { type Column, formatDuration, formatEnum, formatTable, writeJson } from "./output.ts";
import { type Session, withAgent, withController } from "./session.ts";

export interface Selected {
  readonly partition?: readonly string[];
  readonly all?: true;
  readonly lease?: readonly string[];
}

export interface TakeOptions extends Selected {
  readonly mode: "immediate" | "graceful" | "keep";
  /** Seconds. */
  readonly budget: number;
  readonly reason: string;
  readonly wait: boolean;
}

const pollMs = 500;
/** Beyond the budget, for guests to end and the controller to hear of it. */
const graceMs = 10_000;
const maxBudgetSeconds = 3600;

const modes: Readonly<Record<TakeOptions["mode"], ReclaimModeName>> = {
  keep: "RECLAIM_MODE_UNSPECIFIED",
  immediate: "RECLAIM_MODE_IMMEDIATE",
  graceful: "RECLAIM_MODE_GRACEFUL",
};

function wish({ mode, budget, reason }: TakeOptions) {
  return { mode: modes[mode], budgetMs: mode === "graceful" ? budget * 1000 : 0, reason };
}

function codeName(code: number): ErrorCode | "UNKNOWN" {
  for (const [name, number] of Object.entries(errorCodes)) if (number === code) return name as ErrorCode;
  return "UNKNOWN";
}

const columns: readonly Column<NodeOutcome>[] = [
  { title: "NODE", text: ({ node }) => node || "-" },
  { title: "LENDING", text: ({ lending }) => formatEnum(lending, "LENDING_") || "?" },
  { title: "ENDED", text: ({ leasesEnded }) => String(leasesEnded), align: "right" },
  {
    title: "LEFT",
    text: ({ leasesLeft, drainingLeaseIds }) => String(leasesLeft + drainingLeaseIds.length),
    align: "right",
  },
  {
    title: "NOTE",
    text: ({ code, message }) => (code === 0 ? message : `${codeName(code)}: ${message}`),
    spare: 1,
  },
];

export function formatOutcomes(outcomes: readonly NodeOutcome[], width: number | undefined): string {
  if (outcomes.length === 0) return "No node is selected.\n";
  return formatTable(columns, outcomes, width);
}

/** A node that did not do it, or leases that are not gone though they should be. */
export function failedOutcomes(outcomes: readonly NodeOutcome[]): number {
  return outcomes.filter(({ code, leasesLeft }) => code !== 0 || leasesLeft > 0).length;
}

/** Waits for leases that have a budget; what then is still there is left over. */
async function waitForBudgets(
  session: Session,
  outcomes: readonly NodeOutcome[],
  budgetMs: number,
): Promise<NodeOutcome[]> {
  const startMs = performance.now();
  const endMs = startMs + budgetMs + graceMs;
  let draining = new Set(outcomes.flatMap(({ drainingLeaseIds }) => drainingLeaseIds));
  const total = draining.size;
  while (draining.size > 0 && performance.now() < endMs) {
    await new Promise((resolve) => setTimeout(resolve, pollMs));
    const live = new Set((await listLeases(session)).map(({ id }) => id));
    draining = new Set([...draining].filter((id) => live.has(id)));
    const leftMs = Math.max(0, startMs + budgetMs - performance.now());
    if (!session.json && session.output.width !== undefined)
      session.output.error(
        `\r${total - draining.size} of ${total} leases gone, ${formatDuration(leftMs)} of the budget left \u001b[K`,
      );
  }
  if (!session.json && session.output.width !== undefined && total > 0) session.output.error("\r\u001b[K");
  return outcomes.map((outcome) => {
    const left = outcome.drainingLeaseIds.filter((id) => draining.has(id));
    return {
      ...outcome,
      leasesEnded: outcome.leasesEnded + outcome.drainingLeaseIds.length - left.length,
      leasesLeft: outcome.leasesLeft + left.length,
      drainingLeaseIds: [],
    };
  });
}

/** Writes what came of it. False when a part of it failed. */
function tell(session: Session, outcomes: readonly NodeOutcome[]): boolean {
  const failed = failedOutcomes(outcomes);
  if (session.json) writeJson(session.output, { outcomes, failed });
  else session.output.write(formatOutcomes(outcomes, session.output.width));
  if (failed > 0 && !session.json)
    session.output.error(`sublet: ${failed} of ${outcomes.length} nodes did not do all of it\n`);
  return failed === 0;
}

function selection(hosts: readonly string[], options: Selected) {
  const selected = {
    nodes: [...hosts],
    partitions: [...(options.partition ?? [])],
    all: options.all === true,
    leaseIds: [...(options.lease ?? [])],
  };
  const named = hosts.length + selected.partitions.length + selected.leaseIds.length > 0 || selected.all;
  return named ? selected : undefined;
}

/** Without a controller only this node can be meant. @throws SubletError. */
function mustBeHere(hosts: readonly string[], options: Selected, node: string): void {
  const others = hosts.filter((host) => host !== node);
  if (others.length > 0 || options.partition !== undefined || options.all === true)
    throw new SubletError(
      "INVALID_ARGUMENT",
      `without a controller only ${node} can be asked; use --controller HOST:PORT for others`,
    );
}

async function carry(
  session: Session,
  what: "drain" | "resume" | "reclaim",
  hosts: readonly string[],
  options: Selected & Partial<TakeOptions>,
): Promise<NodeOutcome[]> {
  const taken = options.mode === undefined ? undefined : wish(options as TakeOptions);
  if (session.config.controller === undefined)
    return withAgent(session, async (agent) => {
      mustBeHere(hosts, options, (await agent.status()).offer?.node ?? "this node");
      if (what === "resume") return [await agent.resume()];
      if (what === "drain") return [await agent.drain({ ...taken })];
      return [await agent.reclaim({ ...taken, leaseIds: options.lease ?? [] })];
    });
  const selected = selection(hosts, options);
  if (selected === undefined)
    throw new SubletError(
      "INVALID_ARGUMENT",
      "nothing is selected: name nodes, --partition, --all or --lease",
    );
  const request = { selection: selected, ...taken };
  return (await withController(session, (controller) => controller[what](request))).outcomes;
}

/** Drains nodes or takes leases back; false when a part of it failed. */
export async function take(
  session: Session,
  what: "drain" | "reclaim",
  hosts: readonly string[],
  options: TakeOptions,
): Promise<boolean> {
  const outcomes = await carry(session, what, hosts, options);
  return tell(
    session,
    options.wait ? await waitForBudgets(session, outcomes, options.budget * 1000) : outcomes,
  );
}

export async function resume(
  session: Session,
  hosts: readonly string[],
  options: Selected,
): Promise<boolean> {
  return tell(session, await carry(session, "resume", hosts, options));
}

function seconds(text: string): number {
  const value = Number(text);
  if (!/^\d{1,4}$/.test(text) || value < 1 || value > maxBudgetSeconds)
    throw new InvalidArgumentError(`Expected whole seconds from 1 to ${maxBudgetSeconds}.`);
  return value;
}

const gather = (text: string, before: readonly string[] = []): readonly string[] => [...before, text];

/** Adds the three commands. `onFailed`: a part of it failed. */
export function addAdminCommands(program: Command, session: () => Session, onFailed: () => void): void {
  const command = (name: string, about: string): Command =>
    program
      .command(name)
      .argument("[hosts...]", "host lists, as n[1-3],gpu7; none: this node, where no controller is named")
      .description(about)
      .option("--partition <name>", "all nodes of a partition; may be given more than once", gather)
      .option("--all", "all nodes whose agents are known");
  const taking = (
    made: Command,
    mode: TakeOptions["mode"],
    choices: readonly TakeOptions["mode"][],
  ): Command =>
    made
      .addOption(new Option("--mode <mode>", "what becomes of the leases").choices(choices).default(mode))
      .option("--budget <seconds>", "graceful: time for holders to finish or move", seconds, 30)
      .option("--reason <text>", "why; goes to the logs", "")
      .option("--no-wait", "do not wait for budgets to end");
  const finish = async (work: Promise<boolean>): Promise<void> => {
    if (!(await work)) onFailed();
  };
  taking(command("drain", "lend nothing more on these nodes until resumed (administrators)"), "graceful", [
    "graceful",
    "immediate",
    "keep",
  ]).action((hosts: string[], options: TakeOptions) => finish(take(session(), "drain", hosts, options)));
  command("resume", "lend again on nodes that were drained (administrators)").action(
    (hosts: string[], options: Selected) => finish(resume(session(), hosts, options)),
  );
  taking(command("reclaim", "take leases back; their nodes go on lending (administrators)"), "graceful", [
    "graceful",
    "immediate",
  ])
    .option("--lease <id>", "this lease only; may be given more than once", gather)
    .action((hosts: string[], options: TakeOptions) => finish(take(session(), "reclaim", hosts, options)));
}
