/**
 * `sublet drain`, `resume` and `reclaim`, for administrators: through the controller to all nodes that are selected, or,
 * where no controller is named, to this node's agent. Ends when every lease that has a budget is gone or its budget is
 * over (or at once, with --no-wait), and tells what came of it: nodes that answered alike in one line.
 */
import { type Command, InvalidArgumentError, Option } from "commander";
import { SubletError } from "../common/errors.ts";
import type { ControllerClient } from "../rpc/client.ts";
import type { NodeOutcome, ReclaimModeName, Selection } from "../rpc/messages.ts";
import { parseHostList } from "../slurm/hostlist.ts";
import { listLeases } from "./leases.ts";
import { listNodes } from "./nodes.ts";
import { type AdminWord, formatOutcomes, resultOf, type Verdict, verdictOf } from "./outcomes.ts";
import { formatDuration, writeJson } from "./output.ts";
import { showProgress } from "./progress.ts";
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
  if (total === 0) return [...outcomes];
  const gone = (): string => `${total - draining.size} of ${total} leases gone`;
  const progress = showProgress(
    { output: session.output, quiet: session.json },
    () => {
      const leftMs = startMs + budgetMs - performance.now();
      return leftMs > 0
        ? `${gone()}, ${formatDuration(leftMs)} of the budget left`
        : `${gone()}, the budget is over`;
    },
    gone,
  );
  try {
    while (draining.size > 0 && performance.now() < endMs) {
      await new Promise((resolve) => setTimeout(resolve, pollMs));
      const live = new Set((await listLeases(session)).map(({ id }) => id));
      draining = new Set([...draining].filter((id) => live.has(id)));
    }
  } finally {
    progress.end();
  }
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

/** Writes what came of it. `kept`: nodes that were not reached hear of it when they return. */
function tell(session: Session, what: AdminWord, outcomes: readonly NodeOutcome[], kept: boolean): Verdict {
  const results = outcomes.map(resultOf);
  const verdict = verdictOf(results.map((result) => result === "done"));
  if (session.json) {
    const failed = results.filter((result) => result !== "done").length;
    const each = outcomes.map((outcome, index) => ({ ...outcome, result: results[index] }));
    writeJson(session.output, { verdict, failed, outcomes: each });
  } else session.output.write(formatOutcomes(what, outcomes, session.output.width, kept));
  return verdict;
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
  what: AdminWord,
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
  return withController(session, async (controller) => {
    const progress = showProgress(
      { output: session.output, quiet: session.json },
      (elapsedMs) => howFar(controller, what, selected, elapsedMs),
      () => `${what} of ${outcomes.length.toLocaleString("en")} nodes`,
    );
    let outcomes: readonly NodeOutcome[] = [];
    try {
      ({ outcomes } = await controller[what](request));
      return [...outcomes];
    } finally {
      progress.end();
    }
  });
}

/** How many of the nodes that are meant are as they shall be, by the controller's own view. */
async function howFar(
  controller: ControllerClient,
  what: AdminWord,
  selected: Selection,
  elapsedMs: number,
): Promise<string> {
  const since = `${formatDuration(elapsedMs)}`;
  if (what === "reclaim") return `reclaim: asked ${since} ago`;
  const { nodes } = await listNodes(controller, true);
  const names = new Set(selected.nodes.flatMap((text) => parseHostList(text)));
  const meant = nodes.filter(
    ({ node, partitions, offer }) =>
      names.has(node) ||
      partitions.some((partition) => selected.partitions.includes(partition)) ||
      (selected.all && offer !== null),
  );
  const good = meant.filter(({ offer, leases }) =>
    what === "drain"
      ? offer?.lending === "LENDING_DRAINED" && leases === 0
      : offer !== null && offer.lending !== "LENDING_DRAINED",
  );
  const state = what === "drain" ? "drained and empty" : "lending again";
  return `${good.length.toLocaleString("en")} of ${meant.length.toLocaleString("en")} nodes ${state}, ${since}`;
}

/** Drains nodes or takes leases back. */
export async function take(
  session: Session,
  what: "drain" | "reclaim",
  hosts: readonly string[],
  options: TakeOptions,
): Promise<Verdict> {
  const told = await carry(session, what, hosts, options);
  const outcomes = options.wait ? await waitForBudgets(session, told, options.budget * 1000) : told;
  return tell(session, what, outcomes, what === "drain" && options.all === true);
}

export async function resume(
  session: Session,
  hosts: readonly string[],
  options: Selected,
): Promise<Verdict> {
  return tell(session, "resume", await carry(session, "resume", hosts, options), false);
}

function seconds(text: string): number {
  const value = Number(text);
  if (!/^\d{1,4}$/.test(text) || value < 1 || value > maxBudgetSeconds)
    throw new InvalidArgumentError(`Expected whole seconds from 1 to ${maxBudgetSeconds}.`);
  return value;
}

const gather = (text: string, before: readonly string[] = []): readonly string[] => [...before, text];

/** Adds the three commands. `onVerdict`: what came of it. */
export function addAdminCommands(
  program: Command,
  session: () => Session,
  onVerdict: (verdict: Verdict) => void,
): void {
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
  const finish = async (work: Promise<Verdict>): Promise<void> => onVerdict(await work);
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
