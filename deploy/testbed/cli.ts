/** `npm run testbed -- up|down|status|exec|logs`: the testbed by hand. */
import { spawn } from "node:child_process";
import { Command, InvalidArgumentError } from "commander";
import { formatCpuList } from "../../src/common/cpulist.ts";
import { toSubletError } from "../../src/common/errors.ts";
import { attachCluster, type Cluster, leftovers, startCluster, stopCluster } from "./cluster.ts";
import { logFile, logTail } from "./daemons.ts";
import { defaultStateDir, maxNodes } from "./layout.ts";
import { enter } from "./namespaces.ts";
import { prometheusUrl } from "./prometheus.ts";
import { baseEnv } from "./shell.ts";
import { asJobUser, userEnv } from "./slurm-client.ts";
import { slurmConfPath } from "./slurm-conf.ts";
import { slurmEnv } from "./slurm-daemons.ts";
import { dashboardUrl } from "./sublet-conf.ts";

const nodeCount = (text: string): number => {
  const count = Number(text);
  if (!Number.isSafeInteger(count) || count < 1 || count > maxNodes)
    throw new InvalidArgumentError(`1 to ${maxNodes}`);
  return count;
};

const program = new Command("testbed").description(
  "A real Slurm cluster on this machine, with Sublet on it.",
);
program.enablePositionalOptions(); // so that options behind `exec n1 --` are the command's
const stateOption = ["--state-dir <path>", "where the testbed keeps its files", defaultStateDir] as const;

program
  .command("up")
  .description("start the testbed and leave it running")
  .option("--nodes <n>", "number of nodes", nodeCount, 3)
  .option("--no-agents", "Slurm only")
  .option("--prometheus", "with Debian's Prometheus, its rules and alerts")
  .option(...stateOption)
  .action(async (options: { nodes: number; agents: boolean; prometheus?: boolean; stateDir: string }) => {
    const started = performance.now();
    const cluster = await startCluster({
      ...options,
      background: true,
      progress: (message) => console.error(`testbed: ${message}`),
    });
    console.log(`The testbed is up after ${((performance.now() - started) / 1000).toFixed(1)} s.`);
    if (options.prometheus === true && options.agents) console.log(`  Prometheus: ${prometheusUrl}`);
    for (const line of describe(cluster)) console.log(line);
    for (const caveat of cluster.layout.caveats) console.log(`Mind: ${caveat}.`);
  });

function describe(cluster: Cluster): string[] {
  const lines = cluster.layout.nodes.map(
    (node) =>
      `  ${node.name}  ${node.address}  cores ${formatCpuList(node.cpus)}, ${node.memoryMib} MiB` +
      (cluster.agents ? `, ${cluster.metricsUrl(`agent-${node.name}`)}/metrics` : ""),
  );
  if (cluster.agents)
    lines.push(`  controller: ${cluster.metricsUrl("controller")}/metrics`, `  dashboard: ${dashboardUrl}`);
  return [
    ...lines,
    "Try:",
    "  npm run testbed -- exec n1 -- srun -N2 hostname",
    "  npm run testbed -- exec --root n1 -- ls /run/sublet",
    `  SLURM_CONF=${slurmConfPath(cluster.stateDir)} squeue`,
    "  npm run testbed -- status",
    "  npm run testbed -- down",
  ];
}

program
  .command("down")
  .description("stop the testbed and remove everything of it")
  .option("--force", "also when a process in the foreground owns it")
  .option(...stateOption)
  .action(async (options: { stateDir: string; force?: boolean }) => {
    await stopCluster(options);
    console.log("Nothing of the testbed is left.");
  });

program
  .command("status")
  .description(
    "show nodes, daemons and jobs; exit status 3 when no testbed runs, 1 when a part of it is not well",
  )
  .option("--json", "as JSON")
  .option(...stateOption)
  .action(async (options: { json?: boolean; stateDir: string }) => {
    const report = await statusOf(options.stateDir);
    if (options.json === true) console.log(JSON.stringify(report, null, 2));
    else if (report.running) {
      for (const node of report.nodes)
        console.log(`${node.name}  ${node.state}  ${node.address}  cores ${node.cores}`);
      for (const daemon of report.daemons)
        console.log(`${daemon.name}  ${daemon.alive ? `pid ${daemon.pid}` : "ended"}`);
      for (const job of report.jobs) console.log(`job ${job}`);
    } else console.log("No testbed runs.");
    process.exitCode = !report.running ? 3 : report.daemons.every((daemon) => daemon.alive) ? 0 : 1;
  });

async function statusOf(stateDir: string) {
  const none = { nodes: [], daemons: [], jobs: [] as string[] };
  const left = await leftovers(stateDir);
  if (left.mounts.length === 0) return { running: false, ...none, leftovers: left };
  const cluster = attachCluster(stateDir);
  const daemons = cluster.daemons();
  const slurm = daemons.some((daemon) => daemon.name === "slurmctld" && daemon.alive);
  const states = slurm ? await cluster.nodeStates() : new Map<string, string>();
  const nodes = cluster.layout.nodes.map((node) => ({
    name: node.name,
    state: states.get(node.name) ?? "unknown",
    address: node.address,
    cores: formatCpuList(node.cpus),
    memoryMib: node.memoryMib,
  }));
  return { running: true, nodes, daemons, jobs: slurm ? await cluster.squeue() : [] };
}

program
  .command("exec")
  .description("run a command inside a node, as the job user unless --root")
  .argument("<node>")
  .argument("<command...>")
  .option("--root", "as root")
  .option(...stateOption)
  .passThroughOptions()
  .action((name: string, words: string[], options: { root?: boolean; stateDir: string }) => {
    const command = words[0] === "--" ? words.slice(1) : words;
    const cluster = attachCluster(options.stateDir);
    const where = cluster.node(name).name;
    const root = options.root === true;
    const [file = "", ...args] = root
      ? enter(cluster.stateDir, where, command)
      : asJobUser(cluster.layout, where, command);
    const env = { ...baseEnv, TERM: process.env.TERM ?? "dumb" };
    const child = spawn(file, args, {
      stdio: "inherit",
      cwd: root ? "/" : cluster.layout.home,
      env: { ...env, ...(root ? slurmEnv(cluster.stateDir) : userEnv(cluster.layout)) },
    });
    child.once("error", fail);
    child.once("close", (code, signal) => {
      process.exitCode = code ?? (signal === null ? 1 : 128);
    });
  });

program
  .command("logs")
  .description("show the end of each daemon's log, or of one")
  .argument("[daemon]", "e.g. slurmctld, agent-n1")
  .option("--lines <n>", "how many lines", "15")
  .option(...stateOption)
  .action((name: string | undefined, options: { lines: string; stateDir: string }) => {
    const { stateDir } = attachCluster(options.stateDir);
    for (const daemon of attachCluster(stateDir).daemons()) {
      if (name !== undefined && daemon.name !== name) continue;
      console.log(`==> ${logFile(stateDir, daemon.name)}`);
      console.log(logTail(stateDir, daemon.name, Number(options.lines)));
    }
  });

function fail(thrown: unknown): void {
  const error = toSubletError(thrown);
  console.error(`testbed: ${error.message}`);
  process.exitCode = 1;
}

program.parseAsync().catch(fail);
