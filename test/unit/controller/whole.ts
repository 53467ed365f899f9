/** A whole controller over real gRPC, for the tests of a file; the agents are fakes (fake-agent.ts), Slurm's commands are texts. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach } from "node:test";
import { type Logger, pino } from "pino";
import { SubletError } from "../../../src/common/errors.ts";
import { loadControllerConfig } from "../../../src/config/config.ts";
import { type Controller, startController } from "../../../src/controller/controller.ts";
import { type ControllerClient, connectController } from "../../../src/rpc/client.ts";
import type { Init, LeaseRequestMessage } from "../../../src/rpc/messages.ts";
import type { CommandRunner, PollerClock } from "../../../src/slurm/poller.ts";
import { systemClock } from "../../../src/slurm/runner.ts";
import { type FakeAgent, type FakeAgentOptions, fakeAgent, plainIdentity } from "./fake-agent.ts";
import { mib } from "./samples.ts";

export const user = { uid: 20001, gid: 20001, jobId: 7, node: "n1" };
export const stranger = { uid: 30001, gid: 30001, jobId: 8, node: "n1" };
export const oneCore: Init<LeaseRequestMessage> = {
  kind: "LEASE_KIND_FUNCTION",
  cores: 1,
  memoryBytes: 16 * mib,
};

const folder = mkdtempSync(join(tmpdir(), "sublet-controller-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const closers: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

/** Runs at the end of the test, before what began earlier. */
export function atEnd(close: () => void | Promise<void>): void {
  closers.push(close);
}

export const stateFolder = (): string => mkdtempSync(join(folder, "state-"));

/** Slurm with these nodes, all of them in the state given. */
export function slurm(nodes: Record<string, string>): CommandRunner {
  const line = (name: string, state: string): string =>
    `NodeName=${name} CPUAlloc=1 CPUTot=4 RealMemory=4000 AllocMem=100 State=${state} Partitions=p\n`;
  const text = Object.entries(nodes).map(([name, state]) => line(name, state));
  return async ({ question }) => ({ stdout: question === "nodes" ? text.join("") : "", stderr: "" });
}

const noSlurm: CommandRunner = async () => {
  throw new SubletError("UNAVAILABLE", "squeue: Unable to contact slurm controller (connect failure)");
};

export interface ControllerOptions {
  /** Without it Slurm does not answer. */
  readonly runner?: CommandRunner;
  readonly listen?: string;
  readonly clock?: PollerClock;
  readonly log?: Logger;
  readonly stateDir?: string;
  /** Tables of controller.toml. */
  readonly toml?: string;
}

export async function controllerWith({
  runner = noSlurm,
  listen = "127.0.0.1:0",
  clock = systemClock,
  log = pino({ level: "silent" }),
  stateDir = stateFolder(),
  toml = "",
}: ControllerOptions = {}): Promise<Controller> {
  const file = join(folder, "controller.toml");
  writeFileSync(
    file,
    `listen = "${listen}"\nmetrics_listen = "127.0.0.1:0"\npoll_interval_ms = 60000\nadmin_gid = 40000\nstate_dir = "${stateDir}"\n${toml}`,
  );
  const controller = await startController({
    config: loadControllerConfig(file, {}),
    log,
    identity: plainIdentity(0),
    runner,
    clock,
  });
  let open = true;
  const close = async (): Promise<void> => {
    if (!open) return;
    open = false;
    await controller.close();
  };
  atEnd(close);
  return { ...controller, close };
}

export function clientOf(controller: Controller, uid = 0): ControllerClient {
  const client = connectController(controller.address, { identity: plainIdentity(uid), timeoutMs: 8000 });
  atEnd(() => client.close());
  return client;
}

export async function agentWith(options: Partial<FakeAgentOptions> & { node: string }): Promise<FakeAgent> {
  const agent = await fakeAgent({ cores: 2, memoryBytes: 1024 * mib, ...options });
  atEnd(() => agent.close());
  return agent;
}

export async function until(what: string, holds: () => Promise<boolean> | boolean): Promise<void> {
  const endMs = performance.now() + 5000;
  while (!(await holds())) {
    assert.ok(performance.now() < endMs, `in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
