/**
 * The command as a person waits for it: `sublet nodes` against a fake controller of 10,000 nodes, from its start to its end,
 * beside Node's own start, and help and a Tab, which ask nobody. Rounds take turns.
 */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { type Extent, whole } from "./bed.ts";
import { medianOf, pairedRatio, percentileOf, type Row } from "./table.ts";

const many = 10_000;
const path = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
const main = path("../../src/cli/main.ts");

function timed(args: readonly string[], environment: Record<string, string> = {}): number {
  const began = performance.now();
  const { status, stderr, stdout } = spawnSync(
    process.execPath,
    ["--disable-warning=ExperimentalWarning", ...args],
    { encoding: "utf8", env: { ...process.env, ...environment }, maxBuffer: 1 << 28 },
  );
  const took = performance.now() - began;
  if (status !== 0) throw new Error(`${args.join(" ")}: ${stderr || stdout}`);
  return took;
}

const nodesMarkMs = 300;

function nodesNote(ms: number): string {
  return `at most ${nodesMarkMs} ms: ${ms <= nodesMarkMs ? "met" : "NOT met"}`;
}

export async function run(progress: (message: string) => void, extent: Extent = whole): Promise<Row[]> {
  const rounds = extent.small ? 2 : 15;
  const peer = spawn(process.execPath, [path("./cli-peer.ts"), String(many)], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  try {
    const [line] = (await once(createInterface(peer.stdout), "line")) as [string];
    const { address, munge } = JSON.parse(line) as { address: string; munge: string };
    const environment = { SUBLET_CONTROLLER: address, SUBLET_MUNGE_SOCKET: munge };
    const commands = {
      [`sublet nodes, ${many} nodes`]: ["nodes"],
      [`sublet nodes --json, ${many} nodes`]: ["nodes", "--json"],
      [`sublet top --once, ${many} nodes`]: ["top", "--once"],
      "sublet --help": ["--help"],
      "a Tab: sublet __complete": ["__complete", "--", "no"],
    };
    const bare: number[] = [];
    const times = new Map(Object.keys(commands).map((name) => [name, [] as number[]]));
    for (let round = -1; round < rounds; round++) {
      progress(`round ${round + 1} of ${rounds}`);
      const start = timed(["-e", "0"]);
      // The first fills the cache of compiled code.
      if (round >= 0) bare.push(start);
      for (const [name, args] of Object.entries(commands)) {
        const took = timed([main, ...args], environment);
        if (round >= 0) times.get(name)?.push(took);
      }
    }
    return [...times].map(([what, values]) => ({
      what,
      value: medianOf(values),
      p99: percentileOf(values, 0.99),
      unit: "ms",
      baseline: { what: "node -e 0", value: medianOf(bare) },
      ratio: pairedRatio(values, bare).ratio,
      note: what.startsWith("sublet nodes,") ? nodesNote(medianOf(values)) : "",
    }));
  } finally {
    peer.stdin.end(); // it ends with its input, and its munged with it
    await Promise.race([once(peer, "exit"), new Promise((resolve) => setTimeout(resolve, 5_000))]);
    peer.kill("SIGKILL");
  }
}
