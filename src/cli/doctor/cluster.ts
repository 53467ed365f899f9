/**
 * `sublet doctor --cluster`: is every agent well? The controller names the nodes and the agents' addresses; the agents are
 * asked themselves, so that a controller's stale view hides nothing. Equal answers are one line, whatever their number.
 *
 * Wrong (exit status 4, or 1 where no node is well): no agent where Slurm has its node up, an agent that does not answer,
 * a clock that is off, and what an agent itself says is wrong. Only shown: nodes that are down, and agents that found
 * something other than most did.
 */
import type { Identity } from "../../rpc/identity.ts";
import type { GetHealthResponse, NodeStatusMessage } from "../../rpc/messages.ts";
import { type Verdict, verdictOf } from "../outcomes.ts";
import { type Output, wrap, writeJson } from "../output.ts";
import { showProgress } from "../progress.ts";
import { type Session, withController } from "../session.ts";
import { foldHosts } from "./hosts.ts";

const atOnce = 64;
const askTimeoutMs = 3_000;
const clockOffMs = 2_000;

/** Findings that are the same on all nodes of a cluster that is set up alike. */
const alike = [
  "cgroup.version",
  "cgroup.missing",
  "consent.use_of_cores",
  "fabric.provider",
  "guard.policy",
  "guard.priority",
  "kernel.psi",
  "node_version",
];

export interface Answer {
  readonly node: string;
  /** The agent's; undefined when it gave none. */
  readonly health?: Pick<GetHealthResponse, "version" | "findings" | "problems">;
  /** Its clock minus the one here. */
  readonly clockOffsetMs?: number;
  /** Without health: why, in words that name no node. */
  readonly why?: string;
  /** Without an agent, and nobody expects one: the node is down. */
  readonly excused?: boolean;
}

export interface Group {
  readonly result: "ok" | "warn" | "fail";
  readonly nodes: readonly string[];
  /** Empty: all is well. */
  readonly says: readonly string[];
}

function commonest(values: Iterable<string>): string | undefined {
  const counts = new Map<string, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts].sort(([, a], [, b]) => b - a)[0]?.[0];
}

function factsOf({ version, findings }: NonNullable<Answer["health"]>): Map<string, string> {
  return new Map([["version", version], ...alike.map((key): [string, string] => [key, findings[key] ?? ""])]);
}

function judge(answer: Answer, usual: ReadonlyMap<string, string>): Omit<Group, "nodes"> {
  const { health, clockOffsetMs: offMs = 0, why = "" } = answer;
  if (health === undefined) return { result: answer.excused === true ? "warn" : "fail", says: [why] };
  const clock =
    Math.abs(offMs) < clockOffMs
      ? []
      : [`clock ${Math.round(Math.abs(offMs) / 1000)} s ${offMs < 0 ? "behind" : "ahead"}`];
  const wrong = [...clock, ...health.problems];
  const other = [...factsOf(health)]
    .filter(([key, value]) => value !== usual.get(key))
    .map(([key, value]) => `${key} is ${value || "empty"}, mostly ${usual.get(key) || "empty"}`);
  return { result: wrong.length > 0 ? "fail" : other.length > 0 ? "warn" : "ok", says: [...wrong, ...other] };
}

/** Answers that say the same, the well ones first, then by number. */
export function groupAnswers(answers: readonly Answer[]): Group[] {
  const facts = answers.flatMap(({ health }) => (health === undefined ? [] : [factsOf(health)]));
  const usual = new Map(
    ["version", ...alike].map((key) => [key, commonest(facts.map((each) => each.get(key) ?? "")) ?? ""]),
  );
  const groups = new Map<string, Group & { nodes: string[] }>();
  for (const answer of answers) {
    const verdict = judge(answer, usual);
    const key = JSON.stringify(verdict);
    const group = groups.get(key) ?? { ...verdict, nodes: [] };
    groups.set(key, group);
    group.nodes.push(answer.node);
  }
  const order = ["ok", "warn", "fail"];
  return [...groups.values()].sort(
    (a, b) => order.indexOf(a.result) - order.indexOf(b.result) || b.nodes.length - a.nodes.length,
  );
}

