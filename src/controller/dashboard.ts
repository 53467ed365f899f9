/** What the dashboard shows, out of the controller's state: a view for all, and sums over what agents report. */
import type {
  AccountRow,
  AdminOutcome,
  AdminRequest,
  CoreUse,
  Gain,
  LeaseRow,
  NodeDetail,
  Notice,
  ReclaimRow,
  Reclaims,
  WaitingComparison,
  WaitingSide,
} from "../dashboard/api.ts";
import { type GroupName, groupOf } from "../dashboard/comparison.ts";
import type {
  Amounts,
  ClusterFacts,
  DashboardSource,
  NodeFacts,
  NodeLending,
  Person,
  Totals,
} from "../dashboard/source.ts";
import { noTotals } from "../dashboard/source.ts";
import type { Identity } from "../rpc/identity.ts";
import type {
  GainHoursMessage,
  GetGainResponse,
  LeaseMessage,
  NodeCountersMessage,
  OfferMessage,
  ReceiptMessage,
  ReclaimTimesMessage,
  WaitingComparisonMessage,
  WaitingSideMessage,
} from "../rpc/messages.ts";
import type { ControllerHandlers } from "../rpc/server.ts";
import type { ClusterSnapshot, SnapshotNode } from "../slurm/snapshot.ts";
import type { AccountingParts } from "./accounting.ts";
import { NaturalOrder } from "./order.ts";
import type { ReceiptStore } from "./receipts.ts";
import type { Report } from "./report.ts";
import { Rises } from "./rises.ts";
import type { AgentState, ControllerState } from "./state.ts";
import { listLeases } from "./views.ts";

export interface DashboardFeedOptions {
  readonly state: ControllerState;
  readonly snapshot: () => ClusterSnapshot | undefined;
  readonly accounting: AccountingParts;
  readonly adminGid: () => number | undefined;
  readonly identity: Pick<Identity, "verify">;
  readonly nowMs: () => number;
}

export interface DashboardSink {
  reclaimed(row: ReclaimRow): void;
  leaseEnded(row: LeaseRow): void;
}

/** What a credential for a login is made for; `sublet dashboard --login` makes one. */
export const loginAudience = "dashboard";
export const loginMethod = "login";

const adminTimeoutMs = 60_000;
const usable = new Set(["idle", "mixed", "allocated", "planned", "reserved"]);
const lendings: Readonly<Record<string, NodeLending>> = {
  LENDING_ON: "on",
  LENDING_SHADOW: "shadow",
  LENDING_HOLD_OUT: "hold-out",
  LENDING_DRAINED: "drained",
};
/** No agent reports more often than this for long. */
const maxReclaimsPerReport = 256;

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

export class DashboardFeed implements DashboardSource {
  readonly #options: DashboardFeedOptions;
  readonly #totals: Mutable<Totals> = { ...noTotals };
  readonly #rises = new Rises();
  readonly #order = new NaturalOrder();
  #administer: Pick<ControllerHandlers, "drain" | "resume" | "reclaim"> | undefined;
  #receipts: ReceiptStore | undefined;
  #gain: ((fromMs: number, toMs: number) => Gain) | undefined;
  #reclaims: ((fromMs: number, toMs: number) => ReclaimTimes) | undefined;
  #sink: DashboardSink | undefined;

  constructor(options: DashboardFeedOptions) {
    this.#options = options;
  }

  /** The service is made after us, and uses us. */
  connect(handlers: Pick<ControllerHandlers, "drain" | "resume" | "reclaim">, receipts: ReceiptStore): void {
    this.#administer = handlers;
    this.#receipts = receipts;
  }

  show(
    sink: DashboardSink,
    gain: (fromMs: number, toMs: number) => Gain,
    reclaims: (fromMs: number, toMs: number) => ReclaimTimes,
  ): void {
    this.#sink = sink;
    this.#gain = gain;
    this.#reclaims = reclaims;
  }

