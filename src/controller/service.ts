/**
 * ControllerService. Agents report on one stream each; requests for leases are placed and carried to agents; renewals and
 * releases go to the lease's owner node, whose agent checks whose lease it is. A Principal in a request is believed from
 * trusted daemons only; everyone else acts for himself.
 */
import { Days, localTimeZone } from "../common/days.ts";
import { SubletError, toSubletError } from "../common/errors.ts";
import { leaseEnded } from "../lease/lifecycle.ts";
import { openMs } from "../placement/place.ts";
import type { CallOptions } from "../rpc/client.ts";
import { stateFromWire } from "../rpc/convert.ts";
import type {
  ControllerServiceDrainRequest,
  ControllerServiceResumeRequest,
  HorizonModelMessage,
  LeaseMessage,
  NodeOutcome,
  OfferMessage,
  PrincipalMessage,
  ReceiptMessage,
} from "../rpc/messages.ts";
import { nodesToColumns } from "../rpc/node-columns.ts";
import { briefReceipt } from "../rpc/receipts.ts";
import type { CallContext, ControllerHandlers, ReportHandler } from "../rpc/server.ts";
import type { ClusterSnapshot } from "../slurm/snapshot.ts";
import type { AccountingParts } from "./accounting.ts";
import {
  type AdminClient,
  askNodes,
  mustBeAdmin,
  notKept,
  oweDrain,
  selectTargets,
  type Target,
  tellDrain,
} from "./admin.ts";
import type { AgentPool } from "./agents.ts";
import type { ClusterDrain } from "./cluster-drain.ts";
import type { DashboardFeed } from "./dashboard.ts";
import { FactsTold } from "./facts.ts";
import {
  type HorizonLearner,
  horizonModel,
  type Outcome,
  onLearnerTick,
  onSpell,
  onSpellLost,
} from "./horizon.ts";
import { requestLease } from "./leasing.ts";
import { NaturalOrder } from "./order.ts";
import { ReceiptStore } from "./receipts.ts";
import { checkLease, checkReport, leaseIdPattern, type Report } from "./report.ts";
import {
  type ControllerState,
  onLeaseGone,
  onLeaseTold,
  onReport,
  onStreamClosed,
  onTick,
  type TickReply,
} from "./state.ts";
import { listLeases, listNodes } from "./views.ts";

/** What the service tells of itself, for logs and metrics. Strings that become labels are bounded. */
export interface ControllerEvents {
  onAgent(node: string, event: "joined" | "silent" | "superseded" | "forgotten"): void;
  onRequest(outcome: "granted" | "refused" | "failed", tookMs: number): void;
  onNotGranted(node: string, reason: string, error: SubletError): void;
  /** A report was taken. */
  onReport?(report: Report): void;
  /** What became of a horizon that an offer stated. */
  onHorizon(outcome: Outcome): void;
  /** An administrator was served: what was asked, by whom and why, of how many nodes, and of how many in vain. */
  onAdmin?(what: string, uid: number, why: string, nodes: number, failed: number): void;
}

type Asked = Promise<{ outcome: NodeOutcome | null }>;
type ReportSend = Parameters<ReportHandler>[1];

export interface ServiceOptions {
  readonly state: ControllerState;
  readonly agents: AgentPool;
  readonly snapshot: () => ClusterSnapshot | undefined;
  /** Monotonic; the clock of the snapshot. */
  readonly nowMs: () => number;
  readonly adminGid: number | undefined;
  /** How long one agent is waited for with a lease. */
  readonly grantTimeoutMs: number;
  readonly events: ControllerEvents;
  /** How long capacity lasts, learned from what agents report. */
  readonly learner: HorizonLearner;
  readonly accounting?: AccountingParts;
  readonly dashboard?: DashboardFeed;
  /** Receipts that were not known before. */
  readonly onReceipts?: (fresh: readonly ReceiptMessage[]) => void;
  readonly receipts?: ReceiptStore;
  /** The drain of the whole cluster, if one stands. */
  readonly clusterDrain?: ClusterDrain;
}

export interface ControllerServiceParts {
  readonly handlers: ControllerHandlers;
  /** Call about once a second. */
  tick(): void;
}

/** Of one job with a full list of guests each, these fit into one answer. */
const maxListedReceipts = 150;
/** Of all jobs, with one line each for their guests: about 1 MB. */
const maxBriefReceipts = 5_000;
const forwardTimeoutMs = 5_000;
/** What an agent takes for granted: everybody has something left. */
const noQuotas = "[]";
/** Kept back from the caller's deadline. */
const answerMarginMs = 100;

