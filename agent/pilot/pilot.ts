/**
 * A pilot: the agent of an ordinary user, inside a job of his own, lending to himself what that job holds.
 *
 * What it is for: a site without Sublet. Somebody submits a preemptible low-priority job; his other jobs and steps on
 * that node lease cores and memory from it, as they would from the node's agent; when Slurm wants the node, all is
 * given back within the GraceTime.
 *
 * What an ordinary user cannot do, and what is there instead:
 *   write cgroups          the job's own cgroup is the limit of all guests together. Cores of a guest by affinity, which
 *                          it could widen to the job's; private memory by RLIMIT_DATA, which counts per process
 *   switch the uid         guests have the rights of the pilot's user. So only his own leases are granted: who connects
 *                          must have his uid by the kernel's word, the starter refuses any other owner, executors
 *                          compare the uid again, and the directory of all sockets is his with mode 700
 *   mount, pid namespaces  guests see the node as its user does, and may signal his processes. Their strays are adopted
 *                          by the starter and ended with them. no_new_privs and the filter of system calls are as ever
 *   hear of jobs           it need not: all that it lends is its own job's. No hook, no scan, no guard, no receipts
 *   be believed            a user's agent is no daemon of the site: a controller would refuse its reports (trusted_uids),
 *                          so it has none, and lends to clients on its own node only. Each node of a job has its own
 *
 * The end. Slurm sends SIGTERM to every process of the step: starter and executors ignore it, the agent obeys. All leases
 * become DRAINING with reason batch_job and the budget of --budget-ms, evacuated regions move elsewhere (libsublet), the
 * rest ends with the budget; as soon as nothing is lent the starter ends, the directory goes and the process exits with
 * 75, by which the batch script knows that the job was not done but wanted back. Leases that cannot move end with it.
 *
 * kill -9 of the agent: the starter loses its one client, ends all guests, then itself. kill -9 of all of them: sockets in
 * a directory, which the user's next pilot on the node removes. A new life (requeue) begins with nothing.
 */
import { join } from "node:path";
import { SubletError, toSubletError } from "../../src/common/errors.ts";
import { consentConfig } from "../../src/config/consent.ts";
import type { GuestTree } from "../cgroup/guests.ts";
import { connectStarter, type Starter, type StartOrder } from "../executor/starter.ts";
import { leaseStats } from "../executor/stats.ts";
import type { AgentLog } from "../log.ts";
import { nodeAdmin } from "../node/admin.ts";
import { executorSocket, type Identification, offerMessage } from "../offer/messages.ts";
import { askOwnSocket } from "../run-dir.ts";
import { Shell } from "../shell.ts";
import { localHandlers } from "../socket/local.ts";
import { type LocalHandlers, serveLocal } from "../socket/server.ts";
import { type PilotInventory, pilotAvailableBytes } from "./inventory.ts";
import { makeRunDir, removeRunDir } from "./run-dir.ts";

export interface PilotOptions {
  readonly uid: number;
  readonly gid: number;
  readonly node: string;
  readonly runDir: string;
  readonly nativeDir: string;
  readonly inventory: PilotInventory;
  /** Kept for the agent itself and what else the job runs. */
  readonly reserveMemoryBytes: number;
  readonly leaseTermMs: number;
  /** Unix time at which Slurm ends the job; 0: unknown. */
  readonly jobEndUnixMs: number;
  readonly log: AgentLog;
  /** The starter is gone, and all guests with it. */
  readonly onLost: () => void;
}

export interface Pilot {
  readonly shell: Shell;
  readonly socket: string;
  /** Takes all back with a budget, then ends; false when something did not end. Nothing of it stays in either case. */
  close(budgetMs: number): Promise<boolean>;
}

const starterTimeoutMs = 5_000;
const startTimeoutMs = 6_000;
const hookTimeoutMs = 2_000;
const tickMs = 5_000;
/** Beyond the budget, for guests to be reaped. */
const endTimeoutMs = 1_000;
/** Guests have one uid here; in the reactor's books each has a number of its own. */
const maxGuests = 200;
const loopback = "127.0.0.1";

/** Refuses whoever is not the pilot's own user, before anything is looked at. Root too: his code would run as the user. */
export function onlyOwn<H extends LocalHandlers>(handlers: H, uid: number): H {
  return {
    ...handlers,
    async request(connection, request, body) {
      if (connection.peer.uid !== uid)
        throw new SubletError(
          "PERMISSION_DENIED",
          `this is a pilot of uid ${uid}: it serves that user only, since guests have his rights`,
        );
      return handlers.request(connection, request, body);
    },
  };
}

/** A starter that is asked in the name of one user; without cgroups. */
export function ownStarter(starter: Starter, uid: number, gid: number): Starter {
  const own = (order: StartOrder): StartOrder => ({ ...order, uid, gid, cgroups: [] });
  return {
    ...starter,
    start: (order, timeoutMs) => starter.start(own(order), timeoutMs),
    prepare: () => Promise.reject(new SubletError("FAILED_PRECONDITION", "a pilot prepares no executors")),
  };
}

