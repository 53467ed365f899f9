/**
 * The controller put together: state, service, poller, metrics. Everything that differs in tests is passed in.
 *
 * What survives a restart: the accounting and a drain of the whole cluster, and nothing else, on purpose. Agents come back by themselves within two seconds
 * and each tells all its leases; the first poll of Slurm starts at once. Until then requests are refused with a reason.
 */
import { join } from "node:path";
import type { Logger } from "pino";
import { logEvent } from "../common/log-events.ts";
import type { ControllerConfig } from "../config/config.ts";
import type { TlsPair } from "../dashboard/tls.ts";
import { controllerMetrics } from "../metrics/controller.ts";
import { createRegistry, type Registry } from "../metrics/registry.ts";
import { serveMetrics } from "../metrics/serve.ts";
import { connectNode } from "../rpc/client.ts";
import type { Identity } from "../rpc/identity.ts";
import { refusedCallers } from "../rpc/refused.ts";
import { serve } from "../rpc/server.ts";
import { type CommandRunner, createPoller, maxPollDelayMs, type PollerClock } from "../slurm/poller.ts";
import { controllerAccounting } from "./accounting.ts";
import { agentPool } from "./agents.ts";
import { clusterDrain } from "./cluster-drain.ts";
import { JobComments } from "./comments.ts";
import { DashboardFeed } from "./dashboard.ts";
import { startDashboard } from "./dashboard-server.ts";
import { newLearner, setConfidence } from "./horizon.ts";
import { countRpcs, measuredRunner, notGrantedCounter, showCluster, showPartitions } from "./metrics.ts";
import { ReceiptStore } from "./receipts.ts";
import { type ControllerEvents, controllerService } from "./service.ts";
import { newState } from "./state.ts";
import { ClusterSums, PartitionLists } from "./sums.ts";
import { clusterFigures } from "./views.ts";

export interface ControllerOptions {
  readonly config: ControllerConfig;
  readonly log: Logger;
  readonly identity: Identity;
  readonly runner: CommandRunner;
  readonly clock: PollerClock;
}

export interface Controller {
  /** host:port of ControllerService. */
  readonly address: string;
  readonly metricsAddress: string;
  /** undefined: there is none. */
  readonly dashboardAddress: string | undefined;
  /** Why there is no dashboard though there should be. */
  readonly dashboardTrouble: string | undefined;
  readonly registry: Registry;
  /** The configuration was read again. The poller goes by it after its next look. tls: the dashboard's, as its files are now. */
  apply(config: ControllerConfig, tls?: TlsPair): void;
  /** One that there is not so far, by these settings. Where it cannot be had the log says why. */
  openDashboard(config: ControllerConfig): Promise<void>;
  /** Ends within some seconds; leases and guests go on. */
  close(): Promise<void>;
}

/** Slurm's own commands give up on a slurmctld that is gone after 9 s. */
const commandTimeoutMs = 15_000;
const tickMs = 1_000;