export function controllerService(options: ServiceOptions): ControllerServiceParts {
  const { state, agents, nowMs, events, learner, accounting } = options;
  let streams = 0;
  /** How to reach the agents that report, by node. */
  const downlinks = new Map<string, { streamId: number; send: ReportSend }>();
  const told = new FactsTold();
  /** Who has nothing left, as each node was told last. */
  const quotasTold = new Map<string, string>();
  const receipts = options.receipts ?? new ReceiptStore();
  const order = new NaturalOrder();

  /** Learns from the offer; gives the model that this stream has not heard of yet. */
  function horizonOf(offer: OfferMessage, told: number | undefined): HorizonModelMessage | null {
    const { node, spell, horizonMs } = offer;
    const partitions = options.snapshot()?.nodes.get(node)?.partitions ?? [];
    const outcome = onSpell(learner, { node, partitions, spell, horizonMs }, nowMs(), Date.now());
    if (outcome !== undefined) events.onHorizon(outcome);
    return told === learner.version ? null : horizonModel(learner, partitions);
  }

  /**
   * Tells the agents of the owners: a client hears why its lease ended, or that it is wanted back, as soon as the lender
   * has said so. A notice that is lost (its agent is away, or reads too slowly) costs little: the client sees its connection
   * close, and learns of a budget with its next renewal.
   */
  function tellOwners(ended: readonly LeaseMessage[], draining: readonly LeaseMessage[]): void {
    const byNode = new Map<string, { endedLeases: LeaseMessage[]; drainingLeases: LeaseMessage[] }>();
    const tell = (lease: LeaseMessage, list: "endedLeases" | "drainingLeases"): void => {
      const home = lease.owner?.node ?? "";
      if (home === lease.node || !downlinks.has(home)) return;
      const told = byNode.get(home) ?? { endedLeases: [], drainingLeases: [] };
      told[list].push(lease);
      byNode.set(home, told);
    };
    for (const lease of ended) if (leaseEnded(stateFromWire(lease.state))) tell(lease, "endedLeases");
    for (const lease of draining) tell(lease, "drainingLeases");
    for (const [home, told] of byNode) {
      const ackedRevision = state.agents.get(home)?.offer.revision ?? 0;
      const open = openMs(home, options.snapshot(), nowMs());
      downlinks.get(home)?.send({ ackedRevision, resendFull: false, openMs: open, ...told });
    }
  }

  /** Sends with what the agent does not know of Slurm's view of its node; a message without `more` only if there is news. */
  function tell(node: string, more: Partial<Parameters<ReportSend>[0]> | undefined): void {
    const snapshot = options.snapshot();
    const jobs = told.newsFor(node, snapshot);
    const quotas = accounting?.quotas();
    const quota =
      quotas !== undefined && quotas.text !== (quotasTold.get(node) ?? noQuotas) ? quotas : undefined;
    if (jobs === undefined && quota === undefined && more === undefined) return;
    const response = {
      ackedRevision: state.agents.get(node)?.offer.revision ?? 0,
      openMs: openMs(node, snapshot, nowMs()),
      jobFacts: jobs === undefined ? null : { jobs },
      quota: quota?.message ?? null,
      ...more,
    };
    if (quota !== undefined) quotasTold.set(node, quota.text);
    if (downlinks.get(node)?.send(response) !== true) forgetTold(node);
  }

  function forgetTold(node: string): void {
    told.forget(node);
    quotasTold.delete(node);
  }

  const report: ReportHandler = async (requests, send, { caller }) => {
    if (!caller.trusted)
      throw new SubletError(
        "PERMISSION_DENIED",
        `uid ${caller.uid} is not in trusted_uids: agents report, users do not`,
      );
    const streamId = ++streams;
    let node: string | undefined;
    let horizonTold: number | undefined;
    try {
      for await (const message of requests) {
        const checked = checkReport(message);
        node ??= checked.offer.node;
        if (node !== checked.offer.node)
          throw new SubletError("INVALID_ARGUMENT", `stream of ${node} reports for ${checked.offer.node}`);
        const before = state.agents.get(node)?.offer.address;
        const { ack, joined, ended, withdrawn, draining } = onReport(state, streamId, checked, nowMs());
        if (ack === undefined) {
          events.onAgent(node, "superseded");
          throw new SubletError(
            "ABORTED",
            `another stream reports for ${node}: do two agents have this name?`,
          );
        }
        if (before !== undefined && before !== state.agents.get(node)?.offer.address) agents.drop(before);
        if (joined) {
          events.onAgent(node, "joined");
          options.clusterDrain?.onJoined(node);
        }
        downlinks.set(node, { streamId, send });
        // One that does not fit is made up for by the next.
        const horizon = horizonOf(checked.offer, horizonTold);
        horizonTold = learner.version;
        if (joined) forgetTold(node);
        tell(node, { ...ack, horizon });
        const reporter = node;
        accounting?.take(checked.usage, (keys) => {
          if (downlinks.get(reporter)?.streamId === streamId) tell(reporter, { ackedUsage: [...keys] });
        });
        const fresh = checked.receipts.filter((receipt) => receipts.add(receipt));
        options.onReceipts?.(fresh);
        events.onReport?.(checked);
        options.dashboard?.reported({ ...checked, receipts: fresh }, ended);
        tellOwners([...ended, ...withdrawn], draining);
      }
    } finally {
      if (node !== undefined && downlinks.get(node)?.streamId === streamId) downlinks.delete(node);
      const silent = onStreamClosed(state, streamId, node);
      if (silent !== undefined) onSpellLost(learner, silent);
      if (silent !== undefined) events.onAgent(silent, "silent");
    }
  };

  function seesAll({ uid, gid }: PrincipalMessage): boolean {
    return uid === 0 || (options.adminGid !== undefined && gid === options.adminGid);
  }

  /** Carries a renewal or a release to the agent that owns the lease. */
  async function forward(
    what: "renew" | "release",
    { leaseId, node, caller }: { leaseId: string; node: string; caller: PrincipalMessage | null },
    context: CallContext,
  ): Promise<{ lease: LeaseMessage }> {
    if (!leaseIdPattern.test(leaseId)) throw new SubletError("INVALID_ARGUMENT", "lease_id is not one");
    const owner = state.leaseNodes.get(leaseId) ?? node;
    if (owner === "")
      throw new SubletError(
        "NOT_FOUND",
        `lease ${leaseId} is not known here (it may have ended); name its node to be sure`,
      );
    const agent = state.agents.get(owner);
    if (agent === undefined)
      throw new SubletError("UNAVAILABLE", `no agent reports from ${owner}; its leases end with their terms`);
    const principal = principalOf(context, caller);
    const timeoutMs = Math.max(1, Math.min(context.deadlineMs - answerMarginMs, forwardTimeoutMs));
    try {
      const { lease } = await agents.call(agent.offer.address, timeoutMs, (client, leftMs) =>
        client[what]({ leaseId, caller: principal }, { timeoutMs: leftMs, signal: context.signal }),
      );
      if (lease === null) throw new SubletError("INTERNAL", `the agent of ${owner} answered without a lease`);
      if (what === "release") onLeaseGone(state, leaseId);
      else {
        checkLease(lease, owner);
        onLeaseTold(state, lease, nowMs());
      }
      return { lease };
    } catch (thrown) {
      const error = toSubletError(thrown);
      // The agent says so of other people's leases, too: only who may see this one has learnt that it is gone.
      const known = agent.leases.get(leaseId)?.message.owner;
      if (error.code === "NOT_FOUND" && (seesAll(principal) || known?.uid === principal.uid))
        onLeaseGone(state, leaseId);
      throw error;
    }
  }

  /** Writes down the cluster's drain, or its end, before anybody is told. */
  function noteDrain(
    what: "drain" | "resume" | "reclaim",
    request: ControllerServiceResumeRequest & Partial<ControllerServiceDrainRequest>,
    { uid, gid }: PrincipalMessage,
    targets: readonly Target[],
  ): NodeOutcome[] {
    const { clusterDrain } = options;
    const all = request.selection?.all === true;
    let why: string | undefined;
    if (what === "drain" && all) {
      const { mode = "RECLAIM_MODE_UNSPECIFIED", budgetMs = 0, reason = "" } = request;
      why = clusterDrain?.begin({ uid, gid, mode, budgetMs, reason, sinceUnixMs: Date.now() });
    } else if (what === "resume") why = clusterDrain?.end(all ? undefined : targets.map(({ node }) => node));
    return why === undefined ? [] : [notKept(why)];
  }

  /** Carries what an administrator wants to the nodes that he selected. */
  async function administer(
    what: "drain" | "resume" | "reclaim",
    request: ControllerServiceResumeRequest & { readonly reason?: string },
    context: CallContext,
    ask: (client: AdminClient, target: Target, caller: PrincipalMessage, call: CallOptions) => Asked,
  ): Promise<{ outcomes: NodeOutcome[] }> {
    const caller = principalOf(context, request.caller);
    mustBeAdmin(caller, options.adminGid);
    const { targets, failures } = selectTargets(options, request.selection, what === "reclaim");
    const unkept = noteDrain(what, request, caller, targets);
    const { signal } = context;
    const timeoutMs = Math.max(1, context.deadlineMs - answerMarginMs);
    const answers = await askNodes(options, targets, timeoutMs, (client, target, leftMs) =>
      ask(client, target, caller, { timeoutMs: leftMs, signal }),
    );
    if (what === "drain" && request.selection?.all === true) oweDrain(options.clusterDrain, answers);
    const outcomes = [...answers, ...failures, ...unkept];
    const failed = outcomes.filter(({ code }) => code !== 0).length;
    events.onAdmin?.(what, caller.uid, request.reason ?? "", outcomes.length, failed);
    return { outcomes };
  }

  const handlers: ControllerHandlers = {
    drain: (request, context) =>
      administer("drain", request, context, (client, _, caller, call) => {
        const { mode, budgetMs, reason } = request;
        return client.drain({ mode, budgetMs, reason, caller }, call);
      }),
    resume: (request, context) =>
      administer("resume", request, context, (client, _, caller, call) => client.resume({ caller }, call)),
    reclaim: (request, context) =>
      administer("reclaim", request, context, (client, { leaseIds }, caller, call) => {
        const { mode, budgetMs, reason } = request;
        return client.reclaim({ leaseIds, mode, budgetMs, reason, caller }, call);
      }),
    report,
    async requestLease({ request, owner, ahead }, context) {
      const startedMs = nowMs();
      // Nobody asks for, or waits for, one that is granted ahead.
      const done = (outcome: "granted" | "refused" | "failed"): void =>
        ahead ? undefined : events.onRequest(outcome, nowMs() - startedMs);
      try {
        const principal = principalOf(context, owner);
        const leasing = {
          state,
          agents,
          nowMs,
          grantTimeoutMs: options.grantTimeoutMs,
          snapshot: options.snapshot,
          onNotGranted: ahead ? () => undefined : events.onNotGranted,
          ahead,
          billing: accounting?.admit(principal),
        };
        const response = await requestLease(leasing, request, principal, context);
        done("granted");
        return response;
      } catch (thrown) {
        done(toSubletError(thrown).code === "RESOURCE_EXHAUSTED" ? "refused" : "failed");
        throw thrown;
      }
    },
    renewLease: (request, context) => forward("renew", request, context),
    releaseLease: (request, context) => forward("release", request, context),
    async listLeases({ caller }, context) {
      const asker = principalOf(context, caller);
      return { leases: listLeases(state, seesAll(asker) ? "all" : asker.uid, nowMs()) };
    },
    async listReceipts({ jobId, caller }, context) {
      const asker = principalOf(context, caller);
      const all = seesAll(asker);
      const mine = ({ uid }: ReceiptMessage): boolean => all || (uid !== 0 && uid === asker.uid);
      if (jobId === 0)
        return { receipts: [...receipts.all()].filter(mine).slice(-maxBriefReceipts).map(briefReceipt) };
      return { receipts: receipts.of(jobId).filter(mine).slice(-maxListedReceipts) };
    },
    async getUsage(request, context) {
      if (accounting === undefined)
        throw new SubletError("UNAVAILABLE", "this controller keeps no accounting");
      const asker = principalOf(context, request.caller);
      return await accounting.getUsage(request, asker, seesAll(asker));
    },
    async getGain({ fromUnixMs, toUnixMs }) {
      const toMs = toUnixMs || Date.now();
      const days = accounting?.accounting.days ?? new Days(localTimeZone());
      const fromMs = fromUnixMs || days.startOf(days.dayOf(toMs));
      if (!(toMs > fromMs)) throw new SubletError("INVALID_ARGUMENT", "from must be before to");
      const gain = options.dashboard?.gain(fromMs, toMs);
      if (gain === undefined) throw new SubletError("UNAVAILABLE", "this controller keeps no history");
      return gain;
    },
    async listNodes(request) {
      const snapshot = options.snapshot();
      const nodes = listNodes(state, snapshot, nowMs(), order);
      return {
        ...(request.columns ? { nodes: [], columns: nodesToColumns(nodes) } : { nodes, columns: null }),
        snapshotAgeMs: snapshot === undefined ? 0 : Math.max(0, Math.round(nowMs() - snapshot.takenAtMs)),
        snapshotValid: snapshot !== undefined,
      };
    },
  };

  function tick(): void {
    onLearnerTick(learner, nowMs());
    accounting?.tick();
    if (options.clusterDrain !== undefined) void tellDrain(options, options.clusterDrain, nowMs());
    for (const node of downlinks.keys()) tell(node, undefined);
    const { forgottenAgents }: TickReply = onTick(state, nowMs());
    for (const { node, offer } of forgottenAgents) {
      agents.drop(offer.address);
      events.onAgent(node, "forgotten");
    }
  }

  options.dashboard?.connect(handlers, receipts);
  return { handlers, tick };
}

/** On whose behalf: the named Principal from a trusted daemon, else the caller himself. */
function principalOf({ caller }: CallContext, named: PrincipalMessage | null): PrincipalMessage {
  if (caller.trusted && named !== null) return named;
  return { uid: caller.uid, gid: caller.gid, jobId: named?.jobId ?? 0, node: "" };
}