  /** Of a report that was taken. */
  reported({ offer, reclaims, counters, receipts }: Report, ended: readonly LeaseMessage[]): void {
    const totals = this.#totals;
    for (const { atUnixMs, durationUs, leases, cause } of reclaims.slice(0, maxReclaimsPerReport)) {
      totals.reclaims++;
      totals.leasesReclaimed += leases;
      this.#sink?.reclaimed({
        atMs: atUnixMs,
        node: offer.node,
        durationMs: durationUs / 1000,
        leases,
        cause,
      });
    }
    if (counters !== null) this.#count(offer, counters);
    for (const receipt of receipts) this.#countReceipt(receipt);
    for (const lease of ended) this.#sink?.leaseEnded(this.#row(lease));
  }

  #count(offer: OfferMessage, counters: NodeCountersMessage): void {
    const rise = this.#rises.of(offer, counters)?.rise;
    if (rise === undefined) return;
    const totals = this.#totals;
    for (const name of ["invocations", "throttle", "freeze", "shrink", "evict"] as const)
      totals[name] += rise(name);
    const side =
      offer.lending === "LENDING_ON"
        ? "lending"
        : offer.lending === "LENDING_HOLD_OUT"
          ? "holdOut"
          : undefined;
    if (side === undefined) return;
    const group = groupOf(offer.node);
    totals[`${side}NodeMs`] += rise("jobWatchedMs");
    const add = (name: GroupName, more: number): void => {
      totals[name] = (totals[name] ?? 0) + more;
    };
    add(`${side}.cpu.coreMs.${group}`, rise("jobCoreMs"));
    add(`${side}.cpu.waitedMs.${group}`, rise("jobWaitedMs"));
    add(`${side}.memory.coreMs.${group}`, rise("jobMemoryCoreMs"));
    add(`${side}.memory.waitedMs.${group}`, rise("jobMemoryWaitedMs"));
  }

  #countReceipt({ ended, alone, beside }: ReceiptMessage): void {
    if (!ended) return;
    const totals = this.#totals;
    totals.receipts++;
    for (const [name, span] of [
      ["alone", alone],
      ["beside", beside],
    ] as const) {
      // Of older agents that measured the node instead.
      if (span === null || span.watchedMs === 0) continue;
      totals[`${name}Ms`] += span.watchedMs;
      totals[`${name}CpuUs`] += span.cpuUs;
      totals[`${name}MemoryMs`] += span.memoryWatchedMs;
      totals[`${name}MemoryUs`] += span.memoryUs;
    }
  }

  facts(): ClusterFacts {
    const { state, snapshot: snapshotOf, nowMs } = this.#options;
    const snapshot = snapshotOf();
    const leases = { functions: 0, regions: 0, draining: 0 };
    for (const agent of state.agents.values())
      for (const { message } of agent.leases.values()) {
        leases[message.kind === "LEASE_KIND_REGION" ? "regions" : "functions"]++;
        if (message.state === "LEASE_STATE_DRAINING") leases.draining++;
      }
    const names = [...(snapshot?.nodes.keys() ?? [])];
    for (const name of state.agents.keys()) if (snapshot?.nodes.has(name) !== true) names.push(name);
    const nodes = this.#order
      .of(names)
      .map((name) => factsOf(name, snapshot?.nodes.get(name), state.agents.get(name)));
    const ageMs = snapshot === undefined ? 0 : Math.max(0, Math.round(nowMs() - snapshot.takenAtMs));
    return {
      nodes,
      leases,
      totals: { ...this.#totals },
      snapshot: { valid: snapshot !== undefined, ageMs },
      notices: this.#notices(nodes, snapshot !== undefined, ageMs),
    };
  }

  #notices(nodes: readonly NodeFacts[], valid: boolean, ageMs: number): Notice[] {
    const notices: Notice[] = [];
    const add = (level: Notice["level"], text: string, doc = ""): void => {
      notices.push({ level, text, doc });
    };
    if (!valid)
      add("error", "Slurm has not answered yet: what it gave to jobs is not known.", "docs/runbook.md");
    else if (ageMs > 120_000)
      add(
        "warn",
        `Slurm was last asked with success ${Math.round(ageMs / 60_000)} min ago.`,
        "docs/runbook.md",
      );
    const { status } = this.#options.accounting.accounting;
    if (!status.up)
      add("warn", "The accounting's data base is away; records wait at the agents.", "docs/accounting.md");
    const silent = nodes.filter(({ reporting }) => !reporting).length;
    if (nodes.length > 0 && silent === nodes.length) add("error", "No agent reports.", "docs/runbook.md");
    else if (silent > 0)
      add(
        "info",
        `${silent} of ${nodes.length} nodes ${silent === 1 ? "has" : "have"} no agent that reports.`,
        "docs/runbook.md",
      );
    const drained = nodes.filter(({ lending }) => lending === "drained").length;
    if (drained === 1) add("info", "1 node is drained by an administrator: it lends nothing.");
    else if (drained > 1) add("info", `${drained} nodes are drained by an administrator: they lend nothing.`);
    return notices;
  }

  leases(): LeaseRow[] {
    const rows = listLeases(this.#options.state, "all", this.#options.nowMs()).map((lease) =>
      this.#row(lease),
    );
    return rows.sort((a, b) => b.grantedAtMs - a.grantedAtMs);
  }

  #row(lease: LeaseMessage): LeaseRow {
    const { owner } = lease;
    const uid = owner?.uid ?? 0;
    const word = (text: string, prefix: string): string => {
      const rest = text.slice(prefix.length).toLowerCase();
      return rest === "unspecified" ? "" : rest;
    };
    return {
      id: lease.id,
      kind: lease.kind === "LEASE_KIND_REGION" ? "region" : "function",
      state: word(lease.state, "LEASE_STATE_"),
      reason: word(lease.reason, "REASON_"),
      node: lease.node,
      class: word(lease.class, "CAPACITY_CLASS_"),
      cores: lease.cores.length,
      memoryBytes: lease.memoryBytes,
      uid,
      user: uid === 0 ? "root" : (this.#options.accounting.names.get(uid) ?? String(uid)),
      account: lease.account,
      jobId: owner?.jobId ?? 0,
      fromNode: owner?.node ?? "",
      grantedAtMs: lease.grantedUnixMs,
      remainingMs: lease.remainingMs,
      invocations: lease.invocations,
    };
  }

  node(name: string): Omit<NodeDetail, "reclaims"> | undefined {
    const { state, snapshot, nowMs } = this.#options;
    const slurm = snapshot()?.nodes.get(name);
    const agent = state.agents.get(name);
    if (slurm === undefined && agent === undefined) return undefined;
    const facts = factsOf(name, slurm, agent);
    const leases = this.leases().filter((lease) => lease.node === name);
    const offer = agent?.streamId === undefined ? undefined : agent.offer;
    const { memoryBytes } = facts;
    return {
      atMs: Date.now(),
      node: name,
      slurmState: facts.slurmState,
      partitions: [...facts.partitions],
      lending: facts.lending,
      offerAgeMs: agent === undefined ? null : Math.max(0, Math.round(nowMs() - agent.receivedAtMs)),
      horizonMs: offer === undefined || offer.horizonMs === 0 ? null : offer.horizonMs,
      cores: coresOf(facts, agent),
      memoryBytes: {
        total: memoryBytes.total,
        allocated: memoryBytes.allocated,
        usedByJobs: memoryBytes.used,
        lent: memoryBytes.lent,
        spare: memoryBytes.spare,
      },
      leases,
      receipts: (this.#receipts?.ofNode(name, 50) ?? []).map((receipt) => ({
        jobId: receipt.jobId,
        fromMs: receipt.fromUnixMs,
        toMs: receipt.toUnixMs,
        guests: receipt.guests.reduce((sum, guest) => sum + guest.leases, 0),
        coreSeconds: receipt.guests.reduce((sum, guest) => sum + guest.coreSeconds, 0),
        actions: receipt.actions.reduce((sum, action) => sum + action.count, 0),
      })),
    };
  }

  async accounts(fromMs: number, toMs: number): Promise<AccountRow[]> {
    const { accounting } = this.#options.accounting;
    if (!accounting.status.up) return [];
    const rows = await accounting.usageOf({ fromMs, toMs }, ["account", "user"]);
    const quotas = new Map(
      accounting.quotas([...new Set(rows.map(({ account }) => account))]).map((each) => [each.account, each]),
    );
    return rows.map(({ account, user, leases, coreSeconds, byteSeconds, invocations }) => ({
      account,
      user,
      leases,
      coreSeconds,
      byteSeconds,
      invocations,
      quotaCoreSeconds: quotas.get(account)?.limitCoreSeconds ?? null,
      usedTodayCoreSeconds: quotas.get(account)?.usedTodayCoreSeconds ?? 0,
    }));
  }

  async identify(credential: string): Promise<Person> {
    const { identity, accounting, adminGid } = this.#options;
    const { uid, gid } = await identity.verify(credential, [loginAudience], loginMethod);
    const user = uid === 0 ? "root" : (accounting.names.get(uid) ?? `uid ${uid}`);
    const group = adminGid();
    return { uid, gid, user, admin: uid === 0 || (group !== undefined && gid === group) };
  }

  async administer(
    what: "drain" | "resume" | "reclaim",
    request: AdminRequest,
    { uid, gid }: Person,
  ): Promise<AdminOutcome[]> {
    const handlers = this.#administer;
    if (handlers === undefined) return [];
    const caller = { uid, gid, jobId: 0, node: "" };
    const selection = {
      nodes: request.nodes ?? [],
      partitions: request.partitions ?? [],
      all: request.all ?? false,
      leaseIds: request.leaseIds ?? [],
    };
    const signal = AbortSignal.timeout(adminTimeoutMs);
    const context = { caller: { uid, gid, trusted: true }, deadlineMs: adminTimeoutMs, signal };
    const mode =
      request.graceful === true ? ("RECLAIM_MODE_GRACEFUL" as const) : ("RECLAIM_MODE_IMMEDIATE" as const);
    const full = { selection, mode, budgetMs: request.budgetMs ?? 0, reason: request.reason, caller };
    const { outcomes = [] } = await handlers[what](full, context);
    return (outcomes ?? []).map((outcome) => ({
      node: outcome.node ?? "",
      ok: (outcome.code ?? 0) === 0,
      message: outcome.message ?? "",
      leasesEnded: outcome.leasesEnded ?? 0,
      leasesLeft: outcome.leasesLeft ?? 0,
    }));
  }

  /** For GetGain. */
  gain(fromMs: number, toMs: number): GetGainResponse | undefined {
    const found = this.#gain?.(fromMs, toMs);
    if (found === undefined) return undefined;
    const { cost } = found;
    const hours = (value: GainHoursMessage): GainHoursMessage => ({ ...value });
    return {
      fromUnixMs: found.fromMs,
      toUnixMs: found.toMs,
      covered: found.covered,
      coreHours: hours(found.coreHours),
      gibHours: hours(found.gibHours),
      money: found.money?.value ?? 0,
      currency: found.money?.currency ?? "",
      cost: {
        guardActions: cost.guardActions,
        leasesReclaimed: cost.leasesReclaimed,
        cpuPressurePercent: percent(cost.cpuPressurePercent),
        memoryPressurePercent: percent(cost.memoryPressurePercent),
        holdOutDifferencePercent: percent(cost.holdOutDifferencePercent),
        receipts: cost.receipts,
        holdOutCpu: comparison(cost.holdOut.cpu),
        holdOutMemory: comparison(cost.holdOut.memory),
      },
      reclaims: reclaimTimes(this.#reclaims?.(fromMs, toMs)),
    };
  }
}

