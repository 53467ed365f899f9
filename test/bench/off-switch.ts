/**
 * The off switch over 1,000 nodes: the real controller in this process, and fake agents (off-switch-peer.ts: real gRPC, no
 * node behind it) in another, each with a lease. What a drain of all takes until every agent is drained, and what a
 * controller that was restarted takes until agents that come back have been told; beside it the same drain again, when
 * nothing is left to do. What ending guests takes on a node is in `bench -- reclaim`.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { pino } from "pino";
import { SubletError } from "../../src/common/errors.ts";
import { loadControllerConfig } from "../../src/config/config.ts";
import { type Controller, startController } from "../../src/controller/controller.ts";
import { type ControllerClient, connectController } from "../../src/rpc/client.ts";
import { systemClock } from "../../src/slurm/runner.ts";
import { plainIdentity } from "../unit/controller/fake-agent.ts";
import { type Extent, whole } from "./bed.ts";
import type { Answer, Order } from "./off-switch-peer.ts";
import { medianOf, type Row } from "./table.ts";

const mib = 1024 * 1024;
const timeoutMs = 60_000;
const markMs = 10_000;
const peerPath = fileURLToPath(new URL("./off-switch-peer.ts", import.meta.url));

async function ask(peer: ChildProcess, order: Order): Promise<Answer> {
  const answered = once(peer, "message", { signal: AbortSignal.timeout(timeoutMs) });
  peer.send(order);
  const [answer] = (await answered) as [Answer];
  return answer;
}

async function start(folder: string): Promise<Controller> {
  const file = join(folder, "controller.toml");
  const at = 'listen = "127.0.0.1:0"';
  writeFileSync(file, `${at}\nmetrics_${at}\nstate_dir = "${folder}/state"\n[dashboard]\n${at}\n`);
  return startController({
    config: loadControllerConfig(file, {}),
    log: pino({ level: "silent" }),
    identity: plainIdentity(0),
    runner: async () => {
      throw new SubletError("UNAVAILABLE", "there is no Slurm here");
    },
    clock: systemClock,
  });
}

/** A lease on each node, some at once. */
async function leaseAll(client: ControllerClient, nodes: number): Promise<void> {
  const rest = Array.from({ length: nodes }, (_, index) => `n${index + 1}`).values();
  const owner = { uid: 20001, gid: 20001, jobId: 0, node: "" };
  const worker = async (): Promise<void> => {
    for (const node of rest) {
      const request = { kind: "LEASE_KIND_FUNCTION", cores: 1, memoryBytes: 16 * mib, node } as const;
      // On a busy machine the first connection to an agent may take longer than a lease may wait.
      for (let tries = 5; tries > 0; tries--)
        try {
          await client.requestLease({ request, owner });
          break;
        } catch (thrown) {
          if (tries === 1) throw thrown;
        }
    }
  };
  await Promise.all(Array.from({ length: 32 }, worker));
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return performance.now() - began;
}

/** How many did not answer in time; the controller tells them again. */
async function drainAll(client: ControllerClient): Promise<number> {
  const { outcomes } = await client.drain({ selection: { all: true }, mode: "RECLAIM_MODE_IMMEDIATE" });
  return outcomes.filter(({ code }) => code !== 0).length;
}

async function allTold(peer: ChildProcess, nodes: number): Promise<void> {
  for (const endMs = performance.now() + timeoutMs; performance.now() < endMs; ) {
    if ((await ask(peer, { count: true })).drained === nodes) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error("not every agent was drained");
}

export async function run(progress: (message: string) => void, extent: Extent = whole): Promise<Row[]> {
  const nodes = extent.small ? 50 : 1000;
  const rounds = extent.small ? 1 : 3;
  const folder = mkdtempSync(join(tmpdir(), "sublet-off-switch-"));
  const peer = fork(peerPath, [String(nodes)], { execArgv: ["--disable-warning=ExperimentalWarning"] });
  let controller: Controller | undefined;
  const first: number[] = [];
  const again: number[] = [];
  const restarted: number[] = [];
  let late = 0;
  try {
    await once(peer, "message", { signal: AbortSignal.timeout(timeoutMs) });
    for (let round = 1; round <= rounds; round++) {
      progress(`round ${round} of ${rounds}: ${nodes} agents join, and each has a lease`);
      controller = await start(folder);
      const client = connectController(controller.address, { identity: plainIdentity(0), timeoutMs });
      await ask(peer, { join: controller.address });
      await leaseAll(client, nodes);
      first.push(
        await timed(async () => {
          late += await drainAll(client);
          await allTold(peer, nodes);
        }),
      );
      const { leases } = await ask(peer, { count: true });
      if (leases > 0) throw new Error(`${leases} leases outlived the drain`);
      again.push(await timed(() => drainAll(client)));
      client.close();
      await controller.close();
      controller = await start(folder);
      const { address } = controller;
      restarted.push(
        await timed(async () => {
          await ask(peer, { join: address });
          await allTold(peer, nodes);
        }),
      );
      const last = connectController(address, { identity: plainIdentity(0), timeoutMs });
      await last.resume({ selection: { all: true } });
      last.close();
      await controller.close();
    }
  } finally {
    await controller?.close();
    peer.disconnect();
    rmSync(folder, { recursive: true, force: true });
  }
  const count = nodes.toLocaleString("en");
  const baseline = { what: "the same, nothing left to do", value: medianOf(again) };
  return [
    {
      what: `drain --all of ${count} fake agents, a lease each`,
      value: medianOf(first),
      unit: "ms",
      baseline,
      mark: markMs,
      markOn: "value",
      note: `${late} answers in ${rounds} rounds came too late, those agents were told again`,
    },
    {
      what: `controller restarted: until ${count} have joined and been told`,
      value: medianOf(restarted),
      unit: "ms",
      baseline,
    },
  ];
}
