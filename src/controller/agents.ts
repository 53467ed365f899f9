/**
 * Connections to agents: one per address, made with the first call, and at most so many calls at once on each, so
 * that two hundred requests do not become two hundred executors starting on one node. Waiting is bounded by the
 * caller's own deadline.
 */
import { SubletError } from "../common/errors.ts";
import type { NodeClient } from "../rpc/client.ts";

/** What we ask of agents. */
export type AgentClient = Pick<
  NodeClient,
  "grant" | "renew" | "release" | "drain" | "resume" | "reclaim" | "close"
>;

export interface AgentPool {
  /** Runs one call on the agent at that address. @throws DEADLINE_EXCEEDED when its turn did not come. */
  call<T>(
    address: string,
    timeoutMs: number,
    body: (client: AgentClient, leftMs: number) => Promise<T>,
  ): Promise<T>;
  /** Nobody offers that address any more. Calls on their way end with ABORTED. */
  drop(address: string): void;
  close(): void;
}

export const maxCallsPerAgent = 8;

interface Entry {
  readonly client: AgentClient;
  running: number;
  readonly waiting: Set<() => void>;
}

export function agentPool(connect: (address: string) => AgentClient, maxCalls = maxCallsPerAgent): AgentPool {
  const entries = new Map<string, Entry>();

  function entryOf(address: string): Entry {
    let entry = entries.get(address);
    if (entry === undefined) {
      entry = { client: connect(address), running: 0, waiting: new Set() };
      entries.set(address, entry);
    }
    return entry;
  }

  async function turn(entry: Entry, address: string, timeoutMs: number): Promise<void> {
    if (entry.running < maxCalls) {
      entry.running++;
      return;
    }
    await new Promise<void>((resolve, reject) => {
      const go = (): void => {
        clearTimeout(timer);
        resolve(); // the place of the call that ended is ours
      };
      const timer = setTimeout(() => {
        entry.waiting.delete(go);
        reject(new SubletError("DEADLINE_EXCEEDED", `agent ${address} is busy with ${maxCalls} calls`));
      }, timeoutMs);
      entry.waiting.add(go);
    });
  }

  function done(entry: Entry): void {
    const [next] = entry.waiting;
    if (next === undefined) {
      entry.running--;
      return;
    }
    entry.waiting.delete(next);
    next();
  }

  return {
    async call(address, timeoutMs, body) {
      const entry = entryOf(address);
      const startedMs = performance.now();
      await turn(entry, address, timeoutMs);
      try {
        return await body(entry.client, Math.max(1, timeoutMs - (performance.now() - startedMs)));
      } finally {
        done(entry);
      }
    },
    drop(address) {
      entries.get(address)?.client.close();
      entries.delete(address);
    },
    close() {
      for (const { client } of entries.values()) client.close();
      entries.clear();
    },
  };
}
