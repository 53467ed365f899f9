/**
 * What viewers of the dashboard cost the controller: 10,000 simulated nodes (deploy/testbed/fake-cluster.ts, a process of its
 * own) of which one in a hundred changes each second, and 50 real event streams over HTTP. CPU time is the kernel's
 * figure for that process; the baseline is the same process in the same round with nobody watching, which simulates as much.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { request } from "node:http";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { type Extent, whole } from "./bed.ts";
import { medianOf, type Row } from "./table.ts";

const viewers = 50;
const ticksPerSecond = 100;
const fake = fileURLToPath(new URL("../../deploy/testbed/fake-cluster.ts", import.meta.url));

/** Of all its threads, user and system. */
function cpuSeconds(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
}

async function startFake(nodes: number): Promise<{ child: ChildProcess; pid: number; url: string }> {
  const argv = ["--disable-warning=ExperimentalWarning", fake, "--nodes", String(nodes), "--port", "0"];
  const child = spawn(process.execPath, argv, { stdio: ["ignore", "pipe", "inherit"] });
  if (child.stdout === null || child.pid === undefined) throw new Error("the fake cluster did not start");
  const [line] = (await once(createInterface(child.stdout), "line", {
    signal: AbortSignal.timeout(60_000),
  })) as [string];
  const url = /http:\S+/.exec(line)?.[0];
  if (url === undefined) throw new Error(`the fake cluster said: ${line}`);
  return { child, pid: child.pid, url };
}

interface Watching {
  bytes: number;
  events: number;
  readonly open: number;
  stop(): void;
}

/** Streams that read as fast as they can; each counts what it gets. */
async function watch(url: string, topics: string, count: number): Promise<Watching> {
  const stops: (() => void)[] = [];
  let open = 0;
  const watching: Watching = {
    bytes: 0,
    events: 0,
    get open() {
      return open;
    },
    stop: () => {
      for (const stop of stops) stop();
    },
  };
  await Promise.all(
    Array.from({ length: count }, async () => {
      const asked = request(`${url}api/v1/events?topics=${topics}`, { agent: false }).end();
      stops.push(() => asked.destroy());
      const [response] = (await once(asked, "response")) as [import("node:http").IncomingMessage];
      open++;
      response.on("close", () => open--);
      response.on("error", () => undefined);
      asked.on("error", () => undefined);
      response.on("data", (part: Buffer) => {
        watching.bytes += part.length;
        watching.events += part.includes("event: ") ? 1 : 0;
      });
    }),
  );
  return watching;
}

export async function run(progress: (message: string) => void, extent: Extent = whole): Promise<Row[]> {
  const rounds = extent.small ? 1 : 3;
  const seconds = extent.small ? 3 : 12;
  const nodes = extent.small ? 1_000 : 10_000;
  const { child, pid, url } = await startFake(nodes);
  const pages = [
    { name: "overview", topics: "summary" },
    { name: "nodes", topics: "summary,nodes" },
    { name: "leases", topics: "summary,leases" },
  ] as const;
  const alone: number[] = [];
  const shares = new Map<string, number[]>(pages.map(({ name }) => [name, []]));
  const bytes = new Map<string, number[]>(pages.map(({ name }) => [name, []]));

  async function shareOver(): Promise<number> {
    const beforeCpu = cpuSeconds(pid);
    const beforeMs = performance.now();
    await sleep(seconds * 1000);
    return ((cpuSeconds(pid) - beforeCpu) * 1000) / (performance.now() - beforeMs);
  }

  try {
    await sleep(2_000);
    for (let round = 0; round < rounds; round++) {
      progress(`round ${round + 1} of ${rounds}: nobody watches`);
      const idle = await shareOver();
      alone.push(idle);
      for (const { name, topics } of pages) {
        progress(`round ${round + 1} of ${rounds}: ${viewers} watch the ${name}`);
        const watching = await watch(url, topics, viewers);
        await sleep(2_000);
        watching.bytes = 0;
        const share = await shareOver();
        if (watching.open !== viewers) throw new Error(`${viewers - watching.open} viewers were let go`);
        shares.get(name)?.push(share - idle);
        bytes.get(name)?.push(watching.bytes / viewers / seconds);
        watching.stop();
        await sleep(500);
      }
    }
  } finally {
    child.kill();
    await once(child, "exit");
  }
  return pages.flatMap(({ name }): Row[] => [
    {
      what: `${viewers} viewers of the ${name}, ${nodes} nodes: CPU beyond nobody watching`,
      value: 100 * medianOf(shares.get(name) ?? []),
      unit: "% of a core",
      mark: 5,
      issue: "5.1",
      note: `the whole process with nobody watching: ${(100 * medianOf(alone)).toFixed(1)} %, simulation included`,
    },
    {
      what: `${name}: to each viewer`,
      value: medianOf(bytes.get(name) ?? []) / 1024,
      unit: "KiB/s",
    },
  ]);
}
