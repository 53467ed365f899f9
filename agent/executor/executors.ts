/**
 * The executors of a node's leases: starts one when the reactor says so, out of the pool where that has one, and ends it. Owns
 * the connection to the starter, and what lives by it: executors that are prepared (pool.ts), leases that are granted
 * ahead (vouchers.ts), code that is kept (code.ts). What came of it goes to the reactor as an event.
 */
import { SubletError, toSubletError } from "../../src/common/errors.ts";
import { logEvent } from "../../src/common/log-events.ts";
import { createGuest, type GuestTree, guestDirs, limitGuest } from "../cgroup/guests.ts";
import type { GuestLimits } from "../cgroup/limits.ts";
import type { LeaseSteps } from "../lease-steps.ts";
import type { AgentLog } from "../log.ts";
import { coresWithoutJobs } from "../reactor/draft.ts";
import type { AgentEvent } from "../reactor/events.ts";
import type { AgentState, Guest, NodeSetup } from "../reactor/state.ts";
import { clearGuest, heldWorthBytes } from "../reclaim/clear.ts";
import { CodeCache } from "./code.ts";
import { guestMeta } from "./meta.ts";
import { Pool, type PoolOptions, type Prepared } from "./pool.ts";
import type { Starter, StartOrder } from "./starter.ts";
import type { LeaseStats } from "./stats.ts";
import { Vouchers } from "./vouchers.ts";

export interface ExecutorSettings {
  readonly setup: NodeSetup;
  readonly tree: GuestTree;
  readonly log: AgentLog;
  /** What the starter must know beyond the guest itself. */
  readonly order: (guest: {
    lease: { id: string };
  }) => Pick<StartOrder, "unixPath" | "tcpAddress" | "spinUs" | "executor" | "fabric">;
  readonly startTimeoutMs: number;
  readonly stats?: LeaseStats;
  /** Executors prepared ahead of leases, under uids that the reactor does not give out. */
  readonly pool?: Pick<PoolOptions, "max" | "idleMs" | "uidFirst" | "uidCount">;
  /** Code of users that the starter may keep; 0 or undefined: none. */
  readonly codeCacheBytes?: number;
  /** Folders below which it may read code in place of being sent it. */
  readonly codeFromPaths?: readonly string[];
}

/** What executors need of the shell. */
export interface ExecutorsShell {
  readonly state: () => AgentState;
  readonly nowMs: () => number;
  readonly dispatch: (event: AgentEvent) => void;
  readonly steps: LeaseSteps;
  /** Gives back a lease whatever its owner says; rejects when it has ended by itself. */
  readonly release: (leaseId: string) => Promise<unknown>;
}

const stopTimeoutMs = 5_000;
/** With less than this beyond the reserve, nothing is prepared ahead. */
const poolMemoryBytes = 256 * 1024 * 1024;

/**
 * Where prepared executors may sleep, and code be kept: nowhere while a job comes, or memory is short, or nothing is lent at
 * all.
 */
function poolCores(state: AgentState): readonly number[] {
  const { adopted, starterUp, leaving, drain, lending, announced, waits, memoryAvailableBytes, setup } =
    state;
  const short = memoryAvailableBytes < setup.reserveMemoryBytes + poolMemoryBytes;
  const hooked = [...waits.values()].some((wait) => wait.kind === "hook");
  const closed = leaving || drain !== undefined || lending !== "on";
  if (!adopted || !starterUp || closed || announced.size > 0 || hooked || short) return [];
  return coresWithoutJobs(state);
}

export class Executors {
  readonly pool: Pool;
  readonly vouchers: Vouchers;
  readonly code: CodeCache;
  readonly #settings: ExecutorSettings;
  readonly #shell: ExecutorsShell;
  readonly #abort = new AbortController();
  #starter: Starter | undefined;

