/**
 * The command as a person waits for it: `sublet nodes` against a controller of 10,000 nodes, from its start to its end,
 * beside Node's own start, and help and a Tab, which ask nobody. As packages install it (bundled), and `nodes` from the
 * sources as well. Rounds take turns. Beside each time what the process took of a processor, which other load changes less.
 */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { installCommand } from "../unit/cli/installed.ts";
import { type Extent, whole } from "./bed.ts";
import { medianOf, pairedRatio, percentileOf, type Row } from "./table.ts";

const many = 10_000;
const path = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
const sources = path("../../src/cli/main.ts");

interface Timed {
  readonly wallMs: number;
  /** User and system. */
  readonly cpuMs: number;
}

function timed(args: readonly string[], environment: Record<string, string> = {}): Timed {
  const { status, stderr, stdout } = spawnSync(
    "bash",
    [
      "-c",
      'TIMEFORMAT="%3R %3U %3S"; time "$@"',
      "time",
      process.execPath,
      "--disable-warning=ExperimentalWarning",
      ...args,
    ],
    { encoding: "utf8", env: { ...process.env, LC_ALL: "C", ...environment }, maxBuffer: 1 << 28 },
  );
  if (status !== 0) throw new Error(`${args.join(" ")}: ${stderr || stdout}`);
  const [wallS = 0, userS = 0, systemS = 0] = stderr.trim().split(" ").map(Number);
  return { wallMs: 1000 * wallS, cpuMs: 1000 * (userS + systemS) };
}

/** A person waits for milliseconds; help is Node's own start and little else. */
function markOf(what: string): Pick<Row, "mark" | "markOn"> {
  if (what.startsWith("sublet nodes,")) return { mark: 300, markOn: "value" };
  return what === "sublet --help" ? { mark: 2 } : {};
}

export async function run(progress: (message: string) => void, extent: Extent = whole): Promise<Row[]> {
  const rounds = extent.small ? 2 : 15;
  const installed = await installCommand();
  const peer = spawn(process.execPath, [path("./cli-peer.ts"), String(many)], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  try {
    const [line] = (await once(createInterface(peer.stdout), "line")) as [string];
    const { address, munge } = JSON.parse(line) as { address: string; munge: string };
    const environment = { SUBLET_CONTROLLER: address, SUBLET_MUNGE_SOCKET: munge };
    const main = [...installed.nodeOptions, installed.main];
    const commands = {
      [`sublet nodes, ${many} nodes`]: [...main, "nodes"],
      [`sublet nodes from the sources, ${many} nodes`]: [sources, "nodes"],
      [`sublet nodes --json, ${many} nodes`]: [...main, "nodes", "--json"],
      [`sublet top --once, ${many} nodes`]: [...main, "top", "--once"],
      "sublet --help": [...main, "--help"],
      "a Tab: sublet __complete": [...main, "__complete", "--", "no"],
    };
    const bare: Timed[] = [];
    const times = new Map(Object.keys(commands).map((name) => [name, [] as Timed[]]));
    for (let round = -1; round < rounds; round++) {
      progress(`round ${round + 1} of ${rounds}`);
      const start = timed(["-e", "0"]);
      // The first fills the cache of compiled code.
      if (round >= 0) bare.push(start);
      for (const [name, args] of Object.entries(commands)) {
        const took = timed(args, environment);
        if (round >= 0) times.get(name)?.push(took);
      }
    }
    const walls = (values: readonly Timed[]): number[] => values.map(({ wallMs }) => wallMs);
    const cpu = (values: readonly Timed[]): number => Math.round(medianOf(values.map(({ cpuMs }) => cpuMs)));
    return [...times].map(([what, values]) => {
      return {
        what,
        value: medianOf(walls(values)),
        p99: percentileOf(walls(values), 0.99),
        unit: "ms",
        baseline: { what: "node -e 0", value: medianOf(walls(bare)) },
        ratio: pairedRatio(walls(values), walls(bare)).ratio,
        note: `CPU ${cpu(values)} ms, of which Node's own start ${cpu(bare)} ms`,
        ...markOf(what),
      };
    });
  } finally {
    installed.remove();
    peer.stdin.end(); // it ends with its input, and its munged with it
    await Promise.race([once(peer, "exit"), new Promise((resolve) => setTimeout(resolve, 5_000))]);
    peer.kill("SIGKILL");
  }
}