export async function startController(options: ControllerOptions): Promise<Controller> {
  const now = { config: options.config };
  const { config, log, identity, clock } = options;
  const registry = createRegistry();
  const metrics = controllerMetrics(registry);
  metrics.horizonConfidence.set(config.horizonConfidence);
  const notGranted = notGrantedCounter(registry);
  const state = newState();
  const agents = agentPool((address) => connectNode(address, { identity, tls: config.tls }));

  const runner = measuredRunner(options.runner, metrics);
  const poller = createPoller({
    runner,
    clock,
    get intervalMs() {
      return now.config.pollIntervalMs;
    },
    timeoutMs: commandTimeoutMs,
    maxDelayMs: maxPollDelayMs,
    onRpcs: (command) => countRpcs(metrics, command),
    onPoll: (report, snapshot) => {
      showPartitions(metrics, snapshot);
      const { outcome, tookMs, nextInMs, error } = report;
      const facts = { outcome, tookMs: Math.round(tookMs), nextInMs: Math.round(nextInMs) };
      if (error !== undefined) log.warn({ ...facts, message: error.message }, "Slurm was asked in vain");
      else if (outcome !== "ok") log.warn(facts, "Slurm answers slowly or limits us");
      else
        log.debug({ ...facts, nodes: snapshot?.nodes.size, jobs: snapshot?.jobs.length }, "Slurm was asked");
    },
  });

  const lists = new PartitionLists(poller.snapshot);
  const sums = new ClusterSums({ metrics, lists, nowMs: clock.nowMs });
  const events: ControllerEvents = {
    onAgent(node, event) {
      if (event === "joined") log.info({ node, change: event }, "agent");
      else if (event === "silent") log.warn(logEvent("agent_silent", { node, change: event }), "agent");
      else log.warn({ node, change: event }, "agent");
    },
    onRequest(outcome, tookMs) {
      metrics.leaseRequests.inc({ outcome });
      metrics.leaseRequestSeconds.observe(tookMs / 1000);
    },
    onReport: (report) => sums.reported(report),
    onHorizon: (outcome) => metrics.horizonPredictions.inc({ outcome }),
    onAdmin: (what, uid, why, nodes, failed) =>
      log.warn(
        logEvent("administrator_served", { what, uid, why, nodes, failed }),
        "an administrator was served",
      ),
    onNotGranted(node, reason, error) {
      notGranted.inc({ reason });
      log.debug({ node, reason, message: error.message }, "agent did not grant");
    },
  };
  const accounting = controllerAccounting({
    config: {
      stateDir: config.stateDir,
      get accounting() {
        return now.config.accounting;
      },
    },
    log,
    metrics,
    state,
    snapshot: poller.snapshot,
  });
  const feed = new DashboardFeed({
    state,
    snapshot: poller.snapshot,
    accounting,
    adminGid: () => now.config.adminGid,
    identity,
    nowMs: clock.nowMs,
  });
  const learner = newLearner(config.horizonConfidence, clock.nowMs());
  const receipts = new ReceiptStore();
  const comments = new JobComments({
    config: () => now.config.receipts,
    runner,
    receiptsOf: (jobId) => receipts.of(jobId),
    nowMs: clock.nowMs,
    unixMs: clock.unixMs,
    log,
    metrics,
  });
  const service = controllerService({
    receipts,
    onReceipts: (fresh) => comments.told(fresh),
    state,
    accounting,
    agents,
    snapshot: poller.snapshot,
    nowMs: clock.nowMs,
    get adminGid() {
      return now.config.adminGid;
    },
    get grantTimeoutMs() {
      return now.config.grantTimeoutMs;
    },
    events,
    learner,
    dashboard: feed,
    clusterDrain: clusterDrain(join(config.stateDir, "drain.json")),
  });
  const onRefused = refusedCallers((fields, text) => log.warn(fields, text));
  const server = await serve({
    listen: config.listen,
    names: config.names,
    identity,
    get trustedUids() {
      return now.config.trustedUids;
    },
    controller: service.handlers,
    tls: config.tls,
    onCall(event) {
      const { method, code, tookMs, error } = event;
      log.debug({ method, code, tookMs: Math.round(tookMs), message: error?.message }, "call");
      onRefused(event);
    },
  });
  const show = (): void => {
    const figures = clusterFigures(state, poller.snapshot(), (node) => lists.of(node));
    showCluster(metrics, figures, poller.ageMs());
    sums.tick(figures);
  };
  show();
  const http = await serveMetrics({ listen: config.metricsListen, registry, healthy: () => true }).catch(
    async (thrown: unknown) => {
      await server.close();
      throw thrown;
    },
  );
  const dashboard = await startDashboard({ config, feed, log });
  const stop = new AbortController();
  const polling = poller.run(stop.signal);
  // A defect in the poller must not pass for a slurmctld that is slow.
  polling.catch((thrown: unknown) => log.error({ err: thrown }, "the poller stopped"));
  const timer = setInterval(() => {
    service.tick();
    comments.tick();
    show();
  }, tickMs);
  log.info(logEvent("ready", { address: server.address, metrics: http.address }), "controller is ready");

  return {
    address: server.address,
    metricsAddress: http.address,
    get dashboardAddress() {
      return dashboard.address;
    },
    get dashboardTrouble() {
      return dashboard.trouble;
    },
    registry,
    apply(next, tls) {
      if (tls !== undefined) dashboard.renew(tls);
      now.config = next;
      metrics.horizonConfidence.set(next.horizonConfidence);
      setConfidence(learner, next.horizonConfidence);
    },
    openDashboard: (config) => dashboard.open(config),
    async close() {
      clearInterval(timer);
      stop.abort();
      await server.close();
      agents.close();
      await http.close();
      await dashboard.close();
      await accounting.close();
      await comments.close();
      await polling.catch(() => undefined); // told above
    },
  };
}
