/**
 * Puts an agent together from its parts, in the order that keeps the promises: first the guests of an earlier life are
 * known (adopted or ended), then the jobs, and only then the socket opens for hooks and clients. Until it is open a hook
 * finds nobody, and empties the cgroups itself.
 *
 * Nothing that the agent needs is written to a disk: `cgroups` in the run directory is for the hook, and a failure to
 * write it is logged and no more.
 */

import { existsSync } from "node:fs";
import { join } from "node:path";
import { toSubletError } from "../src/common/errors.ts";
import { logEvent } from "../src/common/log-events.ts";
import type { AgentConfig } from "../src/config/config.ts";
import type { Registry } from "../src/metrics/registry.ts";
import { serveMetrics } from "../src/metrics/serve.ts";
import type { Identity } from "../src/rpc/identity.ts";
import type { LeaseMessage, OfferMessage } from "../src/rpc/messages.ts";
import { refusedCallers } from "../src/rpc/refused.ts";
import { serve, splitAddress } from "../src/rpc/server.ts";
import { removeRoot } from "./cgroup/guests.ts";
import { findGuests, keepStarter } from "./executor/adopt.ts";
import { connectStarter, type ListedExecutor, type Starter } from "./executor/starter.ts";
import { leaseStats } from "./executor/stats.ts";
import { keptFindings, lastingFindings } from "./findings.ts";
import { type PolicyReader, prepareGround } from "./ground.ts";
import { Guard } from "./guard/guard.ts";
import type { GuardPolicy } from "./guard/policy.ts";
import { Signals } from "./guard/signals.ts";
import { readAvailableBytes } from "./inventory/inventory.ts";
import { followJobs } from "./jobs/follow.ts";
import { jobRoots } from "./jobs/roots.ts";
import { isStandIn } from "./jobs/sluid.ts";
import { watchJobs } from "./jobs/watch.ts";
import { lendingMode } from "./lending/mode.ts";
import { applyLive, type Now } from "./live.ts";
import type { AgentLog } from "./log.ts";
import { watchMetrics } from "./metrics.ts";
import { nodeAdmin } from "./node/admin.ts";
import { nodeService } from "./node/service.ts";
import { followControllers, tellContact } from "./offer/controllers.ts";
import { nodeCounters } from "./offer/counters.ts";
import { horizon } from "./offer/horizon.ts";
import { type Identification, leaseMessage, offerMessage } from "./offer/messages.ts";
import { openMsOf } from "./offer/reporter.ts";
import { openShell } from "./open-shell.ts";
import type { AdoptedGuest } from "./reactor/events.ts";
import { drainText } from "./reclaim/drained.ts";
import { askOwnSocket, endStarter } from "./run-dir.ts";
import type { Shell } from "./shell.ts";
import { grantingAhead } from "./socket/granting-ahead.ts";
import { localHandlers } from "./socket/local.ts";
import { serveLocal } from "./socket/server.ts";
import { Billed } from "./usage/billing.ts";
import { loadUsage } from "./usage/usage.ts";

export interface AgentOptions {
  readonly config: AgentConfig;
  readonly identity: Identity;
  readonly log: AgentLog;
  /** Whether a starter that nobody else has started is started here. */
  readonly spawnsStarter?: boolean;
}

export interface Agent {
  readonly shell: Shell;
  /** host:port with real ports. */
  readonly address: string;
  readonly metricsAddress: string;
  /** Ends the agent. Guests stay, unless `drain`: then all end, and the starter too. */
  close(drain: boolean): Promise<void>;
  readonly guard: Guard;
  readonly registry: Registry;
  readonly readPolicy: PolicyReader;
  /** The configuration was read again. */
  apply(config: AgentConfig, policy: GuardPolicy): void;
}

/** The one slow tick: rescan of jobs, memory, keepalive of reports. */
const tickMs = 5_000;
const drainTimeoutMs = 5_000;

