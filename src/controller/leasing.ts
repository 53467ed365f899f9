/**
 * One lease request from its arrival to a grant or a refusal: place on the snapshot, ask the best node's agent, and on a
 * refusal or silence the next best one, a bounded number of times and within the caller's deadline. Each try has a lease
 * id of its own, and a node is tried once.
 *
 * Race: an agent may have granted what we did not hear of (its answer was late, its connection broke, our caller left).
 * Such a lease is released in the background; if that fails too, its term ends it.
 */
import { randomBytes } from "node:crypto";
import { type ErrorCode, SubletError, toSubletError } from "../common/errors.ts";
import type { Billing, RefusalReason } from "../common/nouns.ts";
import { type Candidate, type OutReason, type Placement, place } from "../placement/place.ts";
import { leaseRequestFromWire } from "../rpc/convert.ts";
import type {
  GrantResponse,
  LeaseMessage,
  LeaseRequestMessage,
  PrincipalMessage,
  RequestLeaseResponse,
} from "../rpc/messages.ts";
import type { ClusterSnapshot } from "../slurm/snapshot.ts";
import type { AgentPool } from "./agents.ts";
import { checkLease, nodeNamePattern } from "./report.ts";
import { type ControllerState, onLeaseTold, onProposed, onRefused } from "./state.ts";
import { placementOffers } from "./views.ts";

export interface LeasingOptions {
  readonly state: ControllerState;
  readonly agents: AgentPool;
  readonly snapshot: () => ClusterSnapshot | undefined;
  /** Monotonic. */
  readonly nowMs: () => number;
  /** For one agent: an executor starts in some 10 ms; a node that needs much longer is in trouble. */
  readonly grantTimeoutMs: number;
  /** An agent was asked and did not grant; `reason` is bounded: a refusal's reason or an error code. */
  readonly onNotGranted: (node: string, reason: string, error: SubletError) => void;
  /** Whose account the lease is counted to; undefined: not known. */
  readonly billing?: Billing | undefined;
  /** To be granted before it is asked for. */
  readonly ahead?: boolean;
}

export interface LeaseCall {
  readonly signal: AbortSignal;
  readonly deadlineMs: number;
}

export const maxTries = 6;
/** With less time left no agent is asked. */
const minTryMs = 10;
/** For the whole request when the caller gave more: as long as so many nodes are waited for. */
const maxSilent = 4;
/** Kept back from the caller's deadline, so that our answer arrives before it. */
const answerMarginMs = 100;
/** Stands for the site's default term, which the agent knows. */
const usualTermMs = 60_000;
const maxExcluded = 10_000;
const retryAfterMs = 1_000;
const releaseTimeoutMs = 5_000;
const releaseTries = 3;

/** The answer may have been a grant. */
const unclear: ReadonlySet<ErrorCode> = new Set(["DEADLINE_EXCEEDED", "UNAVAILABLE", "ABORTED", "INTERNAL"]);

/** 24 characters that nobody guesses. */
export function newLeaseId(): string {
  return `L${randomBytes(17).toString("base64url")}`;
}

