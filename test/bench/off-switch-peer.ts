/**
 * Fake agents for off-switch.ts, a process of their own: the real gRPC and the real lease book, but no node, no cgroup and no
 * executor behind them; a drain ends their leases in the book. Told what to do by the process that forked it.
 * `node off-switch-peer.ts AGENTS`.
 */
import { type FakeAgent, fakeAgent } from "../unit/controller/fake-agent.ts";

export type Order = { readonly join: string } | { readonly count: true };
export interface Answer {
  /** Agents whose stream stands. */
  readonly joined: number;
  /** Agents that were drained so far. */
  readonly drained: number;
  readonly leases: number;
}

const mib = 1024 * 1024;
const atOnce = 64;
const agents: FakeAgent[] = [];
for (let index = 1; index <= Number(process.argv[2] ?? 1000); index++) {
  const agent = await fakeAgent({
    node: `n${index}`,
    cores: 4,
    memoryBytes: 1024 * mib,
    onAdmin: async () => {
      for (const { id } of agent.leases()) agent.revoke(id);
    },
  });
  agents.push(agent);
}

async function joinAll(controller: string): Promise<number> {
  const rest = agents.values();
  const worker = async (): Promise<void> => {
    for (const agent of rest) {
      agent.leave();
      agent.admin.splice(0);
      await agent.join(controller);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  return agents.length;
}

let joined = 0;
// A report of nothing new, so that offers do not grow old.
setInterval(() => {
  if (joined > 0) for (const agent of agents) agent.revoke("none");
}, 10_000);
process.on("message", async (order: Order) => {
  if ("join" in order) joined = await joinAll(order.join);
  const answer: Answer = {
    joined,
    drained: agents.filter(({ admin }) => admin.some((each) => each.startsWith("drain"))).length,
    leases: agents.reduce((sum, agent) => sum + agent.leases().length, 0),
  };
  process.send?.(answer);
});
process.on("disconnect", () => process.exit(0));
process.send?.({ joined, drained: 0, leases: 0 } satisfies Answer);
