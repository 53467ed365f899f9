/**
 * The command as a person waits for it: `sublet nodes` against a controller of 10,000 nodes, from its start to its end,
 * beside Node's own start, and help and a Tab, which ask nobody. As packages install it (bundled), and `nodes` from the
 * sources as well. Rounds take turns. Beside each time what the process took of a processor, which other load changes less.
 * And `sublet top`, live on a terminal: what it and the controller take while nobody touches a key.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
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

const ticksPerSecond = 100;

/** Of all its threads, user and system. */
function cpuSeconds(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
}

/** Shares of a core over `seconds`: nothing but the controller, then a top on a terminal of 50 lines beside it. */
async function liveTop(
  main: readonly string[],
  environment: Record<string, string>,
  controller: ChildProcess,
  seconds: number,
): Promise<{ top: number; controller: number; alone: number }> {
  const controllerPid = controller.pid ?? 0;
  const shares = async (...pids: number[]): Promise<number[]> => {
    const [before, beganMs] = [pids.map(cpuSeconds), performance.now()];
    await sleep(seconds * 1000);
    const passedS = (performance.now() - beganMs) / 1000;
    return pids.map((pid, i) => (100 * (cpuSeconds(pid) - (before[i] ?? 0))) / passedS);
  };
  const [alone = Number.NaN] = await shares(controllerPid);
  const command = [process.execPath, "--disable-warning=ExperimentalWarning", ...main, "top"].join(" ");
  const terminal = spawn("script", ["-qfec", `stty rows 50 cols 160; exec ${command}`, "/dev/null"], {
    stdio: ["pipe", "pipe", "inherit"],
    env: { ...process.env, ...environment, TERM: "xterm" },
  });
  const ended = once(terminal, "exit");
  let drawn = "";
  terminal.stdout.on("data", (text: Buffer) => {
    drawn = `${drawn}${text}`.slice(-100_000);
  });
  try {
    // Its start is not what it takes while it runs.
    await sleep(6_000);
    if (!drawn.includes(`of ${many.toLocaleString("en-US")}`)) throw new Error(`top drew: ${drawn}`);
    const pid = Number(
      readFileSync(`/proc/${terminal.pid}/task/${terminal.pid}/children`, "utf8").split(" ")[0],
    );
    const [top = Number.NaN, beside = Number.NaN] = await shares(pid, controllerPid);
    return { top, controller: beside, alone };
  } finally {
    terminal.stdin.write("q");
    await Promise.race([ended, sleep(5_000)]);
    terminal.kill();
  }
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
    progress("top, live");
    const live = await liveTop(main, environment, peer, extent.small ? 3 : 30);
    const unit = "% of a core";
    const lively: Row[] = [
      {
        what: `sublet top, live, ${many} nodes`,
        value: live.top,
        unit,
        mark: 5,
        note: "a picture every 2 s",
      },
      {
        what: "the controller that it asks, beyond nobody asking",
        value: live.controller - live.alone,
        unit,
        note: `nobody asks: ${live.alone.toFixed(1)} %`,
      },
    ];
    const started = [...times].map(([what, values]): Row => {
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
    return [...started, ...lively];
  } finally {
    installed.remove();
    peer.stdin.end(); // it ends with its input, and its munged with it
    await Promise.race([once(peer, "exit"), new Promise((resolve) => setTimeout(resolve, 5_000))]);
    peer.kill("SIGKILL");
  }
}