/** @throws SubletError RESOURCE_EXHAUSTED with a refusal's details; DEADLINE_EXCEEDED; INVALID_ARGUMENT. */
export async function requestLease(
  options: LeasingOptions,
  message: LeaseRequestMessage | null,
  owner: PrincipalMessage,
  call: LeaseCall,
): Promise<RequestLeaseResponse> {
  const wish = checkRequest(message);
  const request = leaseRequestFromWire(wish, usualTermMs);
  const excludeNodes = new Set(wish.excludeNodes);
  const most = options.ahead === true ? 1 : maxTries; // nobody waits for it
  const endMs =
    options.nowMs() + Math.min(call.deadlineMs - answerMarginMs, maxSilent * options.grantTimeoutMs);
  const refused: SubletError[] = [];
  for (let tries = 0; ; tries++) {
    const leaseId = newLeaseId();
    const wanted = { ...request, excludeNodes, node: wish.node || undefined, seed: leaseId };
    const snapshot = options.snapshot();
    const proposals = options.state.proposals.values();
    const placement = place(wanted, placementOffers(options.state), snapshot, proposals, options.nowMs());
    const leftMs = endMs - options.nowMs();
    if (leftMs < minTryMs) {
      const last = refused.at(-1)?.message ?? "the caller's deadline is too near";
      throw new SubletError("DEADLINE_EXCEEDED", `no grant in time after ${refused.length} tries: ${last}`);
    }
    const [candidate] = placement.candidates;
    if (candidate === undefined || tries === most) throw nobody(wish, placement, refused);
    excludeNodes.add(candidate.node);
    const timeoutMs = Math.min(leftMs, options.grantTimeoutMs);
    try {
      const { lease, endpoint, ahead } = await ask(options, {
        leaseId,
        candidate,
        wish,
        owner,
        timeoutMs,
        call,
      });
      return { lease, endpoint, refusals: refused.length, ahead };
    } catch (thrown) {
      const error = toSubletError(thrown);
      if (error.code === "INVALID_ARGUMENT" || call.signal.aborted) throw error;
      refused.push(error);
      options.onNotGranted(candidate.node, String(error.details.reason ?? error.code), error);
    }
  }
}

interface Try {
  readonly leaseId: string;
  readonly candidate: Candidate;
  readonly wish: LeaseRequestMessage;
  readonly owner: PrincipalMessage;
  readonly timeoutMs: number;
  readonly call: LeaseCall;
}

async function ask(options: LeasingOptions, { leaseId, candidate, ...rest }: Try): Promise<GrantResponse> {
  const { state, agents, nowMs, billing, ahead = false } = options;
  const { node } = candidate;
  const address = state.agents.get(node)?.offer.address;
  if (address === undefined) throw new SubletError("UNAVAILABLE", `the agent of ${node} is gone`);
  // exclude_nodes and node have done their work; the agent needs to see neither.
  const { termMs } = rest.wish.termMs === 0 && candidate.termMs === usualTermMs ? rest.wish : candidate;
  const request = { ...rest.wish, termMs, excludeNodes: [], node: "" };
  const { signal } = rest.call;
  onProposed(state, { leaseId, node, cores: candidate.cores, memoryBytes: candidate.memoryBytes }, nowMs());
  let sent = false;
  try {
    const granted = await agents.call(address, rest.timeoutMs, (client, timeoutMs) => {
      sent = true;
      return client.grant({ leaseId, request, owner: rest.owner, ...billing, ahead }, { timeoutMs, signal });
    });
    const lease = checkedGrant(granted, leaseId, node);
    if (signal.aborted) throw new SubletError("ABORTED", "the caller went away while the lease was granted");
    if (granted.ahead)
      onRefused(state, leaseId); // it counts when its node says that it is a lease
    else onLeaseTold(state, lease, nowMs());
    return granted;
  } catch (thrown) {
    onRefused(state, leaseId);
    const error = signal.aborted ? new SubletError("ABORTED", "the caller went away") : toSubletError(thrown);
    if (sent && unclear.has(error.code)) void releaseUnheard(agents, address, leaseId, rest.owner);
    throw error;
  }
}

function checkedGrant({ lease, endpoint }: GrantResponse, leaseId: string, node: string): LeaseMessage {
  if (lease === null || endpoint === null || lease.id !== leaseId)
    throw new SubletError("INTERNAL", `the agent of ${node} granted without lease or endpoint`);
  try {
    checkLease(lease, node);
  } catch (cause) {
    throw new SubletError("INTERNAL", toSubletError(cause).message, { cause });
  }
  return lease;
}

