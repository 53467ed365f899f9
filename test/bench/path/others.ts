/** What users would take instead, each measured by its own tool on the same two cores: fi_pingpong, UCX, MPI, Redis, gRPC. */
import { once } from "node:events";
import { createServer } from "node:net";
import { join } from "node:path";
import { attempt, pause } from "../../../deploy/testbed/shell.ts";
import { medianOf, percentileOf } from "../table.ts";
import { endProgram, type Measurer, nextLine, startMeasurer, startProgram, type Times } from "./measurer.ts";
import { type Path, root, type Stage } from "./stage.ts";

const built = (name: string) => join(root, "build/bench/bin", name);
const onCore = (core: number) => ["taskset", "-c", `${core}`];

/** A server tool on core 1 that listens once it is there; ended after `body`. */
async function withServer<T>(argv: readonly string[], body: () => Promise<T>): Promise<T> {
  const { child, lines } = startProgram(argv);
  lines.resume();
  try {
    return await body();
  } finally {
    child.kill("SIGTERM"); // these tools do not look at their standard input
    await endProgram(child);
  }
}

/** Runs a client tool to its end; what it printed. @throws with what it said */
async function client(argv: readonly string[]): Promise<string> {
  const { stdout, stderr, exitCode } = await attempt(argv, { timeoutMs: 10_000 });
  if (exitCode === 0 && stdout.trim() !== "") return stdout;
  throw new Error(`${argv.join(" ")}: ${`${stdout}${stderr}`.trim().slice(-300)}`);
}

/** A server of these tools serves one client, and one that came too early is none: both anew, up to three times. */
async function pair(server: readonly string[], clientArgv: readonly string[]): Promise<string> {
  for (let tries = 1; ; tries++) {
    try {
      return await withServer(server, async () => {
        await pause(300 * tries);
        return await client(clientArgv);
      });
    } catch (error) {
      if (tries === 3) throw error;
    }
  }
}

const lastLine = (text: string) => text.trim().split("\n").at(-1)?.trim().split(/\s+/) ?? [];

/** libfabric's own tool. It prints the mean one-way time only: doubled here, as p50, with no percentiles. */
export async function fiPingpong(
  path: Path,
  provider: string,
  endpoint: "msg" | "rdm",
  bytes: number,
  count: number,
  cores: { readonly client: number; readonly server: number } = { client: 0, server: 1 },
): Promise<Times> {
  const words = ["fi_pingpong", "-p", provider, "-e", endpoint, "-I", `${count}`, "-S", `${bytes}`];
  const text = await pair(
    [...path.there.enter, ...onCore(cores.server), ...words],
    [...path.here.enter, ...onCore(cores.client), ...words, path.there.address],
  );
  const oneWay = Number(lastLine(text)[6]);
  if (!(oneWay > 0)) throw new Error(`fi_pingpong -p ${provider} said: ${text.trim().slice(-300)}`);
  return { p50: 2 * oneWay, p99: Number.NaN, p999: Number.NaN, count };
}

/** UCX: the tool prints the median one-way time, doubled here. */
export async function ucx(transports: string, bytes: number, count: number): Promise<Times> {
  const env = ["env", `UCX_TLS=${transports}`, "UCX_LOG_LEVEL=error"];
  const port = `${await freePort()}`;
  const tool = ["ucx_perftest", "-p", port];
  const test = ["-t", "tag_lat", "-s", `${bytes}`, "-n", `${count}`, "-w", `${count / 10}`, "-f"];
  const text = await pair(
    [...env, ...onCore(1), ...tool],
    [...env, ...onCore(0), ...tool, "127.0.0.1", ...test],
  );
  const oneWay = Number(lastLine(text)[1]);
  if (!(oneWay > 0)) throw new Error(`ucx_perftest said: ${text.trim().slice(-300)}`);
  return { p50: 2 * oneWay, p99: Number.NaN, p999: Number.NaN, count };
}

/** OpenMPI over `btl` (vader is shared memory), told what to measure like our own programs. */
export function startMpi(btl: "vader" | "tcp"): Measurer {
  const words = ["--oversubscribe", "--bind-to", "none", "--mca", "btl", `self,${btl}`, "-np", "2"];
  const root = { OMPI_ALLOW_RUN_AS_ROOT: "1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: "1" };
  return startMeasurer(`MPI over ${btl}`, ["mpirun", ...words, built("mpi_bench")], root);
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  return typeof address === "object" && address !== null ? address.port : 0;
}

/** Redis on core 1 of the other side, nothing of it on disk, with a C client on core 0. */
export async function startRedis(stage: Stage, path: Path): Promise<Measurer> {
  const port = `${await freePort()}`;
  const settings = [
    "--port",
    port,
    "--bind",
    path.there.address,
    "--save",
    "",
    "--appendonly",
    "no",
    "--protected-mode",
    "no",
  ];
  const server = [...path.there.enter, ...onCore(1), "redis-server", ...settings, "--dir", stage.folder];
  const { child, lines } = startProgram(server);
  await new Promise<void>((resolve, reject) => {
    lines.on("line", (line) => line.includes("Ready to accept") && resolve());
    child.once("exit", () => reject(new Error("redis-server ended before it listened")));
  });
  const measurer = startMeasurer("redis", [
    ...path.here.enter,
    built("redis_bench"),
    path.there.address,
    port,
  ]);
  return {
    measure: (order) => measurer.measure(order),
    async close() {
      await measurer.close();
      child.kill("SIGTERM"); // it does not look at its standard input
      await endProgram(child);
    },
  };
}

/** grpc-js unary of 64 B, client and server pinned to a core each. */
export async function grpc(count: number): Promise<Times> {
  const node = process.execPath;
  const peer = join(root, "test/bench/rpc-peer.ts");
  const { child, lines } = startProgram([...onCore(1), node, peer]);
  try {
    const port = await nextLine(child, lines, "the gRPC server", 20_000);
    const text = await client([...onCore(0), node, peer, port, `${count}`]);
    const times = JSON.parse(text) as number[];
    return {
      p50: medianOf(times),
      p99: percentileOf(times, 0.99),
      p999: percentileOf(times, 0.999),
      count: times.length,
    };
  } finally {
    await endProgram(child); // it ends with its standard input
  }
}
