/**
 * Client of sublet-starter, the small privileged program that is the parent of all executors. If nobody listens on its
 * socket it is spawned (in a session of its own: it outlives the agent; a lock in it keeps it single). That, the door and the
 * probe of the fabric (fabric.ts) are the only programs that an agent runs, and it runs each once.
 *
 * The connection closes when the starter dies, and all executors with it: `onLost` is called, calls that wait fail with
 * UNAVAILABLE, and connectStarter() makes a new one.
 */
import { spawn } from "node:child_process";
import { createConnection, type Socket } from "node:net";
import { SubletError, toSubletError } from "../../src/common/errors.ts";
import { FrameReader } from "../../src/rpc/local.ts";
import type { CodeLimits } from "./code.ts";
import { decodeFields, encodeFields, type Field, fieldOf, numberOf } from "./protocol.ts";

export interface StartOrder {
  readonly leaseId: string;
  readonly uid: number;
  readonly gid: number;
  readonly cgroups: readonly string[];
  readonly unixPath: string;
  /** IPv4 address whose ephemeral port the executor serves. */
  readonly tcpAddress: string;
  readonly kind: "function" | "region";
  readonly cores: readonly number[];
  readonly ownerUid: number;
  readonly memoryBytes: number;
  readonly pidsMax: number;
  readonly token: string;
  readonly spinUs: number;
  readonly meta: string;
  readonly executor: string;
  /** Provider of libfabric whose devices it may use; "none": nothing of the kind. */
  readonly fabric?: string;
  /** Hand out the executor that was prepared under this name, with this order's uid and cgroups. */
  readonly pool?: string;
}

/** A lease that is granted ahead: to this owner, when he makes this request. */
export interface VoucherOrder {
  /** START's, with `pool`. In its meta the job's number may be written as jobMark. */
  readonly order: StartOrder;
  readonly ownerGid: number;
  /** Which of the owner's jobs; undefined: any. */
  readonly jobId: number | undefined;
  /** Bytes of a LeaseRequest. */
  readonly request: Buffer;
  /** A LocalResponse without its id. */
  readonly answer: Buffer;
  /** Where in it five digits are to say the executor's port; undefined: it is there. */
  readonly portAt: number | undefined;
}

/** The answer to a request for a lease that was granted ahead on another node. */
export interface KeptAnswer {
  readonly leaseId: string;
  readonly ownerUid: number;
  readonly ownerGid: number;
  readonly jobId: number;
  /** Bytes of a LeaseRequest. */
  readonly request: Buffer;
  /** A LocalResponse without its id. */
  readonly answer: Buffer;
}

/** In a voucher's meta, the number of the job that redeems it. */
export const jobMark = "$JOB";

/** A voucher's lease was handed out. */
export interface Redeemed {
  readonly leaseId: string;
  readonly jobId: number;
  readonly port: number;
  readonly stats: string | undefined;
}

export interface ListedExecutor {
  readonly leaseId: string;
  readonly pid: number;
  readonly port: number;
  readonly meta: string;
  /** When it was handed out, of a lease that was granted ahead, and by its meta before. */
  readonly redeemedUnixMs?: number | undefined;
  /** Where its page of statistics can be opened (executor/stats.ts). */
  readonly stats?: string | undefined;
}

export interface Starter {
  start(
    order: StartOrder,
    timeoutMs: number,
  ): Promise<{ pid: number; port: number; stats?: string | undefined }>;
  /**
   * Starts an executor that waits for its order; it goes when this connection does. leaseId is its name; what binds it to a
   * lease is filled with anything valid.
   */
  prepare(order: StartOrder, timeoutMs: number): Promise<{ port: number }>;
  /** Leaves a lease with a prepared executor, to be handed out when it is asked for; see onRedeemed. */
  vouch(voucher: VoucherOrder, timeoutMs: number): Promise<void>;
  /** Leaves a lease with whoever is the first to show its token, a client on another node; see onRedeemed. Where it will be. */
  awaitClient(order: StartOrder, jobId: number, timeoutMs: number): Promise<{ port: number }>;
  /**
   * No lease that this connection left here (or only this one) can be redeemed when this resolves; of those that were,
   * onRedeemed was told before.
   */
  unvouch(timeoutMs: number, leaseId?: string): Promise<void>;
  /** Leaves an answer with the door, which is handed out once; no word of it comes from here. */
  keep(kept: KeptAnswer, timeoutMs: number): Promise<void>;
  /** False: it has been handed out. */
  forget(leaseId: string, timeoutMs: number): Promise<boolean>;
  /** SIGKILL, reap, unlink the socket. A lease that it does not know is no error. */
  stop(leaseId: string, timeoutMs: number): Promise<void>;
  list(timeoutMs: number): Promise<ListedExecutor[]>;
  /** How much code it may keep from now on, for this connection; where its figures can be opened. */
  code(limits: CodeLimits, timeoutMs: number): Promise<string | undefined>;
  /** Below which folders it may read code from now on, for this connection. */
  paths(folders: readonly string[], timeoutMs: number): Promise<void>;
  close(): void;
}