export async function startAgent(options: AgentOptions): Promise<Agent> {
  const { config, identity, log, spawnsStarter = true } = options;
  const now: Now = { config };
  const ground = await prepareGround(config, log);
  const { fabricAddress, inventory, fabric, policy, tree, alarms } = ground;
  const stats = leaseStats(() => performance.now());
  const shell = openShell(now, ground, stats, log);

  const connect = (onLost: () => void): Promise<Starter> =>
    connectStarter({
      socketPath: join(config.runDir, "starter.sock"),
      spawn: spawnsStarter
        ? { program: join(config.nativeDir, "bin", "sublet-starter"), args: ["--run-dir", config.runDir] }
        : undefined,
      timeoutMs: config.startTimeoutMs,
      onRedeemed: (redeemed) => shell.executors.vouchers.redeemed(redeemed),
      onExited: (leaseId) => {
        shell.executors.exited(leaseId);
        shell.dispatch({ type: "executor_exited", leaseId });
      },
      onLost,
    });
  let keeper: ReturnType<typeof keepStarter> | undefined;
  const first = await connect(() => keeper?.lost()).catch((thrown: unknown) => {
    log.error({ message: toSubletError(thrown).message }, "no starter: nothing can be lent");
    return undefined;
  });
  const onAdopt = ({ lease, grantedUnixMs }: AdoptedGuest, executor: ListedExecutor): void =>
    stats.open(
      lease.id,
      executor.stats,
      lease.cores.length,
      performance.now() - Math.max(0, Date.now() - grantedUnixMs),
    );
  const usage = await loadUsage(config, log);
  usage.follow(shell, stats);
  const adopted = await findGuests({ tree, starter: first, timeoutMs: config.startTimeoutMs, log, onAdopt });
  for (const { uid, name, lease } of adopted) shell.executors.pool.adopt(uid, name ?? lease.id);
  function lend(): void {
    const mode = lendingMode(now.config.lending, config.node, Date.now());
    if (mode === shell.state.lending) return;
    log.info({ mode }, mode === "on" ? "this node lends" : "this node lends nothing, and says what it would");
    shell.dispatch({ type: "lending", mode });
  }

  lend();
  shell.dispatch({ type: "adopt", guests: usage.billed(adopted) });
  usage.closeOrphans();
  if (adopted.length > 0)
    log.info(logEvent("guests_adopted", { leases: adopted.map(({ lease }) => lease.id) }), "adopted guests");
  keeper = keepStarter(
    {
      connect,
      timeoutMs: config.startTimeoutMs,
      log,
      onLost: () => {
        log.error(logEvent("starter_lost", {}), "the starter is gone, and its executors with it");
        shell.setStarter(undefined);
        granting.ahead.starterChanged();
      },
      onStarter: (starter, live) => {
        shell.setStarter(starter);
        for (const guest of shell.state.guests.values())
          if (guest.phase === "running" && !live.has(guest.lease.id))
            shell.dispatch({ type: "executor_exited", leaseId: guest.lease.id });
      },
    },
    first,
  );
  shell.setStarter(first);

  const roots = jobRoots(tree.layout, { slurm: config.slurmCgroup, node: config.node });
  const signals = new Signals({
    tree,
    roots,
    siblings: inventory.siblings,
    availableBytes: () => readAvailableBytes(),
  });
  const jobs = watchJobs({
    roots,
    nowMs: () => shell.nowMs(),
    onJobs: (seen) => shell.dispatch({ type: "jobs", jobs: seen }),
    onProblem: (message) => log.error({ message }, "jobs are seen by the slow rescan only"),
  });
  shell.sampleMemory();
  const following = followJobs({
    shell,
    roots,
    tree,
    onReceipts: (receipts) => {
      for (const reporter of controllers.reporters) reporter.receiptsAdded(receipts);
    },
  });

  const found = lastingFindings({ tree, alarms, inventory, fabricAddress, fabric, signals, policy });
  const findings = (): Record<string, string> => ({
    ...found,
    ...keptFindings(shell.state.setup, config.reclaim.stateDir),
    "slurm.jobs": roots.cpuset.join(","),
    "slurm.jobs_nameless": `${[...shell.state.jobs.keys()].filter(isStandIn).length}`,
    "slurm.jobs_found": roots.cpuset.some(existsSync) ? "yes" : "no job yet",
    drained: drainText(shell.state.drain),
    "guard.policy": `${now.config.guardPolicyFile ?? "built-in"}: ${guard.policy.mode}`,
    "guard.counters": signals.counters,
    "guard.policy_refused": guard.policyRefused ? "yes" : "no",
    "consent.use_of_cores": following.source,
    starter: shell.state.starterUp ? "connected" : "not connected",
  });

  const admin = nodeAdmin({ shell, stateDir: config.reclaim.stateDir, log });
  await admin.restore();
  let address = config.listen;
  const epochUnixMs = Date.now();
  const self = (): Identification => ({
    node: config.node,
    runDir: config.runDir,
    fabricAddress,
    address,
    epochUnixMs,
  });
  // Until there are clients.
  let onEnded: (leases: readonly LeaseMessage[]) => void = () => undefined;
  let onDraining = onEnded;
  const lasting = horizon();
  const billed = new Billed(shell);
  const figures = nodeCounters(
    shell,
    () => stats.totals().outcomes,
    () => following.waiting,
  );
  const horizonMs = (): number => lasting.ofSpell(shell.state.spell, shell.nowMs(), Date.now());
  const offer = (): OfferMessage => offerMessage(shell.state, self(), shell.nowMs(), horizonMs());
  const controllers = followControllers({
    identity,
    tls: config.tls,
    reporter: (client) => ({
      source: {
        offer,
        leases: () =>
          [...shell.state.guests.values()]
            .filter((guest) => guest.phase !== "ending")
            .map((guest) => leaseMessage(guest, self(), shell.nowMs(), stats.invocations(guest.lease.id))),
        receipts: () => following.receipts.kept,
        usage: usage.source(client.address),
        reclaims: figures.reader(),
        counters: figures.counters,
      },
      onQuota: (exhausted) => billed.learn(client.address, exhausted),
      onEnded: (leases) => onEnded(leases),
      onDraining: (leases) => onDraining(leases),
      onHorizon: (model) => lasting.learn(model),
      onFacts: (jobs) => shell.dispatch({ type: "facts", jobs }),
      onContact: tellContact(log, client.address),
    }),
    onFollow: (addresses) => usage.setControllers(addresses),
  });
  usage.onAdded(() => {
    for (const reporter of controllers.reporters) reporter.usageAdded();
  });
  const service = {
    shell,
    self,
    offer,
    findings,
    controllerConnected: () => controllers.connectedCount() > 0,
    admin,
    billed,
    get adminGid() {
      return now.config.adminGid;
    },
  };
  const rpc = await serve({
    listen: config.listen,
    identity,
    get trustedUids() {
      return now.config.trustedUids;
    },
    node: nodeService(service),
    tls: config.tls,
    onCall: refusedCallers((fields, text) => log.warn(fields, text)),
  });
  const { host, port } = splitAddress(rpc.address);
  address = host === "0.0.0.0" || host === "[::]" ? `${fabricAddress}:${port}` : rpc.address;

  const granting = grantingAhead({ shell, self, now, controllers, billed, log });
  const handlers = localHandlers({
    ...service,
    ahead: granting.ahead,
    get adminGid() {
      return now.config.adminGid;
    },
    controllers: controllers.clients,
    get controllerTimeoutMs() {
      return now.config.controllerTimeoutMs;
    },
    horizonMs,
    openMs: () => (now.config.leaseHereFirst ? openMsOf(controllers.reporters) : 0),
    jobs,
    log,
    receipts: following.receipts,
  });
  onEnded = handlers.remoteEnded;
  onDraining = handlers.remoteDraining;
  controllers.follow(config.controllers);
  const registry = watchMetrics(shell, {
    controllersConnected: controllers.connectedCount,
    fabricProvider: fabric.provider,
    counts: () => stats.totals(),
    usage: () => usage.figures(),
    shadowTermMs: () => now.config.lending.shadowTermMs,
    waiting: () => following.waiting,
  });
  const guard = new Guard({ shell, tree, signals, policy, registry, log });
  guard.onAction(({ action, leaseId }) => {
    if (guard.policy.mode !== "act") return;
    following.receipts.guardActed(action, leaseId);
    figures.guardActed(action);
  });
  shell.listen({
    onOffer: () => {
      for (const reporter of controllers.reporters) reporter.offerChanged();
    },
    onLease: (guest) => {
      const message = leaseMessage(guest, self(), shell.nowMs(), stats.invocations(guest.lease.id));
      for (const reporter of controllers.reporters) reporter.leaseChanged(message);
    },
    onNotify: (holder, guest) => handlers.notify(holder, guest),
    onDraining: (guest) => handlers.draining(guest),
  });
  const door = {
    program: join(config.nativeDir, "bin", "sublet-door"),
    starterPath: join(config.runDir, "starter.sock"),
    timeoutMs: config.startTimeoutMs,
    log,
  };
  const local = await serveLocal(join(config.runDir, "agent.sock"), handlers, door);
  granting.setDoor(local.openVouchers);
  granting.setDesk(handlers.desk);
  const metrics = await serveMetrics({
    listen: config.metricsListen,
    registry,
    healthy: () => shell.state.adopted && shell.state.starterUp,
  });
  await askOwnSocket(join(config.runDir, "agent.sock"), config.startTimeoutMs);
  const tick = setInterval(() => {
    jobs.rescan();
    shell.sampleMemory();
    guard.tick();
    following.tick();
    usage.tick();
    lend();
    for (const reporter of controllers.reporters) reporter.keepalive();
  }, tickMs);
  const ready = { node: config.node, address, metrics: metrics.address, cores: found.cores };
  log.info(logEvent("ready", { ...ready, cgroup: tree.layout.version }), "agent is ready");

  async function drained(): Promise<boolean> {
    const endMs = performance.now() + drainTimeoutMs;
    shell.dispatch({ type: "leave" });
    while (shell.state.guests.size > 0 && performance.now() < endMs)
      await new Promise((resolve) => setTimeout(resolve, 5));
    return shell.state.guests.size === 0;
  }

  return {
    shell,
    address,
    metricsAddress: metrics.address,
    guard,
    registry,
    readPolicy: ground.readPolicy,
    apply: (next, policyNow) => applyLive({ now, shell, guard, controllers, lend }, next, policyNow),
    async close(drain) {
      clearInterval(tick);
      guard.close();
      following.close();
      if (drain && !(await drained())) log.error({}, "guests are still there: see their cgroups");
      await local.close();
      jobs.close();
      granting.ahead.close();
      controllers.close();
      keeper?.close();
      shell.close();
      await Promise.all([rpc.close(), metrics.close(), usage.close()]);
      if (drain) {
        endStarter(config.runDir, log);
        if (!removeRoot(tree)) log.error({ root: tree.root }, "guest root is not empty: not removed");
      }
    },
  };
}