const percent = (value: number | null): number => value ?? Number.NaN;

function comparison(found: WaitingComparison): WaitingComparisonMessage {
  const side = ({ waitedPercent, ...rest }: WaitingSide): WaitingSideMessage => ({
    ...rest,
    waitedPercent: percent(waitedPercent),
  });
  return {
    lending: side(found.lending),
    heldOut: side(found.heldOut),
    differencePercent: percent(found.differencePercent),
    lowPercent: percent(found.lowPercent),
    highPercent: percent(found.highPercent),
  };
}

type ReclaimTimes = Pick<Reclaims, "count" | "p50Ms" | "p99Ms" | "maxMs">;

function reclaimTimes(found: ReclaimTimes | undefined): ReclaimTimesMessage | null {
  if (found === undefined) return null;
  const us = (ms: number | null): number => Math.round((ms ?? 0) * 1000);
  return { count: found.count, p50Us: us(found.p50Ms), p99Us: us(found.p99Ms), maxUs: us(found.maxMs) };
}

function factsOf(name: string, slurm: SnapshotNode | undefined, agent: AgentState | undefined): NodeFacts {
  const offer = agent?.streamId === undefined ? undefined : agent.offer;
  const leases = agent === undefined ? [] : [...agent.leases.values()].map(({ message }) => message);
  const amounts = (
    total: number,
    allocated: number,
    used: number | undefined,
    ofLease: (lease: LeaseMessage) => number,
    ofSpare: (spare: AgentState["spare"][number]) => number,
  ): Amounts => {
    const sum = <T>(items: readonly T[], of: (item: T) => number): number =>
      items.reduce((all, item) => all + of(item), 0);
    const spares = offer === undefined ? [] : (agent?.spare ?? []);
    const lentShared = sum(
      leases.filter((lease) => lease.class === "CAPACITY_CLASS_SHARED"),
      ofLease,
    );
    const spareShared = sum(
      spares.filter((spare) => spare.class === "shared"),
      ofSpare,
    );
    return {
      total,
      allocated,
      used: Math.min(allocated, used ?? Math.max(0, allocated - lentShared - spareShared)),
      lent: sum(leases, ofLease),
      lentShared,
      spare: sum(spares, ofSpare),
      spareShared,
    };
  };
  return {
    name,
    slurmState: slurm?.state ?? "unknown",
    partitions: slurm?.partitions ?? [],
    lending: offer === undefined ? "none" : (lendings[offer.lending] ?? "none"),
    reporting: offer !== undefined,
    usable: slurm === undefined ? offer !== undefined : usable.has(slurm.state),
    cores: amounts(
      slurm?.cores ?? offer?.coresTotal ?? 0,
      slurm?.allocatedCores ?? offer?.coresUsedByJobs ?? 0,
      undefined,
      (lease) => lease.cores.length,
      (spare) => spare.cores.length,
    ),
    memoryBytes: amounts(
      slurm?.memoryBytes ?? offer?.memoryBytesTotal ?? 0,
      slurm?.allocatedMemoryBytes ?? 0,
      offer?.memoryBytesUsedByJobs,
      (lease) => lease.memoryBytes,
      (spare) => spare.memoryBytes,
    ),
    leases: leases.length,
  };
}

