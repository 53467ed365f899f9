/** The shell of an agent, by its configuration and what it stands on. */
import { join } from "node:path";
import type { LeaseStats } from "./executor/stats.ts";
import type { Ground } from "./ground.ts";
import { readAvailableBytes } from "./inventory/inventory.ts";
import { liveSetup, type Now } from "./live.ts";
import type { AgentLog } from "./log.ts";
import { executorSocket } from "./offer/messages.ts";
import { Shell } from "./shell.ts";

const hookTimeoutMs = 2_000;
const epilogTimeoutMs = 600_000;
/** Uids kept for prepared executors: they are a lease's from its start to its end. */
const poolUidsMax = 256;
/** Demand for leases is forgotten after this. */
const poolIdleMs = 60_000;

/** Without a starter yet: until it has one it lends nothing. */
export function openShell(now: Now, ground: Ground, stats: LeaseStats, log: AgentLog): Shell {
  const { config } = now;
  const { inventory, fabric, fabricAddress, tree } = ground;
  // The last of the uids are those of executors that were prepared before their lease.
  const poolUids = Math.min(poolUidsMax, Math.floor(config.guestUidCount / 4));
  const guestUidCount = config.guestUidCount - poolUids;
  return new Shell({
    setup: {
      node: config.node,
      cores: inventory.cores,
      siblings: inventory.siblings,
      mems: inventory.mems,
      memoryBytes: inventory.memoryBytes,
      fabric: fabric.provider !== "none",
      guestUidFirst: config.guestUidFirst,
      guestUidCount,
      hookTimeoutMs,
      epilogTimeoutMs,
      ...liveSetup(config),
    },
    tree,
    log,
    availableBytes: () => readAvailableBytes(),
    order: (guest) => ({
      unixPath: executorSocket(config.runDir, guest.lease.id),
      tcpAddress: fabricAddress,
      spinUs: now.config.spinUs,
      // A starter of an earlier version, which may still run, knows nothing of it.
      ...(config.fabricProvider === "auto" && fabric.provider === "none" ? {} : { fabric: fabric.provider }),
      executor: join(config.nativeDir, "bin", "sublet-executor"),
    }),
    startTimeoutMs: config.startTimeoutMs,
    stats,
    pool: {
      max: config.poolMax,
      idleMs: poolIdleMs,
      uidFirst: config.guestUidFirst + guestUidCount,
      uidCount: poolUids,
    },
    codeCacheBytes: config.codeCacheBytes,
    codeFromPaths: config.codeFromPaths,
  });
}