/** Best effort: whatever comes, the lease ends with its term. */
async function releaseUnheard(
  agents: AgentPool,
  address: string,
  leaseId: string,
  caller: PrincipalMessage,
): Promise<void> {
  for (let tries = 0; tries < releaseTries; tries++)
    try {
      await agents.call(address, releaseTimeoutMs, (client, timeoutMs) =>
        client.release({ leaseId, caller }, { timeoutMs }),
      );
      return;
    } catch (thrown) {
      if (!unclear.has(toSubletError(thrown).code)) return; // there is no such lease
      await new Promise((resolve) => setTimeout(resolve, 250 * 4 ** tries).unref());
    }
}

function checkRequest(message: LeaseRequestMessage | null): LeaseRequestMessage {
  const bad = (why: string): SubletError => new SubletError("INVALID_ARGUMENT", `lease request: ${why}`);
  if (message === null) throw bad("is empty");
  if (message.kind === "LEASE_KIND_FUNCTION" && message.cores < 1) throw bad("functions want 1 core or more");
  if (message.kind === "LEASE_KIND_REGION" && message.cores !== 0) throw bad("a region takes no cores");
  if (message.kind === "LEASE_KIND_REGION" && message.memoryBytes < 1) throw bad("a region wants memory");
  if (message.minCores > message.cores) throw bad("min_cores is more than cores");
  if (!Number.isSafeInteger(message.memoryBytes) || !Number.isSafeInteger(message.termMs))
    throw bad("memory_bytes or term_ms is out of bounds");
  if (message.excludeNodes.length > maxExcluded) throw bad(`more than ${maxExcluded} exclude_nodes`);
  if (message.node !== "" && !nodeNamePattern.test(message.node)) throw bad("node is no node's name");
  return message;
}

/** What outs mean for a caller. The reason that is nearest to a grant is named: memory, then cores, then closed. */
const reasonOf: Partial<Record<OutReason, RefusalReason>> = {
  no_memory: "no_memory",
  only_shared: "no_memory",
  no_cores: "no_cores",
};
const nearness: readonly RefusalReason[] = ["no_memory", "no_cores", "closed"];

function nobody(
  wish: LeaseRequestMessage,
  placement: Placement,
  refused: readonly SubletError[],
): SubletError {
  const counts = new Map<string, number>();
  const reasons = new Set<RefusalReason>();
  for (const { reason, detail } of placement.out) {
    if (reason === "not_named" || reason === "excluded") continue;
    const text =
      reason === "slurm_state"
        ? `${detail} in Slurm`
        : reason === "only_shared"
          ? detail
          : reason.replaceAll("_", " ");
    counts.set(text, (counts.get(text) ?? 0) + 1);
    reasons.add(reasonOf[reason] ?? "closed");
  }
  for (const { details } of refused)
    reasons.add(nearness.find((reason) => reason === details.reason) ?? "closed");
  const why = [
    ...[...counts].map(([text, count]) => `${count} × ${text}`),
    ...refused.slice(-3).map(({ message }) => message.slice(0, 200)),
  ];
  const mib = Math.ceil(wish.memoryBytes / (1024 * 1024));
  const what = `${wish.cores === 0 ? "" : `${wish.minCores || wish.cores} ${(wish.minCores || wish.cores) === 1 ? "core" : "cores"} and `}${mib} MiB`;
  const where = wish.node === "" ? "no node has" : `node ${wish.node} does not have`;
  // Nobody could even be asked: the caller's agent then lends from its own node.
  const silent = placement.out.length === 0 && refused.every(({ code }) => code === "UNAVAILABLE");
  return new SubletError(
    silent ? "UNAVAILABLE" : "RESOURCE_EXHAUSTED",
    `${where} ${what} to lend: ${why.length > 0 ? why.join("; ") : wish.node === "" ? "no other agent reports" : "no agent of that name reports here; `sublet nodes` lists them"}`,
    {
      details: {
        reason: nearness.find((reason) => reasons.has(reason)) ?? "closed",
        node: wish.node,
        retryAfterMs,
      },
    },
  );
}