/** One square per core. Which are the jobs' the agent does not tell by number: those left are, as many as it counts. */
function coresOf(facts: NodeFacts, agent: AgentState | undefined): NodeDetail["cores"] {
  const lent = new Map<number, string>();
  for (const { message } of agent?.leases.values() ?? [])
    for (const core of message.cores) lent.set(core, message.id);
  const spare = new Set((agent?.spare ?? []).flatMap(({ cores }) => cores));
  const highest = Math.max(-1, ...lent.keys(), ...spare);
  const count = Math.max(facts.cores.total, agent?.offer.coresTotal ?? 0, lent.size + spare.size);
  // A node of the testbed has some of the machine's cores only: numbers may begin anywhere.
  const first = highest >= count ? highest - count + 1 : 0;
  let jobs = agent?.offer.coresUsedByJobs ?? facts.cores.allocated;
  return Array.from({ length: count }, (_, i) => {
    const id = first + i;
    const leaseId = lent.get(id);
    if (leaseId !== undefined) return { id, use: "guest" as CoreUse, leaseId };
    if (spare.has(id)) return { id, use: "spare" as CoreUse };
    if (jobs > 0) {
      jobs--;
      return { id, use: "job" as CoreUse };
    }
    return { id, use: (facts.reporting ? "reserved" : "unknown") as CoreUse };
  });
}