export function formatGroups(groups: readonly Group[], width: Output["width"]): string {
  if (groups.length === 0) return "no nodes: neither Slurm nor an agent names one\n";
  const lines = groups.map(({ nodes, says, result }) => {
    const hosts = foldHosts(nodes);
    const count = nodes.length.toLocaleString("en");
    if (result === "ok") return `${count} ${nodes.length === 1 ? "node" : "nodes"} ok: ${hosts}`;
    return `${nodes.length === 1 ? hosts : `${count} nodes, ${hosts}`}: ${says.join("; ")}`;
  });
  return `${lines.map((line) => wrap(line, width, "  ").trimStart()).join("\n")}\n`;
}

/** In words that name no node, so that equal troubles are one group. */
function whyNot(code: string, message: string): string {
  if (code === "UNAVAILABLE") return "the agent does not answer";
  if (code === "DEADLINE_EXCEEDED") return `the agent does not answer within ${askTimeoutMs / 1000} s`;
  if (code === "UNAUTHENTICATED") return "the agent refuses credentials: compare its clock and its munge key";
  if (message.includes("runs another version")) return "the agent is of a release that cannot be asked yet";
  return message;
}

async function ask(
  { node, offer, slurmState }: NodeStatusMessage,
  { config }: Session,
  identity: Identity,
): Promise<Answer> {
  if (offer === null) {
    const excused = /down|power|fail|future|unknown/i.test(slurmState);
    return {
      node,
      why: excused ? `no agent, and Slurm says ${slurmState.toLowerCase()}` : "no agent",
      excused,
    };
  }
  const { connectNode } = await import("../../rpc/client.ts");
  const { toSubletError } = await import("../../common/errors.ts");
  const client = connectNode(offer.address, { identity, tls: config.tls, timeoutMs: askTimeoutMs });
  const sentUnixMs = Date.now();
  try {
    const { unixMs, ...health } = await client.getHealth({});
    return { node, health, clockOffsetMs: offsetOf(unixMs, sentUnixMs, Date.now()) };
  } catch (thrown) {
    const { code, message } = toSubletError(thrown);
    return { node, why: whyNot(code, message.replaceAll(offer.address, "the agent")) };
  } finally {
    client.close();
  }
}

/** The answer was made between sending and receipt: what lies between is no difference. */
function offsetOf(unixMs: number, sentUnixMs: number, receivedUnixMs: number): number {
  return Math.min(0, unixMs - sentUnixMs) + Math.max(0, unixMs - receivedUnixMs);
}

/** Runs `work` for all, some at once; the answers are in the order of `all`. */
async function each<T, R>(all: readonly T[], work: (one: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  const rest = all.entries();
  const worker = async (): Promise<void> => {
    for (const [i, one] of rest) results[i] = await work(one);
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, all.length) }, worker));
  return results;
}

/** partly: some nodes are well, or only to be looked at, and some are not. */
export async function clusterDoctor(session: Session): Promise<Verdict> {
  const { nodes } = await withController(session, (controller) => controller.listNodes({}));
  const { mungeIdentity } = await import("../../rpc/munge.ts");
  const identity = mungeIdentity({ socket: session.config.mungeSocket });
  let count = 0;
  const total = nodes.length.toLocaleString("en");
  const progress = showProgress(
    { output: session.output, quiet: session.json },
    () => `asked ${count.toLocaleString("en")} of ${total} agents`,
    () => `asked ${total} agents`,
  );
  const answers = await each(nodes, async (node) => {
    const answer = await ask(node, session, identity);
    count++;
    return answer;
  }).finally(() => progress.end());
  const groups = groupAnswers(answers);
  const verdict = verdictOf(groups.map(({ result }) => result !== "fail"));
  if (session.json)
    writeJson(session.output, {
      healthy: verdict === "ok",
      verdict,
      groups: groups.map((group) => ({ ...group, hosts: foldHosts(group.nodes) })),
    });
  else session.output.write(formatGroups(groups, session.output.width));
  return verdict;
}