export interface StarterOptions {
  readonly socketPath: string;
  /** Spawned when nobody listens; undefined: never. */
  readonly spawn: { readonly program: string; readonly args: readonly string[] } | undefined;
  /** Until it listens. */
  readonly timeoutMs: number;
  readonly onExited: (leaseId: string, waitStatus: number) => void;
  readonly onLost: () => void;
  readonly onRedeemed?: (redeemed: Redeemed) => void;
}

interface Pending {
  /** What frames with more=1 brought so far. */
  readonly parts: Field[];
  readonly resolve: (fields: Field[]) => void;
  readonly reject: (error: SubletError) => void;
  readonly timer: NodeJS.Timeout;
}

const maxPending = 1024;

function open(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(path);
    socket.once("connect", () => {
      socket.removeAllListeners("error");
      resolve(socket);
    });
    socket.once("error", reject);
  });
}

function spawnStarter(program: string, args: readonly string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { detached: true, stdio: ["ignore", "ignore", "inherit"], cwd: "/" });
    child.once("spawn", () => {
      child.unref();
      resolve();
    });
    child.once("error", reject);
  });
}

async function openOrSpawn(options: StarterOptions): Promise<Socket> {
  const endMs = performance.now() + options.timeoutMs;
  let spawned = options.spawn === undefined;
  for (let pauseMs = 2; ; pauseMs = Math.min(50, pauseMs * 2)) {
    try {
      return await open(options.socketPath);
    } catch (cause) {
      if (!spawned && options.spawn !== undefined) {
        spawned = true;
        await spawnStarter(options.spawn.program, options.spawn.args);
      }
      if (performance.now() > endMs || options.spawn === undefined)
        throw new SubletError(
          "UNAVAILABLE",
          `nobody listens on ${options.socketPath}${options.spawn === undefined ? "" : `; does ${options.spawn.program} run?`}`,
          { cause },
        );
    }
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
}

function startFields(order: StartOrder): Field[] {
  return [
    ["lease", order.leaseId],
    ["uid", `${order.uid}`],
    ["gid", `${order.gid}`],
    ...order.cgroups.map((dir) => ["cgroup", dir] as const),
    ["unix", order.unixPath],
    ["tcp", `${order.tcpAddress}:0`],
    ["kind", order.kind],
    ["cores", order.cores.join(",")],
    ["owner", `${order.ownerUid}`],
    ["memory", `${order.memoryBytes}`],
    ["pids", `${order.pidsMax}`],
    ["token", order.token],
    ["spin_us", `${order.spinUs}`],
    ["meta", order.meta],
    ["executor", order.executor],
    ...(order.fabric === undefined ? [] : [["fabric", order.fabric] as const]),
    ...(order.pool === undefined ? [] : [["pool", order.pool] as const]),
  ];
}

/** LIST's answer, one frame or several: pairs of executor= and meta= lines. */
function listed(fields: readonly Field[]): ListedExecutor[] {
  const executors: ListedExecutor[] = [];
  for (const [index, [key, value]] of fields.entries()) {
    if (key !== "executor") continue;
    const [leaseId, pid, , port, redeemed] = value.split(" ");
    const next = fields[index + 1];
    const meta = next?.[0] === "meta" ? next[1] : "";
    const after = fields[index + 2];
    const stats = after?.[0] === "stats" ? { stats: after[1] } : {};
    const handedOut = redeemed === undefined ? {} : { redeemedUnixMs: Number(redeemed) };
    if (leaseId !== undefined)
      executors.push({ leaseId, pid: Number(pid), port: Number(port ?? 0), meta, ...handedOut, ...stats });
  }
  return executors;
}

/** @throws SubletError UNAVAILABLE when the starter cannot be reached or run. */
export async function connectStarter(options: StarterOptions): Promise<Starter> {
  const socket = await openOrSpawn(options).catch((thrown: unknown) => {
    if (thrown instanceof SubletError) throw thrown;
    const { message } = toSubletError(thrown);
    throw new SubletError("UNAVAILABLE", `cannot run ${options.spawn?.program}: ${message}`, {
      cause: thrown,
    });
  });
  const reader = new FrameReader();
  const pending = new Map<number, Pending>();
  let nextId = 1;
  let closing = false;

  function receive(fields: Field[]): void {
    if (fieldOf(fields, "verb") === "EXITED") {
      const leaseId = fieldOf(fields, "lease");
      if (leaseId !== undefined) options.onExited(leaseId, Number(fieldOf(fields, "status") ?? -1));
      return;
    }
    if (fieldOf(fields, "verb") === "REDEEMED") {
      const leaseId = fieldOf(fields, "lease");
      const jobId = numberOf(fields, "job", 0xffff_ffff);
      const port = numberOf(fields, "port", 65535);
      if (leaseId !== undefined)
        options.onRedeemed?.({ leaseId, jobId, port, stats: fieldOf(fields, "stats") });
      return;
    }
    const id = Number(fieldOf(fields, "id"));
    const waiting = pending.get(id);
    if (waiting === undefined) return; // Its deadline has passed.
    waiting.parts.push(...fields);
    if (fieldOf(fields, "more") === "1") return; // LIST does not fit into one frame: the rest follows.
    pending.delete(id);
    clearTimeout(waiting.timer);
    const error = fieldOf(fields, "error");
    if (error === undefined) waiting.resolve(waiting.parts);
    else waiting.reject(new SubletError("INTERNAL", `starter: ${error}`));
  }

  socket.on("data", (chunk: Buffer) => {
    try {
      for (const body of reader.push(chunk)) receive(decodeFields(body));
    } catch (thrown) {
      socket.destroy(toSubletError(thrown));
    }
  });
  socket.on("error", () => undefined); // `close` follows, and says all there is to say.
  socket.on("close", () => {
    for (const waiting of pending.values()) {
      clearTimeout(waiting.timer);
      waiting.reject(new SubletError("UNAVAILABLE", "the starter closed its connection"));
    }
    pending.clear();
    if (!closing) options.onLost();
  });

  function call(verb: string, fields: readonly Field[], timeoutMs: number): Promise<Field[]> {
    return new Promise((resolve, reject) => {
      if (pending.size >= maxPending)
        return reject(new SubletError("RESOURCE_EXHAUSTED", "too many calls wait for the starter"));
      if (socket.destroyed) return reject(new SubletError("UNAVAILABLE", "the starter is not connected"));
      const id = nextId++;
      const frame = encodeFields([["verb", verb], ["id", `${id}`], ...fields]);
      const timer = setTimeout(() => {
        pending.delete(id);
        reject(new SubletError("DEADLINE_EXCEEDED", `starter: no answer to ${verb} within ${timeoutMs} ms`));
      }, timeoutMs);
      pending.set(id, { parts: [], resolve, reject, timer });
      socket.write(frame);
    });
  }

  return {
    async start(order, timeoutMs) {
      const answer = await call("START", startFields(order), timeoutMs);
      return {
        pid: numberOf(answer, "pid", 2 ** 31),
        port: numberOf(answer, "port", 65535),
        stats: fieldOf(answer, "stats"),
      };
    },
    async prepare(order, timeoutMs) {
      return { port: numberOf(await call("PREPARE", startFields(order), timeoutMs), "port", 65535) };
    },
    async vouch({ order, ownerGid, jobId, request, answer, portAt }, timeoutMs) {
      const own: Field[] = [
        ["owner_gid", `${ownerGid}`],
        ["job", jobId === undefined ? "any" : `${jobId}`],
        ["ask", request.toString("hex")],
        ["answer", answer.toString("hex")],
        ...(portAt === undefined ? [] : [["port_at", `${portAt}`] as const]),
      ];
      await call("VOUCH", [...startFields(order), ...own], timeoutMs);
    },
    async awaitClient(order, jobId, timeoutMs) {
      const fields: Field[] = [...startFields(order), ["job", `${jobId}`]];
      return { port: numberOf(await call("AWAIT", fields, timeoutMs), "port", 65535) };
    },
    async unvouch(timeoutMs, leaseId) {
      await call("UNVOUCH", leaseId === undefined ? [] : [["lease", leaseId]], timeoutMs);
    },
    async keep({ leaseId, ownerUid, ownerGid, jobId, request, answer }, timeoutMs) {
      const fields: Field[] = [
        ["lease", leaseId],
        ["owner", `${ownerUid}`],
        ["owner_gid", `${ownerGid}`],
        ["job", `${jobId}`],
        ["ask", request.toString("hex")],
        ["answer", answer.toString("hex")],
      ];
      await call("KEEP", fields, timeoutMs);
    },
    async forget(leaseId, timeoutMs) {
      return fieldOf(await call("FORGET", [["lease", leaseId]], timeoutMs), "kept") === "1";
    },
    async stop(leaseId, timeoutMs) {
      await call("STOP", [["lease", leaseId]], timeoutMs);
    },
    async list(timeoutMs) {
      return listed(await call("LIST", [], timeoutMs));
    },
    async code({ maxBytes, maxEntries, drop }, timeoutMs) {
      const fields: Field[] = [
        ["max_bytes", `${maxBytes}`],
        ["max_entries", `${maxEntries}`],
        ...(drop ? [["drop", "1"] as const] : []),
      ];
      return fieldOf(await call("CODE", fields, timeoutMs), "figures");
    },
    async paths(folders, timeoutMs) {
      await call(
        "PATHS",
        folders.map((folder) => ["path", folder] as const),
        timeoutMs,
      );
    },
    close() {
      closing = true;
      socket.destroy();
    },
  };
}