  constructor(settings: ExecutorSettings, shell: ExecutorsShell) {
    this.#settings = settings;
    this.#shell = shell;
    const { setup, tree } = settings;
    const { nowMs, state, dispatch } = shell;
    const onProblem = (message: string): void => settings.log.warn({}, message);
    this.pool = new Pool({
      ...(settings.pool ?? { max: 0, idleMs: 0, uidFirst: 0, uidCount: 0 }),
      tree,
      mems: setup.mems,
      memoryBytes: setup.memoryBytes,
      nowMs,
      prepare: (prepared, cgroups) => this.#prepare(prepared, cgroups),
      stop: async (name) => this.#starter?.stop(name, stopTimeoutMs),
      cores: () => poolCores(state()),
      onProblem,
      onReady: () => this.vouchers.later(),
    });
    this.vouchers = new Vouchers({
      pool: this.pool,
      state,
      nowMs,
      dispatch,
      starter: () => this.#starter,
      limit: (leaseId, limits, prepared) => this.#limitPrepared(leaseId, limits, prepared),
      order: (guest, limits, { name }) =>
        this.#orderOf(
          guest,
          limits,
          guestDirs(tree, guest.lease.id),
          name === guest.lease.id ? undefined : name,
        ),
      release: (leaseId) => void this.#releaseUnclaimed(leaseId),
      openStats: (guest, path) => this.#openStatsNow(guest, path),
      onProblem,
    });
    this.code = new CodeCache({
      maxBytes: settings.codeCacheBytes ?? 0,
      paths: settings.codeFromPaths ?? [],
      tell: async (limits) => this.#starter?.code(limits, stopTimeoutMs),
      tellPaths: async (paths) => this.#starter?.paths(paths, stopTimeoutMs),
      open: () => this.pool.open,
      onProblem,
    });
  }

  get starter(): Starter | undefined {
    return this.#starter;
  }

  setStarter(starter: Starter | undefined): void {
    this.#starter = starter;
    this.vouchers.starterChanged();
    this.code.setConnected(starter !== undefined);
  }

  /** The starter says that one has ended. */
  exited(name: string): void {
    this.pool.exited(name);
    this.vouchers.exited(name);
  }

  /** The node's state has changed. */
  check(): void {
    this.pool.check();
    this.vouchers.check();
    this.code.check();
  }

  /** Those of leases stay. */
  close(): void {
    this.#abort.abort();
    this.vouchers.close();
    this.pool.close();
    this.code.close();
  }

  /** Of a lease that was granted. */
  async start(guest: Guest, limits: GuestLimits): Promise<void> {
    const { lease } = guest;
    this.#shell.steps.mark(lease.id, "decide");
    try {
      if (this.#starter === undefined)
        throw new SubletError("UNAVAILABLE", "sublet-starter is not connected");
      const prepared = lease.kind === "function" ? this.pool.take(lease.id) : undefined;
      if (prepared !== undefined && (await this.#handOut(guest, limits, prepared))) return;
      const order = this.#orderOf(guest, limits, createGuest(this.#settings.tree, lease.id, limits));
      this.#shell.steps.mark(lease.id, "cgroup");
      const { port, stats } = await this.#starter.start(order, this.#settings.startTimeoutMs);
      this.#shell.steps.mark(lease.id, "starter");
      this.#shell.dispatch({ type: "started", leaseId: lease.id, port });
      this.#openStats(guest, stats);
    } catch (thrown) {
      const { message } = toSubletError(thrown);
      // One that was taken back meanwhile is meant to fail.
      if (this.#shell.state().guests.get(lease.id)?.phase === "starting")
        this.#settings.log.error(
          logEvent("executor_not_started", { lease: lease.id, message }),
          "executor did not start",
        );
      this.#shell.dispatch({ type: "start_failed", leaseId: lease.id, message });
    }
  }

  #orderOf(guest: Guest, limits: GuestLimits, cgroups: readonly string[], name?: string): StartOrder {
    const { lease } = guest;
    return {
      ...this.#settings.order(guest),
      leaseId: lease.id,
      uid: guest.uid,
      gid: guest.uid,
      cgroups,
      kind: lease.kind,
      cores: lease.cores,
      ownerUid: lease.owner.uid,
      memoryBytes: lease.memoryBytes,
      pidsMax: limits.pidsMax,
      token: guest.token,
      meta: guestMeta(guest, name),
      ...(name === undefined ? {} : { pool: name }),
    };
  }

  /** After its client has its answer. */
  #openStats(guest: Guest, path: string | undefined): void {
    setImmediate(() => this.#openStatsNow(guest, path));
  }

  #openStatsNow({ lease, startedAtMs }: Guest, path: string | undefined): void {
    if (!this.#shell.state().guests.has(lease.id)) return; // It is gone already.
    this.#settings.stats?.open(lease.id, path, lease.cores.length, startedAtMs);
  }

  /** Binds a prepared executor to a lease that starts. False: start one as if there were none. @throws when it is over. */
  async #handOut(guest: Guest, limits: GuestLimits, prepared: Prepared): Promise<boolean> {
    const { tree, log, startTimeoutMs } = this.#settings;
    const { id } = guest.lease;
    try {
      this.#limitPrepared(id, limits, prepared);
      this.#shell.steps.mark(id, "cgroup");
      const order = this.#orderOf(
        { ...guest, uid: prepared.uid },
        limits,
        guestDirs(tree, id),
        prepared.name,
      );
      const begun = await this.#starter?.start(order, startTimeoutMs);
      if (begun === undefined) throw new SubletError("UNAVAILABLE", "sublet-starter is not connected");
      this.#shell.steps.mark(id, "starter");
      this.#shell.dispatch({ type: "started", leaseId: id, port: begun.port, uid: prepared.uid });
      this.#openStats(guest, begun.stats);
      return true;
    } catch (thrown) {
      if (this.#shell.state().guests.get(id)?.phase !== "starting") throw thrown; // its end sees to the executor
      log.warn({ lease: id, message: toSubletError(thrown).message }, "prepared executor is of no use");
      void this.pool.discard(id, prepared);
      return false;
    }
  }

  #limitPrepared(leaseId: string, limits: GuestLimits, prepared: Prepared): void {
    const { tree } = this.#settings;
    if (prepared.limits === undefined) return void createGuest(tree, leaseId, limits);
    const alarms = limitGuest(tree, leaseId, limits, prepared.limits);
    if (alarms.length > 0) throw new SubletError("INTERNAL", alarms.join("; "));
  }

  /** Its client has gone while it was handed out, or its stream was cut. */
  async #releaseUnclaimed(leaseId: string): Promise<void> {
    if (this.#shell.state().guests.get(leaseId)?.holder !== undefined) return;
    try {
      await this.#shell.release(leaseId);
      this.#settings.log.info({ lease: leaseId }, "a lease that nobody holds was given back");
    } catch {
      // It has ended by itself.
    }
  }

  async #prepare(prepared: Prepared, cgroups: readonly string[]): Promise<{ port: number }> {
    if (this.#starter === undefined) throw new SubletError("UNAVAILABLE", "sublet-starter is not connected");
    const { name, uid } = prepared;
    const order: StartOrder = {
      ...this.#settings.order({ lease: { id: name } }),
      leaseId: name,
      uid,
      gid: uid,
      cgroups,
      kind: "function",
      cores: prepared.cores,
      ownerUid: 0,
      memoryBytes: this.#settings.setup.memoryBytes,
      pidsMax: 1,
      token: "0".repeat(64),
      meta: "",
    };
    return this.#starter.prepare(order, this.#settings.startTimeoutMs);
  }

  /** Of a lease that is over. */
  async end(leaseId: string): Promise<void> {
    const { tree, log, setup } = this.#settings;
    const starter = this.#starter;
    try {
      const cleared = await clearGuest(tree, leaseId, {
        signal: this.#abort.signal,
        stop: starter === undefined ? undefined : () => starter.stop(leaseId, stopTimeoutMs),
        cores: coresWithoutJobs(this.#shell.state()),
        stuckAfterMs: setup.hookTimeoutMs,
        onStuck: (pids) =>
          log.error({ lease: leaseId, pids }, "guest does not end: look for processes in state D"),
      });
      if (cleared.heldBytes > heldWorthBytes)
        log.error(
          { lease: leaseId, bytes: cleared.heldBytes },
          "memory is not returned: a process on this node still maps the region of an ended guest",
        );
    } catch (thrown) {
      log.error({ lease: leaseId, message: toSubletError(thrown).message }, "guest is not gone");
      return; // Its capacity stays taken: nobody may use what it still may.
    }
    this.#settings.stats?.close(leaseId);
    this.#shell.dispatch({ type: "guest_gone", leaseId });
    this.pool.gone(leaseId);
  }
}