export async function startPilot(options: PilotOptions): Promise<Pilot> {
  const { uid, gid, node, runDir, nativeDir, inventory, log } = options;
  const tree: GuestTree = {
    layout: { version: 1, mounts: new Map(), missing: [] },
    root: "pilot",
    byParent: true,
  };
  await makeRunDir(runDir, uid);
  const stats = leaseStats(() => performance.now());
  const shell = new Shell({
    setup: {
      node,
      cores: inventory.cores,
      mems: "",
      memoryBytes: inventory.memoryBytes,
      reserveCores: [],
      reserveMemoryBytes: options.reserveMemoryBytes,
      guestUidFirst: 1,
      guestUidCount: maxGuests,
      leaseTermMs: options.leaseTermMs,
      leaseTermMaxMs: options.leaseTermMs * 10,
      announceTimeoutMs: hookTimeoutMs,
      hookTimeoutMs,
      epilogTimeoutMs: hookTimeoutMs,
      consent: consentConfig(undefined),
      prolog: "all",
      reclaimBudgetMs: 0,
    },
    tree,
    log,
    availableBytes: () => pilotAvailableBytes(inventory),
    order: (guest) => ({
      unixPath: executorSocket(runDir, guest.lease.id),
      tcpAddress: loopback,
      spinUs: 50,
      executor: join(nativeDir, "bin", "sublet-executor"),
    }),
    startTimeoutMs,
    stats,
  });
  let closing = false;
  const starter = await connectStarter({
    socketPath: join(runDir, "starter.sock"),
    spawn: { program: join(nativeDir, "bin", "sublet-starter"), args: ["--pilot", "--run-dir", runDir] },
    timeoutMs: starterTimeoutMs,
    onExited: (leaseId) => shell.dispatch({ type: "executor_exited", leaseId }),
    onLost: () => {
      if (closing) return;
      shell.setStarter(undefined);
      options.onLost();
    },
  });
  shell.dispatch({ type: "adopt", guests: [] });
  shell.setStarter(ownStarter(starter, uid, gid));
  shell.dispatch({ type: "jobs", jobs: [] });
  shell.sampleMemory();

  const epochUnixMs = Date.now();
  const self = (): Identification => ({ node, runDir, fabricAddress: loopback, address: "", epochUnixMs });
  const horizonMs = (): number =>
    options.jobEndUnixMs === 0 ? 0 : Math.max(1, options.jobEndUnixMs - Date.now());
  const handlers = localHandlers({
    shell,
    self,
    offer: () => offerMessage(shell.state, self(), shell.nowMs(), horizonMs()),
    horizonMs,
    controllers: [],
    controllerTimeoutMs: 0,
    controllerConnected: () => false,
    openMs: () => 0,
    adminGid: undefined,
    findings: () => ({
      mode: `pilot of uid ${uid}: lends to that user only; guests have his rights, no cgroups, no namespaces`,
      cores: inventory.cores.join(","),
      "memory.limits": inventory.limits.map(({ dir }) => dir).join(" ") || "by Slurm's environment only",
      node_version: process.version,
    }),
    admin: nodeAdmin({ shell, stateDir: runDir, log }),
    jobs: { begun: () => undefined, ended: () => undefined, rescan: () => undefined },
    log,
  });
  shell.listen({
    onNotify: (holder, guest) => handlers.notify(holder, guest),
    onDraining: (guest) => handlers.draining(guest),
  });
  const socket = join(runDir, "agent.sock");
  const local = await serveLocal(socket, onlyOwn(handlers, uid));
  await askOwnSocket(socket, startTimeoutMs);
  const tick = setInterval(() => shell.sampleMemory(), tickMs);

  async function emptied(budgetMs: number): Promise<boolean> {
    const drain = { uid, why: "Slurm wants this job's capacity back", sinceUnixMs: Date.now() };
    shell.ask({ type: "drain", drain, budgetMs, reason: "batch_job" }).catch((thrown: unknown) => {
      log.info({ message: toSubletError(thrown).message }, "the end was not waited for");
    });
    const endMs = performance.now() + budgetMs + endTimeoutMs;
    while (shell.state.guests.size > 0 && performance.now() < endMs)
      await new Promise((resolve) => setTimeout(resolve, 5));
    return shell.state.guests.size === 0;
  }

  return {
    shell,
    socket,
    async close(budgetMs) {
      clearInterval(tick);
      const clean = await emptied(budgetMs);
      if (!clean) log.error({ guests: shell.state.guests.size }, "guests do not end: killed with the job");
      closing = true;
      await local.close();
      shell.close();
      starter.close();
      await removeRunDir(runDir, endTimeoutMs);
      return clean;
    },
  };
}
