/**
 * What came of a drain, resume or reclaim on many nodes, told as a person would: nodes that answered alike in one line,
 * those that did their part first. Programs take --json, which has each node.
 */
import { type ErrorCode, errorCodes } from "../common/errors.ts";
import type { NodeOutcome } from "../rpc/messages.ts";
import { foldHosts } from "./doctor/hosts.ts";
import { wrap } from "./output.ts";

export type AdminWord = "drain" | "resume" | "reclaim";

/** done: all of it. left: told, but leases that should be gone are not. unreached: nobody answered. refused: it said no. */
export type Result = "done" | "left" | "unreached" | "refused";

export function codeName(code: number): ErrorCode | "UNKNOWN" {
  for (const [name, number] of Object.entries(errorCodes)) if (number === code) return name as ErrorCode;
  return "UNKNOWN";
}

export function resultOf({ code, leasesLeft }: NodeOutcome): Result {
  if (code === 0) return leasesLeft > 0 ? "left" : "done";
  const name = codeName(code);
  return name === "UNAVAILABLE" || name === "DEADLINE_EXCEEDED" ? "unreached" : "refused";
}

/** ok: every node did its part; partly: some; failed: none. */
export type Verdict = "ok" | "partly" | "failed";

export function verdictOf(results: readonly boolean[]): Verdict {
  const good = results.filter(Boolean).length;
  return good === results.length ? "ok" : good > 0 ? "partly" : "failed";
}

const done: Readonly<Record<AdminWord, string>> = {
  drain: "drained",
  resume: "lending again",
  reclaim: "reclaimed",
};

/** What becomes of nodes that were not reached. `kept`: the controller tells them when they return. */
function later(what: AdminWord, kept: boolean, one: boolean): string {
  const [it, its, goes, stays, lives] = one
    ? ["it", "its", "it goes", "it stays", "it lives"]
    : ["them", "their", "they go", "they stay", "they live"];
  const answers = one ? "it answers" : "they answer";
  if (what === "drain" && kept)
    return `${one ? "it" : "they"} will be drained when ${one ? "it returns" : "they return"}`;
  if (what === "drain") return `${goes} on lending if ${lives}: drain ${it} again when ${answers}`;
  if (what === "resume") return `${stays} as before: resume ${it} again when ${answers}`;
  return `${its} leases end with their terms; reclaim again when ${answers}`;
}

const address = /(\[[0-9a-f:.]+\]|\b[\w.-]+):\d{2,5}\b/i;

/** In words that name no node, so that equal troubles are one line. */
function why({ node, message }: NodeOutcome): string {
  const from = node === "" ? message : message.replaceAll(` from ${node}`, "").replaceAll(node, "the node");
  return from
    .replace(new RegExp(`^${address.source}: `, "i"), "")
    .replaceAll(new RegExp(address.source, "gi"), "the agent");
}

function leasesText(outcomes: readonly NodeOutcome[]): string {
  const sum = (of: (outcome: NodeOutcome) => number): number =>
    outcomes.reduce((all, outcome) => all + of(outcome), 0);
  const some = (count: number, rest: string): string[] =>
    count === 0 ? [] : [`${count.toLocaleString("en")} ${count === 1 ? "lease" : "leases"} ${rest}`];
  const ended = sum(({ leasesEnded }) => leasesEnded);
  const budget = sum(({ drainingLeaseIds }) => drainingLeaseIds.length);
  const left = sum(({ leasesLeft }) => leasesLeft);
  return [
    ...some(ended, "ended"),
    ...some(budget, budget === 1 ? "has its budget" : "have their budget"),
    ...some(left, left === 1 ? "is left though it should be gone" : "are left though they should be gone"),
  ].join(", ");
}

function line(what: AdminWord, result: Result, outcomes: readonly NodeOutcome[], kept: boolean): string {
  const names = outcomes.map(({ node }) => node).filter((node) => node !== "");
  const hosts = foldHosts(names);
  const count = names.length.toLocaleString("en");
  const who = names.length === 0 ? "" : names.length === 1 ? hosts : `${count} nodes`;
  const list = names.length > 1 ? `: ${hosts}` : "";
  const [first] = outcomes;
  const said = first === undefined ? "" : why(first);
  if (result === "done" || result === "left") {
    const leases = leasesText(outcomes);
    return `${who} ${done[what]}${list}${leases === "" ? "" : `; ${leases}`}${said === "" ? "" : ` (${said})`}`;
  }
  if (result === "unreached")
    return `${who} not reached${list} (${said}): ${later(what, kept, names.length === 1)}`;
  return who === "" ? said : `${who} refused${list}: ${said}`;
}

const order: readonly Result[] = ["done", "left", "unreached", "refused"];

/** `kept`: nodes that were not reached will hear of it (a drain of all, through the controller). */
export function formatOutcomes(
  what: AdminWord,
  outcomes: readonly NodeOutcome[],
  width: number | undefined,
  kept: boolean,
): string {
  if (outcomes.length === 0) return "No node is selected.\n";
  const groups = new Map<string, { result: Result; of: NodeOutcome[] }>();
  for (const outcome of outcomes) {
    const result = resultOf(outcome);
    const key = `${result}\n${why(outcome)}`;
    const group = groups.get(key) ?? { result, of: [] };
    groups.set(key, group);
    group.of.push(outcome);
  }
  return [...groups.values()]
    .sort((a, b) => order.indexOf(a.result) - order.indexOf(b.result) || b.of.length - a.of.length)
    .map(({ result, of }) => `${wrap(line(what, result, of, kept), width, "  ").trimStart()}\n`)
    .join("");
}
